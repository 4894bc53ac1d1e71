"""Texts -> what scorers read; what scorers say -> rows of `scores`. n = texts."""

from typing import Any

import numpy as np
import pandas as pd

from schemas.errors import InputError
from stages.pure import prompts
from stages.pure.metrics import Value
from stages.pure.scored import claims
from stages.pure.scored.marks import mark_options

KEY = ["question_id", "candidate_index"]
NOT_TRAINED_ON = -1  # the fold of a question that no half of the verifier has seen
MAX_NULL_FRAC = 0.5  # of a reward scorer's values


def texts_to_score(
    questions: pd.DataFrame, candidates: pd.DataFrame, negatives: pd.DataFrame
) -> pd.DataFrame:
    """Questions, Candidates, Negatives -> one row per text with what the scorers read.

    Columns: those of prompts.distinct_questions (fold: -1 unless a train question),
    candidate_index, kind (origin, or kind of the negative), explanation, is_stopped,
    is_generated (a model wrote it), and those of with_rendered. Raises InputError for a text of
    an unknown question.
    """
    columns = [*KEY, "kind", "explanation", "is_stopped", "is_generated"]
    ours = candidates.rename(columns={"origin": "kind"}).assign(
        is_generated=candidates.origin == "sft"
    )
    wrong = negatives.assign(is_stopped=True, is_generated=False)
    texts = pd.concat([ours[columns], wrong[columns]], ignore_index=True)
    distinct = prompts.distinct_questions(questions)
    if strangers := sorted(set(texts.question_id) - set(distinct.question_id)):
        raise InputError(
            f"question {strangers[0]} of data/candidates.parquet or data/negatives.parquet is not "
            "in data/questions.parquet. Run `dvc repro sample_candidates make_negatives`."
        )
    joined = texts.merge(distinct, on="question_id", how="left", validate="many_to_one")
    seen = joined.assign(fold=np.where(joined.split == "train", joined.fold, NOT_TRAINED_ON))
    return with_rendered(seen)


def with_rendered(texts: pd.DataFrame) -> pd.DataFrame:
    """`texts` (n rows: a question's columns, explanation) with what scorers read of them.

    marked (the text as the verifier reads it), prompt, claim (the key, said to be right) and
    key_text.
    """
    rows = rows_of(texts)
    keys: list[Any] = [claims.claim_key(row) for row in rows]
    return texts.assign(
        marked=[mark_options(*asked) for asked in zip(rows, texts.explanation, strict=True)],
        prompt=[prompts.render_prompt(row) for row in rows],
        claim=keys,
        key_text=[prompts.key_text(row) for row in rows],
    )


def unseen(texts: pd.DataFrame) -> pd.DataFrame:
    """with_rendered of texts about questions that no scorer was trained on."""
    return with_rendered(texts.assign(fold=NOT_TRAINED_ON))


def rows_of(texts: pd.DataFrame) -> list[Any]:
    """The question of each text (and the text) as a mapping, (n,)."""
    return texts.to_dict("records")


def is_blank(texts: pd.DataFrame) -> np.ndarray:
    """Which texts are blank, (n,) bool; no model reads them."""
    return (texts.explanation.str.strip() == "").to_numpy(dtype=bool)


def rival_claims(texts: pd.DataFrame) -> pd.DataFrame:
    """One row per (text, wrong option): `position` of the text (0..n-1), claim, explanation.

    Blank texts are left out.
    """
    rows = [
        (position, claims.claim(row, option), row["explanation"])
        for position, row in enumerate(rows_of(texts))
        if row["explanation"].strip()
        for option in prompts.distractor_texts(row)
    ]
    return pd.DataFrame(rows, columns=["position", "claim", "explanation"])


def margins(
    texts: pd.DataFrame, of_key: list[Value], rivals: pd.DataFrame, of_rivals: np.ndarray
) -> list[Value]:
    """P(entails the key) minus that of the best wrong option, -1..1, (n,).

    of_key: a value per text; of_rivals: a number per row of `rivals`. Null where the text is
    blank, or where the question has no second option.
    """
    best = pd.Series(of_rivals).groupby(rivals.position.to_numpy()).max()
    return [
        value
        if value.value is None
        else Value(value.value - float(best[i]))
        if i in best.index
        else Value(None, "no_distractor")
        for i, value in enumerate(of_key)
    ]


def model_values(numbers: np.ndarray, is_empty: np.ndarray) -> list[Value]:
    """A model's outputs as values. numbers: (n,), NaN where unread; is_empty: (n,) bool."""
    unread = np.where(is_empty, "empty_text", np.where(np.isnan(numbers), "too_long", "infinite"))
    return [
        Value(float(number)) if np.isfinite(number) else Value(None, str(reason))
        for number, reason in zip(numbers, unread, strict=True)
    ]


def scores_of(texts: pd.DataFrame, scorer: str, role: str, values: list[Value]) -> pd.DataFrame:
    """The rows of `scores` for one scorer; values: one per row of `texts`."""
    return texts[KEY].assign(
        scorer=scorer,
        role=role,
        value=np.array([v.value for v in values], dtype=float),
        reason=pd.array([v.reason for v in values], dtype="str"),
    )


def check_nulls(scores: pd.DataFrame, scorers: list[str]) -> None:
    """Raise InputError if one of `scorers`, which a reward reads, has no value for most texts."""
    for scorer, rows in scores[scores.scorer.isin(scorers)].groupby("scorer"):
        if rows.value.isna().mean() > MAX_NULL_FRAC:
            reasons = rows.reason.value_counts().to_dict()
            raise InputError(
                f"reward scorer '{scorer}': {int(rows.value.isna().sum())} of {len(rows)} texts "
                f"have no value ({reasons}). Raise max_length in the profile, or look at "
                "data/candidates.parquet for empty texts."
            )


def means_by_kind(texts: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Mean and counts per scorer and kind of text: is a negative found worse, and by whom?"""
    named = scores.merge(texts[[*KEY, "kind"]], on=KEY, validate="many_to_one")
    groups = named.groupby(["scorer", "role", "kind"]).value
    table = groups.agg(texts_n="size", scored_n="count", mean="mean").reset_index()
    return table.astype(object).where(table.notna(), None)
