"""How well a verifier rates what it has not seen, and whether that is enough to rank."""

import pandas as pd
import pandera.pandas as pa

from schemas.base import Table

PREDICTORS = ["model", "question_only", "words", "bag_of_words"]
MEASURES = {  # measure -> unit of value, low, high and limit
    "spearman": "corr",
    "partial_spearman": "corr",  # given the word count
    "spearman_minus_question_only": "corr",
    "spearman_minus_words": "corr",
    "spearman_minus_bag_of_words": "corr",
    "pair_accuracy": "frac",  # pairs of one cluster, by gap in stars
    "pair_accuracy_minus_question_only": "frac",
    "pair_accuracy_minus_words": "frac",
    "pair_accuracy_minus_bag_of_words": "frac",
    "mse": "stars2",
    "mse_minus_mean_predictor": "stars2",  # below 0 is better than a constant
    "ece": "stars",
    "score_error": "stars",  # standard error of a score, without the ratings' own noise
    "swap_accuracy": "frac",  # own text above another question's
    "swap_spearman_drop": "corr",
}


class Fitness(Table):
    """Grain: one row per (predictor, measure, group), one file per verifier.

    Written by check_verifier. `group` is "all", "gap_<stars>" for pairs at least so far apart,
    or "length_matched". Limits are 95 %, from resampled clusters; value, low and high are null
    where they are undefined. A row with a `limit` is a check of the gate: it is met if `low`
    is above the limit.
    """

    predictor: str = pa.Field(isin=PREDICTORS)
    measure: str = pa.Field(isin=[*MEASURES])
    group: str
    value: float = pa.Field(nullable=True)
    low: float = pa.Field(nullable=True)
    high: float = pa.Field(nullable=True)
    n: int = pa.Field(ge=0)  # rows or pairs
    clusters_n: int = pa.Field(ge=0)
    limit: float = pa.Field(nullable=True)
    is_met: pd.BooleanDtype = pa.Field(nullable=True)

    class Config:
        name = "fitness"
        unique = ["predictor", "measure", "group"]

    @pa.dataframe_check
    @classmethod
    def a_limit_is_met_or_not(cls, df: pd.DataFrame) -> pd.Series:
        """Exactly the rows with a limit say whether it is met."""
        return df.limit.isna() == df.is_met.isna()
