"""Scores -> one reward per text; pairs -> the numbers that a reviewer asks of them."""

from typing import Any

import numpy as np
import pandas as pd

from schemas.errors import InputError
from stages.pure.metrics import comparable

KEY = ["question_id", "candidate_index"]
GAP_BIN_STARS = 0.25
NEUTRAL_WORDS = 20  # any constant gives the same pairs


def rewards(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores -> question_id, candidate_index, reward: the mean of the reward scorers.

    NaN unless every reward scorer gave a value. Raises InputError if there is no such scorer.
    """
    rows = scores[scores.role == "reward"].sort_values([*KEY, "scorer"])
    scorers_n = rows.scorer.nunique()
    if scorers_n == 0:
        raise InputError(
            "data/scores.parquet has no scorer with role 'reward'. "
            "Set one in params.yaml: score_candidates.scorers."
        )
    table = rows.groupby(KEY).value.agg(["mean", "count"]).reset_index()
    return table[KEY].assign(reward=table["mean"].where(table["count"] == scorers_n))


def rewarded_texts(
    questions: pd.DataFrame, candidates: pd.DataFrame, negatives: pd.DataFrame, scores: pd.DataFrame
) -> pd.DataFrame:
    """All candidates and negatives, one row each: what preferences.sql reads as `texts`.

    Columns: question_id, candidate_index, origin, explanation, negative_kind, cluster_id,
    text_key (equal for texts that differ in case and white space only), reward (stars, NaN
    if unscored; equal texts of a question share the mean of theirs). Raises InputError for a
    text of an unknown question.
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
    rewarded = texts.assign(
        negative_kind=texts.negative_kind.astype("str"),
        cluster_id=texts.question_id.map(cluster_of),
        text_key=texts.explanation.map(comparable),
    ).merge(rewards(scores), on=KEY, how="left", validate="one_to_one")
    # else "X." could beat Y and lose to it as "x."
    same = rewarded.groupby(["question_id", "text_key"]).reward
    return rewarded.assign(
        reward=rewarded.reward.mask(rewarded.reward.notna(), same.transform("mean"))
    )


def length_slope(texts: pd.DataFrame) -> float:
    """How much the reward rises per word within a question, stars per word.

    Least squares of reward on words over the scored candidates (no negatives), both centred
    on their question; 0 where no length varies. Within a question, because longer answers
    may belong to better liked questions.
    """
    known = texts[(texts.origin != "negative") & texts.reward.notna()]
    by_question = known.assign(words=known.explanation.map(lambda t: len(t.split())))
    centred = by_question[["words", "reward"]] - by_question.groupby("question_id")[
        ["words", "reward"]
    ].transform("mean")
    spread = float((centred.words**2).sum())
    return float((centred.words * centred.reward).sum()) / spread if spread else 0.0


def control_length(texts: pd.DataFrame, share: float) -> pd.DataFrame:
    """`texts` with the share `share` of the reward's length slope taken off each reward.

    At 1 the reward no longer rises with words within a question: what is left is what the
    scorer sees beside length. Rewards stay in stars; 20 words is where nothing changes.
    """
    if not 0 <= share <= 1:
        raise InputError(
            f"build_preferences.length_control: {share} in params.yaml is not within 0..1. "
            "Give 0 for none, 1 for all of the length slope."
        )
    words = texts.explanation.map(lambda t: len(t.split()))
    slope = share * length_slope(texts)
    return texts.assign(reward=texts.reward - slope * (words - NEUTRAL_WORDS))


def widest_gap(texts: pd.DataFrame) -> float:
    """The widest difference of rewards within a question, stars; 0 without any reward."""
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
        "score_gap_median_stars": float(pairs.score_gap.median()),
        "chosen_longer_frac": float((chosen > rejected).mean()),  # 0.5 = no length bias
        "chosen_mean_words": float(chosen.mean()),
        "rejected_mean_words": float(rejected.mean()),
    }
    for side, origins in (("chosen", pairs.chosen_origin), ("rejected", pairs.rejected_origin)):
        for origin in ("sft", "student", "negative")[: 2 if side == "chosen" else 3]:
            numbers[f"{side}_{origin}_n"] = int((origins == origin).sum())
    return numbers


def tabulate(pairs: pd.DataFrame, drops: pd.DataFrame) -> dict[str, Any]:
    """Tables for the report page: gaps, who beats whom, kinds of negatives, drops."""

    def counts(table: pd.DataFrame, by: list[str]) -> list[dict[Any, Any]]:
        return table.groupby(by).size().rename("n").reset_index().to_dict("records")

    low = np.floor(pairs.score_gap / GAP_BIN_STARS) * GAP_BIN_STARS  # bin: [low, low + .25)
    return {
        "score_gaps": counts(pairs.assign(low_stars=low), ["low_stars"]),
        "origins": counts(pairs, ["chosen_origin", "rejected_origin"]),
        "negative_kinds": counts(pairs, ["negative_kind"]),
        "drops": counts(drops, ["origin", "reason"]),
    }
