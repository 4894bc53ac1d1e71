"""Intervals over questions and trainings: by hand, by symmetry, and how often they are right."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.seed_comparisons import SeedComparisons
from stages.pure import seeds, stats
from stages.pure.comparison import Resampling
from stages.pure.seeds import crossed_mean
from stages.runtime import artifacts

numbers = st.floats(-5, 5).map(lambda x: round(x, 3))
TABLES = st.integers(2, 4).flatmap(
    lambda s: st.lists(st.tuples(*[numbers] * s), min_size=2, max_size=12)
)


def test_two_seeds_and_two_clusters_by_hand():
    # cells 1 3 / 5 11: means 2, 8 and 3, 7 about 5
    # MS_seeds = 2 (9 + 9) / 1 = 36, MS_clusters = 2 (4 + 4) / 1 = 16, the rest is +-1: MS_error = 4
    # variance = (36 + 16 - 4) / 4 = 12, df = 48^2 / (36^2 + 16^2 + 4^2) = 1.4694
    cells = np.array([[1.0, 3.0], [5.0, 11.0]])
    assert seeds.mean_squares(cells) == seeds.MeanSquares(36.0, 16.0, 4.0)
    found = crossed_mean(cells, np.array(["a", "b"]))
    assert found.mean == 5.0
    assert found.seed_means == (2.0, 8.0)
    assert found.df == pytest.approx(48**2 / (36**2 + 16**2 + 4**2))
    assert found.seed_sd == pytest.approx(((36 - 4) / 2) ** 0.5)
    assert found.seed_means_sd == pytest.approx(18**0.5)
    # t(0.975) is 12.706 with 1 degree of freedom and 4.303 with 2
    assert 4.303 < (found.high - found.mean) / 12**0.5 < 12.706


def test_without_spread_of_seeds_the_interval_is_that_of_the_questions():
    one = np.array([0.3, 1.1, 0.2, 0.9, 0.4])
    found = crossed_mean(np.array([one, one, one]), np.arange(5))
    plain = stats.clustered_mean(one, np.arange(5))
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high))
    assert (found.seed_sd, found.df) == pytest.approx((0.0, 4.0))


def test_without_spread_of_questions_the_interval_is_that_of_the_seeds():
    of_seeds = np.array([0.1, 0.4, 0.2])
    found = crossed_mean(np.repeat(of_seeds[:, None], 50, axis=1), np.arange(50))
    plain = stats.clustered_mean(of_seeds, np.arange(3))
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high))
    assert found.seed_sd == pytest.approx(of_seeds.std(ddof=1))


def test_copying_the_questions_of_every_cluster_adds_nothing():
    random = np.random.default_rng(13)
    table, clusters = random.normal(size=(3, 6)), np.array([1, 1, 1, 2, 3, 3])
    once, ten = (crossed_mean(np.repeat(table, k, 1), np.repeat(clusters, k)) for k in (1, 10))
    assert (ten.low, ten.high, ten.df) == pytest.approx((once.low, once.high, once.df))


@settings(deadline=None)  # importing scipy is slow
@given(TABLES, st.data())
def test_it_is_never_narrower_than_the_questions_alone(rows: list[tuple[float, ...]], data):
    table = np.array(rows).T
    names = st.integers(0, 5)
    clusters = np.array(data.draw(st.lists(names, min_size=len(rows), max_size=len(rows))))
    found = crossed_mean(table, clusters)
    plain = stats.clustered_mean(table.mean(axis=0), clusters)
    assert found.mean == pytest.approx(plain.mean)
    if len(set(clusters)) < 2:
        assert np.isnan([found.low, found.high, found.df]).all()
        return
    square, df = seeds.variance_of_mean(
        seeds.mean_squares(seeds.cluster_cells(table, clusters)), len(table), len(set(clusters))
    )
    assert square >= plain.standard_error**2 * (1 - 1e-9) - 1e-12
    assert df >= min(len(table), len(set(clusters))) - 1


@settings(deadline=None)
@given(TABLES)
def test_a_minus_b_is_minus_b_minus_a_and_the_order_of_seeds_does_not_matter(
    rows: list[tuple[float, ...]],
):
    table, clusters = np.array(rows).T, np.arange(len(rows))
    one, other = crossed_mean(table, clusters), crossed_mean(-table[::-1], clusters)
    assert (other.mean, other.low, other.high) == pytest.approx((-one.mean, -one.high, -one.low))
    assert other.seed_sd**2 == pytest.approx(one.seed_sd**2, abs=1e-9)


def test_one_seed_has_a_mean_and_no_interval():
    found = crossed_mean(np.array([[1.0, 3.0, 2.0]]), np.arange(3))
    assert (found.mean, found.seed_means) == (2.0, (2.0,))
    assert np.isnan([found.low, found.high, found.seed_sd, found.df]).all()


def test_what_is_no_table_of_seeds_and_questions_is_refused():
    with pytest.raises(ValueError, match="not S, Q"):
        crossed_mean(np.ones((2, 3)), np.arange(2))
    with pytest.raises(ValueError, match="NaN"):
        crossed_mean(np.array([[1.0, np.nan], [0.0, 1.0]]), np.arange(2))
    assert np.isnan(crossed_mean(np.ones((2, 0)), np.array([])).mean)


def coverage(seed_sd: float, runs: int) -> dict[str, float]:
    """How often the interval holds a true mean of 0, beside that of the questions alone."""
    random = np.random.default_rng(13)
    hits = dict.fromkeys(["both", "questions"], 0)
    for _ in range(runs):
        clusters = np.repeat(np.arange(60), random.integers(1, 4, 60))
        shared = 0.25 * random.normal(size=60)[clusters]
        table = shared + 0.45 * random.normal(size=(3, len(clusters)))
        table += seed_sd * random.normal(size=(3, 1))
        found = crossed_mean(table, clusters)
        hits["both"] += found.low <= 0 <= found.high
        plain = stats.clustered_mean(table.mean(axis=0), clusters)
        hits["questions"] += plain.low <= 0 <= plain.high
    return {name: count / runs for name, count in hits.items()}


@pytest.mark.parametrize("seed_sd", [0.0, 0.05, 0.2])
def test_three_seeds_cover_the_truth_about_95_times_in_100(seed_sd: float):
    # 1,000 runs: one standard error of a share is 0.7 percent points. Above 95 % where seeds
    # differ little, for then the few degrees of freedom of three seeds count too much.
    shares = coverage(seed_sd, 1000)
    assert 0.91 <= shares["both"] <= 0.99
    assert seed_sd < 0.1 or shares["questions"] < 0.6  # what one counts who forgets the seeds


def pairs() -> pd.DataFrame:
    """Two trainings of five questions in three clusters, right (1) or wrong (0)."""
    rows = [
        ("dpo", "sft", "sampled", metric, seed, f"q{q}", f"c{q // 2}", value + shift, shift)
        for metric, shift in (("acr", 0.0), ("judge", 1.5))
        for seed, values in ((2, [0.0, 1.0, 0.0, 1.0, 0.0]), (1, [1.0, 0.0, 0.0, 0.0, 0.0]))
        for q, value in enumerate(values)
    ]
    columns = [*seeds.KEY, "training_seed", "question_id", "cluster_id", "value_a", "value_b"]
    return pd.DataFrame(rows, columns=columns)


def test_every_seed_is_a_row_of_its_table():
    table = seeds.seed_comparisons(pairs(), Resampling(200, 0.95, 13))
    artifacts.validate(SeedComparisons, artifacts.conform(SeedComparisons, table), Path("x"))
    acr = table[table.metric == "acr"].set_index("training_seed")
    assert acr.difference.to_dict() == {1: 0.2, 2: 0.4}
    assert acr.questions_n.to_dict() == {1: 5, 2: 5}
    assert (acr.low <= acr.difference).all()
    assert (acr.difference <= acr.high).all()


def test_mcnemars_test_is_of_shares_and_not_of_stars():
    table = seeds.seed_comparisons(pairs(), Resampling(200, 0.95, 13)).set_index("metric")
    assert table.loc["acr"].p_value_mcnemar.notna().all()
    assert table.loc["judge"].p_value_mcnemar.isna().all()
