"""Candidates and negatives -> what scorers read; what scorers say -> rows of `scores`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from schemas.errors import InputError
from stages.pure import claims, metrics, prompts
from stages.pure.marks import mark_options
from stages.pure.metrics import Value

KEY = ["question_id", "candidate_index"]
MAX_NULL_FRAC = 0.5  # of a reward scorer's values
TEXT_METRICS: dict[str, Callable[[str, str], Value]] = {  # of explanation and key's text
    "acr": metrics.acr,
    "words": lambda text, key: metrics.words(text),
    "is_loop": lambda text, key: metrics.is_loop(text),
    "has_url": lambda text, key: metrics.has_url(text),
    "is_evasive": metrics.is_evasive,
}


def texts_to_score(
    questions: pd.DataFrame, candidates: pd.DataFrame, negatives: pd.DataFrame
) -> pd.DataFrame:
    """Questions, Candidates, Negatives -> one row per text with what the scorers read.

    Columns: question_id, candidate_index, kind (origin, or kind of the negative),
    explanation, marked (as the verifier reads it), prompt, claim, key_text, fold (-1 unless a
    train question).
    Raises InputError for a text of an unknown question.
    """
    columns = [*KEY, "kind", "explanation"]
    ours = candidates.rename(columns={"origin": "kind"})[columns]
    texts = pd.concat([ours, negatives[columns]], ignore_index=True)
    distinct = prompts.distinct_questions(questions).set_index("question_id")
    if strangers := sorted(set(texts.question_id) - set(distinct.index)):
        raise InputError(
            f"question {strangers[0]} of data/candidates.parquet or data/negatives.parquet is not "
            "in data/questions.parquet. Run `dvc repro sample_candidates make_negatives`."
        )
    asked = distinct.loc[texts.question_id]  # one row per text
    rows: list[Any] = asked.to_dict("records")
    keys: list[Any] = [claims.claim_key(row) for row in rows]
    return texts.assign(
        marked=[mark_options(*asked) for asked in zip(rows, texts.explanation, strict=True)],
        prompt=[prompts.render_prompt(row) for row in rows],
        claim=keys,
        key_text=[prompts.key_text(row) for row in rows],
        fold=np.where(asked.split == "train", asked.fold, -1),
    )


def measure(scorer: str, texts: pd.DataFrame) -> list[Value]:
    """The values of a text metric (n,)."""
    function = TEXT_METRICS[scorer]
    rows = zip(texts.explanation, texts.key_text, strict=True)
    return [function(text, key) for text, key in rows]


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


def check_nulls(scores: pd.DataFrame) -> None:
    """Raise InputError if a reward scorer could not score more than half of the texts."""
    for scorer, rows in scores[scores.role == "reward"].groupby("scorer"):
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
