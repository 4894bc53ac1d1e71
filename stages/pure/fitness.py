"""The gate: may a verifier rank anything? It must be above what no information gives.

Each check asks the lower limit of a clustered 95 % interval to exceed a limit of params.yaml.
A verifier that knows nothing passes one check in about 2.5 % of courses, all of them in fewer.
A check without an interval (no pair, one cluster) is not met: nothing was shown.
"""

from typing import Any

import numpy as np
import pandas as pd

LEVEL = 0.95  # share of resamples between the limits
SAMPLES = 2000  # resamples of clusters
CHECKS = {  # limit in params.yaml -> measure of the model
    "min_spearman_corr": "spearman",
    "min_partial_spearman_corr": "partial_spearman",
    "min_pair_accuracy_frac": "pair_accuracy",
    "min_swap_spearman_drop_corr": "swap_spearman_drop",
    "min_swap_accuracy_frac": "swap_accuracy",
}


def with_limits(measured: pd.DataFrame, limits: dict[str, float | None], gap: str) -> pd.DataFrame:
    """The measures with `limit` and `is_met`: the rows of schemas.fitness.Fitness.

    measured: predictor, measure, group, value, low, high, n, clusters_n.
    limits:   keys of CHECKS -> limit in the unit of the measure; None = reported, no check.
    gap:      group of the pairs that are checked, "gap_<stars>".
    """
    of_measure = {measure: limits[name] for name, measure in CHECKS.items()}
    is_group = measured.group == np.where(measured.measure == "pair_accuracy", gap, "all")
    is_check = (measured.predictor == "model") & is_group
    limit = measured.measure.map(of_measure).astype(float).where(is_check)
    is_met = (measured.low > limit).astype("boolean").where(limit.notna())
    return measured.assign(limit=limit, is_met=is_met)


def passed(fitness: pd.DataFrame) -> bool:
    """Whether the verifier may rank: there are checks, and all are met."""
    checks = fitness[fitness.limit.notna()]
    return len(checks) > 0 and bool(checks.is_met.all())


def score_error(fitness: pd.DataFrame) -> float:
    """Standard error of one score of the model, stars; NaN if the table has none."""
    is_error = (fitness.predictor == "model") & (fitness.measure == "score_error")
    return float(fitness.value[is_error].mean())


def verdict(fitness: pd.DataFrame) -> str:
    """One line: "fit", or each check that failed with its value, interval and limit."""
    if passed(fitness):
        return "fit"
    checks = fitness[fitness.limit.notna()]
    checks = checks.sort_values("measure", key=lambda names: names.map([*CHECKS.values()].index))
    failed = [failure(row) for row in checks[~checks.is_met].to_dict("records")]
    return "unfit: " + ("; ".join(failed) or "nothing was checked")


def failure(row: dict[Any, Any]) -> str:
    """One failed check in words."""
    group = "" if row["group"] == "all" else f" ({row['group'].replace('_', ' ')} stars)"
    if np.isnan(row["low"]):
        return f"{row['measure']}{group} has no interval on {row['clusters_n']} clusters"
    return (
        f"{row['measure']}{group} {row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f}) "
        f"is not clearly above {row['limit']:g}"
    )
