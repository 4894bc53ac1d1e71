"""Candidates and negatives that are in no pair, each with its reason."""

import pandera.pandas as pa

from schemas.base import Table

REASONS = [
    "unscored",  # a reward scorer gave null
    "empty_text",
    "only_candidate",  # nothing to compare with
    "tie",  # every partner has the same score or the same text
    "below_gap",  # every partner is nearer than min_score_gap; a negative is worse, by less
    "duplicate_text",  # the same text of the question is in a pair
    "over_limit",  # had a wide enough gap, but the question's places were taken
    "not_worse",  # a negative that the reward does not find worse than the best text
]


class Drops(Table):
    """Grain: one row per candidate or negative in no pair. Written by build_preferences."""

    question_id: str
    candidate_index: int = pa.Field(ge=0)
    origin: str = pa.Field(isin=["sft", "student", "negative"])
    reason: str = pa.Field(isin=REASONS)

    class Config:
        name = "drops"
        unique = ["question_id", "candidate_index"]
