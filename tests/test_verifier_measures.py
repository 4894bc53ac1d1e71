"""What a verifier is worth: values worked out by hand, and what must not change them."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.fitness import MEASURES, PREDICTORS
from stages.pure import stats, verifier_measures
from stages.pure.rank_correlation import correlation, partial_correlation, rank_intervals

NAN = float("nan")


def rows(
    rating: list[float],
    predicted: list[float],
    clusters: str,
    words: list[int] | None = None,
    swapped: list[float] | None = None,
    swapped_words: list[float] | None = None,
) -> pd.DataFrame:
    """Rated rows; `clusters` names the cluster of each by a letter. Baselines are constant."""
    words = words or [10] * len(rating)
    columns: dict[str, Any] = {
        "rating": rating,
        "predicted": predicted,
        "cluster_id": list(clusters),
        "words_n": words,
        "ratings_n": [9] * len(rating),
        "swapped": swapped or [NAN] * len(rating),
        "swapped_words_n": swapped_words or words,
        "question_only": [3.0] * len(rating),
        "bag_of_words": [3.0] * len(rating),
    }
    return pd.DataFrame(columns)


def measure(table: pd.DataFrame, gap: float = 1.0, samples: int = 50) -> pd.DataFrame:
    found = verifier_measures.measure(table, [gap], 2, samples, 0.95, seed=1)
    assert not found.duplicated(["predictor", "measure", "group"]).any()
    assert set(found.predictor) == set(PREDICTORS)
    assert set(found.measure) == set(MEASURES)
    return found


def value(found: pd.DataFrame, measure: str, predictor: str = "model", group: str = "all") -> float:
    group = "gap_1" if measure.startswith("pair") else group
    (row,) = found.query(
        "measure == @measure and predictor == @predictor and group == @group"
    ).to_dict("records")
    return row["value"]


# (stars of the students, prediction, cluster)
RATED = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 20), st.sampled_from("abc")),
    min_size=3,
    max_size=12,
)


def drawn(found: list[tuple[int, int, str]]) -> pd.DataFrame:
    rating, predicted, clusters = zip(*found, strict=True)
    return rows([r / 10 for r in rating], [p / 4 for p in predicted], "".join(clusters))


def test_four_rows_by_hand():
    # errors 0, 1, -1, 0; ranks differ by 0, 1, 1, 0: 1 - 6 * 2 / (4 * 15) = 0.8
    # words: cluster a ties (one half), cluster b prefers the worse (zero)
    found = measure(rows([1, 2, 3, 4], [1, 3, 2, 4], "aabb", words=[10, 10, 20, 5]))
    assert value(found, "mse") == pytest.approx(0.5)
    assert value(found, "mse_minus_mean_predictor") == pytest.approx(0.5 - 1.25)
    assert value(found, "spearman") == pytest.approx(0.8)
    assert value(found, "pair_accuracy") == 1
    # ranks of words 2.5, 2.5, 4, 1 against 1..4: covariance -1.5, variances 4.5 and 5
    of_words = -1.5 / np.sqrt(4.5 * 5)
    assert value(found, "spearman", "words") == pytest.approx(of_words)
    assert value(found, "spearman_minus_words") == pytest.approx(0.8 - of_words)
    assert value(found, "pair_accuracy", "words") == 0.25
    assert value(found, "pair_accuracy_minus_words") == 0.75
    assert value(found, "pair_accuracy", "question_only") == 0.5  # a constant
    # ranks of words and prediction (1, 3, 2, 4): covariance -3, variances 4.5 and 5
    given = -3 / np.sqrt(4.5 * 5)
    wanted = (0.8 - of_words * given) / np.sqrt((1 - of_words**2) * (1 - given**2))
    assert value(found, "partial_spearman") == pytest.approx(wanted)


def test_the_mean_predictor_has_its_own_error():
    found = measure(rows([1, 2, 6], [3, 3, 3], "abc"))
    assert value(found, "mse_minus_mean_predictor") == pytest.approx(0)


def test_a_row_that_was_not_scored_is_in_no_number():
    whole = measure(rows([1, 2, 4], [1, 2, 3], "aab"))
    more = measure(rows([5, 1, 2, 4], [NAN, 1, 2, 3], "aaab"))
    pd.testing.assert_frame_equal(more, whole)


@pytest.mark.parametrize(
    ("table", "absent"),
    [
        (rows([], [], ""), {"mse", "spearman", "pair_accuracy", "ece", "swap_accuracy"}),
        (rows([1, 4], [NAN, NAN], "aa"), {"mse", "mse_minus_mean_predictor", "ece"}),
        (rows([1, 2, 3], [1, 1, 1], "abc"), {"spearman", "partial_spearman", "pair_accuracy"}),
        (rows([2, 2, 2], [1, 2, 3], "aaa"), {"spearman", "partial_spearman", "pair_accuracy"}),
    ],
)
def test_a_number_that_cannot_be_had_is_null_and_never_zero(table: pd.DataFrame, absent: set[str]):
    found = measure(table)
    for name in absent:
        assert np.isnan(value(found, name)), name
    assert found[found.value.isna()][["low", "high"]].isna().all(axis=None)


def test_one_cluster_has_values_and_no_limits():
    found = measure(rows([1, 2, 3, 4], [1, 3, 2, 4], "aaaa", swapped=[1, 1, 1, 1.0]))
    assert value(found, "spearman") == pytest.approx(0.8)
    assert found[["low", "high"]].isna().all(axis=None)


def test_a_baseline_that_was_not_fitted_has_no_number():
    table = rows([1, 3, 1, 3], [1, 2, 1, 2], "aabb").assign(bag_of_words=NAN)
    found = measure(table)
    without = found[found.predictor.eq("bag_of_words") | found.measure.str.endswith("of_words")]
    assert without.value.isna().all()
    assert value(found, "pair_accuracy") == 1


# ---- swaps -------------------------------------------------------------------------------------


def test_the_swap_test_counts_a_tie_as_one_half():
    found = measure(rows([1, 2, 3, 4], [2, 2, 2, 2], "aabb", swapped=[1, 2, 3, NAN]))
    assert value(found, "swap_accuracy") == pytest.approx((1 + 0.5 + 0) / 3)
    assert found[found.measure == "swap_accuracy"].n.tolist() == [3, 3]


def test_texts_of_another_length_are_not_in_the_matched_group():
    table = rows([1, 2, 3], [3, 3, 3], "abc", [10, 10, 10], [1, 5, 1], swapped_words=[12, 8, 12.5])
    found = measure(table)
    assert value(found, "swap_accuracy") == pytest.approx(2 / 3)
    assert value(found, "swap_accuracy", group="length_matched") == 0.5


def test_a_model_that_reads_the_question_alone_loses_nothing_by_the_swap():
    predicted = [1.0, 2, 3, 4]
    found = measure(rows([1, 2, 3, 4], predicted, "aabb", swapped=predicted))
    assert value(found, "swap_accuracy") == 0.5
    assert value(found, "swap_spearman_drop") == 0


def test_the_drop_is_what_the_swap_takes_from_the_rank_correlation():
    found = measure(rows([1, 2, 3, 4], [1, 2, 3, 4], "aabb", swapped=[4, 3, 2, 1.0]))
    assert value(found, "swap_spearman_drop") == pytest.approx(2)


# ---- pairs -------------------------------------------------------------------------------------


def test_pairs_are_of_one_cluster_the_better_row_first():
    table = rows([1, 4, 2.5, 5], [0, 0, 0, 0], "abab")
    assert sorted(verifier_measures.clear_pairs(table, 1.0)) == [(2, 0), (3, 1)]


@pytest.mark.parametrize(("gap", "pairs_n"), [(1.0, 1), (1.25, 0), (0.5, 1)])
def test_a_pair_is_at_least_the_gap_apart(gap: float, pairs_n: int):
    assert len(verifier_measures.clear_pairs(rows([1, 2], [0, 0], "aa"), gap)) == pairs_n


def test_pairs_name_positions_whatever_the_index_is():
    table = rows([1, 4, 2], [0, 0, 0], "aaa").set_axis([7, 7, 3])
    assert sorted(verifier_measures.clear_pairs(table, 2.0)) == [(1, 0), (1, 2)]


# ---- intervals ---------------------------------------------------------------------------------


def test_a_model_that_rates_by_length_is_not_above_the_word_count():
    words = [1, 2, 5, 4, 3, 6]
    table = rows([1, 3] * 3, [w / 10 for w in words], "aabbcc", words)
    found = measure(table)
    for name in ("pair_accuracy_minus_words", "spearman_minus_words"):
        (row,) = found[found.measure == name].to_dict("records")
        assert [row["value"], row["low"], row["high"]] == [0, 0, 0]
    # nothing is left of it when the word count is given
    assert np.isnan(value(found, "partial_spearman"))


def test_limits_of_a_rank_statistic_are_those_of_ranking_each_draw_anew():
    table = rows([2, 2, 3, 4, 5, 2], [2, 1, 3, 5, 4, 2], "aabbcc", [3, 1, 2, 2, 5, 4])
    found = measure(table, samples=100)
    draws = []
    for counts in stats.resamples(3, 100, 1):
        names = [name for name, n in zip("abc", counts, strict=True) for _ in range(int(n))]
        one = pd.concat([table[table.cluster_id == name] for name in names])
        rating = one.rating.to_numpy(float)
        model, words = (
            stats.spearman(one[name].to_numpy(float), rating) for name in ("predicted", "words_n")
        )
        draws.append(model - words)
    assert np.isnan(draws).any()  # one cluster alone may have no rank correlation
    (row,) = found[found.measure == "spearman_minus_words"].to_dict("records")
    assert [row["low"], row["high"]] == pytest.approx(np.nanquantile(draws, [0.025, 0.975]))


def test_a_partial_correlation_by_hand_and_at_its_ends():
    a, b, c = (np.array(v, dtype=float) for v in ([1, 2, 3, 4], [1, 3, 2, 4], [2, 1, 4, 3]))
    ab, ac, bc = 0.8, 0.6, 0.0
    wanted = (ab - ac * bc) / np.sqrt((1 - ac**2) * (1 - bc**2))
    assert partial_correlation(a, b, c) == pytest.approx(wanted)
    assert partial_correlation(a, b, np.ones(4)) == pytest.approx(0.8)
    assert np.isnan(partial_correlation(a, b, a))
    assert np.isnan(correlation(a[:2], b[:2]))


def test_the_seed_decides_the_limits():
    table = rows([1, 3] * 3, [1, 3, 3, 1, 1, 2], "aabbcc", [1, 2, 2, 1, 1, 1])
    columns = {"a": table.predicted.to_numpy(float), "b": table.rating.to_numpy(float)}

    def limits(seed: int) -> tuple[float, float]:
        (found,) = rank_intervals(
            columns,
            table.cluster_id.to_numpy(),
            [lambda r: correlation(r["a"], r["b"])],
            (20, 0.95, seed),
        )
        return found.low, found.high

    assert limits(1) == limits(1) != limits(4)


# ---- symmetries --------------------------------------------------------------------------------

few = settings(max_examples=25, deadline=None)


@few
@given(RATED)
def test_a_monotone_change_of_the_predictions_changes_no_rank(found: list[tuple[int, int, str]]):
    table = drawn(found)
    before = measure(table, samples=10)
    after = measure(table.assign(predicted=np.exp(table.predicted)), samples=10)
    names = ["spearman", "partial_spearman", "pair_accuracy", "spearman_minus_words"]
    of_ranks = before.measure.isin(names)
    pd.testing.assert_frame_equal(after[of_ranks], before[of_ranks])


@few
@given(RATED)
def test_the_opposite_prediction_orders_what_the_first_does_not(found: list[tuple[int, int, str]]):
    table = drawn(found)
    first = measure(table, samples=10)
    second = measure(table.assign(predicted=5 - table.predicted), samples=10)
    for name, total in (("pair_accuracy", 1), ("spearman", 0)):
        both = value(first, name) + value(second, name)
        assert np.isnan(both) or both == pytest.approx(total)


@few
@given(RATED)
def test_a_perfect_prediction_makes_no_error_and_orders_every_pair(
    found: list[tuple[int, int, str]],
):
    table = drawn(found)
    perfect = measure(table.assign(predicted=table.rating), samples=10)
    assert value(perfect, "mse") == value(perfect, "ece") == 0
    for name in ("pair_accuracy", "spearman"):
        assert np.isnan(value(perfect, name)) or value(perfect, name) == pytest.approx(1)
