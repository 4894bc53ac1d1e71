"""Figures on judged rows: by hand, and against what they must do when nothing is known."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from stages.pure import measured_scorers
from stages.pure.measured_scorers import (
    auc,
    bag_of_words,
    is_held_out,
    labelled,
    markdown,
    ratings,
)


def rated(count: int = 60, seed: int = 0) -> pd.DataFrame:
    """Three texts of each of `count` questions, two questions a group; `good` knows the rating."""
    random = np.random.default_rng(seed)
    rows = [(f"q{q}", f"g{q // 2}", 1.0 + 1.5 * text) for q in range(count) for text in range(3)]
    table = pd.DataFrame(rows, columns=["question_id", "group", "rating"])
    return table.assign(
        good=table.rating + random.normal(0, 0.1, len(table)),
        noise=random.normal(size=len(table)),
        flat=1.0,
    )


def value(table: pd.DataFrame, measure: str, scorer: str) -> pd.Series:
    found = table[(table.measure == measure) & (table.scorer == scorer)]
    assert len(found) == 1
    return found.iloc[0]


# ---- the split -----------------------------------------------------------------------------


def test_the_split_is_the_hash_of_the_name_and_stays_what_it_was():
    # the last two decimal digits of SHA-256 of "a", "b", "d", "f", from another tool
    parts = np.array([99, 65, 40, 77, 99])
    names = pd.Series(["a", "b", "d", "f", "a"])
    for percent in (1, 20, 50, 99):
        assert is_held_out(names, percent).tolist() == (parts < percent).tolist()


@given(st.lists(st.text(max_size=4), min_size=1, max_size=30), st.randoms())
def test_a_group_is_on_one_side_whatever_else_is_in_the_file(names: list[str], random):
    sides = dict(zip(names, is_held_out(pd.Series(names), 20), strict=True))
    others = [*names, *(f"new {i}" for i in range(5))]
    random.shuffle(others)
    again = dict(zip(others, is_held_out(pd.Series(others), 20), strict=True))
    assert {name: again[name] for name in sides} == sides


def test_a_fifth_is_held_out():
    found = is_held_out(pd.Series([f"group {i}" for i in range(5000)]), 20)
    assert 0.18 < found.mean() < 0.22


# ---- ratings -------------------------------------------------------------------------------


def test_rank_correlation_and_pairs_by_hand():
    rows = pd.DataFrame(
        {
            "question_id": ["q", "q", "q", "r", "r"],
            "group": ["g", "g", "g", "h", "h"],
            "rating": [1.0, 2.0, 4.0, 3.0, 3.5],
            "judge": [1.0, 3.0, 2.0, 5.0, 4.0],
            "words": [7.0, 7.0, 7.0, 7.0, 7.0],
        }
    )
    table = ratings(rows, "judge", ["words"], gap=1.0)
    # ranks of rating 1 2 5 3 4 and of judge 1 3 2 5 4: squared differences 0 1 9 4 0
    assert value(table, "rank correlation", "judge").value == pytest.approx(1 - 6 * 14 / (5 * 24))
    # pairs of q only: 2 over 1 right, 4 over 1 right, 4 over 2 wrong; a tie is one half
    pairs = value(table, "pairs in order", "judge")
    assert (pairs.value, pairs.n, pairs.groups_n) == (pytest.approx(2 / 3), 3, 1)
    assert value(table, "pairs in order", "words").value == 0.5
    assert value(table, "pairs in order", "judge - words").value == pytest.approx(2 / 3 - 1 / 2)
    assert np.isnan(value(table, "rank correlation", "words").value)
    assert np.isnan(pairs.low)  # one group has no interval


def test_who_knows_the_rating_is_clearly_above_noise_and_noise_is_not():
    table = ratings(rated(), "good", ["noise"], gap=1.0)
    for measure in ("rank correlation", "pairs in order"):
        assert value(table, measure, "good - noise").low > 0.2
    table = ratings(rated().assign(other=rated(seed=1).noise), "noise", ["other"], gap=1.0)
    for measure in ("rank correlation", "pairs in order"):
        between = value(table, measure, "noise - other")
        assert between.low < 0 < between.high


def test_a_scorer_is_nothing_above_itself():
    table = ratings(rated().assign(same=rated().good), "good", ["same"], gap=1.0)
    for measure in ("rank correlation", "pairs in order"):
        assert value(table, measure, "good - same")[["value", "low", "high"]].tolist() == [0, 0, 0]


def test_questions_of_one_group_are_no_pairs_and_count_as_one_for_the_interval():
    table = ratings(rated(count=20), "good", ["noise"], gap=1.0)
    row = value(table, "pairs in order", "good")
    assert (row.n, row.groups_n) == (20 * 3, 10)


def test_the_order_of_the_rows_does_not_matter():
    rows = rated()
    shuffled = rows.sample(frac=1, random_state=3)
    first, second = (ratings(table, "good", ["noise"], 1.0) for table in (rows, shuffled))
    pd.testing.assert_frame_equal(first, second)


def test_a_missing_prediction_is_no_zero():
    with pytest.raises(ValueError, match="missing"):
        ratings(rated().assign(noise=np.nan), "good", ["noise"], 1.0)


def test_no_pair_apart_has_no_accuracy():
    table = ratings(rated(), "good", ["noise"], gap=4.5)
    row = value(table, "pairs in order", "good")
    assert (row.n, np.isnan(row.value)) == (0, True)


# ---- labels --------------------------------------------------------------------------------


def test_auc_by_hand():
    truth = np.array([True, True, False, False])
    # of the four pairs: .9 is above both, .4 above .1 and level with .4
    found = auc(truth, np.array([0.9, 0.4, 0.4, 0.1]), np.ones(4))
    assert found == pytest.approx(3.5 / 4)
    assert np.isnan(auc(np.ones(3, dtype=bool), np.arange(3.0), np.ones(3)))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 3)), min_size=2))
def test_auc_is_that_of_scikit_learn_with_weights(rows: list[tuple[bool, int, int]]):
    truth, values, weights = (np.array(column) for column in zip(*rows, strict=True))
    if weights[truth].sum() and weights[~truth].sum():
        expected = roc_auc_score(truth, values, sample_weight=weights)
        assert auc(truth, values.astype(float), weights.astype(float)) == pytest.approx(expected)


def pairs(count: int = 200) -> pd.DataFrame:
    """Premises with two hypotheses each, one of them entailed."""
    random = np.random.default_rng(0)
    table = pd.DataFrame({"group": np.repeat(np.arange(count), 2), "label": [True, False] * count})
    return table.assign(
        knows=np.where(table.label, 0.8, 0.2) + random.uniform(-0.1, 0.1, 2 * count),
        guesses=random.uniform(size=2 * count),
    )


def test_who_knows_the_label_is_right_and_who_guesses_is_at_chance():
    table = labelled(pairs(), "knows", ["guesses"])
    assert value(table, "accuracy", "always the same label").value == 0.5
    for measure in ("accuracy", "AUC"):
        assert value(table, measure, "knows").value == 1
        guessed = value(table, measure, "guesses")
        assert abs(guessed.value - 0.5) < 0.1
        assert value(table, measure, "knows - guesses").low > 0.3
    assert (table.low <= table.value).all()
    assert (table.value <= table.high).all()


def test_the_more_frequent_label_is_the_bar_whichever_it_is():
    for label in (True, False):
        rows = pairs().assign(label=[label, label] * 199 + [label, not label])
        table = labelled(rows, "knows", ["guesses"])
        assert value(table, "accuracy", "always the same label").value == 399 / 400


def test_words_that_give_a_label_away_are_found_and_others_are_not():
    truth = np.array([True, False] * 60)
    groups = np.repeat(np.arange(60), 2)
    given_away = ["it is outdoors" if entailed else "it is asleep" for entailed in truth]
    assert ((bag_of_words(given_away, truth, groups) > 0.5) == truth).all()
    own = [f"word{group} here" for group in groups]  # of the premise, so of both labels
    assert bag_of_words(own, truth, groups) == pytest.approx([0.5] * 120, abs=0.05)


# ---- text ----------------------------------------------------------------------------------


def test_the_table_as_text_has_a_dash_where_a_number_cannot_be_had():
    nan = float("nan")
    rows = [("AUC", "a", 0.75, 0.5, 1.0, 4, 2), ("AUC", "b", nan, nan, nan, 0, 0)]
    text = markdown(pd.DataFrame(rows, columns=measured_scorers.COLUMNS))
    assert text.split("\n")[2:] == [
        "| AUC | a | 0.750 | 0.500 to 1.000 | 4 | 2 |",
        "| AUC | b | - | - | 0 | 0 |",
    ]
