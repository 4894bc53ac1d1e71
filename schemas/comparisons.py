"""Paired differences between two policies."""

import pandera.pandas as pa

from schemas.base import Table
from schemas.explanations import POLICIES
from schemas.scores import ROLES


class Comparisons(Table):
    """Grain: one row per (policy_a, policy_b, decoding, course, metric). Written by evaluate.

    difference = mean over shared questions of (a - b), each question averaged over the
    trainings that both policies have, with a 95 % interval from a bootstrap over clusters:
    it covers questions, not trainings. seed_low and seed_high cover both (stages/pure/seeds.py)
    and are null with one training. `p_value_holm` corrects over the held-out rows of one
    (policy_a, policy_b, decoding, course).
    """

    policy_a: str = pa.Field(isin=POLICIES)
    policy_b: str = pa.Field(isin=POLICIES)
    decoding: str = pa.Field(isin=["sampled", "greedy"])
    course: str  # "all" or a course
    metric: str
    role: str = pa.Field(isin=ROLES)
    questions_n: int = pa.Field(ge=0)  # with a value on both sides
    clusters_n: int = pa.Field(ge=0)
    mean_a: float = pa.Field(nullable=True)
    mean_b: float = pa.Field(nullable=True)
    difference: float = pa.Field(nullable=True)
    low: float = pa.Field(nullable=True)  # 95 %
    high: float = pa.Field(nullable=True)
    seeds_n: int = pa.Field(ge=0)  # trainings that both policies have
    seed_low: float = pa.Field(nullable=True)  # 95 %, over questions and trainings
    seed_high: float = pa.Field(nullable=True)
    seed_sd: float = pa.Field(ge=0, nullable=True)  # of the trainings' differences
    p_value: float = pa.Field(ge=0, le=1, nullable=True)  # sign-flip over clusters
    p_value_holm: float = pa.Field(ge=0, le=1, nullable=True)
    minimum_detectable_effect: float = pa.Field(ge=0, nullable=True)  # 80 % power, 5 % level

    class Config:
        name = "comparisons"
        unique = ["policy_a", "policy_b", "decoding", "course", "metric"]
