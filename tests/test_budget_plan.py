"""A plan never spends more than there is, and a bigger budget takes nothing from a strategy."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InputError
from stages.pure.budget_plan import (
    NEW,
    REPHRASED,
    Ratios,
    Share,
    affordable_calls,
    plan,
)

WANTED = {NEW: 1, "reasoned_positive": 1, REPHRASED: 2, "malgorithm": 3}
RATIOS = Ratios(rephrase=4, new=8)
names = st.sampled_from([NEW, REPHRASED, "reasoned_positive", "malgorithm", "circular"])
wants = st.dictionaries(names, st.integers(1, 5), max_size=5)
ratios = st.lists(st.floats(0, 30), min_size=2, max_size=2).map(lambda two: Ratios(*sorted(two)))


def calls(max_calls: int, questions_n: int = 10) -> dict[str, int]:
    shares = plan(WANTED, questions_n, max_calls, RATIOS)
    return {strategy: share.calls_n for strategy, share in shares.items()}


# ---- by hand -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("max_calls", "positive", "malgorithm", "rephrased", "new"),
    [
        (0, 0, 0, 0, 0),
        (7, 7, 0, 0, 0),
        (12, 10, 0, 0, 0),  # two calls are no malgorithm
        (15, 10, 3, 0, 0),
        (39, 10, 27, 0, 0),  # ratio 3.9: not rephrased yet
        (40, 10, 30, 0, 0),  # ratio 4: rephrased, but nothing is left
        (45, 10, 30, 4, 0),
        (79, 10, 30, 20, 0),  # ratio 7.9: 19 calls are left over
        (80, 10, 30, 20, 10),
        (999, 10, 30, 20, 10),
    ],
)
def test_ten_questions_by_hand(
    max_calls: int, positive: int, malgorithm: int, rephrased: int, new: int
):
    expected = {
        "reasoned_positive": positive,
        "malgorithm": malgorithm,
        REPHRASED: rephrased,
        NEW: new,
    }
    found = calls(max_calls)
    assert found == expected
    assert list(found) == list(expected)  # the order of spending


def test_importance_decides_among_strategies_that_open_together():
    assert plan({"a": 2, "b": 1}, 2, 4, RATIOS) == {"a": Share(2, 4), "b": Share(0, 0)}
    assert plan({"b": 1, "a": 2}, 2, 4, RATIOS) == {"b": Share(2, 2), "a": Share(1, 2)}


def test_a_cheaper_strategy_does_not_take_what_a_dearer_one_waits_for():
    # with 5 calls, b would get 2 if it might; with 6 it would then have to give them back
    assert plan({"a": 3, "b": 1}, 2, 5, RATIOS) == {"a": Share(1, 3), "b": Share(0, 0)}
    assert plan({"a": 3, "b": 1}, 2, 6, RATIOS) == {"a": Share(2, 6), "b": Share(0, 0)}


def test_ratios_of_zero_open_everything_at_once():
    shares = plan({NEW: 1, "a": 1, REPHRASED: 1}, 2, 5, Ratios(0, 0))
    assert shares == {NEW: Share(2, 2), "a": Share(2, 2), REPHRASED: Share(1, 1)}


@pytest.mark.parametrize(
    ("usd", "price", "expected"),
    [(0.3, 0.1, 3), (0.29, 0.1, 2), (0, 0.1, 0), (5, 0.002, 2500), (1e-9, 1.0, 0), (1, 3, 0)],
)
def test_affordable_calls_by_hand(usd: float, price: float, expected: int):
    assert affordable_calls(usd, price) == expected


# ---- laws ----------------------------------------------------------------------------------


@given(wants, st.integers(1, 30), st.integers(0, 400), ratios)
def test_no_more_is_spent_than_there_is_and_no_question_is_served_twice(
    wanted: dict[str, int], questions_n: int, max_calls: int, limits: Ratios
):
    shares = plan(wanted, questions_n, max_calls, limits)
    assert set(shares) == set(wanted)
    assert sum(share.calls_n for share in shares.values()) <= max_calls
    for strategy, share in shares.items():
        assert 0 <= share.questions_n <= questions_n
        assert share.calls_n == share.questions_n * wanted[strategy]


@given(wants, st.integers(1, 30), st.integers(0, 400), st.integers(0, 400), ratios)
def test_a_bigger_budget_takes_nothing_from_any_strategy(
    wanted: dict[str, int], questions_n: int, max_calls: int, more: int, limits: Ratios
):
    before = plan(wanted, questions_n, max_calls, limits)
    after = plan(wanted, questions_n, max_calls + more, limits)
    assert all(after[name].calls_n >= before[name].calls_n for name in wanted)


@given(wants, st.integers(1, 30), st.integers(0, 400), ratios)
def test_a_strategy_waits_for_its_ratio(
    wanted: dict[str, int], questions_n: int, max_calls: int, limits: Ratios
):
    shares = plan(wanted, questions_n, max_calls, limits)
    ratio = max_calls / questions_n
    if ratio < limits.rephrase:
        assert shares.get(REPHRASED, Share(0, 0)) == Share(0, 0)
    if ratio < limits.new:
        assert shares.get(NEW, Share(0, 0)) == Share(0, 0)


@given(st.floats(0, 1e6), st.floats(1e-6, 1e3))
def test_what_is_affordable_costs_no_more_than_there_is(usd: float, price: float):
    n = affordable_calls(usd, price)
    assert n * price <= usd * (1 + 1e-12)
    assert (n + 1) * price >= usd * (1 - 1e-12)


# ---- refusals ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "questions_n", "max_calls", "limits", "words"),
    [
        ({"a": 1}, 0, 5, RATIOS, "0 eligible questions"),
        ({"a": 1}, 2, -1, RATIOS, "budget of -1 calls"),
        ({"a": 0}, 2, 5, RATIOS, "a takes 0 calls"),
        ({"a": 1}, 2, 5, Ratios(5, 4), "from 5 calls"),
        ({"a": 1}, 2, 5, Ratios(-1, 4), "from -1 calls"),
        ({"a": 1}, 2, 5, Ratios(math.nan, 4), "from nan calls"),
    ],
)
def test_numbers_out_of_range_are_refused(
    wanted: dict[str, int], questions_n: int, max_calls: int, limits: Ratios, words: str
):
    with pytest.raises(InputError, match=words) as error:
        plan(wanted, questions_n, max_calls, limits)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("usd", "price"), [(-1, 1), (math.inf, 1), (math.nan, 1), (1, 0), (1, -1), (1, math.nan)]
)
def test_money_out_of_range_is_refused(usd: float, price: float):
    with pytest.raises(InputError, match=r"budget_usd|USD"):
        affordable_calls(usd, price)
