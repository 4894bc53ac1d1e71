"""Do predicted stars mean stars? The reliability curve and its expected calibration error."""

import numpy as np
import pandas as pd

from stages.pure import stats
from stages.pure.stats import Interval


def bins(predicted: np.ndarray, count: int) -> np.ndarray:
    """Bin of each prediction, (n,) int from 0: at most `count` quantile bins, ties together."""
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, count + 1)[1:-1]))
    return np.searchsorted(edges, predicted, side="left")


def reliability(predicted: np.ndarray, rating: np.ndarray, count: int) -> list[dict[str, float]]:
    """The curve: per bin the mean prediction, the mean rating (stars) and n, from low to high."""
    if not len(predicted):
        return []
    table = pd.DataFrame({"predicted_stars": predicted, "rating_stars": rating})
    grouped = table.groupby(bins(predicted, count))
    means = grouped.mean().assign(rows_n=grouped.size())
    return [
        {str(name): int(v) if name == "rows_n" else float(v) for name, v in row.items()}
        for row in means.to_dict("records")
    ]


def calibration_error(
    predicted: np.ndarray,
    rating: np.ndarray,
    clusters: np.ndarray,
    count: int,
    samples: int,
    level: float,
    seed: int,
) -> Interval:
    """ECE in stars: sum over bins of n_b / n * |mean rating - mean prediction|.

    The form of Naeini et al. 2015 (AAAI, section 2) and Guo et al. 2017 (arXiv:1706.04599,
    eq. 5), with stars in the place of confidence and accuracy, and quantile bins. It is above
    0 even for a calibrated model, because bins are noisy; so are its limits (whole clusters
    are resampled, the bins stay). NaN without a row, no limits with one cluster.
    """
    if not len(predicted):
        return Interval(np.nan, np.nan, np.nan, np.nan)
    names, member = np.unique(clusters, return_inverse=True)
    bin_of = bins(predicted, count)
    sums = np.zeros((len(names), bin_of.max() + 1))
    np.add.at(sums, (member, bin_of), predicted - rating)
    error = float(np.abs(sums.sum(axis=0)).sum() / len(predicted))
    if len(names) < 2:
        return Interval(error, np.nan, np.nan, np.nan)
    counts = stats.resamples(len(names), samples, seed)
    sizes = np.einsum("bc,c->b", counts, np.bincount(member).astype(float))
    drawn = np.abs(np.einsum("bc,ck->bk", counts, sums)).sum(axis=1) / sizes
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(error, float(low), float(high), np.nan)
