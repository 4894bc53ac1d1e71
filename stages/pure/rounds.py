"""ILearner's rounds: what is asked next, when a question is done, which text is kept.

arXiv 2309.10444; where this departs from the prior code is said in explain_test_ilearner.
"""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from stages.pure.prompts import render_prompt, render_refinement


def next_prompt(question: Mapping[Any, Any], last: Mapping[str, Any] | None) -> str:
    """The plain prompt in round 0, else the refinement of the last text.

    last: explanation and verifier_rating (stars) of the round before. An unrated text (empty,
    or too long for the verifier) is asked for afresh: there is no rating to show.
    """
    if last is None or math.isnan(last["verifier_rating"]):
        return render_prompt(question)
    return render_refinement(question, last["explanation"], last["verifier_rating"])


def is_done(rating: float, stop_rating: float) -> bool:
    """Whether a text with `rating` (stars) ends the rounds; an unrated one does not."""
    return rating >= stop_rating  # false for NaN


def mark_final(rows: pd.DataFrame) -> pd.DataFrame:
    """Set is_final on the best-rated round of each question; the earliest of equals.

    Where no round has a rating the first one is final: it is what one pass would give.
    """
    ranked = rows.assign(rating=rows.verifier_rating.fillna(-1.0)).sort_values(
        ["question_id", "rating", "round_index"], ascending=[True, False, True]
    )
    best = ranked.drop_duplicates("question_id").index
    return rows.assign(is_final=rows.index.isin(best))
