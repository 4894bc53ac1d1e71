"""Every metric of every final explanation of the test questions."""

import pandas as pd
import pandera.pandas as pa

from schemas.base import Table
from schemas.explanations import POLICIES
from schemas.scores import ROLES


class Evaluations(Table):
    """Grain: one row per (policy, training, question, decoding, explanation, metric).

    Written by evaluate.
    """

    policy: str = pa.Field(isin=POLICIES)
    training_seed: int  # -1 for a student's text and an API's
    question_id: str
    cluster_id: str
    course: str
    decoding: str = pa.Field(isin=["sampled", "greedy", "none"])
    explanation_index: int = pa.Field(ge=0)
    metric: str
    role: str = pa.Field(isin=ROLES)
    value: float = pa.Field(nullable=True)
    reason: str = pa.Field(nullable=True)  # why value is null

    class Config:
        name = "evaluations"
        unique = [
            "policy",
            "training_seed",
            "question_id",
            "decoding",
            "explanation_index",
            "metric",
        ]

    @pa.dataframe_check
    @classmethod
    def a_null_has_a_reason(cls, df: pd.DataFrame) -> pd.Series:
        """Exactly the rows without a value say why."""
        return df.value.isna() == df.reason.notna()
