"""How well classifiers that cannot judge an explanation tell chosen from rejected."""

import pandas as pd
import pandera.pandas as pa

from schemas.base import Table

MEASURES = ["length", "bag_of_words", "origin", "repeated_text", "chosen_longer"]


class PairAudit(Table):
    """Grain: one row per (group, measure). Written by audit_preferences.

    A group is `all`, one rejected_origin, or `negative <kind>`. `value` is the share of pairs
    in which the measure puts the chosen text first, a tie being half: 0.5 = it knows nothing,
    1 = the pairs teach nothing else. A limit is not met when the whole interval is above it.
    """

    group: str
    measure: str = pa.Field(isin=MEASURES)
    pairs_n: int = pa.Field(ge=0)
    clusters_n: int = pa.Field(ge=0)
    value: float = pa.Field(ge=0, le=1, nullable=True)
    low: float = pa.Field(ge=0, le=1, nullable=True)  # 95 %
    high: float = pa.Field(ge=0, le=1, nullable=True)
    limit: float = pa.Field(ge=0, le=1, nullable=True)  # null = describes, is not tested
    is_met: pd.BooleanDtype = pa.Field(nullable=True)  # null = not tested
    reason: str = pa.Field(nullable=True)  # why value is null

    class Config:
        name = "pair_audit"
        unique = ["group", "measure"]

    @pa.dataframe_check
    @classmethod
    def a_null_has_a_reason(cls, df: pd.DataFrame) -> pd.Series:
        """Exactly the rows without a value say why."""
        return df.value.isna() == df.reason.notna()

    @pa.dataframe_check
    @classmethod
    def tested_is_what_has_a_value_and_a_limit(cls, df: pd.DataFrame) -> pd.Series:
        """is_met is null where there is nothing to hold against a limit."""
        return df.is_met.notna() == (df.value.notna() & df.limit.notna())
