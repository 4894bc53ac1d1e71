"""Candidates, negatives and synthetic texts that are in no pair, each with its reason."""

import pandera.pandas as pa

from schemas import synthetic
from schemas.base import Table
from schemas.synthetic_questions import QUESTION_REASONS

REASONS = [
    "unscored",  # a scorer of the reward gave null
    "empty_text",
    "only_candidate",  # nothing to compare with
    "tie",  # every partner has the same score or the same text
    "not_worse",  # a negative that the reward does not find worse than the best text
    "below_gap",  # every partner is nearer than the gap; a negative is worse, by less
    "length_unmatched",  # far enough from some, but not from one of about its length
    "degenerate",  # far enough, but the text that would be chosen has a flag of refuse_chosen
    "duplicate_text",  # the same text of the question is in a pair
    "not_drawn",  # in a pair of its question, which the draw of max_pairs left out
    "over_limit",  # far enough, but the strategy took other pairs of the question
    *QUESTION_REASONS,  # there is no such synthetic text or question, or it was not scored
]


class Drops(Table):
    """Grain: one row per candidate, negative or synthetic text in no pair.

    Written by build_preferences. A synthetic question that is not used is here under its source,
    with an index of schemas/synthetic_questions.py: FIRST_DROPPED and above.
    """

    question_id: str
    candidate_index: int = pa.Field(ge=0)
    origin: str = pa.Field(isin=["sft", "student", synthetic.ORIGIN, "negative"])
    reason: str = pa.Field(isin=REASONS)

    class Config:
        name = "drops"
        unique = ["question_id", "candidate_index"]
