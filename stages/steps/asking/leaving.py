"""Questions -> those that a model of somebody else may be asked about, in a digest's order."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from schemas.errors import InputError
from stages.pure import privacy, prompts


@dataclass(frozen=True)
class Leaving:
    """The questions to ask about, and how many stay here: masked options may be equal."""

    questions: pd.DataFrame  # distinct ones
    kept_back_n: int


def leaving(rows: pd.DataFrame, limit: int | None, stage: str) -> Leaving:
    """The distinct test questions, at most `limit`. Raises InputError if there is none."""
    distinct = prompts.distinct_questions(rows[rows.split == "test"])
    plain = askable(distinct)
    asked = plain[:limit]
    if asked.empty:
        raise InputError(
            f"{stage}: no question of the split 'test' can be asked about ({len(distinct)} there). "
            "Add exports or change prepare_questions.split_percent."
        )
    return Leaving(asked, len(distinct) - len(plain))


def askable(distinct: pd.DataFrame) -> pd.DataFrame:
    """The questions that may be asked about, by a digest: adding one changes little of a choice.

    distinct: prompts.distinct_questions.
    """
    order = distinct.question_id.map(lambda name: hashlib.sha256(name.encode()).hexdigest())
    ordered = distinct.loc[order.sort_values(kind="stable").index]
    return ordered[[has_plain_options(row) for row in ordered.to_dict("records")]]


def has_plain_options(question: Mapping[Any, Any]) -> bool:
    """Whether no option holds personal data: masked ones may be equal, and the key among them."""
    return prompts.options(privacy.allowed(question)[0]) == prompts.options(question)


def masked_counts(questions: pd.DataFrame, texts: Sequence[str] = ()) -> dict[str, int]:
    """How much of each kind of personal data is masked in the questions and texts that are sent.

    Each counts once, however often it is sent.
    """
    counts: Counter[str] = Counter()
    for row in questions.to_dict("records"):
        counts.update(privacy.allowed(row)[1])
    for text in texts:
        counts.update(privacy.masked(text)[1])
    return dict(sorted(counts.items()))


def masked_numbers(counts: Mapping[str, int]) -> dict[str, float]:
    """`masked_counts` as numbers of a report."""
    return {f"masked_{kind}_n": n for kind, n in counts.items()}
