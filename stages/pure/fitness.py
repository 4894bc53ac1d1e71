"""How well predicted ratings agree with the students', beside what the word count gives.

n = rows, P = pairs of rows of one cluster.
"""

import itertools

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from stages.pure import stats

SAMPLES = 2000  # resamples of clusters
LEVEL = 0.95  # share of resamples between the limits


def rating_fitness(
    rows: pd.DataFrame, pair_gap: float, *, seed: int | None = None, samples: int = SAMPLES
) -> dict[str, float]:
    """Error, rank correlation and pair accuracy of `predicted`, and of the word count alone.

    rows: question_rating_mean (stars), predicted (stars, NaN = not scored), cluster_id and
    explanation_words_n, none of which the model was trained on. The mean predictor's error is
    the variance of the ratings: a model above it knows less than a constant. With a seed, also
    what the model is above the word count, with limits from `samples` resamples of clusters.
    A number that cannot be had (no variance, no pair, one cluster) is left out.
    """
    scored = rows[rows.predicted.notna()]
    truth = scored.question_rating_mean.to_numpy(float)
    words = scored.explanation_words_n.to_numpy(float)
    predicted = scored.predicted.to_numpy(float)
    pairs = clear_pairs(scored, pair_gap)
    numbers = {
        "rows_n": len(rows),
        "unscored_n": len(rows) - len(scored),
        "pairs_n": len(pairs),
        "mse_stars2": float(np.mean((predicted - truth) ** 2)) if len(scored) else np.nan,
        "mse_mean_predictor_stars2": float(truth.var()) if len(scored) else np.nan,
        "spearman_corr": stats.spearman(predicted, truth),
        "pair_accuracy_frac": pair_accuracy(predicted, pairs),
        "words_spearman_corr": stats.spearman(words, truth),
        "words_pair_accuracy_frac": pair_accuracy(words, pairs),
    }
    if seed is not None:
        numbers |= above_words(scored, pairs, samples, seed)
    return {name: value for name, value in numbers.items() if np.isfinite(value)}


def above_words(
    scored: pd.DataFrame, pairs: list[tuple[int, int]], samples: int, seed: int
) -> dict[str, float]:
    """The model minus the word count, in pair accuracy and rank correlation, with limits.

    Both are measured on the same resample, so a cluster that is easy for both does not widen
    the interval. NaN where there is no number.
    """
    columns = ("question_rating_mean", "predicted", "explanation_words_n")
    truth, predicted, words = (scored[name].to_numpy(float) for name in columns)
    clusters = scored.cluster_id.to_numpy()
    gained = pair_credits(predicted, pairs) - pair_credits(words, pairs)
    of_pair = clusters[np.array([better for better, _ in pairs], dtype=int)]
    ordered = stats.cluster_bootstrap(gained, of_pair, samples, LEVEL, seed)
    ranked = stats.spearman(predicted, truth) - stats.spearman(words, truth)
    low, high = spearman_limits(truth, predicted, words, clusters, samples, seed)
    return {
        "pair_accuracy_minus_words_frac": ordered.mean,
        "pair_accuracy_minus_words_low_frac": ordered.low,
        "pair_accuracy_minus_words_high_frac": ordered.high,
        "spearman_minus_words_corr": ranked,
        "spearman_minus_words_low_corr": low,
        "spearman_minus_words_high_corr": high,
    }


def spearman_limits(
    truth: np.ndarray,
    predicted: np.ndarray,
    words: np.ndarray,
    clusters: np.ndarray,
    samples: int,
    seed: int,
) -> tuple[float, float]:
    """Percentile limits of spearman(predicted, truth) - spearman(words, truth).

    Clusters are drawn with replacement (stats.resamples) and every draw is ranked anew. All
    arrays (n,). NaN with fewer than 2 clusters, or if no draw has two values on each side.
    """
    names, member = np.unique(clusters, return_inverse=True)
    if len(names) < 2:
        return np.nan, np.nan
    found = []
    for counts in stats.resamples(len(names), samples, seed):  # (C,)
        drawn = np.repeat(np.arange(len(truth)), counts[member].astype(int))
        ranks = [rankdata(values[drawn]) for values in (truth, predicted, words)]
        found.append(correlation(ranks[1], ranks[0]) - correlation(ranks[2], ranks[0]))
    known = np.array(found)[np.isfinite(found)]
    if not len(known):
        return np.nan, np.nan
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation of two (n,), NaN if either is constant; no threaded algebra."""
    a, b = a - a.mean(), b - b.mean()
    spread = float((a * a).sum() * (b * b).sum())
    return float((a * b).sum()) / spread**0.5 if spread else float("nan")


def clear_pairs(rows: pd.DataFrame, gap: float) -> list[tuple[int, int]]:
    """Positions (better, worse) of rows of one cluster at least `gap` stars apart."""
    truth = rows.question_rating_mean.to_numpy(float)
    found = []
    for positions in rows.reset_index(drop=True).groupby("cluster_id").indices.values():
        for i, j in itertools.combinations(positions, 2):
            if abs(truth[i] - truth[j]) >= gap:
                found.append((int(i), int(j)) if truth[i] > truth[j] else (int(j), int(i)))
    return found


def pair_credits(values: np.ndarray, pairs: list[tuple[int, int]]) -> np.ndarray:
    """Per pair 1 if its better member has the higher value, one half for a tie, else 0, (P,)."""
    better, worse = np.array(pairs, dtype=int).reshape(-1, 2).T
    difference = values[better] - values[worse]
    return (difference > 0) + 0.5 * (difference == 0)


def pair_accuracy(values: np.ndarray, pairs: list[tuple[int, int]]) -> float:
    """The mean credit of the pairs, 0..1; NaN without a pair."""
    return float(pair_credits(values, pairs).mean()) if pairs else float("nan")
