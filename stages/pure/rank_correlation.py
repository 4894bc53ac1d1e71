"""Rank correlations with intervals from resampled clusters. n = rows."""

from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

from stages.pure import stats
from stages.pure.stats import Interval

NONE = (np.nan, np.nan)
Ranks = dict[str, np.ndarray]  # column -> mid-ranks (n,)


def rank_intervals(
    columns: dict[str, np.ndarray],
    clusters: np.ndarray,
    statistics: list[Callable[[Ranks], float]],
    how: tuple[int, float, int],
) -> list[Interval]:
    """Each statistic of the columns' ranks, with percentile limits; columns are (n,) each.

    Every resample is ranked anew. Limits are NaN with fewer than 2 clusters, and where a
    statistic is undefined in the whole sample; resamples without it are left out.
    """
    samples, level, seed = how
    names, member = np.unique(clusters, return_inverse=True)
    plain = [statistic(ranks_of(columns)) for statistic in statistics]
    if len(names) < 2:
        return [Interval(value, np.nan, np.nan, np.nan) for value in plain]
    drawn = np.full((samples, len(statistics)), np.nan)
    for i, counts in enumerate(stats.resamples(len(names), samples, seed)):
        places = np.repeat(np.arange(len(clusters)), counts[member].astype(int))
        ranks = ranks_of({name: values[places] for name, values in columns.items()})
        drawn[i] = [statistic(ranks) for statistic in statistics]
    found = []
    for value, column in zip(plain, drawn.T, strict=True):
        known = column[np.isfinite(column)]
        is_known = np.isfinite(value) and len(known)
        limits = np.quantile(known, [(1 - level) / 2, (1 + level) / 2]) if is_known else NONE
        found.append(Interval(value, float(limits[0]), float(limits[1]), np.nan))
    return found


def ranks_of(columns: dict[str, np.ndarray]) -> Ranks:
    """Mid-ranks of each column."""
    return {name: rankdata(values) for name, values in columns.items()}


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation of two (n,), NaN if either is constant; no threaded algebra."""
    if len(a) < 3:
        return np.nan
    a, b = a - a.mean(), b - b.mean()
    spread = float((a * a).sum() * (b * b).sum())
    return float((a * b).sum()) / spread**0.5 if spread else float("nan")


def partial_correlation(a: np.ndarray, b: np.ndarray, given: np.ndarray) -> float:
    """Correlation of a and b given a third, each (n,); NaN where it is undefined.

    (r_ab - r_ag r_bg) / sqrt((1 - r_ag^2)(1 - r_bg^2)) (Kendall 1942, Biometrika 32, 277-283,
    for ranks). If the third is constant, it explains nothing: r_ab.
    """
    plain, ag, bg = correlation(a, b), correlation(a, given), correlation(b, given)
    if np.isfinite(plain) and np.ptp(given) == 0:
        return plain
    left = (1 - ag**2) * (1 - bg**2)
    return (plain - ag * bg) / left**0.5 if left > 1e-12 else np.nan
