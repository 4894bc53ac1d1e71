"""Win rates: judges that look at the place or the length only, symmetries, values by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import InputError
from schemas.win_rates import STRENGTHS, WinRates
from stages.pure import winrates
from stages.pure.comparison import Resampling, all_pairs
from stages.pure.winrates import (
    from_both_orders,
    length_controlled,
    length_flag,
    strengths,
    verdicts,
    win_rate,
)
from stages.runtime import artifacts
from tests import invented

HOW = Resampling(300, 0.95, 13)
VERDICT = st.sampled_from([0.0, 0.5, 1.0])
QUESTIONS = st.lists(st.tuples(VERDICT, st.integers(-20, 20), st.integers(0, 9)), min_size=1)


def judged(won: np.ndarray, longer: np.ndarray, clusters: np.ndarray | None = None) -> pd.DataFrame:
    names = np.arange(len(won)) if clusters is None else clusters
    return pd.DataFrame({"verdict": won, "longer": longer, "cluster_id": names})


# ---- who wins ----------------------------------------------------------------------------


def test_a_difference_within_the_tolerance_is_a_tie():
    found = verdicts(np.array([0.3, 0.05, 0.0, -0.05, -0.06, np.nan]))
    assert found.tolist()[:5] == [1.0, 0.5, 0.5, 0.5, 0.0]
    assert np.isnan(found[5])  # what is not scored is no loss
    assert verdicts(np.array([0.3]), tie=0.3).tolist() == [0.5]


def test_wins_and_losses_are_counted_by_size():
    found = strengths(np.array([0.5, 3.3 - 3.05, 0.249, 0.06, 0.05, -0.06, -0.25, -0.49, -2.0]))
    assert found == dict(zip([f"{name}_n" for name in STRENGTHS], [1, 1, 2, 1, 2, 1], strict=True))


@given(st.lists(st.floats(-3, 3), max_size=20))
def test_sizes_of_wins_mirror_and_add_up(differences: list[float]):
    change = np.array(differences)
    one, other = strengths(change), strengths(-change)
    assert list(one.values()) == list(other.values())[::-1]
    assert sum(list(one.values())[:3]) == int((verdicts(change) == 1).sum())


def test_a_judge_of_pairs_that_always_picks_the_first_finds_nobody_better():
    first = np.ones(40)
    found = from_both_orders(first, first)
    assert win_rate(judged(found.verdicts, np.zeros(40)), HOW)["win_frac"] == 0.5
    assert found.position_bias == 1.0
    assert from_both_orders(1 - first, 1 - first).position_bias == -1.0


def test_a_judge_of_pairs_is_believed_where_both_orders_agree():
    # a wins in both, b wins in both, the first wins in both, tie in one order only, both tie
    a_first, b_first = np.array([1, 0, 1, 0.5, 0.5]), np.array([0, 1, 1, 0, 0.5])
    found = from_both_orders(a_first, b_first)
    assert found.verdicts.tolist() == [1.0, 0.0, 0.5, 0.5, 0.5]
    assert found.position_bias == pytest.approx((0 + 0 + 1 - 0.5 + 0) / 5)


def test_an_order_that_was_not_read_leaves_no_verdict_and_no_tie():
    found = from_both_orders(np.array([1.0, np.nan]), np.array([0.0, 0.0]))
    assert found.verdicts[0] == 1.0
    assert np.isnan(found.verdicts[1])
    assert found.position_bias == 0.0
    assert np.isnan(from_both_orders(np.array([np.nan]), np.array([1.0])).position_bias)


@given(st.lists(st.tuples(VERDICT, VERDICT), min_size=1))
def test_swapping_the_texts_of_a_judge_of_pairs_swaps_the_verdicts(orders: list):
    a_first, b_first = np.array(orders).T
    one, other = from_both_orders(a_first, b_first), from_both_orders(b_first, a_first)
    assert other.verdicts.tolist() == (1 - one.verdicts).tolist()
    assert other.position_bias == pytest.approx(one.position_bias)


# ---- at equal length ---------------------------------------------------------------------


@pytest.mark.parametrize("mean_words", [0, 4, -8])
def test_a_judge_that_picks_the_longer_text_finds_nobody_better_at_equal_length(mean_words: int):
    longer = np.round(np.random.default_rng(13).normal(mean_words, 7, 308))
    found = win_rate(judged(verdicts(longer, tie=0), longer), HOW)
    assert found["win_frac"] == pytest.approx(0.5 + np.tanh(mean_words / 9) / 2, abs=0.07)
    assert found["length_controlled_frac"] == pytest.approx(0.5, abs=0.05)
    # where length decides every verdict, the ridge leaves a hundredth of the policy's own rate
    low, high = found["length_controlled_low"], found["length_controlled_high"]
    assert low - 0.01 < 0.5 < high + 0.01
    assert found["length_effect"] > 5


def test_a_judge_that_ignores_length_is_as_good_as_before():
    random = np.random.default_rng(13)
    won, longer = (random.random(600) < 0.7).astype(float), random.normal(5, 7, 600)
    found = win_rate(judged(won, longer), HOW)
    assert found["length_controlled_frac"] == pytest.approx(found["win_frac"], abs=0.03)
    assert found["length_effect"] == pytest.approx(0, abs=0.5)


def test_a_planted_rate_is_found_under_a_planted_effect_of_length():
    random = np.random.default_rng(13)
    longer = random.normal(6, 7, 20000)
    odds = 0.4 + 1.5 * np.tanh(longer / longer.std())
    won = (random.random(20000) < 1 / (1 + np.exp(-odds))).astype(float)
    rate, effect = length_controlled(won, longer, np.ones((1, 20000)))
    assert rate[0] == pytest.approx(1 / (1 + np.exp(-0.4)), abs=0.02)
    assert effect[0] == pytest.approx(1.5, abs=0.1)


def test_four_questions_by_hand():
    # longer: 3 of 4 won; shorter: 1 of 4 won; SD = 5, tanh(+-1) -> symmetric, rate 1/2 and
    # effect = log(3) / tanh(1), but for the ridge
    longer = np.array([5.0] * 4 + [-5.0] * 4)
    won = np.array([1.0, 1, 1, 0, 1, 0, 0, 0])
    rate, effect = length_controlled(won, longer, np.ones((1, 8)))
    assert rate[0] == pytest.approx(0.5)
    assert effect[0] == pytest.approx(np.log(3) / np.tanh(1), abs=0.03)


def test_the_fit_is_that_of_a_library():
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(13)
    won, longer = random.choice([0.0, 0.5, 1.0], 200), random.normal(2, 5, 200)
    weights = random.integers(0, 3, (2, 200)).astype(float)
    feature = np.column_stack([np.ones(200), np.tanh(longer / longer.std())])
    rates, effects = length_controlled(won, longer, weights)
    for rate, effect, weight in zip(rates, effects, weights, strict=True):
        model = LogisticRegression(C=1 / winrates.RIDGE, fit_intercept=False, tol=1e-10)
        outcomes = np.repeat([1, 0], 200)  # a tie is half a win and half a loss
        model.fit(np.vstack([feature] * 2), outcomes, np.r_[weight * won, weight * (1 - won)])
        assert np.log(rate / (1 - rate)) == pytest.approx(model.coef_[0, 0], abs=1e-5)
        assert effect == pytest.approx(model.coef_[0, 1], abs=1e-5)


def test_a_fit_that_does_not_settle_is_no_rate(monkeypatch: pytest.MonkeyPatch):
    won, longer = np.array([1.0, 1, 0, 1]), np.array([-3.0, 2, -1, 4])
    assert np.isfinite(length_controlled(won, longer, np.ones((1, 4)))).all()
    monkeypatch.setattr(winrates, "STEPS", 1)
    assert np.isnan(length_controlled(won, longer, np.ones((1, 4)))).all()


@settings(deadline=None)  # the first call draws the resamples
@given(QUESTIONS)
def test_swapping_the_policies_mirrors_every_number(rows: list[tuple[float, int, int]]):
    won, longer, clusters = (np.array(column) for column in zip(*rows, strict=True))
    one = win_rate(judged(won, longer, clusters), HOW)
    other = win_rate(judged(1 - won, -longer, clusters), HOW)
    mirrored = {
        "wins_n": one["losses_n"],
        "losses_n": one["wins_n"],
        "length_effect": one["length_effect"],
    }
    for name in ("win", "length_controlled"):
        low, high = one[f"{name}_low"], one[f"{name}_high"]
        mirrored |= {f"{name}_frac": 1 - one[f"{name}_frac"]}
        mirrored |= {f"{name}_low": 1 - high, f"{name}_high": 1 - low}
    assert other == pytest.approx(one | mirrored, nan_ok=True, abs=1e-6)


@pytest.mark.parametrize("won", [np.ones(30), np.zeros(30), np.full(30, 0.5)])
@pytest.mark.parametrize("longer", [np.zeros(30), np.arange(30) - 15.0])
def test_verdicts_that_are_all_alike_have_finite_rates(won: np.ndarray, longer: np.ndarray):
    found = win_rate(judged(won, longer), HOW)
    assert found["length_controlled_frac"] == pytest.approx(won[0], abs=0.01)
    assert np.isfinite([found["length_controlled_low"], found["length_effect"]]).all()


def test_if_one_policy_is_always_longer_the_rate_at_equal_length_is_unknown():
    won, longer = np.ones(30), np.arange(30) + 3.0
    found = win_rate(judged(won, longer), HOW)
    assert (found["win_frac"], found["wins_n"]) == (1.0, 30)
    names = ["length_controlled_frac", "length_controlled_low", "length_effect"]
    assert np.isnan([found[name] for name in names]).all()
    longer[0] = 0  # one question of equal length: about a third of the resamples lack it
    found = win_rate(judged(won, longer), HOW)
    assert np.isfinite(found["length_controlled_frac"])
    assert np.isnan(found["length_controlled_low"])


def test_one_cluster_has_a_rate_and_no_limits_and_nothing_has_none():
    found = win_rate(judged(np.array([1.0, 0.5]), np.array([1, -1]), np.array(["c", "c"])), HOW)
    assert found["win_frac"] == 0.75
    assert np.isnan([found["win_low"], found["length_controlled_low"]]).all()
    found = win_rate(judged(np.array([np.nan]), np.array([1.0])), HOW)
    assert found["questions_n"] == 0
    assert np.isnan([found["win_frac"], found["length_controlled_frac"]]).all()


# ---- the table ---------------------------------------------------------------------------


def evaluations() -> pd.DataFrame:
    """DPO and SFT on twelve questions of six clusters; DPO's last judge score is null."""
    rows = [
        (policy, 13, f"q{q}", f"c{q // 2}", "a", "sampled", 0, metric, role, value, None)
        for q in range(12)
        for policy in ("dpo", "sft")
        for metric, role, value in (
            ("judge", "heldout", 3.0 + (policy == "dpo") * [0.6, 0.3, 0.1, 0.0, -0.1, -0.7][q % 6]),
            ("words", "diagnostic", 20.0 + (policy == "dpo") * (q % 5 - 2)),
        )
    ]
    table = invented.table(invented.Evaluations, rows)
    is_last = (table.question_id == "q11") & (table.policy == "dpo") & (table.metric == "judge")
    return table.assign(
        value=table.value.mask(is_last), reason=table.reason.mask(is_last, "too long")
    )


def of_one_judge() -> pd.DataFrame:
    return winrates.win_rates(all_pairs(evaluations(), []), ["judge"], HOW).assign(
        is_only_longer=False
    )


def test_a_row_per_pair_of_policies_and_judge():
    table = of_one_judge()
    table = artifacts.validate(WinRates, artifacts.conform(WinRates, table), Path("win_rates"))
    assert len(table) == 1
    row = table.iloc[0]
    assert (row.policy_a, row.policy_b, row.decoding, row.scorer) == (
        "dpo",
        "sft",
        "sampled",
        "judge",
    )
    assert (row.wins_n, row.ties_n, row.losses_n, row.questions_n) == (6, 2, 3, 11)
    assert [row[f"{name}_n"] for name in STRENGTHS] == [2, 2, 2, 2, 0, 1]
    assert row.win_frac == pytest.approx((6 + 1) / 11)
    assert np.isnan(row.position_bias_frac)


def test_without_a_common_question_the_table_is_empty():
    only = evaluations()
    assert winrates.win_rates(all_pairs(only[only.policy == "dpo"], []), ["judge"], HOW).empty


@pytest.mark.parametrize(
    "change", [{"wins_n": 7}, {"much_better_n": 1}, {"win_frac": 1.2}, {"length_effect": "?"}]
)
def test_numbers_that_do_not_add_up_are_refused(change: dict):
    table = of_one_judge().assign(**change)
    with pytest.raises(InputError):
        artifacts.validate(WinRates, artifacts.conform(WinRates, table), Path("win_rates"))


def test_a_judge_of_pairs_gives_no_sizes():
    table = of_one_judge()
    table[[f"{name}_n" for name in STRENGTHS]] = pd.NA
    table = table.assign(position_bias_frac=0.2)
    artifacts.validate(WinRates, artifacts.conform(WinRates, table), Path("win_rates"))


# ---- longer, and nothing else ------------------------------------------------------------


def family(words_low: float, p_holm: dict[str, float], gain: float = 0.1) -> pd.DataFrame:
    rows = [("words", 4.0, words_low, np.nan)]
    rows += [(metric, gain, np.nan, p) for metric, p in p_holm.items()]
    return pd.DataFrame(rows, columns=["metric", "difference", "low", "p_value_holm"])


def rates(low: float) -> pd.DataFrame:
    return pd.DataFrame({"scorer": ["judge"], "length_controlled_low": [low]})


@pytest.mark.parametrize(
    ("table", "judge_low", "is_flagged"),
    [
        (family(1.0, {"acr": 0.2, "judge": 0.3}), 0.4, True),
        (family(-1.0, {"acr": 0.2, "judge": 0.3}), 0.4, False),  # not clearly longer
        (family(1.0, {"acr": 0.01, "judge": 0.3}), 0.4, False),
        (family(1.0, {"acr": 0.01, "judge": 0.3}, gain=-0.1), 0.4, True),  # longer and worse
        (family(1.0, {"acr": 0.2, "judge": 0.01}), 0.4, True),  # the judge likes length
        (family(1.0, {"acr": 0.2, "judge": 0.01}), np.nan, True),
        (family(1.0, {"acr": 0.2, "judge": 0.01}), 0.51, False),
    ],
)
def test_a_policy_that_only_writes_more_is_flagged(table, judge_low: float, is_flagged: bool):
    assert length_flag(table, rates(judge_low)) is is_flagged
