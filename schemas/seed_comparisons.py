"""The difference between two policies in each training."""

import pandera.pandas as pa

from schemas.base import Table
from schemas.explanations import POLICIES


class SeedComparisons(Table):
    """Grain: one row per (policy_a, policy_b, decoding, metric, training_seed). By evaluate.

    A training seed reruns SFT, sampling and DPO on the same questions. The interval of a row
    is over clusters of questions only; what the seeds add to it is in the report.
    """

    policy_a: str = pa.Field(isin=POLICIES)
    policy_b: str = pa.Field(isin=POLICIES)
    decoding: str = pa.Field(isin=["sampled", "greedy"])
    metric: str
    training_seed: int = pa.Field(ge=0)
    difference: float = pa.Field(nullable=True)  # mean over questions of a - b
    low: float = pa.Field(nullable=True)  # 95 %
    high: float = pa.Field(nullable=True)
    questions_n: int = pa.Field(ge=0)  # with a value on both sides

    class Config:
        name = "seed_comparisons"
        unique = ["policy_a", "policy_b", "decoding", "metric", "training_seed"]
