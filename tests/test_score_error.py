"""The error of a score is told apart from the noise of the ratings that it is held against."""

import numpy as np
import pytest

from stages.pure.score_error import standard_error


def test_by_hand_two_sizes_of_panels():
    # squared residuals 0.25 + 1 / n: intercept 0.25
    ratings = np.array([1.0, 1.0, 4.0, 4.0])
    residuals = np.sqrt(0.25 + 1 / ratings) * np.array([1, -1, 1, -1])
    assert standard_error(3 + residuals, np.full(4, 3.0), ratings) == pytest.approx(0.5)


def test_noise_of_raters_is_not_the_scores_error():
    random = np.random.default_rng(13)
    ratings = random.integers(5, 40, 4000).astype(float)
    true = random.normal(3, 0.5, 4000)
    rated = true + random.normal(0, 1.5, 4000) / np.sqrt(ratings)
    found = standard_error(true + random.normal(0, 0.3, 4000), rated, ratings)
    assert found == pytest.approx(0.3, abs=0.05)
    assert standard_error(true, rated, ratings) < 0.1


def test_panels_of_one_size_give_the_whole_residual_and_few_rows_nothing():
    predicted, rated = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])
    assert standard_error(predicted, rated, np.full(3, 7.0)) == pytest.approx((2 / 3) ** 0.5)
    assert np.isnan(standard_error(predicted[:2], rated[:2], np.ones(2)))


def test_residuals_that_grow_with_raters_do_not_raise_the_error_of_a_score():
    predicted = np.array([1.0, 1.0, 3.0, 3.0])
    found = standard_error(predicted, np.full(4, 1.0), np.array([1.0, 1.0, 9.0, 9.0]))
    assert found == pytest.approx(2**0.5)
