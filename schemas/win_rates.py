"""How often a judge finds one policy's explanation better than another's."""

import pandas as pd
import pandera.pandas as pa

from schemas.base import Table
from schemas.explanations import POLICIES

STRENGTHS = ["much_better", "better", "slightly_better", "slightly_worse", "worse", "much_worse"]


class WinRates(Table):
    """Grain: one row per (policy_a, policy_b, decoding, scorer). Written by evaluate.

    A win is a question whose explanation by policy_a is the better one, once per training.
    Intervals are from a bootstrap over clusters, in which the length-controlled rate is fitted
    anew each time.
    """

    policy_a: str = pa.Field(isin=POLICIES)
    policy_b: str = pa.Field(isin=POLICIES)
    decoding: str = pa.Field(isin=["sampled", "greedy"])
    scorer: str
    questions_n: int = pa.Field(ge=0)  # verdicts: questions times trainings
    clusters_n: int = pa.Field(ge=0)
    wins_n: int = pa.Field(ge=0)
    ties_n: int = pa.Field(ge=0)
    losses_n: int = pa.Field(ge=0)
    # wins and losses by size; null for a judge of pairs, who gives no size
    much_better_n: pd.Int64Dtype = pa.Field(ge=0, nullable=True)  # from 0.5 stars on
    better_n: pd.Int64Dtype = pa.Field(ge=0, nullable=True)  # from 0.25 stars on
    slightly_better_n: pd.Int64Dtype = pa.Field(ge=0, nullable=True)
    slightly_worse_n: pd.Int64Dtype = pa.Field(ge=0, nullable=True)
    worse_n: pd.Int64Dtype = pa.Field(ge=0, nullable=True)
    much_worse_n: pd.Int64Dtype = pa.Field(ge=0, nullable=True)
    win_frac: float = pa.Field(ge=0, le=1, nullable=True)  # a tie is half a win
    win_low: float = pa.Field(ge=0, le=1, nullable=True)  # 95 %
    win_high: float = pa.Field(ge=0, le=1, nullable=True)
    length_controlled_frac: float = pa.Field(ge=0, le=1, nullable=True)  # at equal length
    length_controlled_low: float = pa.Field(ge=0, le=1, nullable=True)
    length_controlled_high: float = pa.Field(ge=0, le=1, nullable=True)
    length_effect: float = pa.Field(nullable=True)  # log odds, per tanh of a standard deviation
    is_only_longer: bool  # flag: policy_a writes clearly more, no held-out metric is clearly better
    position_bias_frac: float = pa.Field(ge=-1, le=1, nullable=True)  # judges of pairs only

    class Config:
        name = "win_rates"
        unique = ["policy_a", "policy_b", "decoding", "scorer"]

    @pa.dataframe_check
    @classmethod
    def every_question_is_won_tied_or_lost(cls, df: pd.DataFrame) -> pd.Series:
        """wins_n + ties_n + losses_n = questions_n."""
        return df.wins_n + df.ties_n + df.losses_n == df.questions_n

    @pa.dataframe_check
    @classmethod
    def strengths_add_up(cls, df: pd.DataFrame) -> pd.Series:
        """The sizes of wins sum to wins_n and those of losses to losses_n, where known."""
        columns = [f"{name}_n" for name in STRENGTHS]
        won, lost = (df[side].sum(axis=1, skipna=False) for side in (columns[:3], columns[3:]))
        is_right = (won == df.wins_n) & (lost == df.losses_n)
        return is_right.fillna(True).astype(bool)
