"""Explanations of students that a large language model is shown, for tone and length."""

import hashlib
from collections.abc import Mapping
from typing import Any

import pandas as pd


def samples_for(question: Mapping[Any, Any], good: pd.DataFrame, count: int) -> list[Any]:
    """Rows of other clusters of the course whose explanations students liked, drawn by digest.

    good: train rows, best first; half of those of the course are liked enough.
    """
    others = good[(good.course == question["course"]) & (good.cluster_id != question["cluster_id"])]
    liked = others.head(max(count, len(others) // 2))
    drawn = liked.row_id.map(
        lambda row: hashlib.sha256(f"{question['question_id']} {row}".encode()).hexdigest()
    )
    return liked.loc[drawn.sort_values().index[:count]].to_dict("records")


def good_rows(questions: pd.DataFrame) -> pd.DataFrame:
    """Train rows whose explanations may serve as samples, best rated first."""
    rows = questions[(questions.split == "train") & questions.is_sft_row]
    return rows.sort_values(
        ["question_rating_mean", "row_id"], ascending=[False, True], na_position="last"
    )
