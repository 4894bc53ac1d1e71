"""Test questions -> those that a model of somebody else may be asked about, in a digest's order."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from schemas.errors import InputError
from stages.pure import privacy, prompts
from stages.steps.requesting import has_plain_options


@dataclass(frozen=True)
class Leaving:
    """The questions to ask about, and how many stay here: masked options may be equal."""

    questions: pd.DataFrame  # distinct ones
    kept_back_n: int


def leaving(rows: pd.DataFrame, limit: int | None, stage: str) -> Leaving:
    """The distinct test questions, at most `limit`. Raises InputError if there is none."""
    distinct = prompts.distinct_questions(rows[rows.split == "test"])
    order = distinct.question_id.map(lambda name: hashlib.sha256(name.encode()).hexdigest())
    ordered = distinct.loc[order.sort_values(kind="stable").index]
    is_plain = [has_plain_options(row) for row in ordered.to_dict("records")]
    asked = ordered[is_plain][:limit]
    if asked.empty:
        raise InputError(
            f"{stage}: no question of the split 'test' can be asked about ({len(distinct)} there). "
            "Add exports or change prepare_questions.split_percent."
        )
    return Leaving(asked, len(distinct) - sum(is_plain))


def masked_counts(questions: pd.DataFrame, texts: Sequence[str] = ()) -> dict[str, float]:
    """How much of each kind of personal data is masked in the questions and texts that are sent.

    Each counts once, however often it is sent.
    """
    counts: Counter[str] = Counter()
    for row in questions.to_dict("records"):
        counts.update(privacy.allowed(row)[1])
    for text in texts:
        counts.update(privacy.masked(text)[1])
    return {f"masked_{kind}_n": n for kind, n in sorted(counts.items())}
