"""How predicted ratings agree with the students', beside three baselines.

n = rows, P = pairs of rows of one cluster. Every interval is from whole clusters drawn with
replacement (stats.resamples), so rows of one question never count as independent.
"""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from stages.pure import calibration, stats
from stages.pure.rank_correlation import Ranks, correlation, partial_correlation, rank_intervals
from stages.pure.score_error import standard_error
from stages.pure.stats import Interval

BASELINES = {"question_only": "question_only", "words": "words_n", "bag_of_words": "bag_of_words"}
PREDICTORS = {"model": "predicted"} | BASELINES  # predictor -> column of the rows
IN_STARS = ["model", "question_only", "bag_of_words"]  # a word count has no error in stars
LENGTH_TOLERANCE = 0.2  # share of the own words by which a length-matched text may differ
NONE = Interval(np.nan, np.nan, np.nan, np.nan)


def measure(
    rows: pd.DataFrame, gaps: list[float], bins: int, samples: int, level: float, seed: int
) -> pd.DataFrame:
    """The columns of schemas.fitness.Fitness up to clusters_n, for rows with a prediction.

    rows: those of schemas.predictions.Predictions with question_only and bag_of_words (stars,
    NaN = no baseline). gaps: stars between two texts of a cluster.
    """
    scored = rows[rows.predicted.notna()].reset_index(drop=True)
    how = (samples, level, seed)
    found = [*ranked(scored, how), *errors(scored, how), *swapped(scored, how)]
    for gap in gaps:
        found += ordered(scored, gap, how)
    predicted, rating = scored.predicted.to_numpy(float), scored.rating.to_numpy(float)
    clusters = scored.cluster_id.to_numpy()
    ece = calibration.calibration_error(predicted, rating, clusters, bins, *how)
    error = standard_error(predicted, rating, scored.ratings_n.to_numpy(float))
    of_score = Interval(error, np.nan, np.nan, np.nan)
    found += [entry("model", "ece", "all", ece, clusters)]
    return pd.DataFrame([*found, entry("model", "score_error", "all", of_score, clusters)])


def entry(
    predictor: str, name: str, group: str, found: Interval, clusters: np.ndarray
) -> dict[str, Any]:
    """One row of the table; `clusters` are those of the rows or pairs it is about."""
    return {
        "predictor": predictor,
        "measure": name,
        "group": group,
        "value": found.mean,
        "low": found.low,
        "high": found.high,
        "n": len(clusters),
        "clusters_n": len(set(clusters)),
    }


# ---- ranks ---------------------------------------------------------------------------------


def ranked(scored: pd.DataFrame, how: tuple[int, float, int]) -> list[dict[str, Any]]:
    """Spearman of each predictor, of the model given the words, and of it minus each baseline."""
    columns = {name: scored[column].to_numpy(float) for name, column in PREDICTORS.items()}
    columns["rating"] = scored.rating.to_numpy(float)
    wanted: dict[tuple[str, str], Callable[[Ranks], float]] = {
        (name, "spearman"): partial(spearman, name) for name in PREDICTORS
    }
    wanted["model", "partial_spearman"] = spearman_given_words
    for name in BASELINES:
        wanted["model", f"spearman_minus_{name}"] = partial(spearman_minus, name)
    clusters = scored.cluster_id.to_numpy()
    found = rank_intervals(columns, clusters, list(wanted.values()), how)
    return [
        entry(predictor, name, "all", interval, clusters)
        for (predictor, name), interval in zip(wanted, found, strict=True)
    ]


def spearman(name: str, ranks: Ranks) -> float:
    """Rank correlation of a predictor with the ratings."""
    return correlation(ranks[name], ranks["rating"])


def spearman_minus(name: str, ranks: Ranks) -> float:
    """Rank correlation of the model minus that of a baseline."""
    return spearman("model", ranks) - spearman(name, ranks)


def spearman_given_words(ranks: Ranks) -> float:
    """Rank correlation of the model given the word count."""
    return partial_correlation(ranks["model"], ranks["rating"], ranks["words"])


# ---- errors, pairs, swaps ------------------------------------------------------------------


def errors(scored: pd.DataFrame, how: tuple[int, float, int]) -> list[dict[str, Any]]:
    """Mean squared error in stars^2, and what it is above that of the mean of the ratings."""
    rating, clusters = scored.rating.to_numpy(float), scored.cluster_id.to_numpy()
    constant = (rating - rating.mean()) ** 2 if len(rating) else rating
    found = []
    for predictor in IN_STARS:
        squares = (scored[PREDICTORS[predictor]].to_numpy(float) - rating) ** 2
        for name, values in (("mse", squares), ("mse_minus_mean_predictor", squares - constant)):
            found.append(entry(predictor, name, "all", mean_of(values, clusters, how), clusters))
    return found


def mean_of(values: np.ndarray, clusters: np.ndarray, how: tuple[int, float, int]) -> Interval:
    """The mean with limits from resampled clusters; NaN if a value is missing."""
    return NONE if np.isnan(values).any() else stats.cluster_bootstrap(values, clusters, *how)


def ordered(scored: pd.DataFrame, gap: float, how: tuple[int, float, int]) -> list[dict[str, Any]]:
    """Pair accuracy of each predictor and of the model minus each baseline, at one gap.

    Both sides of a difference are measured on the same resample.
    """
    pairs, group = clear_pairs(scored, gap), gap_group(gap)
    clusters = scored.cluster_id.to_numpy()[[better for better, _ in pairs]]
    credit = {
        name: pair_credits(scored[column].to_numpy(float), pairs)
        for name, column in PREDICTORS.items()
    }
    values = {(name, "pair_accuracy"): credit[name] for name in PREDICTORS} | {
        ("model", f"pair_accuracy_minus_{name}"): credit["model"] - credit[name]
        for name in BASELINES
    }
    return [
        entry(predictor, name, group, mean_of(value, clusters, how), clusters)
        for (predictor, name), value in values.items()
    ]


def gap_group(gap: float) -> str:
    """The group of pairs at least `gap` stars apart."""
    return f"gap_{gap:g}"


def clear_pairs(rows: pd.DataFrame, gap: float) -> list[tuple[int, int]]:
    """Positions (better, worse) of rows of one cluster at least `gap` stars apart."""
    rating = rows.rating.to_numpy(float)
    found = []
    for positions in rows.reset_index(drop=True).groupby("cluster_id").indices.values():
        for i, j in itertools.combinations(positions, 2):
            if abs(rating[i] - rating[j]) >= gap:
                found.append((int(i), int(j)) if rating[i] > rating[j] else (int(j), int(i)))
    return found


def pair_credits(values: np.ndarray, pairs: list[tuple[int, int]]) -> np.ndarray:
    """Per pair 1 if its better member has the higher value, one half for a tie, else 0, (P,).

    NaN where a value is missing.
    """
    better, worse = np.array(pairs, dtype=int).reshape(-1, 2).T
    return prefers(values[better] - values[worse])


def prefers(difference: np.ndarray) -> np.ndarray:
    """1 above 0, one half at 0, 0 below, NaN for NaN."""
    return np.heaviside(difference, 0.5)


def swapped(scored: pd.DataFrame, how: tuple[int, float, int]) -> list[dict[str, Any]]:
    """The explanation-swap test, on rows that were rated with another question's text too.

    swap_accuracy is the share of rows whose own explanation is predicted above it, ties one
    half: 0.5 for a model that does not compare text and question. swap_spearman_drop is what
    the swap takes from the rank correlation with the rating: 0 for a model that does not read
    the explanation.
    """
    both = scored[scored.swapped.notna()]
    own, other = both.predicted.to_numpy(float), both.swapped.to_numpy(float)
    clusters, preferred = both.cluster_id.to_numpy(), prefers(own - other)
    apart = (both.swapped_words_n - both.words_n).abs() / both.words_n
    is_near = (apart <= LENGTH_TOLERANCE).to_numpy()
    near = mean_of(preferred[is_near], clusters[is_near], how)
    columns = {"own": own, "other": other, "rating": both.rating.to_numpy(float)}
    (drop,) = rank_intervals(
        columns,
        clusters,
        [lambda r: correlation(r["own"], r["rating"]) - correlation(r["other"], r["rating"])],
        how,
    )
    return [
        entry("model", "swap_accuracy", "all", mean_of(preferred, clusters, how), clusters),
        entry("model", "swap_accuracy", "length_matched", near, clusters[is_near]),
        entry("model", "swap_spearman_drop", "all", drop, clusters),
    ]
