"""What both policies say of the validation questions, measured."""

import pandas as pd
import pandera.pandas as pa

from schemas.base import Table


class Validations(Table):
    """Grain: one row per (policy, question, sample, metric). Written by validate."""

    policy: str = pa.Field(isin=["sft", "dpo"])
    question_id: str
    cluster_id: str
    sample_index: int = pa.Field(ge=0)
    metric: str
    value: float = pa.Field(nullable=True)
    reason: str = pa.Field(nullable=True)  # why value is null

    class Config:
        name = "validations"
        unique = ["policy", "question_id", "sample_index", "metric"]

    @pa.dataframe_check
    @classmethod
    def a_null_has_a_reason(cls, df: pd.DataFrame) -> pd.Series:
        """Exactly the rows without a value say why."""
        return df.value.isna() == df.reason.notna()
