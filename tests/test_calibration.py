"""Reliability: bins and errors worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.pure import calibration

STARS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=30)


def error(predicted: list[float], rating: list[float], clusters: str, count: int = 2):
    arrays = np.array(predicted), np.array(rating), np.array(list(clusters))
    return calibration.calibration_error(*arrays, count, 200, 0.95, seed=1)


def test_two_bins_by_hand():
    # bins {1, 2} and {3, 4}: means 1.5 and 3.5; ratings 2 and 3.25: gaps 0.5 and 0.25
    curve = calibration.reliability(np.array([4.0, 1, 3, 2]), np.array([3.5, 1, 3, 3]), 2)
    assert curve == [
        {"predicted_stars": 1.5, "rating_stars": 2.0, "rows_n": 2},
        {"predicted_stars": 3.5, "rating_stars": 3.25, "rows_n": 2},
    ]
    assert error([4, 1, 3, 2], [3.5, 1, 3, 3], "abcd").mean == pytest.approx(0.375)


def test_bins_of_unequal_size_weigh_by_their_rows():
    # ties stay together: {1, 1, 1} and {4}; gaps 1 and 2, so 3/4 * 1 + 1/4 * 2
    assert error([1, 1, 1, 4], [2, 2, 2, 2], "abcd").mean == pytest.approx(1.25)


def test_opposite_errors_of_one_bin_cancel():
    assert error([2, 2], [1, 3], "ab").mean == 0


def test_a_constant_prediction_is_one_bin():
    assert len(calibration.reliability(np.full(9, 3.0), np.arange(9.0), 5)) == 1


def test_nothing_has_no_error_and_one_cluster_no_limits():
    assert np.isnan(error([], [], "").mean)
    assert calibration.reliability(np.array([]), np.array([]), 5) == []
    alone = error([1, 2], [2, 2], "aa")
    assert alone.mean == 0.5
    assert np.isnan([alone.low, alone.high]).all()


def test_a_constant_error_has_limits_of_width_zero():
    found = error([1, 2, 3, 4], [2, 3, 4, 5], "abcd")
    assert (found.mean, found.low, found.high) == (1, 1, 1)


@given(STARS, st.integers(1, 8))
def test_the_curve_holds_every_row_and_the_error_is_its_mean_gap(
    found: list[tuple[int, int]], count: int
):
    predicted, rating = (np.array(values) / 10 for values in zip(*found, strict=True))
    curve = calibration.reliability(predicted, rating, count)
    assert 1 <= len(curve) <= count
    assert sum(b["rows_n"] for b in curve) == len(found)
    gaps = [b["rows_n"] * abs(b["predicted_stars"] - b["rating_stars"]) for b in curve]
    clusters = np.array([f"c{i}" for i in range(len(found))])
    ece = calibration.calibration_error(predicted, rating, clusters, count, 20, 0.95, seed=1)
    assert ece.mean == pytest.approx(sum(gaps) / len(found))
    assert abs(predicted.mean() - rating.mean()) <= ece.mean + 1e-9
