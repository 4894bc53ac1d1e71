"""Which of two policies' explanations an API's model finds better, place by place."""

import pandas as pd
import pandera.pandas as pa

from schemas.base import Table
from schemas.explanations import POLICIES

ORDERS = ["a_first", "b_first"]  # whose explanation is shown first
WINNERS = ["first", "second", "tie"]  # by the place in which it was shown
REASONS = ["over_budget", "no_answer", "rejected", "refused", "cut_off", "unparsed"]


class Judgements(Table):
    """Grain: one row per (question, order). Written by judge_test_api.

    Empty where the provider is `none`. Both orders of a question ask about the same two texts;
    two equal texts are a tie, and nobody is asked.
    """

    question_id: str
    cluster_id: str
    policy_a: str = pa.Field(isin=POLICIES)
    policy_b: str = pa.Field(isin=POLICIES)
    order: str = pa.Field(isin=ORDERS)
    winner: str = pa.Field(isin=WINNERS, nullable=True)
    reason: str = pa.Field(isin=REASONS, nullable=True)  # why there is no winner
    model: str  # provider and its name for the model
    input_tokens: int = pa.Field(ge=0)  # as billed, of all answers in this order
    output_tokens: int = pa.Field(ge=0)
    cost_usd: float = pa.Field(ge=0)

    class Config:
        name = "judgements"
        unique = ["question_id", "order"]

    @pa.dataframe_check
    @classmethod
    def a_null_has_a_reason(cls, df: pd.DataFrame) -> pd.Series:
        """Exactly the rows without a winner say why."""
        return df.winner.isna() == df.reason.notna()
