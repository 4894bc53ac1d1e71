"""How well predicted ratings agree with the students', beside what the word count gives."""

import itertools

import numpy as np
import pandas as pd
from scipy import stats


def rating_fitness(rows: pd.DataFrame, pair_gap: float) -> dict[str, float]:
    """Error, rank correlation and pair accuracy of `predicted`, and of the word count alone.

    rows: question_rating_mean (stars), predicted (stars, NaN = not scored), cluster_id and
    explanation_words_n, none of which the model was trained on. The mean predictor's error is
    the variance of the ratings: a model above it knows less than a constant. A number that
    cannot be had (no variance, no pair) is left out.
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
        "spearman_corr": spearman(predicted, truth),
        "pair_accuracy_frac": pair_accuracy(predicted, pairs),
        "words_spearman_corr": spearman(words, truth),
        "words_pair_accuracy_frac": pair_accuracy(words, pairs),
    }
    return {name: value for name, value in numbers.items() if np.isfinite(value)}


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation, NaN if either side is constant or has fewer than 3 values."""
    if len(a) < 3 or len(set(a)) < 2 or len(set(b)) < 2:
        return float("nan")
    return float(stats.spearmanr(a, b).statistic)


def clear_pairs(rows: pd.DataFrame, gap: float) -> list[tuple[int, int]]:
    """Positions (better, worse) of rows of one cluster at least `gap` stars apart."""
    truth = rows.question_rating_mean.to_numpy(float)
    found = []
    for positions in rows.reset_index(drop=True).groupby("cluster_id").indices.values():
        for i, j in itertools.combinations(positions, 2):
            if abs(truth[i] - truth[j]) >= gap:
                found.append((int(i), int(j)) if truth[i] > truth[j] else (int(j), int(i)))
    return found


def pair_accuracy(values: np.ndarray, pairs: list[tuple[int, int]]) -> float:
    """Share of pairs whose better member has the higher value; a tie counts one half."""
    if not pairs:
        return float("nan")
    better, worse = (np.array(side) for side in zip(*pairs, strict=True))
    difference = values[better] - values[worse]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))
