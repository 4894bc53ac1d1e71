"""Explanations that are wrong on purpose."""

import pandera.pandas as pa

from schemas.base import Table

KINDS = ["endorses_wrong_option", "other_question", "circular", "inverted_claim"]


class Negatives(Table):
    """Grain: one row per (question, negative). Written by make_negatives.

    Their index starts at 1000, so that (question_id, candidate_index) is one key over
    candidates and negatives together.
    """

    question_id: str
    candidate_index: int = pa.Field(ge=1000)
    kind: str = pa.Field(isin=KINDS)
    source_question_id: str = pa.Field(nullable=True)  # where other_question's text is from
    explanation: str = pa.Field(str_length={"min_value": 1})

    class Config:
        name = "negatives"
        unique = ["question_id", "candidate_index"]
