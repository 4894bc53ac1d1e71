"""Intervals and tests are by cluster: values checked by hand, the rest by symmetry."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.pure.stats import (
    cluster_bootstrap,
    clustered_mean,
    holm,
    minimum_detectable_effect,
    resamples,
    sign_flip_p,
    sign_patterns,
    spearman,
)

SEED = 13
numbers = st.floats(-5, 5).map(lambda x: round(x, 3))
tables = st.lists(st.tuples(numbers, st.integers(0, 8)), min_size=4, max_size=40)


def arrays(rows: list[tuple[float, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([v for v, _ in rows]), np.array([c for _, c in rows])


def test_two_opposite_clusters_by_hand():
    # mean = 1/2; deviation sums: a = +1, b = -1
    # se^2 = 2/1 * (1 + 1) / 4^2 = 1/4 -> se = 1/2; t(0.975, df=1) = 12.7062
    interval = clustered_mean(np.array([1.0, 1.0, 0.0, 0.0]), np.array(["a", "a", "b", "b"]))
    assert interval.mean == 0.5
    assert interval.standard_error == 0.5
    assert interval.high - interval.mean == pytest.approx(12.7062 / 2, abs=1e-4)


def test_one_value_per_cluster_is_the_ordinary_t_interval():
    from scipy.stats import ttest_1samp

    values = np.array([0.3, 1.1, 0.2, 0.9, 0.4])
    ordinary = ttest_1samp(values, 0).confidence_interval(0.95)
    interval = clustered_mean(values, np.arange(5))
    assert (interval.low, interval.high) == pytest.approx((ordinary.low, ordinary.high))


def test_copying_every_value_adds_no_information():
    values, clusters = np.array([0.2, 0.9, 0.5, 0.4]), np.array([1, 1, 2, 3])
    for function in (
        clustered_mean,
        lambda v, c: cluster_bootstrap(v, c, 500, 0.95, SEED),
    ):
        once, ten_times = (function(np.repeat(values, k), np.repeat(clusters, k)) for k in (1, 10))
        assert vars(ten_times) == pytest.approx(vars(once))
    p_once, p_ten = (
        sign_flip_p(np.repeat(values, k), np.repeat(clusters, k), 500, SEED) for k in (1, 10)
    )
    assert p_ten == p_once


def test_one_cluster_has_a_mean_and_no_interval():
    values, clusters = np.array([1.0, 3.0]), np.array(["a", "a"])
    interval = cluster_bootstrap(values, clusters, 100, 0.95, SEED)
    assert interval.mean == 2.0
    assert np.isnan([interval.low, interval.high, interval.standard_error]).all()
    assert np.isnan(sign_flip_p(values, clusters, 100, SEED))


def test_no_value_has_no_mean():
    assert np.isnan(clustered_mean(np.array([]), np.array([])).mean)


def test_values_and_clusters_must_align():
    with pytest.raises(ValueError, match="must align"):
        clustered_mean(np.array([1.0, 2.0]), np.array(["a"]))


def test_a_resample_draws_as_many_clusters_as_there_are():
    counts = resamples(7, 300, SEED)
    assert counts.shape == (300, 7)
    assert (counts.sum(axis=1) == 7).all()
    assert (counts == 0).any()  # with replacement


def test_the_bootstrap_of_two_clusters_by_hand():
    # resampled means are 0, 1/2 and 1 with probabilities 1/4, 1/2, 1/4
    interval = cluster_bootstrap(np.array([0.0, 1.0]), np.array(["a", "b"]), 400, 0.95, SEED)
    assert (interval.low, interval.high) == (0.0, 1.0)


@settings(deadline=None)  # the first call draws the resamples
@given(tables)
def test_a_minus_b_is_minus_b_minus_a(rows: list[tuple[float, int]]):
    values, clusters = arrays(rows)
    one = cluster_bootstrap(values, clusters, 200, 0.95, SEED)
    other = cluster_bootstrap(-values, clusters, 200, 0.95, SEED)
    assert other.mean == pytest.approx(-one.mean, nan_ok=True)
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low), nan_ok=True)
    p_one, p_other = (sign_flip_p(s * values, clusters, 200, SEED) for s in (1, -1))
    assert p_other == pytest.approx(p_one, nan_ok=True)


@settings(deadline=None)  # the first call draws the resamples
@given(tables, st.randoms())
def test_the_order_of_rows_does_not_matter(rows: list[tuple[float, int]], random):
    shuffled = random.sample(rows, len(rows))
    one, other = (cluster_bootstrap(*arrays(r), 200, 0.95, SEED) for r in (rows, shuffled))
    assert vars(other) == pytest.approx(vars(one), nan_ok=True, abs=1e-12)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    values, clusters = np.linspace(0, 1, 30) ** 2, np.arange(30)
    first = cluster_bootstrap(values, clusters, 200, 0.95, 1)
    assert cluster_bootstrap(values, clusters, 200, 0.95, 1) == first
    assert cluster_bootstrap(values, clusters, 200, 0.95, 2) != first


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1.0, 1.0, 1.0], 2 / 8),  # only +++ and --- reach |3|
        ([3.0, 1.0, -1.0], 6 / 8),  # sums over signs: 5, 3, 3, 1 and their negatives
        ([0.0, 0.0, 0.0], 1.0),
    ],
)
def test_sign_flips_by_hand(differences: list[float], p: float):
    assert sign_flip_p(np.array(differences), np.arange(3), 100, SEED) == p


def test_sign_patterns_are_complete_when_there_are_few():
    assert len({tuple(row) for row in sign_patterns(4, 16, SEED)}) == 16
    assert sign_patterns(5, 16, SEED).shape == (16, 5)


def test_a_sampled_p_value_is_near_the_exact_one_and_never_zero():
    differences = np.array([0.9, -0.2, 0.4, 0.3, -0.1, 0.5, 0.2, -0.3, 0.6, 0.1])
    exact = sign_flip_p(differences, np.arange(10), 1024, SEED)
    sampled = sign_flip_p(differences, np.arange(10), 1023, SEED)
    assert sampled == pytest.approx(exact, abs=0.03)
    assert sign_flip_p(np.ones(40), np.arange(40), 999, SEED) == 1 / 1000


def test_holm_by_hand():
    # .01 * 4, .02 * 3, .03 * 2 raised to .06 by the one before it, .5 * 1; NaN stays out
    corrected = holm(np.array([0.5, 0.01, np.nan, 0.03, 0.02]))
    assert corrected == pytest.approx([0.5, 0.04, np.nan, 0.06, 0.06], nan_ok=True)


@settings(deadline=None, max_examples=20)  # importing statsmodels is slow
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_agrees_with_statsmodels(values: list[float]):
    from statsmodels.stats.multitest import multipletests

    expected = multipletests(values, method="holm")[1]
    assert holm(np.array(values)) == pytest.approx(expected)


def test_the_minimum_detectable_effect_is_2_80_standard_errors():
    assert minimum_detectable_effect(1.0) == pytest.approx(1.95996 + 0.84162, abs=1e-4)
    assert minimum_detectable_effect(0.5) == minimum_detectable_effect(1.0) / 2


def test_spearman_sees_order_only_and_skips_missing_values():
    first = np.array([1.0, 2.0, 3.0, 4.0, np.nan])
    assert spearman(first, np.array([1.0, 10.0, 100.0, 1000.0, 0.0])) == pytest.approx(1.0)
    assert spearman(first, -first) == pytest.approx(-1.0)
    assert np.isnan(spearman(first, np.ones(5)))
    assert np.isnan(spearman(first[:2], first[:2]))


def simulate(runs: int, clusters_n: int) -> dict[str, float]:
    """How often each interval, and the test at 5 %, is right about a true mean of 0."""
    random = np.random.default_rng(1)
    hits = dict.fromkeys(["bootstrap", "t", "test", "unclustered"], 0)
    for run in range(runs):
        sizes = random.integers(1, 4, clusters_n)
        clusters = np.repeat(np.arange(clusters_n), sizes)
        shared = np.repeat(random.normal(size=clusters_n), sizes)
        values = shared + random.normal(size=len(clusters))
        intervals = {
            "bootstrap": cluster_bootstrap(values, clusters, 500, 0.95, seed=run % 8),
            "t": clustered_mean(values, clusters),
            "unclustered": clustered_mean(values, np.arange(len(values))),
        }
        for name, interval in intervals.items():
            hits[name] += interval.low <= 0 <= interval.high
        hits["test"] += sign_flip_p(values, clusters, 500, seed=run % 8) > 0.05
    return {name: count / runs for name, count in hits.items()}


def test_intervals_cover_the_truth_about_95_times_in_100():
    # 2,000 runs: one standard error of a share is 0.5 percent points. The percentile
    # bootstrap covers a little less than it says (93.7 % here with 4,000 runs).
    shares = simulate(2000, 60)
    assert shares["t"] == pytest.approx(0.95, abs=0.015)
    assert shares["test"] == pytest.approx(0.95, abs=0.015)
    assert shares["bootstrap"] == pytest.approx(0.94, abs=0.02)
    assert shares["unclustered"] < 0.90  # what ignoring clusters would do
