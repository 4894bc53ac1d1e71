"""The mean of each metric for each policy, with its interval."""

import pandera.pandas as pa

from schemas.base import Table
from schemas.explanations import POLICIES
from schemas.scores import ROLES


class PolicyMeans(Table):
    """Grain: one row per (policy, decoding, course, metric). Written by evaluate.

    A mean is over questions (texts of one question, of all trainings, are averaged first);
    the interval is a bootstrap over clusters. Null where no question has a value.
    """

    policy: str = pa.Field(isin=POLICIES)
    decoding: str = pa.Field(isin=["sampled", "greedy", "none"])
    course: str  # "all" or a course
    metric: str
    role: str = pa.Field(isin=ROLES)
    seeds_n: int = pa.Field(ge=1)  # trainings; 1 for students' texts and an API's too
    questions_n: int = pa.Field(ge=0)  # with a value
    clusters_n: int = pa.Field(ge=0)
    null_n: int = pa.Field(ge=0)  # explanations without a value, in no mean
    mean: float = pa.Field(nullable=True)
    low: float = pa.Field(nullable=True)  # 95 %
    high: float = pa.Field(nullable=True)

    class Config:
        name = "policy_means"
        unique = ["policy", "decoding", "course", "metric"]
