"""Means, differences and tests that respect clusters of near-identical questions.

C = clusters, n = values, B = resamples. Every function is deterministic: random draws come
from a seed, and sums avoid threaded linear algebra, whose order of addition may vary.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

NAN = float("nan")
ROUNDING = 1e-9  # relative; below it two statistics of the same data count as tied


@dataclass(frozen=True)
class Interval:
    """An estimate with its limits, in the unit of the values; NaN where undefined."""

    mean: float
    low: float
    high: float
    standard_error: float


@dataclass(frozen=True)
class Resampling:
    """How intervals and p values are computed."""

    samples: int  # resamples of clusters, and random sign patterns
    level: float  # confidence level, 0..1
    seed: int


@dataclass(frozen=True)
class Clusters:
    """Values summed per cluster, in the sorted order of the cluster names."""

    sums: np.ndarray  # (C,) float
    sizes: np.ndarray  # (C,) float, values per cluster


def by_cluster(values: np.ndarray, clusters: np.ndarray) -> Clusters:
    """Sum `values` (n,) per cluster name (n,). Raises ValueError if the shapes differ."""
    if values.shape != clusters.shape:
        raise ValueError(f"values {values.shape} and clusters {clusters.shape} must align")
    _, member = np.unique(clusters, return_inverse=True)
    return Clusters(
        np.bincount(member, weights=values).astype(float), np.bincount(member).astype(float)
    )


def clustered_mean(values: np.ndarray, clusters: np.ndarray, level: float = 0.95) -> Interval:
    """Mean of `values` with a t interval that treats each cluster as one observation.

    Values of one cluster rise and fall together, so n values carry less information than
    n clusters. With

        se^2 = C / (C - 1) * sum_c ( sum_{i in c} (x_i - mean) )^2 / n^2

    and C - 1 degrees of freedom (Miller 2024, arXiv:2411.00640, clustered standard errors;
    C / (C - 1) is the usual finite-cluster correction). Limits are NaN with fewer than 2
    clusters, the mean too with none.

    values:   float (n,), no NaN
    clusters: names (n,), the cluster of each value
    """
    from scipy.stats import t

    grouped = by_cluster(values, clusters)
    count = len(grouped.sizes)
    if count == 0:
        return Interval(NAN, NAN, NAN, NAN)
    total = grouped.sizes.sum()
    mean = float(grouped.sums.sum() / total)
    if count < 2:
        return Interval(mean, NAN, NAN, NAN)
    deviations = grouped.sums - mean * grouped.sizes  # (C,)
    error = float(np.sqrt(count / (count - 1) * (deviations**2).sum()) / total)
    half = float(t.ppf((1 + level) / 2, df=count - 1)) * error
    return Interval(mean, mean - half, mean + half, error)


def cluster_bootstrap(
    values: np.ndarray, clusters: np.ndarray, samples: int, level: float, seed: int
) -> Interval:
    """Mean of `values` with a percentile interval from resampled clusters.

    Whole clusters are drawn with replacement, C at a time, and the mean of all their values
    is taken (Davison and Hinkley 1997, Bootstrap Methods, sections 3.8 and 5.3); given
    differences of two policies on the same questions, this is the paired bootstrap. The
    standard error is that of `clustered_mean`. Limits are NaN with fewer than 2 clusters.

    values:   float (n,), no NaN
    clusters: names (n,)
    samples:  B, resamples
    level:    share of resamples between the limits, 0..1
    """
    plain = clustered_mean(values, clusters, level)
    grouped = by_cluster(values, clusters)
    if len(grouped.sizes) < 2:
        return plain
    counts = resamples(len(grouped.sizes), samples, seed)  # (B, C)
    # einsum adds in a fixed order; a threaded matrix product need not
    means = np.einsum("bc,c->b", counts, grouped.sums) / np.einsum("bc,c->b", counts, grouped.sizes)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(plain.mean, float(low), float(high), plain.standard_error)


@lru_cache(maxsize=64)
def resamples(clusters_n: int, samples: int, seed: int) -> np.ndarray:
    """How often each cluster is drawn in each resample, (B, C); every row sums to C.

    Metrics with the same clusters share their resamples, so they can be compared.
    """
    random = np.random.default_rng([seed, clusters_n, 0])
    weights = np.full(clusters_n, 1 / clusters_n)
    return random.multinomial(clusters_n, weights, size=samples).astype(float)


def sign_flip_p(differences: np.ndarray, clusters: np.ndarray, samples: int, seed: int) -> float:
    """Two-sided p value that the mean difference is 0, by flipping signs of whole clusters.

    If the two policies were interchangeable, each cluster's sum of differences would be as
    likely with the other sign (Fisher 1935, section 21, the paired randomisation test). All
    2^C sign patterns are used if they are at most `samples`; else `samples` random ones and
    p = (1 + at least as extreme) / (1 + samples), which is never 0 (Phipson and Smyth 2010,
    arXiv:1603.05766, eq. 2). NaN with fewer than 2 clusters.

    differences: float (n,), no NaN; clusters: names (n,)
    """
    sums = by_cluster(differences, clusters).sums
    if len(sums) < 2:
        return NAN
    observed = abs(sums.sum())
    tolerance = ROUNDING * np.abs(sums).sum()
    signs = sign_patterns(len(sums), samples, seed)
    extreme = int((np.abs(np.einsum("bc,c->b", signs, sums)) >= observed - tolerance).sum())
    if 2 ** len(sums) <= samples:
        return extreme / len(signs)
    return (1 + extreme) / (1 + len(signs))


@lru_cache(maxsize=64)
def sign_patterns(clusters_n: int, samples: int, seed: int) -> np.ndarray:
    """Signs -1.0 or 1.0, (B, C): all of them if 2^C <= samples, else random ones."""
    if 2**clusters_n <= samples:
        bits = np.arange(2**clusters_n)[:, None] >> np.arange(clusters_n) & 1
    else:
        bits = np.random.default_rng([seed, clusters_n, 1]).integers(0, 2, (samples, clusters_n))
    return bits * 2.0 - 1.0


def holm(p_values: np.ndarray) -> np.ndarray:
    """P values corrected for being several, (m,); NaN stays NaN and does not count.

    Sorted ascending, p_(i) becomes max over j <= i of min(1, (m - j + 1) p_(j)) (Holm 1979,
    Scandinavian Journal of Statistics 6, 65-70).
    """
    corrected = np.full(len(p_values), NAN)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * factors))
    return corrected


def minimum_detectable_effect(
    standard_error: float, level: float = 0.95, power: float = 0.80
) -> float:
    """Smallest true difference that a two-sided test of this size would find: (z + z') se.

    z is the (1 + level) / 2 quantile and z' the `power` quantile of the standard normal
    (Bloom 1995, Evaluation Review 19, 547-556; 2.80 se at the defaults). NaN for a NaN error.
    """
    from scipy.stats import norm

    return float(norm.ppf((1 + level) / 2) + norm.ppf(power)) * standard_error


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Rank correlation of the pairs without NaN, -1..1; NaN if fewer than 3 or constant."""
    from scipy.stats import spearmanr

    both = ~(np.isnan(first) | np.isnan(second))
    a, b = first[both], second[both]
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return NAN
    return float(spearmanr(a, b).statistic)
