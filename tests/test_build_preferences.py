"""Pairs are the training signal: what may become one, in which order, how many, and why not."""

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.candidates import Candidates
from schemas.drops import Drops
from schemas.errors import InputError
from schemas.fitness import Fitness
from schemas.negatives import KINDS, Negatives
from schemas.preferences import Preferences
from schemas.questions import Questions
from schemas.scores import Scores
from schemas.synthetic import Synthetic
from schemas.synthetic_questions import SyntheticQuestions
from stages import build_preferences
from stages.build_preferences import check_split
from stages.pure import metrics, pairing
from stages.pure.pairing import Rule, summarize, tabulate, widest_gap
from stages.pure.rewards import Reward, rewards
from stages.runtime import artifacts, params, tracking
from tests import invented


def rule(
    gap: float,
    places: int,
    negatives: int,
    strategy: str = "all_pairs",
    ratio: float = 1.2,
    total: int | None = None,
) -> Rule:
    return Rule(strategy, gap, places, negatives, ratio, total)


def pair_texts(table: pd.DataFrame, how: Rule) -> pd.DataFrame:
    return pairing.pair_texts(table, how)[0]


def drop_texts(table: pd.DataFrame, pairs: pd.DataFrame, how: Rule) -> pd.DataFrame:
    return pairing.drop_texts(table, pairs, pairing.pair_texts(table, how)[1], how)


PARAMS = rule(1.0, 10, 1)
ENTRY = {"unit": "stars", "min_gap": 0.3, "sum": {"verifier": 1.0}, "product": {}, "at_least": {}}
REWARDS = {"verifier": ENTRY}
VERIFIER = Reward("stars", 0.3, {"verifier": 1.0}, {}, {})


def rewarded_texts(questions, candidates, negatives, scores: pd.DataFrame) -> pd.DataFrame:
    nothing = pairing.flagged(scores, [])
    return pairing.rewarded_texts(
        questions, candidates, negatives, rewards(scores, VERIFIER), nothing
    )


def texts(*rows: tuple[str, int, str, float | None]) -> pd.DataFrame:
    """`texts` from (question_id, candidate_index, explanation, reward).

    An index from 1000 on is a negative of the kind KINDS[index - 1000].
    """
    columns = ["question_id", "candidate_index", "explanation", "reward"]
    table = pd.DataFrame(rows, columns=columns).astype({"reward": float, "explanation": "str"})
    index = table.candidate_index
    return table.assign(
        cluster_id="c_" + table.question_id,
        origin=np.where(index >= 1000, "negative", np.where(index >= 100, "student", "sft")),
        negative_kind=pd.array([KINDS[i - 1000] if i >= 1000 else None for i in index], "str"),
        text_key=[" ".join(text.lower().split()) for text in table.explanation],
        words_n=[len(text.split()) for text in table.explanation],
        is_refused=False,
    )


def pair_keys(pairs: pd.DataFrame) -> list[tuple[str, int, int]]:
    return list(zip(pairs.question_id, pairs.chosen_index, pairs.rejected_index, strict=True))


def reasons(table: pd.DataFrame, how: Rule = PARAMS) -> dict[tuple[str, int], str]:
    drops = drop_texts(table, pair_texts(table, how), how)
    artifacts.validate(Drops, artifacts.conform(Drops, drops), Path("drops"))
    texts_of = zip(drops.question_id, drops.candidate_index, strict=True)
    return dict(zip(texts_of, drops.reason, strict=True))


# ---- which is chosen ----------------------------------------------------------------------


@pytest.mark.parametrize("rewards_of", [(1.0, 4.0), (4.0, 1.0)])
def test_the_higher_rewarded_text_is_chosen_wherever_it_stands(rewards_of: tuple[float, float]):
    pairs = pair_texts(texts(("q", 0, "a", rewards_of[0]), ("q", 1, "b", rewards_of[1])), PARAMS)
    best = int(rewards_of[1] > rewards_of[0])
    assert pair_keys(pairs) == [("q", best, 1 - best)]
    assert pairs.chosen.tolist() == ["ab"[best]]
    assert pairs.score_gap.tolist() == [3.0]


def test_a_pair_carries_the_columns_of_its_two_texts():
    table = texts(("q", 100, "mine", 4.0), ("q", 0, "ours", 1.0), ("q", 1002, "bad", 0.5))
    pairs = artifacts.conform(Preferences, pair_texts(table, PARAMS))
    artifacts.validate(Preferences, pairs, Path("preferences"))
    rows = pairs.astype(object).where(pairs.notna(), None).values.tolist()
    start = ["q", "c_q", 100]
    kind = KINDS[2]
    assert rows == [
        [*start, 0, "mine", "ours", "student", "sft", None, 4.0, 1.0, 3.0, 2],
        [*start, 1002, "mine", "bad", "student", "negative", kind, 4.0, 0.5, 3.5, 1],
    ]


@pytest.mark.parametrize(
    ("low", "high", "is_pair"),
    [(2.0, 2.99, False), (2.0, 3.0, True), (2.0, 3.01, True)],
)
def test_the_threshold_itself_is_wide_enough(low: float, high: float, is_pair: bool):
    table = texts(("q", 0, "a", low), ("q", 1, "b", high), ("r", 0, "a", 0.0), ("r", 1, "b", 5.0))
    assert ("q", 1, 0) in pair_keys(pair_texts(table, PARAMS)) or not is_pair
    assert len(pair_texts(table, PARAMS)) == 1 + is_pair


@pytest.mark.parametrize("low", [0.1, 0.7, 1.1, 2.0, 3.0, 4.4])
def test_the_threshold_holds_although_tenths_are_not_exact_in_binary(low: float):
    table = texts(("q", 0, "a", low), ("q", 1, "b", low + 0.3))
    assert len(pair_texts(table, rule(0.3, 1, 0))) == 1


def test_texts_of_different_questions_are_never_compared():
    table = texts(("q", 0, "a", 1.0), ("r", 0, "b", 5.0), ("s", 0, "c", 1.0), ("s", 1, "d", 5.0))
    assert pair_keys(pair_texts(table, PARAMS)) == [("s", 1, 0)]


def test_the_widest_gaps_come_first_and_indices_break_ties():
    table = texts(*[("q", i, f"t{i}", reward) for i, reward in enumerate([1.0, 4.0, 1.0, 4.0])])
    pairs = pair_texts(table, rule(1.0, 3, 0))
    assert pair_keys(pairs) == [("q", 1, 0), ("q", 1, 2), ("q", 3, 0)]
    assert pairs.pair_rank.tolist() == [1, 2, 3]


def test_a_question_gets_three_varied_pairs_and_not_only_its_two_ends():
    table = texts(("q", 0, "a", 5.0), ("q", 1, "b", 3.0), ("q", 2, "c", 1.5), ("q", 3, "d", 0.0))
    pairs = pair_texts(table, rule(1.0, 3, 0))
    gaps = dict(zip(pair_keys(pairs), pairs.score_gap, strict=True))
    assert gaps == {("q", 0, 3): 5.0, ("q", 0, 2): 3.5, ("q", 1, 3): 3.0}


# ---- what is in no pair -------------------------------------------------------------------


def test_an_unscored_text_is_in_no_pair_and_not_the_worst():
    # were null 0 stars, or NaN greater than everything, it would be in pairs
    table = texts(("q", 0, "unread", None), ("q", 1, "good", 4.0), ("q", 2, "poor", 1.0))
    assert pair_keys(pair_texts(table, PARAMS)) == [("q", 1, 2)]
    assert reasons(table) == {("q", 0): "unscored"}


def test_an_empty_text_is_in_no_pair_even_with_a_score():
    table = texts(("q", 0, " \n", 0.0), ("q", 1, "good", 4.0), ("q", 2, "", None), ("q", 3, "x", 1))
    assert pair_keys(pair_texts(table, PARAMS)) == [("q", 1, 3)]
    assert reasons(table) == {("q", 0): "empty_text", ("q", 2): "empty_text"}


def test_equal_scores_make_no_pair_also_without_a_minimum_gap():
    table = texts(("q", 0, "a", 3.0), ("q", 1, "b", 3.0), ("r", 0, "a", 1.0), ("r", 1, "b", 2.0))
    free = rule(0.0, 5, 0)
    assert pair_keys(pair_texts(table, free)) == [("r", 1, 0)]
    assert reasons(table, free) == {("q", 0): "tie", ("q", 1): "tie"}


def test_texts_that_differ_in_case_and_space_only_make_no_pair():
    table = texts(("q", 0, "Same  text\n", 1.0), ("q", 1, "same text", 4.0), ("r", 0, "a", 0.0))
    table = pd.concat([table, texts(("r", 1, "b", 5.0))], ignore_index=True)
    assert pair_keys(pair_texts(table, PARAMS)) == [("r", 1, 0)]
    assert reasons(table) == {("q", 0): "tie", ("q", 1): "tie"}


def test_the_same_two_texts_sampled_twice_are_one_pair():
    table = texts(("q", 0, "good", 4.0), ("q", 1, "bad", 1.0), ("q", 2, "Bad", 1.0))
    assert pair_keys(pair_texts(table, PARAMS)) == [("q", 0, 1)]
    assert reasons(table) == {("q", 2): "duplicate_text"}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(0, "a", 3.0)], {0: "only_candidate"}),
        ([(0, "a", 3.0), (1, "", None)], {0: "only_candidate", 1: "empty_text"}),
        ([(0, "a", 3.0), (1, "b", None)], {0: "only_candidate", 1: "unscored"}),
        ([(0, "a", 3.0), (1, "b", 3.0)], {0: "tie", 1: "tie"}),
        ([(0, "a", 3.0), (1, "b", 3.5)], {0: "below_gap", 1: "below_gap"}),
        ([(0, "a", 3.0), (1, "b", 3.0), (2, "c", 3.5)], dict.fromkeys(range(3), "below_gap")),
        ([(0, "a", 3.0), (1000, "x", 2.5)], {0: "only_candidate", 1000: "below_gap"}),
        ([(0, "a", 3.0), (1000, "x", 2.999)], {0: "only_candidate", 1000: "below_gap"}),
        ([(0, "a", 3.0), (1000, "x", 4.5)], {0: "only_candidate", 1000: "not_worse"}),
        ([(0, "a", 3.0), (1000, "x", 3.0)], {0: "only_candidate", 1000: "not_worse"}),
        ([(0, "a", 3.0), (1000, "A ", 3.0)], {0: "only_candidate", 1000: "tie"}),
        ([(0, "a", 3.0), (1000, "x", None)], {0: "only_candidate", 1000: "unscored"}),
        ([(0, "", None), (1000, "x", 1.0)], {0: "empty_text", 1000: "only_candidate"}),
        ([(0, "a", 5.0), (1, "b", 4.5), (2, "c", 1.0)], {1: "over_limit"}),
        ([(0, "a", 5.0), (1, "b", 1.0), (2, " A", 5.0)], {2: "duplicate_text"}),
        ([(0, "a", 5.0), (1, "b", 1.0), (2, "B", 1.0)], {2: "duplicate_text"}),
        # both copies are in no pair
        ([(0, "a", 5), (1, "b", 4), (2, "c", 1), (3, "B", 4)], dict.fromkeys((1, 3), "over_limit")),
        ([(0, "a", 5.0), (1000, "x", 1.0), (1001, "y", 1.0)], {"either": "over_limit"}),
    ],
)
def test_what_is_in_no_pair_says_why(rows: list[tuple], expected: dict):
    other = texts(("z", 0, "a", 0.0), ("z", 1, "b", 5.0))  # so that there is some pair
    table = pd.concat([texts(*[("q", *row) for row in rows]), other], ignore_index=True)
    found = reasons(table, rule(1.0, 1, 1))
    if "either" in expected:
        assert list(found.values()) == ["over_limit"]
    else:
        assert found == {("q", index): reason for index, reason in expected.items()}


def test_a_negative_that_copies_a_text_of_a_pair_is_a_duplicate():
    table = texts(
        ("q", 0, "a", 5.0), ("q", 1, "b", 1.0), ("q", 1000, "B", 1.0), ("q", 1001, "c", 1)
    )
    found = reasons(table, rule(1.0, 1, 0))
    assert found == {("q", 1000): "duplicate_text", ("q", 1001): "over_limit"}


# ---- negatives ----------------------------------------------------------------------------


def test_a_negative_is_rejected_for_the_best_candidate_only():
    table = texts(("q", 0, "a", 3.0), ("q", 1, "b", 5.0), ("q", 1000, "x", 1.0))
    assert pair_keys(pair_texts(table, PARAMS)) == [("q", 1, 0), ("q", 1, 1000)]


def test_a_negative_is_never_chosen_however_well_it_scores():
    table = texts(("q", 0, "a", 1.0), ("q", 1, "b", 3.0), ("q", 1000, "x", 5.0))
    assert pair_keys(pair_texts(table, PARAMS)) == [("q", 1, 0)]


def test_negatives_have_places_of_their_own():
    table = texts(*[("q", i, f"t{i}", float(i)) for i in range(4)], ("q", 1000, "x", 0.0))
    pairs = pair_texts(table, rule(1.0, 2, 1))
    assert (pairs.rejected_origin == "negative").tolist() == [False, False, True]
    assert pair_texts(table, rule(1.0, 2, 0)).rejected_index.max() < 1000


def test_kinds_are_mixed_although_one_is_always_the_widest():
    rows = []
    for n in range(200):
        rows.append((f"q{n}", 0, "good", 4.0))
        rows += [(f"q{n}", 1000 + k, f"bad {k}", 2.0 - k / 2) for k in range(len(KINDS))]
    kinds = pair_texts(texts(*rows), PARAMS).negative_kind.value_counts()
    assert set(kinds.index) == set(KINDS)
    assert kinds.min() >= 30  # 50 of each are expected, 6 is a standard deviation


def test_a_kind_that_is_not_worse_leaves_its_turn_to_another():
    rows = []
    for n in range(40):
        rows += [(f"q{n}", 0, "good", 4.0), (f"q{n}", 1000, "fine", 3.9), (f"q{n}", 1003, "x", 1)]
    pairs = pair_texts(texts(*rows), PARAMS)
    assert set(pairs.rejected_index) == {1003}
    assert len(pairs) == 40


def test_more_negatives_per_question_are_of_different_kinds():
    rows = [("q", 1000 + k, f"bad {k}", 1.0) for k in range(len(KINDS))]
    pairs = pair_texts(texts(("q", 0, "good", 4.0), *rows), rule(1.0, 1, 3))
    assert pairs.negative_kind.nunique() == len(pairs) == 3


# ---- rewards ------------------------------------------------------------------------------


def course() -> tuple[pd.DataFrame, ...]:
    return invented.questions(), invented.candidates(), invented.negatives(), invented.scores()


def test_texts_and_scores_meet_by_id_and_not_by_position():
    questions, candidates, negatives, given = course()
    table = rewarded_texts(questions, candidates, negatives, given)
    turned = rewarded_texts(
        questions[::-1], candidates[::-1], negatives[::-1], given.sample(frac=1, random_state=1)
    )
    key = ["question_id", "candidate_index"]
    pd.testing.assert_frame_equal(
        table.sort_values(key, ignore_index=True), turned.sort_values(key, ignore_index=True)
    )
    rows = table.set_index(key)
    assert rows.reward[("q1", 2)] == 3.0
    assert rows.cluster_id[("q1", 2)] == "c1"
    assert rows.negative_kind[("q1", 1000)] == "other_question"


def test_the_same_text_has_one_reward_and_never_beats_a_text_that_beats_it():
    # y lies between two ratings of x: (4 + 1) / 2 = 2.5 beats 2.0
    questions, candidates, negatives, given = course()
    own = (candidates.question_id == "q1") & (candidates.candidate_index < 3)
    words = dict(zip(range(3), ["Same text.", " same  TEXT.", "y"], strict=True))
    candidates = candidates.assign(
        explanation=candidates.explanation.mask(own, candidates.candidate_index.map(words))
    )
    values = {0: 4.0, 1: 1.0, 2: 2.0}
    rated = (given.question_id == "q1") & given.candidate_index.isin(values)
    rated &= given.role == "reward"
    given = given.assign(value=given.value.mask(rated, given.candidate_index.map(values)))
    table = rewarded_texts(questions, candidates, negatives, given)
    rows = table[table.question_id == "q1"].set_index("candidate_index").reward
    assert rows[[0, 1, 2]].tolist() == [2.5, 2.5, 2.0]
    others = rows.drop([0, 1, 2])
    as_given = rewarded_texts(*course())
    before = as_given[as_given.question_id == "q1"].set_index("candidate_index").reward
    assert others.tolist() == before.drop([0, 1, 2]).tolist()


def test_an_unscored_copy_takes_no_reward_and_gives_none():
    questions, candidates, negatives, given = course()
    own = (candidates.question_id == "q1") & (candidates.candidate_index < 2)
    candidates = candidates.assign(explanation=candidates.explanation.mask(own, "the same"))
    table = rewarded_texts(questions, candidates, negatives, given.iloc[2:])  # q1, 0 is unscored
    rows = table.set_index(["question_id", "candidate_index"]).reward
    assert np.isnan(rows[("q1", 0)])
    assert rows[("q1", 1)] == 2.0


def test_the_same_text_of_two_questions_has_two_rewards():
    questions, candidates, negatives, given = course()
    same = candidates.assign(explanation="the same")
    table = rewarded_texts(questions, same, negatives, given)
    ours = table[table.origin != "negative"].groupby("question_id").reward
    apart = rewarded_texts(questions, candidates, negatives, given)
    by_question = apart[apart.origin != "negative"].groupby("question_id").reward.mean()
    assert ours.nunique().max() == 1
    assert ours.mean().to_dict() == pytest.approx(by_question.to_dict())
    assert by_question.nunique() > 1


def test_a_dropped_score_row_shifts_no_other():
    questions, candidates, negatives, given = course()
    table = rewarded_texts(questions, candidates, negatives, given.iloc[2:])
    rows = table.set_index(["question_id", "candidate_index"]).reward
    assert np.isnan(rows[("q1", 0)])
    assert rows[("q1", 1)] == 2.0


def test_a_text_of_an_unknown_question_is_named():
    questions, candidates, negatives, given = course()
    with pytest.raises(InputError, match=r"question q1 .*dvc repro"):
        rewarded_texts(questions[questions.question_id != "q1"], candidates, negatives, given)


def test_held_out_scorers_select_nothing():
    questions, candidates, negatives, given = course()
    flipped = given.copy()
    is_heldout = flipped.role == "heldout"
    flipped.loc[is_heldout, "value"] = np.random.default_rng(1).normal(size=is_heldout.sum())
    flipped.loc[is_heldout, "reason"] = None
    gone = given[~is_heldout]
    found = []
    for table in (given, flipped, gone):
        rows = rewarded_texts(questions, candidates, negatives, table)
        pairs = pair_texts(rows, PARAMS)
        found.append((pairs, drop_texts(rows, pairs, PARAMS)))
    for pairs, drops in found[1:]:
        pd.testing.assert_frame_equal(pairs, found[0][0])
        pd.testing.assert_frame_equal(drops, found[0][1])
    assert len(found[0][0])


# ---- properties ---------------------------------------------------------------------------

REWARD = st.none() | st.integers(0, 20).map(lambda n: n / 4) | st.floats(0, 5)
TEXT = st.sampled_from(["", " ", "a", "A", "b", "c d", "C  d", "e", "f", "g"])


@st.composite
def tables(draw) -> pd.DataFrame:
    rows = []
    for name in draw(st.lists(st.sampled_from("pqr"), min_size=1, max_size=3, unique=True)):
        indices = draw(st.sets(st.sampled_from([0, 1, 2, 3, 100, 101]), max_size=6))
        indices |= draw(st.sets(st.sampled_from([1000, 1001, 1002, 1003])))
        rows += [(name, i, draw(TEXT), draw(REWARD)) for i in sorted(indices)]
    # one question that always gives a pair
    return texts(*rows, ("z", 0, "low", 0.0), ("z", 1, "high", 5.0))


SETTINGS = st.builds(
    rule,
    gap=st.sampled_from([0.0, 0.25, 0.3, 1.0]),
    places=st.integers(1, 4),
    negatives=st.integers(0, 3),
)
ANY = st.builds(
    rule,
    gap=st.sampled_from([0.0, 0.25, 0.3, 1.0]),
    places=st.integers(1, 4),
    negatives=st.integers(0, 3),
    strategy=st.sampled_from(pairing.STRATEGIES),
    ratio=st.sampled_from([1.0, 1.2, 2.0]),
    total=st.none() | st.just(1),
)


@settings(max_examples=25, deadline=None)
@given(tables(), ANY)
def test_every_text_is_in_a_pair_or_in_drops_and_never_in_both(table: pd.DataFrame, given_: Rule):
    pairs = pair_texts(table, given_)
    drops = drop_texts(table, pairs, given_)
    artifacts.validate(Preferences, artifacts.conform(Preferences, pairs), Path("preferences"))
    artifacts.validate(Drops, artifacts.conform(Drops, drops), Path("drops"))
    paired = {(q, i) for q, c, r in pair_keys(pairs) for i in (c, r)}
    dropped = list(zip(drops.question_id, drops.candidate_index, strict=True))
    assert paired.isdisjoint(dropped)
    assert len(dropped) == len(set(dropped))
    assert paired | set(dropped) == set(zip(table.question_id, table.candidate_index, strict=True))


@settings(max_examples=25, deadline=None)
@given(tables(), SETTINGS)
def test_pairs_keep_the_gap_and_the_places(table: pd.DataFrame, given_: Rule):
    pairs = pair_texts(table, given_)
    assert (pairs.score_gap >= given_.min_gap - 1e-9).all()
    assert (pairs.chosen_score > pairs.rejected_score).all()
    is_negative = pairs.rejected_origin == "negative"
    by_question = pairs.groupby("question_id").size()
    assert pairs[~is_negative].groupby("question_id").size().le(given_.pairs_per_question).all()
    assert pairs[is_negative].groupby("question_id").size().le(given_.negatives_per_question).all()
    for name, ranks in pairs.groupby("question_id").pair_rank:
        assert sorted(ranks) == list(range(1, by_question[name] + 1))


@settings(max_examples=25, deadline=None)
@given(tables(), SETTINGS)
def test_without_limits_the_pairs_are_all_that_a_double_loop_finds(
    table: pd.DataFrame, given_: Rule
):
    free = rule(given_.min_gap, 1000, 0)
    ours = table[(table.candidate_index < 1000) & table.reward.notna() & (table.text_key != "")]
    rows: list[Any] = list(ours.itertuples())
    expected = {
        (a.question_id, a.text_key, b.text_key)
        for a, b in itertools.permutations(rows, 2)
        if a.question_id == b.question_id and a.text_key != b.text_key
        if a.reward > b.reward and a.reward - b.reward >= free.min_gap - 1e-9
    }
    pairs = pair_texts(table, free)
    found = [
        (q, " ".join(c.lower().split()), " ".join(r.lower().split()))
        for q, c, r in zip(pairs.question_id, pairs.chosen, pairs.rejected, strict=True)
    ]
    assert len(found) == len(set(found))
    assert set(found) == expected


@settings(max_examples=25, deadline=None)
@given(tables(), ANY, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(table: pd.DataFrame, given_: Rule, random):
    order = list(range(len(table)))
    random.shuffle(order)
    turned = table.iloc[order].reset_index(drop=True)
    pairs, again = pair_texts(table, given_), pair_texts(turned, given_)
    pd.testing.assert_frame_equal(pairs, again)
    pd.testing.assert_frame_equal(
        drop_texts(table, pairs, given_), drop_texts(turned, again, given_)
    )


@settings(max_examples=25, deadline=None)
@given(tables(), SETTINGS)
def test_another_question_changes_nothing_in_this_one(table: pd.DataFrame, given_: Rule):
    more = pd.concat([table, texts(("y", 0, "a", 5.0), ("y", 1, "b", 0.0))], ignore_index=True)
    found = pair_texts(more, given_)
    pd.testing.assert_frame_equal(
        found[found.question_id != "y"].reset_index(drop=True), pair_texts(table, given_)
    )


@settings(max_examples=25, deadline=None)
@given(tables(), SETTINGS)
def test_no_two_texts_beat_each_other(table: pd.DataFrame, given_: Rule):
    same = table.groupby(["question_id", "text_key"]).reward.transform("mean")
    shared = table.assign(reward=table.reward.mask(table.reward.notna(), same))
    pairs = pair_texts(shared, replace(given_, pairs_per_question=1000))
    keys = [
        (q, metrics.comparable(c), metrics.comparable(r))
        for q, c, r in zip(pairs.question_id, pairs.chosen, pairs.rejected, strict=True)
    ]
    assert not {(q, r, c) for q, c, r in keys} & set(keys)


# ---- errors, report, stage ----------------------------------------------------------------


def test_no_pair_at_all_says_what_to_do():
    table = texts(("q", 0, "a", 3.0), ("q", 1, "b", 3.25))
    with pytest.raises(InputError, match=r"widest gap 0\.25\).*Lower min_score_gap"):
        pair_texts(table, PARAMS)
    with pytest.raises(InputError, match=r"widest gap 0\.00\)"):
        pair_texts(texts(("q", 0, "a", None)), PARAMS)


def test_the_widest_gap_is_within_a_question():
    assert widest_gap(texts(("q", 0, "a", 1.0), ("q", 1, "b", 2.5), ("r", 0, "a", 5.0))) == 1.5


@pytest.mark.parametrize("split", ["test", "judge", "validation"])
def test_a_pair_outside_the_train_split_is_named(split: str):
    questions = invented.questions()
    pairs = invented.preferences()
    check_split(pairs, questions)
    moved = questions.assign(split=questions.split.mask(questions.question_id == "q1", split))
    with pytest.raises(InputError, match=f"question q1 .*split '{split}'"):
        check_split(pairs, moved)


def test_a_pair_whose_cluster_is_tested_is_named_although_its_question_is_not():
    questions = invented.questions()
    clusters = questions.cluster_id.mask(questions.question_id == "q4", "c1")
    with pytest.raises(InputError, match=r"question q1 .*split 'test'"):
        check_split(invented.preferences(), questions.assign(cluster_id=clusters))


def test_the_report_by_hand():
    table = texts(
        ("q", 100, "one two three", 4.0),
        ("q", 0, "one", 1.0),
        ("q", 1, "one two", None),
        ("q", 1001, "w x y z", 2.0),
        ("q", 1002, "w", None),
        ("r", 0, "alone", 4.0),
    )
    pairs = pair_texts(table, PARAMS)
    numbers = summarize(table, pairs)
    assert numbers == {
        "pairs_n": 2,
        "questions_n": 2,
        "questions_paired_n": 1,
        "candidates_n": 4,
        "unscored_n": 1,
        "negatives_n": 2,
        "negatives_unscored_n": 1,
        "score_gap_median_score": 2.5,
        "chosen_longer_frac": 0.5,
        "chosen_mean_words": 3.0,
        "rejected_mean_words": 2.5,
        "chosen_sft_n": 0,
        "chosen_student_n": 2,
        "rejected_sft_n": 1,
        "rejected_student_n": 0,
        "rejected_negative_n": 1,
    }
    details = tabulate(pairs, drop_texts(table, pairs, PARAMS))
    assert details["negative_kinds"] == [{"negative_kind": KINDS[1], "n": 1}]
    assert details["drops"] == [
        {"origin": "negative", "reason": "unscored", "n": 1},
        {"origin": "sft", "reason": "only_candidate", "n": 1},
        {"origin": "sft", "reason": "unscored", "n": 1},
    ]


def fit(is_met: bool) -> pd.DataFrame:
    """A verifier whose checks are all met, or whose first one is not."""
    table = invented.fitness()
    return table[table.is_met.fillna(True) | (not is_met)]


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """The stage in a folder with the invented course."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tracking, "record", lambda *args: None)
    section = {"reward": "verifier", "strategy": "all_pairs", "min_score_gap": 1.0}
    section |= {"min_gap_errors": 0.0, "pairs_per_question": 3, "negatives_per_question": 1}
    section |= {"max_words_ratio": 1.2, "max_pairs": None, "refuse_chosen": []}
    section |= {"length_control": 0.0}
    given = {"build_preferences": section, "score_candidates": {"scorers": {"verifier": "reward"}}}
    monkeypatch.setattr(params, "declared", lambda name: given | {"rewards": REWARDS})
    artifacts.write(Fitness, fit(True), "reward")
    for schema, frame in zip((Questions, Candidates, Negatives, Scores), course(), strict=True):
        artifacts.write(schema, frame)
    artifacts.write(Synthetic, artifacts.empty(Synthetic))
    artifacts.write(SyntheticQuestions, artifacts.empty(SyntheticQuestions))
    return tmp_path


def test_the_stage_writes_what_it_announces_and_leaves_its_inputs_alone(stage: Path):
    inputs = {path: path.read_bytes() for path in (stage / "data").iterdir()}
    build_preferences.main()
    outputs = sorted(path.name for path in (stage / "data").iterdir() if path not in inputs)
    assert outputs == ["drops.parquet", "preferences.parquet"]
    assert {path: path.read_bytes() for path in inputs} == inputs
    report = json.loads((stage / "reports/build_preferences.json").read_text())
    pairs = artifacts.read(Preferences)
    assert report["metrics"]["pairs_n"] == len(pairs) == 4
    assert set(artifacts.read(Drops).question_id) == {"q2"}


def offered(*rows: tuple[int, str, str, str | None, float | None]) -> None:
    """Synthetic texts of q1: index, kind, text, reason, stars of the verifier."""
    texts = [
        ("q1", i, kind, None, text, why, "openai m", 1, 1, 0.0) for i, kind, text, why, _ in rows
    ]
    artifacts.write(Synthetic, invented.table(Synthetic, texts))
    rated = [("q1", i, "verifier", "reward", s, None) for i, *_, s in rows if s is not None]
    both = pd.concat([artifacts.read(Scores), invented.table(Scores, rated)], ignore_index=True)
    artifacts.write(Scores, both)


def test_a_correct_text_offered_as_a_negative_is_dropped_and_a_worse_one_is_used(stage: Path):
    best = float(artifacts.read(Scores).query("question_id == 'q1'").value.max())
    offered(
        (3000, "inverted_logic", "it is right after all", None, best + 0.1),
        (3100, "confused_concept", "it is another thing", None, best - 2.0),
        (3200, "gibberish", "short", "too_short", None),
    )
    build_preferences.main()
    drops = artifacts.read(Drops).set_index("candidate_index").query("question_id == 'q1'").reason
    assert drops[3000] == "not_worse"
    assert drops[3200] == "too_short"
    kinds = set(artifacts.read(Preferences).negative_kind.dropna())
    assert 3100 not in drops.index or drops[3100] == "over_limit"
    assert "inverted_logic" not in kinds


def test_a_synthetic_positive_may_be_chosen_and_is_counted(stage: Path):
    best = float(artifacts.read(Scores).query("question_id == 'q1'").value.max())
    offered((2000, "reasoned_positive", "a reason that is good", None, best + 1.0))
    build_preferences.main()
    pairs = artifacts.read(Preferences)
    assert (pairs.chosen_index == 2000).any()
    assert set(pairs.chosen_origin[pairs.chosen_index == 2000]) == {"synthetic"}
    report = json.loads((stage / "reports/build_preferences.json").read_text())
    assert report["metrics"]["chosen_synthetic_n"] == (pairs.chosen_index == 2000).sum()


def test_the_same_input_gives_the_same_bytes(stage: Path):
    files = ["data/preferences.parquet", "data/drops.parquet", "reports/build_preferences.json"]
    build_preferences.main()
    once = [(stage / name).read_bytes() for name in files]
    build_preferences.main()
    assert [(stage / name).read_bytes() for name in files] == once


def test_a_leaking_table_leaves_no_report(stage: Path):
    questions = invented.questions()
    artifacts.write(Questions, questions.assign(split="test"))
    with pytest.raises(InputError, match="question q1"):
        build_preferences.main()
    assert not (stage / "reports").exists()


def test_a_reward_that_is_length_alone_makes_no_pair_once_length_is_controlled():
    # reward = 2 + 0.1 * words exactly, so nothing is left beside length
    table = texts(*[("q", i, "word " * n, 2 + 0.1 * n) for i, n in enumerate((5, 10, 30))])
    assert pairing.length_slope(table) == pytest.approx(0.1)
    flat = pairing.control_length(table, 1.0)
    assert flat.reward.max() - flat.reward.min() == pytest.approx(0)
    assert pairing.control_length(table, 0.0).reward.tolist() == table.reward.tolist()


def test_the_length_slope_is_that_within_questions():
    # longer answers belong to the better liked question, but within each the longer is worse:
    # centred words -5, +5 and rewards +.5, -.5 in both: slope = -10 / 100 = -0.1
    table = texts(
        ("p", 0, "word " * 10, 2.0), ("p", 1, "word " * 20, 1.0),
        ("q", 0, "word " * 50, 5.0), ("q", 1, "word " * 60, 4.0),
    )  # fmt: skip
    assert pairing.length_slope(table) == pytest.approx(-0.1)


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_length_control_outside_0_and_1_is_refused(share: float):
    with pytest.raises(InputError, match="length_control"):
        pairing.control_length(texts(("q", 0, "a b", 1.0)), share)


def test_an_unfit_verifier_that_is_all_of_the_reward_stops_the_stage(stage: Path):
    artifacts.write(Fitness, fit(False), "reward")
    with pytest.raises(InputError, match=r"left out of the reward: unfit: .*no other scorer"):
        build_preferences.main()
    assert not (stage / "data/preferences.parquet").exists()


def test_an_unfit_verifier_is_left_out_in_one_line_and_the_rest_of_the_reward_ranks(
    stage: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    # acr alone decides what the verifier would have decided otherwise
    both = {"unit": "frac", "min_gap": 0.1, "sum": {"verifier": 0.5, "acr": 0.5}}
    given = params.declared("build_preferences")
    given = given | {"rewards": {"verifier": both | {"product": {}, "at_least": {}}}}
    given["score_candidates"] = {"scorers": {"verifier": "reward", "acr": "heldout"}}
    given["build_preferences"] = given["build_preferences"] | {"min_score_gap": None}
    monkeypatch.setattr(params, "declared", lambda name: given)
    scores = artifacts.read(Scores)
    table = scores[scores.scorer == "verifier"]
    places = table.candidate_index % 2
    acr = table.assign(scorer="acr", role="heldout", value=places.astype(float), reason=None)
    artifacts.write(Scores, artifacts.conform(Scores, pd.concat([table, acr])))
    artifacts.write(Fitness, fit(False), "reward")
    build_preferences.main()
    assert "verifier left out of the reward: unfit" in caplog.text
    assert len(caplog.records) == 1
    pairs = artifacts.read(Preferences)
    assert set(pairs.chosen_score) == {0.5}
    assert set(pairs.rejected_score) == {0.0}
    told = json.loads((stage / "reports/build_preferences.json").read_text())["details"]["reward"]
    assert told["words"] == "0.5 acr"
    assert told["left_out"].startswith("verifier left out of the reward: unfit")
