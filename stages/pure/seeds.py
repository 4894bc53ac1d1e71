"""What a difference is worth over questions and over trainings: both are drawn at random.

S = training seeds, Q = questions, C = clusters. Every training answers the same questions,
so seeds and clusters are crossed.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from stages.pure import stats
from stages.pure.mcnemar import mcnemar_p
from stages.pure.stats import NAN, Resampling

KEY = ["policy_a", "policy_b", "decoding", "metric"]
MEASURES = ["difference", "low", "high", "p_value_mcnemar", "questions_n"]


@dataclass(frozen=True)
class SeedInterval:
    """A mean difference with limits that cover questions and trainings; NaN where undefined.

    Unit of the differences, except df. seed_means_sd holds the noise of the sampled texts,
    seed_sd is what is left without it: the spread of trainings on endless questions.
    """

    mean: float
    low: float
    high: float
    seed_means: tuple[float, ...]  # (S,)
    seed_means_sd: float  # standard deviation of seed_means, divisor S - 1
    seed_sd: float  # square root of the variance component, 0 if its estimate is negative
    df: float  # degrees of freedom of the t interval


@dataclass(frozen=True)
class MeanSquares:
    """Of the two-way layout seeds x clusters without replication."""

    seeds: float
    clusters: float
    error: float


def crossed_mean(
    differences: np.ndarray, clusters: np.ndarray, level: float = 0.95
) -> SeedInterval:
    """Mean over seeds and questions, with a t interval for both as random effects.

    d_sc = mean + a_s + b_c + e_sc has the mean of all S C cells with variance

        (MS_seeds + MS_clusters - MS_error) / (S C)

    (Searle, Casella and McCulloch 1992, Variance Components, two-way crossed classification,
    random model). The degrees of freedom are Satterthwaite's (1946, Biometrics Bulletin 2,
    110-114), (sum of the mean squares)^2 / sum of MS_i^2 / df_i, at least min(S, C) - 1. The
    numerator is raised to MS_clusters and to MS_seeds where it is below them, so the interval
    is never narrower than that of questions alone, MS_clusters / (S C), which is the one of
    stats.clustered_mean for the differences averaged over seeds.

    Clusters may have several questions. A cell is then not the cluster's mean but its share of
    the mean over questions, m_s + C / Q * sum_{q in c} (d_sq - m_s), the first-order term of a
    ratio; the cluster's own mean if all are of one size. With three seeds the interval covers
    93 to 98 times in 100 (tests/test_seeds.py). With one seed or one cluster it is NaN.

    differences: float (S, Q), no NaN; clusters: names (Q,).
    Raises ValueError if the shapes differ or a difference is NaN.
    """
    from scipy.stats import t

    if differences.ndim != 2 or differences.shape[1:] != clusters.shape:
        raise ValueError(f"differences {differences.shape} and clusters {clusters.shape}: not S, Q")
    if np.isnan(differences).any():
        raise ValueError("differences hold NaN: leave out questions without a value in every seed")
    if not differences.size:
        return SeedInterval(NAN, NAN, NAN, (), NAN, NAN, NAN)
    means = differences.mean(axis=1)
    of_seeds = tuple(float(mean) for mean in means)
    cells = cluster_cells(differences, clusters)
    if min(cells.shape) < 2:
        return SeedInterval(float(means.mean()), NAN, NAN, of_seeds, NAN, NAN, NAN)
    found = mean_squares(cells)
    square, df = variance_of_mean(found, *cells.shape)
    half = float(t.ppf((1 + level) / 2, df=df)) * square**0.5
    mean = float(means.mean())
    component = max(0.0, (found.seeds - found.error) / cells.shape[1])
    spread = float(means.std(ddof=1))
    return SeedInterval(mean, mean - half, mean + half, of_seeds, spread, component**0.5, df)


def cluster_cells(differences: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Each cluster's share of each seed's mean, (S, C); its rows have the seeds' means."""
    rows = []
    for values in differences:
        grouped = stats.by_cluster(values, clusters)
        scale = len(grouped.sizes) / len(values)
        rows.append(values.mean() + scale * (grouped.sums - values.mean() * grouped.sizes))
    return np.array(rows)


def mean_squares(cells: np.ndarray) -> MeanSquares:
    """Mean squares of (S, C) cells, S and C at least 2."""
    seeds_n, clusters_n = cells.shape
    mean, of_seed, of_cluster = cells.mean(), cells.mean(axis=1), cells.mean(axis=0)
    rest = cells - of_seed[:, None] - of_cluster[None, :] + mean
    return MeanSquares(
        seeds=float(clusters_n * ((of_seed - mean) ** 2).sum() / (seeds_n - 1)),
        clusters=float(seeds_n * ((of_cluster - mean) ** 2).sum() / (clusters_n - 1)),
        error=float((rest**2).sum() / ((seeds_n - 1) * (clusters_n - 1))),
    )


def variance_of_mean(found: MeanSquares, seeds_n: int, clusters_n: int) -> tuple[float, float]:
    """The variance of the mean of all cells, and its degrees of freedom (`crossed_mean`)."""
    parts = found.seeds, found.clusters, found.error
    dfs = seeds_n - 1, clusters_n - 1, (seeds_n - 1) * (clusters_n - 1)
    total = max(found.seeds, found.clusters, found.seeds + found.clusters - found.error)
    fewest = float(min(dfs))
    if total == 0:
        return 0.0, fewest
    weights = sum((part / total) ** 2 / df for part, df in zip(parts, dfs, strict=True))
    return total / (seeds_n * clusters_n), max(fewest, 1 / weights)


def seed_comparisons(pairs: pd.DataFrame, how: Resampling) -> pd.DataFrame:
    """Values of single questions side by side -> SeedComparisons.

    pairs: KEY, training_seed, question_id, cluster_id, value_a, value_b (NaN = none).
    """
    rows = []
    keys = [*KEY, "training_seed"]
    for key, rows_of_seed in pairs.groupby(keys, sort=True):
        group = rows_of_seed.dropna(subset=["value_a", "value_b"])
        a, b = group.value_a.to_numpy(float), group.value_b.to_numpy(float)
        clusters = group.cluster_id.to_numpy()
        interval = stats.cluster_bootstrap(a - b, clusters, how.samples, how.level, how.seed)
        measures = {"difference": interval.mean, "low": interval.low, "high": interval.high}
        measures |= {"p_value_mcnemar": mcnemar_p(a, b, clusters), "questions_n": len(group)}
        rows.append(dict(zip(keys, key, strict=True)) | measures)
    return pd.DataFrame(rows, columns=[*keys, *MEASURES])
