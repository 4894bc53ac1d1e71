"""How well a scorer does on rows that people judged, beside what knows nothing of the texts.

Rows: question_id, group (related questions share it), rating, explanation, and one column per
predictor. n = rows, P = pairs, C = groups. Intervals are from whole groups drawn with
replacement, and both sides of a difference are measured on the same draw.
"""

import hashlib
from functools import partial

import numpy as np
import pandas as pd

from stages.pure import stats
from stages.pure.rank_correlation import Ranks, correlation, rank_intervals
from stages.pure.stats import Interval
from stages.pure.verifier_measures import clear_pairs, pair_credits

SAMPLES, LEVEL, SEED = 2000, 0.95, 13  # resamples, share of them between the limits
FOLDS = 5  # of a cross-validation, whole groups each
COLUMNS = ["measure", "scorer", "value", "low", "high", "n", "groups_n"]


def is_held_out(groups: pd.Series, percent: int) -> np.ndarray:
    """Which rows (n,) are for testing: by a hash of the group's name, whatever else is there."""
    digests = {name: hashlib.sha256(str(name).encode()).hexdigest() for name in set(groups)}
    return np.array([int(digests[name], 16) % 100 < percent for name in groups], dtype=bool)


def ratings(rows: pd.DataFrame, scorer: str, baselines: list[str], gap: float) -> pd.DataFrame:
    """COLUMNS for rank correlation and pair accuracy of a scorer, baselines and differences.

    Pairs are rows of one question at least `gap` apart, ties of a predictor count one half.
    Raises ValueError if a prediction is missing.
    """
    names = [scorer, *baselines]
    if rows[names].isna().any(axis=None):
        raise ValueError("a prediction is missing")
    values = {name: rows[name].to_numpy(float) for name in names}
    groups = rows.group.to_numpy()
    pairs = clear_pairs(rows.rename(columns={"question_id": "cluster_id"}).reset_index(), gap)
    of_pair = groups[np.array([better for better, _ in pairs], dtype=int)]
    credit = {name: pair_credits(values[name], pairs) for name in names}
    columns = values | {"rating": rows.rating.to_numpy(float)}
    correlations = [partial(spearman, name) for name in names]
    above = [partial(spearman_minus, scorer, name) for name in baselines]
    ranked = rank_intervals(columns, groups, [*correlations, *above], (SAMPLES, LEVEL, SEED))
    found = zip(labels(scorer, baselines), ranked, strict=True)
    table = [entry("rank correlation", name, value, groups) for name, value in found]
    credits_ = [*credit.values(), *(credit[scorer] - credit[name] for name in baselines)]
    for name, credited in zip(labels(scorer, baselines), credits_, strict=True):
        table.append(entry("pairs in order", name, mean(credited, of_pair), of_pair))
    return pd.DataFrame(table, columns=COLUMNS)


def labels(scorer: str, baselines: list[str]) -> list[str]:
    """The predictors, then the differences."""
    return [scorer, *baselines, *(f"{scorer} - {name}" for name in baselines)]


def entry(measure: str, name: str, found: Interval, groups: np.ndarray) -> tuple:
    """A row of the table; `groups` are those of the rows or pairs it is about."""
    return (measure, name, found.mean, found.low, found.high, len(groups), len(set(groups)))


def mean(values: np.ndarray, groups: np.ndarray) -> Interval:
    """The mean with limits from resampled groups."""
    return stats.cluster_bootstrap(values, groups, SAMPLES, LEVEL, SEED)


def spearman(name: str, ranks: Ranks) -> float:
    """Rank correlation of a predictor with the ratings."""
    return correlation(ranks[name], ranks["rating"])


def spearman_minus(scorer: str, name: str, ranks: Ranks) -> float:
    """Rank correlation of the scorer minus that of a baseline."""
    return spearman(scorer, ranks) - spearman(name, ranks)


def labelled(rows: pd.DataFrame, scorer: str, baselines: list[str]) -> pd.DataFrame:
    """COLUMNS for accuracy at 0.5 and AUC of probabilities, baselines and differences.

    rows: group, label (bool), and a probability per predictor. Chance is one half for the AUC
    and, for the accuracy, the share of the more frequent label, which is in the table.
    """
    names, groups = [scorer, *baselines], rows.group.to_numpy()
    truth = rows.label.to_numpy(bool)
    values = {name: rows[name].to_numpy(float) for name in names}
    right = {name: ((values[name] > 0.5) == truth).astype(float) for name in names}
    is_most = (truth == (truth.mean() >= 0.5)).astype(float)
    table = [entry("accuracy", "always the same label", mean(is_most, groups), groups)]
    hits = [*right.values(), *(right[scorer] - right[name] for name in baselines)]
    for name, hit in zip(labels(scorer, baselines), hits, strict=True):
        table.append(entry("accuracy", name, mean(hit, groups), groups))
    for name, found in zip(
        labels(scorer, baselines), auc_intervals(truth, values, groups), strict=True
    ):
        table.append(entry("AUC", name, found, groups))
    return pd.DataFrame(table, columns=COLUMNS)


def auc_intervals(
    truth: np.ndarray, values: dict[str, np.ndarray], groups: np.ndarray
) -> list[Interval]:
    """AUC of each predictor, then of the first minus each other; truth and values are (n,).

    A resample weighs each row by how often its group was drawn.
    """
    names, member = np.unique(groups, return_inverse=True)

    def all_of(weights: np.ndarray) -> np.ndarray:
        found = np.array([auc(truth, value, weights) for value in values.values()])
        return np.concatenate([found, found[0] - found[1:]])

    plain = all_of(np.ones(len(truth)))
    if len(names) < 2:
        return [Interval(value, np.nan, np.nan, np.nan) for value in plain]
    drawn = [all_of(counts[member]) for counts in stats.resamples(len(names), SAMPLES, SEED)]
    limits = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return [
        Interval(float(value), float(low), float(high), np.nan)
        for value, low, high in zip(plain, *limits, strict=True)
    ]


def auc(truth: np.ndarray, values: np.ndarray, weights: np.ndarray) -> float:
    """Chance that a true row has the higher value than a false one, ties one half; (n,) each.

    Weights count a row several times. The Mann-Whitney statistic divided by its largest value
    (Hanley and McNeil 1982, Radiology 143, 29-36). NaN without rows of both labels.
    """
    _, place = np.unique(values, return_inverse=True)
    true = np.bincount(place, weights * truth)
    false = np.bincount(place, weights * ~truth)
    most = true.sum() * false.sum()
    below = np.cumsum(false) - false / 2
    return float((true * below).sum() / most) if most else float("nan")


def bag_of_words(texts: list[str], truth: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Cross-validated P(label) (n,) of a logistic regression on the words of `texts` alone."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"\S+")
    model = make_pipeline(words, LogisticRegression(max_iter=2000))
    folds = GroupKFold(min(FOLDS, len(set(groups))))
    found = cross_val_predict(model, texts, truth, groups=groups, cv=folds, method="predict_proba")
    return np.asarray(found[:, 1], dtype=float)


def markdown(table: pd.DataFrame) -> str:
    """The table as text; a limit that cannot be had is a dash."""
    lines = [
        "| measure | scorer | value | 95 % interval | n | groups |",
        "|---|---|---|---|---|---|",
    ]
    for row in table.to_dict("records"):
        is_known = np.isfinite(row["low"])
        limits = f"{row['low']:.3f} to {row['high']:.3f}" if is_known else "-"
        value = f"{row['value']:.3f}" if np.isfinite(row["value"]) else "-"
        cells = [row["measure"], row["scorer"], value, limits, row["n"], row["groups_n"]]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)
