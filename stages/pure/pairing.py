"""Rewarded texts -> pairs, drops, and the numbers that a reviewer asks of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from schemas.errors import InputError
from schemas.synthetic import ORIGIN
from stages.pure.metrics import comparable
from stages.pure.sql import query

KEY = ["question_id", "candidate_index"]
STRATEGIES = ["all_pairs", "best_worst", "best_random", "length_matched"]
NEUTRAL_WORDS = 20  # any constant gives the same pairs


@dataclass(frozen=True)
class Rule:
    """How scored texts become pairs. Units as in params.yaml: build_preferences."""

    strategy: str
    min_gap: float  # in the unit of the reward
    pairs_per_question: int
    negatives_per_question: int
    max_words_ratio: float
    max_pairs: int | None


def rewarded_texts(
    questions: pd.DataFrame,
    candidates: pd.DataFrame,
    negatives: pd.DataFrame,
    rewards: pd.DataFrame,
    refused: pd.DataFrame,
) -> pd.DataFrame:
    """All candidates and negatives, one row each: what preferences.sql reads as `texts`.

    rewards: rewards.rewards; refused: question_id, candidate_index of texts that may not be
    chosen. Columns: question_id, candidate_index, origin, explanation, negative_kind,
    cluster_id, text_key (equal for texts that differ in case and white space only), words_n,
    is_refused, reward (NaN if unscored; equal texts of a question share the mean of theirs).
    Raises InputError for a text of an unknown question.
    """
    ours = candidates[[*KEY, "origin", "explanation"]].assign(negative_kind=None)
    wrong = negatives.rename(columns={"kind": "negative_kind"}).assign(origin="negative")
    texts = pd.concat([ours, wrong[ours.columns]], ignore_index=True)
    cluster_of = questions.drop_duplicates("question_id").set_index("question_id").cluster_id
    if strangers := sorted(set(texts.question_id) - set(cluster_of.index)):
        raise InputError(
            f"question {strangers[0]} of data/candidates.parquet or data/negatives.parquet is not "
            "in data/questions.parquet. Run `dvc repro sample_candidates make_negatives`."
        )
    bad = pd.MultiIndex.from_frame(refused[KEY])
    rewarded = texts.assign(
        negative_kind=texts.negative_kind.astype("str"),
        cluster_id=texts.question_id.map(cluster_of),
        text_key=texts.explanation.map(comparable),
        words_n=texts.explanation.map(lambda t: len(t.split())),
        is_refused=pd.MultiIndex.from_frame(texts[KEY]).isin(bad),
    ).merge(rewards, on=KEY, how="left", validate="one_to_one")
    # else "X." could beat Y and lose to it as "x."
    same = rewarded.groupby(["question_id", "text_key"]).reward
    return rewarded.assign(
        reward=rewarded.reward.mask(rewarded.reward.notna(), same.transform("mean"))
    )


def flagged(scores: pd.DataFrame, flags: list[str]) -> pd.DataFrame:
    """question_id and candidate_index of the texts with one of `flags`."""
    return scores.loc[scores.scorer.isin(flags) & (scores.value > 0), KEY].drop_duplicates()


def pair_texts(texts: pd.DataFrame, rule: Rule) -> tuple[pd.DataFrame, pd.DataFrame]:
    """rewarded_texts -> Preferences, and the pairs that there were before the draw.

    Raises InputError if there is no pair, or if there are fewer than rule.max_pairs.
    """
    drawn = ("strategy", "min_gap", "pairs_per_question", "negatives_per_question")
    values = {name: getattr(rule, name) for name in (*drawn, "max_words_ratio")}
    picked = query("preferences", {"texts": texts}, **values)
    wanted = rule.max_pairs
    if picked.empty:
        raise InputError(
            f"build_preferences: none of {len(texts)} texts makes a pair by {rule.strategy} with a "
            f"gap of {rule.min_gap:.3g} (widest gap {widest_gap(texts):.2f}). Lower min_score_gap, "
            "raise pairs_per_question or sample more candidates."
        )
    if wanted is not None and wanted > len(picked):
        raise InputError(
            f"build_preferences.max_pairs: {wanted} in params.yaml, but {rule.strategy} with a gap "
            f"of {rule.min_gap:.3g} gives {len(picked)} pairs. Compare gaps at that number."
        )
    kept = picked if wanted is None else picked[picked.draw_rank <= wanted]
    return kept.drop(columns="draw_rank").reset_index(drop=True), picked


def drop_texts(
    texts: pd.DataFrame, pairs: pd.DataFrame, picked: pd.DataFrame, rule: Rule
) -> pd.DataFrame:
    """rewarded_texts and pair_texts -> Drops: every text in no pair, with its reason."""
    tables = {"texts": texts, "preferences": pairs, "picked": picked}
    names = ("strategy", "min_gap", "max_words_ratio")
    return query("drops", tables, **{name: getattr(rule, name) for name in names})


def length_slope(texts: pd.DataFrame) -> float:
    """How much the reward rises per word within a question, reward per word.

    Least squares of reward on words over the scored candidates (no negatives), both centred
    on their question; 0 where no length varies. Within a question, because longer answers
    may belong to better liked questions.
    """
    known = texts[(texts.origin != "negative") & texts.reward.notna()]
    columns = ["words_n", "reward"]
    centred = known[columns] - known.groupby("question_id")[columns].transform("mean")
    spread = float((centred.words_n**2).sum())
    return float((centred.words_n * centred.reward).sum()) / spread if spread else 0.0


def control_length(texts: pd.DataFrame, share: float) -> pd.DataFrame:
    """`texts` with the share `share` of the reward's length slope taken off each reward.

    At 1 the reward no longer rises with words within a question: what is left is what the
    scorer sees beside length. Rewards keep their unit; 20 words is where nothing changes.
    """
    if not 0 <= share <= 1:
        raise InputError(
            f"build_preferences.length_control: {share} in params.yaml is not within 0..1. "
            "Give 0 for none, 1 for all of the length slope."
        )
    slope = share * length_slope(texts)
    return texts.assign(reward=texts.reward - slope * (texts.words_n - NEUTRAL_WORDS))


def widest_gap(texts: pd.DataFrame) -> float:
    """The widest difference of rewards within a question; 0 without any reward."""
    by_question = texts.groupby("question_id").reward
    return float(np.nan_to_num((by_question.max() - by_question.min()).max()))


def summarize(texts: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, float]:
    """How many pairs, how clear, how length-biased, and from whom."""
    chosen, rejected = (pairs[c].map(lambda t: len(t.split())) for c in ("chosen", "rejected"))
    is_ours = texts.origin != "negative"
    numbers: dict[str, float] = {
        "pairs_n": len(pairs),
        "questions_n": texts.question_id.nunique(),
        "questions_paired_n": pairs.question_id.nunique(),
        "candidates_n": int(is_ours.sum()),
        "unscored_n": int(texts.reward[is_ours].isna().sum()),
        "negatives_n": int((~is_ours).sum()),
        "negatives_unscored_n": int(texts.reward[~is_ours].isna().sum()),
        "score_gap_median_score": float(pairs.score_gap.median()),
        "chosen_longer_frac": float((chosen > rejected).mean()),  # 0.5 = no length bias
        "chosen_mean_words": float(chosen.mean()),
        "rejected_mean_words": float(rejected.mean()),
    }
    for side, origins in (("chosen", pairs.chosen_origin), ("rejected", pairs.rejected_origin)):
        known = ["sft", "student", *(["negative"] if side == "rejected" else [])]
        if (texts.origin == ORIGIN).any():
            known.append(ORIGIN)
        for origin in known:
            numbers[f"{side}_{origin}_n"] = int((origins == origin).sum())
    return numbers


def tabulate(pairs: pd.DataFrame, drops: pd.DataFrame) -> dict[str, Any]:
    """Tables for the report page: who beats whom, kinds of negatives, drops."""

    def counts(table: pd.DataFrame, by: list[str]) -> list[dict[Any, Any]]:
        return table.groupby(by).size().rename("n").reset_index().to_dict("records")

    return {
        "origins": counts(pairs, ["chosen_origin", "rejected_origin"]),
        "negative_kinds": counts(pairs, ["negative_kind"]),
        "drops": counts(drops, ["origin", "reason"]),
    }
