"""McNemar's test: exact values by hand, and what ignoring clusters would do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.pure.mcnemar import mcnemar_p
from stages.pure.stats import sign_flip_p

OUTCOMES = st.sampled_from([0.0, 1.0])
ROWS = st.lists(st.tuples(OUTCOMES, OUTCOMES, st.integers(0, 6)), min_size=2, max_size=30)


def outcomes(only_a: int, only_b: int, both: int = 0, neither: int = 0) -> tuple:
    """Outcomes of two policies on so many questions, each a cluster of its own."""
    rows = [(1, 0)] * only_a + [(0, 1)] * only_b + [(1, 1)] * both + [(0, 0)] * neither
    a, b = np.array(rows, dtype=float).T
    return a, b, np.arange(len(rows))


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        (5, 0, 2 / 32),  # 5 heads or 5 tails of 5
        (4, 1, 12 / 32),  # (1 + 5) / 32 on either side
        (1, 4, 12 / 32),
        (3, 3, 1.0),
        (0, 1, 1.0),
    ],
)
def test_one_question_per_cluster_is_the_exact_test(only_a: int, only_b: int, p: float):
    assert mcnemar_p(*outcomes(only_a, only_b, 7, 2)) == pytest.approx(p)


def test_questions_that_both_or_none_have_right_do_not_matter():
    assert mcnemar_p(*outcomes(6, 1)) == mcnemar_p(*outcomes(6, 1, both=90, neither=40))


def test_the_exact_test_flips_the_signs_of_all_questions_that_differ():
    a, b, clusters = outcomes(7, 2)
    assert mcnemar_p(a, b, clusters) == pytest.approx(sign_flip_p(a - b, clusters, 512, seed=13))


def test_clusters_of_several_questions_by_hand():
    # leanings (1 + 1)/2 = 1, (1 - 1)/2 = 0, 1/3: X^2 = (4/3)^2 / (1 + 1/9) = 1.6
    a = np.array([1, 1, 1, 0, 1, 1, 0], dtype=float)
    b = np.array([0, 0, 0, 1, 0, 1, 0], dtype=float)
    clusters = np.array(["x", "x", "y", "y", "z", "z", "z"])
    assert mcnemar_p(a, b, clusters) == pytest.approx(0.205903, abs=1e-6)


def test_copying_every_question_is_no_evidence():
    a, b, clusters = outcomes(20, 8, 3)
    two, ten = (mcnemar_p(*(np.repeat(x, k) for x in (a, b, clusters))) for k in (2, 10))
    assert two == pytest.approx(ten)
    # (b - c)^2 / (b + c), McNemar's statistic without a correction
    assert two == pytest.approx(0.023342, abs=1e-6)


@settings(deadline=None)  # importing statsmodels is slow
@given(ROWS)
def test_swapping_the_policies_changes_nothing(rows: list[tuple[float, float, int]]):
    a, b, clusters = (np.array(column) for column in zip(*rows, strict=True))
    assert mcnemar_p(a, b, clusters) == pytest.approx(mcnemar_p(b, a, clusters), nan_ok=True)
    assert mcnemar_p(1 - a, 1 - b, clusters) == pytest.approx(
        mcnemar_p(a, b, clusters), nan_ok=True
    )


def test_no_difference_is_no_evidence_and_not_an_error():
    assert mcnemar_p(*outcomes(0, 0, 3, 3)) == 1.0
    both_ways = np.array([1.0, 0.0, 1.0, 0.0])
    assert mcnemar_p(both_ways, 1 - both_ways, np.array([1, 1, 2, 2])) == 1.0


def test_where_the_test_does_not_apply_it_is_undefined():
    ones = np.ones(3)
    assert np.isnan(mcnemar_p(ones, 0 * ones, np.array(["x", "x", "x"])))
    assert np.isnan(mcnemar_p(ones / 2, 0 * ones, np.arange(3)))  # means of two texts
    assert np.isnan(mcnemar_p(np.array([]), np.array([]), np.array([])))
    with pytest.raises(ValueError, match="must align"):
        mcnemar_p(ones, ones, np.arange(2))


def test_it_keeps_its_level_where_a_test_that_ignores_clusters_does_not():
    random = np.random.default_rng(13)
    called = dict.fromkeys(["clustered", "unclustered"], 0)
    for _ in range(1000):
        clusters = np.repeat(np.arange(60), 4)
        leaning = np.repeat(random.choice([0.2, 0.8], 60), 4)  # the same in a cluster
        a, b = ((random.random(240) < p).astype(float) for p in (leaning, 1 - leaning))
        called["clustered"] += mcnemar_p(a, b, clusters) < 0.05
        called["unclustered"] += mcnemar_p(a, b, np.arange(240)) < 0.05
    assert called["clustered"] / 1000 == pytest.approx(0.05, abs=0.02)
    assert called["unclustered"] / 1000 > 0.1
