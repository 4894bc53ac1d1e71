"""How far a verifier's score lies from what many raters would say: its standard error."""

import numpy as np


def standard_error(predicted: np.ndarray, rated: np.ndarray, ratings: np.ndarray) -> float:
    """Standard error of a score, stars, without the noise of the ratings it is held against.

    A residual mixes both: E[(predicted - rated)^2 | n] = error^2 + rater^2 / n for a mean of n
    ratings. The line is fitted to the squared residuals over 1 / n by least squares, its
    intercept is error^2, as the variance between studies is separated from that within them
    (meta-regression by moments: Thompson and Sharp 1999, Statistics in Medicine 18, 2693-2708).
    An intercept below 0 is 0. Where all rows have as many ratings, the two cannot be told
    apart, and the error is that of the residuals: too large, so a gap in errors is on the safe
    side. NaN with fewer than 3 rows.

    predicted, rated: stars (n,), no NaN; ratings: how many raters stand behind each (n,), >= 1.
    """
    if len(predicted) < 3:
        return float("nan")
    squares = (predicted - rated) ** 2
    share = 1 / np.maximum(ratings, 1)
    centred = share - share.mean()
    spread = float((centred**2).sum())
    slope = float((centred * squares).sum()) / spread if spread > 0 else 0.0
    intercept = float(squares.mean()) - max(0.0, slope) * float(share.mean())
    return max(0.0, intercept) ** 0.5
