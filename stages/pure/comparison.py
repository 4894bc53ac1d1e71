"""Long evaluations -> the mean of each policy, and paired differences between two policies.

The texts of a question are averaged first, then its trainings, so that a question counts once
however many students wrote about it; intervals and tests are over clusters of near-identical
questions. seeds.py says what a difference is worth over trainings too.
"""

import numpy as np
import pandas as pd

from schemas.explanations import NO_TRAINING
from stages.pure import catalogue, seeds, stats
from stages.pure.stats import Resampling

PAIRS = [
    ("dpo", "sft"),
    ("dpo", "ilearner"),
    ("ilearner", "sft"),
    ("sft", "student"),
    ("dpo", "student"),
    ("dpo", "api"),
]
DECODINGS = ["sampled", "greedy"]
ALL = "all"  # the course that stands for every course
PLACE = ["policy", "decoding", "metric", "role"]
OF_QUESTION = ["question_id", "cluster_id", "course"]
PAIR = ["policy_a", "policy_b", "decoding"]
GROUP = ["metric", "role", "course"]


def question_means(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Evaluations -> one row per (policy, decoding, metric, question, training).

    value is the mean of the texts that have one, NaN if none has; null_n counts the others.
    """
    keys = [*PLACE, *OF_QUESTION, "training_seed"]
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
        known = group.dropna(subset=["value"]).groupby(["question_id", "cluster_id"]).value.mean()
        values, clusters = known.to_numpy(), known.index.get_level_values("cluster_id").to_numpy()
        interval = stats.cluster_bootstrap(values, clusters, how.samples, how.level, how.seed)
        rows.append(
            dict(zip([*PLACE, "course"], key, strict=True))
            | {
                "seeds_n": group.training_seed.nunique(),
                "questions_n": len(known),
                "clusters_n": len(set(clusters)),
                "null_n": int(group.null_n.sum()),
                "mean": interval.mean,
                "low": interval.low,
                "high": interval.high,
            }
        )
    return pd.DataFrame(rows)


def paired(means: pd.DataFrame, a: str, b: str, decoding: str) -> pd.DataFrame:
    """Rows of question_means of two policies side by side: value_a, value_b, one per training.

    A student's text was neither decoded nor trained, so it stands beside every decoding and
    training, and an API's answer beside every training; two trained policies share their
    trainings. Only questions that both have a text of are paired: an API may leave some
    unanswered. A question without a value on one side of one training has NaN in all: all
    trainings answer the same questions.
    """
    first, second = (of_policy(means, policy, decoding) for policy in (a, b))
    keys = [*GROUP, "question_id", "cluster_id"]
    if NO_TRAINING not in {*first.training_seed, *second.training_seed}:
        keys = [*keys, "training_seed"]
    else:
        second = second.drop(columns="training_seed")
    both = first.merge(second, on=keys, suffixes=("_a", "_b"))
    lost = both.value_a.isna() | both.value_b.isna()
    lost = lost.groupby([both[key] for key in (*GROUP, "question_id")]).transform("any")
    sides = {name: both[name].mask(lost) for name in ("value_a", "value_b")}
    return both.assign(**sides, policy_a=a, policy_b=b, decoding=decoding)


def of_policy(means: pd.DataFrame, policy: str, decoding: str) -> pd.DataFrame:
    """The rows of one policy and decoding; students have decoding none only."""
    wanted = "none" if policy == "student" else decoding
    found = means[(means.policy == policy) & (means.decoding == wanted)]
    return found[[*GROUP, "question_id", "cluster_id", "training_seed", "value"]]


def all_pairs(evaluations: pd.DataFrame, by_course: list[str]) -> pd.DataFrame:
    """`paired` of every two policies: every metric over all courses, `by_course` in each too."""
    stacked = every_course(question_means(evaluations))
    stacked = stacked[(stacked.course == ALL) | stacked.metric.isin(by_course)]
    tables = [paired(stacked, a, b, how) for a, b in PAIRS for how in DECODINGS]
    return pd.concat(tables, ignore_index=True)


def comparisons(pairs: pd.DataFrame, headline: list[str], how: Resampling) -> pd.DataFrame:
    """all_pairs -> Comparisons, with p_value_holm over the `headline`.

    Two policies of which one has no text are left out.
    """
    rows = [
        dict(zip([*PAIR, *GROUP], key, strict=True)) | difference(group, how)
        for key, group in pairs.groupby([*PAIR, *GROUP], sort=True)
    ]
    return with_holm(pd.DataFrame(rows, columns=[*PAIR, *GROUP, *MEASURES]), headline)


MEASURES = ["questions_n", "clusters_n", "mean_a", "mean_b", "difference", "low", "high"]
MEASURES += ["seeds_n", "seed_low", "seed_high", "seed_sd"]
MEASURES += ["p_value", "minimum_detectable_effect"]


def difference(group: pd.DataFrame, how: Resampling) -> dict[str, float]:
    """The measures of one comparison from the rows of `paired` of one metric and course."""
    known = group.dropna(subset=["value_a", "value_b"])
    changes = known.assign(difference=known.value_a - known.value_b)
    of_question = changes.groupby(["question_id", "cluster_id"]).difference.mean()
    change = of_question.to_numpy()
    clusters = of_question.index.get_level_values("cluster_id").to_numpy()
    interval = stats.cluster_bootstrap(change, clusters, how.samples, how.level, how.seed)
    table = changes.pivot(
        index="training_seed", columns=["question_id", "cluster_id"], values="difference"
    )
    across = seeds.crossed_mean(
        table.to_numpy(float), table.columns.get_level_values("cluster_id").to_numpy(), how.level
    )
    return {
        "questions_n": len(change),
        "clusters_n": len(set(clusters)),
        "mean_a": float(known.value_a.mean()),
        "mean_b": float(known.value_b.mean()),
        "difference": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "seeds_n": len(table),
        "seed_low": across.low,
        "seed_high": across.high,
        "seed_sd": across.seed_means_sd,
        "p_value": stats.sign_flip_p(change, clusters, how.samples, how.seed),
        "minimum_detectable_effect": stats.minimum_detectable_effect(
            interval.standard_error, how.level
        ),
    }


def seed_comparisons(pairs: pd.DataFrame, how: Resampling) -> pd.DataFrame:
    """all_pairs -> SeedComparisons: the difference of each training alone, over all courses."""
    return seeds.seed_comparisons(pairs[pairs.course == ALL], how)


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
        "training_seeds_n": evaluations.training_seed[evaluations.policy == "sft"].nunique(),
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
