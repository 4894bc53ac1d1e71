"""Rows -> what a solver or a student is shown, and how often it is right."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from stages.pure.prompts import LETTERS

Row = Mapping[Any, Any]  # of `questions`
MOST_OPTIONS = len(LETTERS)


def place_of_key(row: Row) -> int:
    """The place of the right option among the options, from 0."""
    return LETTERS.index(row["key"])


def rated_at_least(rows: pd.DataFrame, splits: Sequence[str], stars: float) -> list[dict[Any, Any]]:
    """The rows of the splits whose question is rated `stars` or more, by row_id."""
    good = rows[rows.split.isin(splits) & (rows.question_rating_mean >= stars)]
    return good.sort_values("row_id").to_dict("records")


def one_per_question(rows: Sequence[Row]) -> list[Row]:
    """The first row of each question, in order."""
    return list({row["question_id"]: row for row in reversed(rows)}.values())[::-1]


def misleading(rows: Sequence[Row]) -> list[str]:
    """For each row the explanation of another question of its course, "" where there is none.

    It comes from another cluster, since near-identical questions share their explanations.
    Which one is fixed by the row's id.
    """
    found = []
    for row in rows:
        others = [
            other["explanation"]
            for other in rows
            if other["course"] == row["course"] and other["cluster_id"] != row["cluster_id"]
        ]
        place = sum(str(row["row_id"]).encode())
        found.append(others[place % len(others)] if others else "")
    return found


def chance(rows: Sequence[Row]) -> float:
    """Accuracy of guessing: mean of 1 / options, 0..1."""
    return float(np.mean([1 / row["options_n"] for row in rows]))


def accuracy(likely: Sequence[np.ndarray | None], rows: Sequence[Row]) -> float:
    """Share of rows whose key is the likeliest option, 0..1; ties share the point.

    likely: P of each option (O,), None where the choice could not be read: it is left out.
    NaN if none could.
    """
    points = [
        float(found[place_of_key(row)] == found.max()) / int((found == found.max()).sum())
        for found, row in zip(likely, rows, strict=True)
        if found is not None
    ]
    return float(np.mean(points)) if points else float("nan")
