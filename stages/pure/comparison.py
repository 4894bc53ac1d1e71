"""Long evaluations -> the mean of each policy, and paired differences between two policies.

The texts of a question are averaged first, so that a question counts once however many
students wrote about it; intervals and tests are over clusters of near-identical questions.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from stages.pure import catalogue, stats

PAIRS = [
    ("dpo", "sft"),
    ("dpo", "ilearner"),
    ("ilearner", "sft"),
    ("sft", "student"),
    ("dpo", "student"),
]
DECODINGS = ["sampled", "greedy"]
ALL = "all"  # the course that stands for every course
PLACE = ["policy", "decoding", "metric", "role"]


@dataclass(frozen=True)
class Resampling:
    """How intervals and p values are computed."""

    samples: int  # resamples of clusters, and random sign patterns
    level: float  # confidence level, 0..1
    seed: int


def question_means(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Evaluations -> one row per (policy, decoding, metric, question).

    value is the mean of the texts that have one, NaN if none has; null_n counts the others.
    """
    keys = [*PLACE, "question_id", "cluster_id", "course"]
    groups = evaluations.assign(is_null=evaluations.value.isna()).groupby(keys, sort=True)
    return groups.agg(value=("value", "mean"), null_n=("is_null", "sum")).reset_index()


def every_course(means: pd.DataFrame) -> pd.DataFrame:
    """The same rows under course "all" and under their own."""
    return pd.concat([means.assign(course=ALL), means], ignore_index=True)


def policy_means(evaluations: pd.DataFrame, how: Resampling) -> pd.DataFrame:
    """Evaluations -> PolicyMeans."""
    rows = []
    stacked = every_course(question_means(evaluations))
    for key, group in stacked.groupby([*PLACE, "course"], sort=True):
        known = group.dropna(subset=["value"])
        values, clusters = known.value.to_numpy(), known.cluster_id.to_numpy()
        interval = stats.cluster_bootstrap(values, clusters, how.samples, how.level, how.seed)
        rows.append(
            dict(zip([*PLACE, "course"], key, strict=True))
            | {
                "questions_n": len(known),
                "clusters_n": known.cluster_id.nunique(),
                "null_n": int(group.null_n.sum()),
                "mean": interval.mean,
                "low": interval.low,
                "high": interval.high,
            }
        )
    return pd.DataFrame(rows)


def comparisons(evaluations: pd.DataFrame, headline: list[str], how: Resampling) -> pd.DataFrame:
    """Evaluations -> Comparisons: every metric over all courses, the headline per course.

    A student's text was not decoded, so it is compared with either decoding. Pairs of
    policies of which one has no text of that decoding are left out.
    """
    stacked = every_course(question_means(evaluations))
    stacked = stacked[(stacked.course == ALL) | stacked.metric.isin(headline)]
    rows = []
    for a, b in PAIRS:
        for decoding in DECODINGS:
            sides = [of_policy(stacked, policy, decoding) for policy in (a, b)]
            keys = ["metric", "role", "course", "question_id", "cluster_id"]
            both = sides[0].merge(sides[1], on=keys, suffixes=("_a", "_b"))
            place = {"policy_a": a, "policy_b": b, "decoding": decoding}
            for (metric, role, course), group in both.groupby(keys[:3], sort=True):
                row = place | {"metric": metric, "role": role, "course": course}
                rows.append(row | difference(group, how))
    return with_holm(pd.DataFrame(rows, columns=[*place, *keys[:3], *MEASURES]), headline)


MEASURES = ["questions_n", "clusters_n", "mean_a", "mean_b", "difference", "low", "high"]
MEASURES += ["p_value", "minimum_detectable_effect"]


def of_policy(means: pd.DataFrame, policy: str, decoding: str) -> pd.DataFrame:
    """The rows of one policy and decoding; students have decoding none only."""
    wanted = "none" if policy == "student" else decoding
    return means[(means.policy == policy) & (means.decoding == wanted)]


def difference(group: pd.DataFrame, how: Resampling) -> dict[str, float]:
    """The measures of one comparison from columns value_a, value_b, cluster_id."""
    known = group.dropna(subset=["value_a", "value_b"])
    change = (known.value_a - known.value_b).to_numpy()
    clusters = known.cluster_id.to_numpy()
    interval = stats.cluster_bootstrap(change, clusters, how.samples, how.level, how.seed)
    return {
        "questions_n": len(known),
        "clusters_n": int(known.cluster_id.nunique()),
        "mean_a": float(known.value_a.mean()),
        "mean_b": float(known.value_b.mean()),
        "difference": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "p_value": stats.sign_flip_p(change, clusters, how.samples, how.seed),
        "minimum_detectable_effect": stats.minimum_detectable_effect(
            interval.standard_error, how.level
        ),
    }


def with_holm(rows: pd.DataFrame, headline: list[str]) -> pd.DataFrame:
    """Add p_value_holm over the held-out headline metrics of each family of comparisons."""
    rows = rows.assign(p_value_holm=np.nan)
    tested = rows[rows.metric.isin(headline) & (rows.role == "heldout")]
    for _, family in tested.groupby(["policy_a", "policy_b", "decoding", "course"]):
        rows.loc[family.index, "p_value_holm"] = stats.holm(family.p_value.to_numpy())
    return rows


def headline_numbers(
    evaluations: pd.DataFrame,
    means: pd.DataFrame,
    comparisons: pd.DataFrame,
    headline: list[str],
) -> dict[str, float]:
    """Headline differences (sampled, and greedy by name), means, and what has no value."""
    numbers: dict[str, float] = {
        "test_clusters_n": evaluations.cluster_id.nunique(),
        "test_questions_n": evaluations.question_id.nunique(),
        "null_n": int(evaluations.value.isna().sum()),
    }
    shown = comparisons[(comparisons.course == ALL) & comparisons.metric.isin(headline)]
    for row in shown[shown.difference.notna()].to_dict("records"):
        name = f"{row['policy_a']}_minus_{row['policy_b']}"
        name += "_greedy" if row["decoding"] == "greedy" else ""
        numbers[catalogue.with_unit(name, row["metric"])] = row["difference"]
    overall = means[(means.course == ALL) & means.metric.isin([*headline, "stopped"])]
    for row in overall[overall.decoding != "greedy"].to_dict("records"):
        numbers[f"{row['policy']}_{row['metric']}_null_n"] = row["null_n"]
        if row["questions_n"]:
            numbers[catalogue.with_unit(row["policy"], row["metric"])] = row["mean"]
    return numbers
