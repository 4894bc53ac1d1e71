"""Is one policy right more often than another on the same questions? McNemar's test."""

import numpy as np

from stages.pure.stats import NAN, by_cluster


def mcnemar_p(a: np.ndarray, b: np.ndarray, clusters: np.ndarray) -> float:
    """Two-sided p value that two paired shares are equal.

    One question per cluster: the exact test, a binomial of the questions that only one policy
    has right (McNemar 1947, Psychometrika 12, 153-157). Else, with b_k and c_k such questions
    of the n_k of cluster k,

        X^2 = ( sum_k (b_k - c_k) / n_k )^2 / sum_k ( (b_k - c_k) / n_k )^2

    against chi-square with 1 degree of freedom, which needs some tens of clusters (Durkalski et
    al. 2003, Statistics in Medicine 22, 2417-2428). Every cluster counts alike there, however
    many questions it has. If no cluster leans to either policy, p is 1 in both. NaN with fewer
    than 2 clusters, and for values that are no outcomes: a mean over texts has no such test.

    a, b: 0.0 or 1.0 (n,); clusters: names (n,). Raises ValueError if the shapes differ.
    """
    if not len(a) == len(b) == len(clusters):
        raise ValueError(f"a {a.shape}, b {b.shape} and clusters {clusters.shape} must align")
    grouped = by_cluster((a - b).astype(float), clusters)
    if len(grouped.sizes) < 2 or not np.isin([a, b], [0, 1]).all():
        return NAN
    if (grouped.sizes == 1).all():
        return _exact_p(int((a > b).sum()), int((a < b).sum()))
    leaning = grouped.sums / grouped.sizes  # (C,)
    return _chi_square_p(leaning) if leaning.any() else 1.0


def _exact_p(only_a: int, only_b: int) -> float:
    from statsmodels.stats.contingency_tables import mcnemar

    return float(mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue)


def _chi_square_p(leaning: np.ndarray) -> float:
    from scipy.stats import chi2

    return float(chi2.sf(leaning.sum() ** 2 / (leaning**2).sum(), df=1))
