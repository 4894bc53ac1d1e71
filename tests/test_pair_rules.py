"""Strategies, gaps in errors, fixed numbers of pairs, and a verifier that may not rank."""

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from schemas.errors import InputError
from stages.pure import pair_rules, pairing
from stages.pure.pair_rules import Settings
from stages.pure.rewards import Reward
from stages.pure.scored import scoring
from tests.test_build_preferences import drop_texts, pair_keys, pair_texts, rule, texts

VERIFIER = Reward("stars", 0.3, {"verifier": 1.0}, {}, {})
HYBRID = Reward("frac", 0.05, {"verifier": 0.5, "acr": 0.5}, {}, {})
ASKED = ["verifier", "words", "is_loop"]
PLAIN = Settings("verifier", "all_pairs", None, 0.0, 3, 1, 1.2, None, [], 0.0)


def reasons(table: pd.DataFrame, how: Any) -> dict[int, str]:
    drops = drop_texts(table, pair_texts(table, how), how)
    return dict(zip(drops.candidate_index, drops.reason, strict=True))


def ladder() -> pd.DataFrame:
    return texts(*[("q", i, f"t{i}", float(i)) for i in range(5)])


def test_best_against_worst_takes_the_two_ends_and_says_so_of_the_rest():
    how = rule(0.3, 3, 0, "best_worst")
    assert pair_keys(pair_texts(ladder(), how)) == [("q", 4, 0)]
    assert reasons(ladder(), how) == dict.fromkeys((1, 2, 3), "over_limit")


def test_best_against_random_keeps_the_best_and_varies_the_other():
    rows = [(f"q{n}", i, f"t{i}", float(i)) for n in range(100) for i in range(5)]
    pairs = pair_texts(texts(*rows), rule(0.3, 3, 0, "best_random"))
    assert (pairs.chosen_index == 4).all()
    assert len(pairs) == pairs.question_id.nunique() == 100
    counts = pairs.rejected_index.value_counts()
    assert set(counts.index) == {0, 1, 2, 3}
    assert counts.min() >= 10  # 25 are expected, 4.3 is a standard deviation


def test_length_matched_pairs_are_about_as_long_and_the_others_say_why():
    table = texts(
        ("q", 0, "a " * 10, 1.0), ("q", 1, "b " * 12, 3.0), ("q", 2, "c " * 30, 5.0)
    )  # fmt: skip
    how = rule(1.0, 3, 0, "length_matched")
    assert pair_keys(pair_texts(table, how)) == [("q", 1, 0)]  # 12 = 1.2 * 10: inside
    assert reasons(table, how) == {2: "length_unmatched"}
    assert len(pair_texts(table, rule(1.0, 3, 0, "all_pairs"))) == 3


def test_a_refused_text_is_rejected_but_never_chosen():
    table = texts(("q", 0, "loop", 5.0), ("q", 1, "good", 4.0), ("q", 2, "bad", 1.0))
    refused = table.assign(is_refused=table.candidate_index == 0)
    assert pair_keys(pair_texts(refused, rule(1.0, 3, 0))) == [("q", 1, 2)]
    assert reasons(refused, rule(1.0, 3, 0)) == {0: "degenerate"}
    low = refused.assign(reward=[0.0, 4.0, 1.0])
    assert pair_keys(pair_texts(low, rule(1.0, 3, 0))) == [("q", 1, 0), ("q", 1, 2), ("q", 2, 0)]


def test_flags_come_from_the_scores():
    scores = pd.DataFrame(
        {
            "question_id": ["q", "q", "q"],
            "candidate_index": [0, 1, 2],
            "scorer": "is_loop",
            "value": [1.0, 0.0, None],
        }
    )
    assert pairing.flagged(scores, ["is_loop"]).candidate_index.tolist() == [0]
    assert pairing.flagged(scores, []).empty


def many() -> pd.DataFrame:
    rows = [(f"q{n:02}", i, f"t{i}", float(i)) for n in range(20) for i in range(3)]
    return texts(*rows)


def test_a_fixed_number_of_pairs_is_drawn_and_the_rest_says_so():
    whole, few = pair_texts(many(), rule(1.0, 1, 0)), pair_texts(many(), rule(1.0, 1, 0, total=7))
    assert (len(whole), len(few)) == (20, 7)
    assert set(pair_keys(few)) <= set(pair_keys(whole))
    found = pd.Series(reasons(many().query("question_id == 'q00'"), rule(1.0, 1, 0))).to_dict()
    assert found == {1: "over_limit"}
    drops = drop_texts(many(), few, rule(1.0, 1, 0, total=7))
    counts = drops.reason.value_counts().to_dict()
    assert counts == {"not_drawn": 26, "over_limit": 20}
    with pytest.raises(InputError, match=r"max_pairs: 21.*gives 20 pairs"):
        pair_texts(many(), rule(1.0, 1, 0, total=21))


def test_a_wider_gap_at_a_fixed_number_compares_gaps_and_not_data_sizes():
    sizes = {gap: len(pair_texts(many(), rule(gap, 1, 0, total=10))) for gap in (0.5, 1.5, 2.0)}
    assert set(sizes.values()) == {10}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_score_gap": -0.1}, r"min_score_gap: -0\.1"),
        ({"min_gap_errors": -1.0}, r"min_gap_errors: -1"),
        ({"pairs_per_question": -1}, r"pairs_per_question: -1"),
        ({"negatives_per_question": -1}, r"negatives_per_question: -1"),
        ({"max_words_ratio": 0.9}, r"max_words_ratio: 0\.9.*1 or more"),
        ({"max_pairs": 0}, r"max_pairs: 0.*1 or more"),
        ({"refuse_chosen": ["is_lop"]}, r"'is_lop' in params.*Did you mean 'is_loop'\?"),
        ({"refuse_chosen": ["has_url"]}, r"'has_url' in params.*score_candidates\.scorers asks"),
        ({"refuse_chosen": ["words"]}, r"'words' in params.yaml is no flag"),
        ({"strategy": "best_worse"}, r"unknown 'best_worse'.*Did you mean 'best_worst'\?"),
    ],
)
def test_parameters_that_cannot_be_meant_are_refused(changes: dict, message: str):
    pair_rules.check(PLAIN, ASKED)
    with pytest.raises(InputError, match=message):
        pair_rules.check(replace(PLAIN, **changes), ASKED)


def test_a_reward_scorer_that_reads_less_than_half_stops_the_stage():
    scores = pd.DataFrame(
        {
            "scorer": ["verifier"] * 3 + ["judge"] * 3,
            "value": [1.0, None, None, None, None, None],
            "reason": [None, "too_long", "empty_text", *["too_long"] * 3],
        }
    )
    with pytest.raises(InputError, match=r"'verifier': 2 of 3 texts have no value.*'too_long': 1"):
        scoring.check_nulls(scores, ["verifier"])
    scoring.check_nulls(scores.iloc[:2], ["verifier"])
