"""Pairs for DPO."""

import pandas as pd
import pandera.pandas as pa

from schemas.base import Table
from schemas.negatives import KINDS
from schemas.synthetic import FIRST_FLAWED, FLAWED, ORIGIN

ORIGINS = ["sft", "student", ORIGIN, "negative"]


class Preferences(Table):
    """Grain: one row per (question, chosen, rejected). Written by build_preferences.

    `score_gap` is redundant on purpose: a reader can filter by it without joining back
    to scores, and the check below keeps it honest.
    """

    question_id: str
    cluster_id: str
    chosen_index: int = pa.Field(ge=0, lt=FIRST_FLAWED)
    rejected_index: int = pa.Field(ge=0)
    chosen: str = pa.Field(str_length={"min_value": 1})
    rejected: str
    chosen_origin: str = pa.Field(isin=ORIGINS[:3])
    rejected_origin: str = pa.Field(isin=ORIGINS)
    negative_kind: str = pa.Field(isin=KINDS + FLAWED, nullable=True)
    chosen_score: float  # reward less `length_control` of its slope, in the reward's unit
    rejected_score: float
    score_gap: float = pa.Field(gt=0)  # chosen_score - rejected_score
    pair_rank: int = pa.Field(ge=1)  # 1 = widest gap of the question

    class Config:
        name = "preferences"
        unique = ["question_id", "chosen_index", "rejected_index"]

    @pa.dataframe_check
    @classmethod
    def gap_is_the_difference(cls, df: pd.DataFrame) -> pd.Series:
        """score_gap repeats chosen_score - rejected_score."""
        return (df.score_gap - (df.chosen_score - df.rejected_score)).abs() < 1e-6

    @pa.dataframe_check
    @classmethod
    def texts_differ(cls, df: pd.DataFrame) -> pd.Series:
        """DPO on a pair of identical texts has zero gradient and a wasted slot."""
        return df.chosen.str.strip() != df.rejected.str.strip()

    @pa.dataframe_check
    @classmethod
    def a_kind_belongs_to_a_negative(cls, df: pd.DataFrame) -> pd.Series:
        """negative_kind is set exactly where the rejected text is a negative."""
        return df.negative_kind.notna() == (df.rejected_origin == "negative")
