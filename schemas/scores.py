"""What each scorer says of each candidate and negative."""

import pandas as pd
import pandera.pandas as pa

from schemas.base import Table

ROLES = ["reward", "heldout", "diagnostic"]


class Scores(Table):
    """Grain: one row per (question, candidate or negative, scorer). Written by score_candidates.

    `reward` scorers may select pairs, `heldout` ones never do, `diagnostic` ones (words,
    degeneration flags) only describe. A failure is a null value with a reason, never 0.
    """

    question_id: str
    candidate_index: int = pa.Field(ge=0)
    scorer: str
    role: str = pa.Field(isin=ROLES)
    value: float = pa.Field(nullable=True)
    reason: str = pa.Field(nullable=True)  # why value is null

    class Config:
        name = "scores"
        unique = ["question_id", "candidate_index", "scorer"]

    @pa.dataframe_check
    @classmethod
    def a_null_has_a_reason(cls, df: pd.DataFrame) -> pd.Series:
        """Exactly the rows without a value say why."""
        return df.value.isna() == df.reason.notna()
