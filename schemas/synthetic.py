"""Explanations that a large language model was asked for."""

import pandas as pd
import pandera.pandas as pa

from schemas.base import Table

POSITIVE = "reasoned_positive"
FLAWED = ["inverted_logic", "confused_concept", "gibberish", "circular_reasoning", "malgorithm"]
KINDS = [POSITIVE, *FLAWED]
ORIGIN = "synthetic"  # of a positive among the candidates
FIRST_POSITIVE, FIRST_FLAWED = 2000, 3000  # indices: above candidates and negatives
REASONS = [
    # there is no text
    "over_budget",  # the cap was reached before it was asked for
    "no_answer",  # the provider failed, time after time
    "rejected",  # the provider would not take the request
    "refused",  # the model would not answer
    "cut_off",  # it ran into the limit of its answer, time after time
    "unparsed",  # what it wrote has not the form that was asked for, time after time
    # there is one, and it is not used
    "too_short",
    "key_not_named",  # a positive that does not name the right option
    "equal_to_existing",  # a text of the question, or one that came before
    "near_existing",
    "near_held_out",  # like a text of the judge, validation or test split
]


class Synthetic(Table):
    """Grain: one row per (question, text that was asked for). Written by synthesize.

    Empty where the provider is `none`. A text with a reason is scored and paired by nobody; what
    comes of the others is decided by their scores, as for every text.
    """

    question_id: str
    candidate_index: int = pa.Field(ge=FIRST_POSITIVE)  # one key with candidates and negatives
    kind: str = pa.Field(isin=KINDS)
    option: str = pa.Field(nullable=True)  # letter that a malgorithm leads to
    explanation: str = pa.Field(nullable=True)  # null where there is none
    reason: str = pa.Field(isin=REASONS, nullable=True)  # why it is not used
    model: str  # provider and its name for the model
    input_tokens: int = pa.Field(ge=0)  # as billed, of all answers about this text
    output_tokens: int = pa.Field(ge=0)
    cost_usd: float = pa.Field(ge=0)

    class Config:
        name = "synthetic"
        unique = ["question_id", "candidate_index"]

    @pa.dataframe_check
    @classmethod
    def no_text_has_a_reason(cls, df: pd.DataFrame) -> pd.Series:
        """A row without a text says why."""
        return df.explanation.notna() | df.reason.notna()
