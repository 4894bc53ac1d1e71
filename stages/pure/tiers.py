"""Usable rows -> which of them SFT may imitate, and how many rows each step leaves."""

from typing import Any

import pandas as pd

from schemas.errors import InputError
from schemas.rejects import REASONS

TIERS = ["default", "B", "C"]  # each a part of the one before
NEEDED = [  # column, tiers that need it, where an export says it
    ("top_rating_frac", ["B", "C"], "top_rating_count, or a table of ratings"),
    ("modal_answer", ["C"], "a table of answers"),
]
STEP_NEEDS = [None, None, "top_rating_frac", "modal_answer"]  # column of each of sft_steps


def sft_steps(
    rows: pd.DataFrame,
    min_question_rating: float,
    min_explanation_words: float,
    min_top_rating_frac: float,
) -> pd.DataFrame:
    """(rows, 4) booleans: rated well, and long enough, and tier B, and tier C.

    Tier B: the share of 5-star ratings is high enough; tier C: and the key is what most
    students answered. What an export does not say puts a row in neither. A row without a
    rating is not rated low (prior code: NaN < 3 is False).
    """
    # ~(a < b) is not a >= b: a missing rating passes
    is_rated_well = ~(rows.rating_mean.astype(float) < min_question_rating)
    is_long = is_rated_well & (rows.explanation_words_n >= min_explanation_words)
    is_b = is_long & (rows.top_rating_frac.astype(float) >= min_top_rating_frac)
    is_c = is_b & (rows.key == rows.modal_answer).fillna(False).astype(bool)
    return pd.DataFrame(
        {
            f"rated {min_question_rating:g} stars or more, or unrated": is_rated_well,
            f"{min_explanation_words:g} words or more": is_long,
            f"tier B: {100 * min_top_rating_frac:g} % five-star ratings or more": is_b,
            "tier C: the key is the modal answer": is_c,
        }
    )


def is_sft_row(steps: pd.DataFrame, tier: str) -> pd.Series:
    """The column of sft_steps that `tier` (one of TIERS) asks for."""
    return steps.iloc[:, 1 + TIERS.index(tier)].rename("is_sft_row")


def check_tier(rows: pd.DataFrame, tier: str) -> None:
    """Raise InputError if no row of a course says what `tier` asks for."""
    for column, tiers, place in NEEDED:
        known = rows.groupby("course")[column].count()
        if tier in tiers and (known == 0).any():
            raise InputError(
                f"params.yaml: prepare_questions.quality_tier: tier {tier} needs {place}; "
                f"course '{known.index[known == 0][0]}' has none. Add it, or use tier default."
            )


def waterfall(
    raw: pd.DataFrame, rejects: pd.DataFrame, usable: pd.DataFrame, steps: pd.DataFrame
) -> dict[str, list[list[Any]]]:
    """course -> [[step, rows left after it], ...]: the export, the filters, the SFT steps.

    The steps after the last filter reject nothing, they only lead to the SFT rows.
    """
    rejected = rejects.groupby(["course", "reason"]).size()
    found = {}
    for course, rows_n in raw.groupby("course").size().items():
        left: list[list[Any]] = [["export", int(rows_n)]]
        for reason in REASONS:
            rows_n = left[-1][1] - int(rejected.get((course, reason), 0))
            left.append([f"without {reason}", rows_n])
        rows = usable[usable.course == course]
        for step, column in zip(steps, STEP_NEEDS, strict=False):
            # a step of which the export says nothing is left out: it would show 0 rows
            if column is None or rows[column].notna().any():
                left.append([step, int(steps[step][rows.index].sum())])
        found[str(course)] = left
    return found
