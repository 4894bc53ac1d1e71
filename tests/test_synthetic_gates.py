"""A synthetic text is used only if it is new, says something, and repeats no held-out text."""

import itertools
import math
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InputError
from schemas.questions import LETTERS
from stages.pure.clusters import jaccard
from stages.pure.synthetic_gates import (
    REASONS,
    Limits,
    counts,
    explanation_reasons,
    neighbours,
    question_reasons,
    word_shingles,
)

LIMITS = Limits(min_words=4, max_existing_similarity=0.5, max_held_out_similarity=0.5)
KEY = "mitochondrion"
GOOD = "The mitochondrion makes most of the energy"  # 7 words, 5 rows of three
words = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=9).map(" ".join)
sets = st.lists(st.frozensets(st.sampled_from("abcdefgh"), min_size=1), max_size=8)
limits = st.sampled_from([0.1, 0.25, 1 / 3, 0.5, 0.6, 2 / 3, 0.7, 0.9, 1.0])


def texts(*said: str, question: str = "q1", is_positive: bool = True) -> pd.DataFrame:
    """Texts about one question with the ids t0, t1, ..."""
    ids = [f"t{i}" for i in range(len(said))]
    table = pd.DataFrame({"text_id": ids, "text": said}, dtype="str")
    return table.assign(question_id=question, key_text=KEY, is_positive=is_positive)


def existing(*said: str, question: str = "q1") -> pd.DataFrame:
    return pd.DataFrame({"question_id": question, "text": said}, dtype="str")


def why(
    table: pd.DataFrame, known: pd.DataFrame | None = None, *held_out: str, limits: Limits = LIMITS
) -> list[str | None]:
    found = explanation_reasons(table, existing() if known is None else known, held_out, limits)
    return [None if pd.isna(reason) else reason for reason in found]


# ---- explanations, by hand -----------------------------------------------------------------


def test_a_new_text_that_names_the_key_is_used():
    assert why(texts(GOOD), existing("It is the part for energy."), "Ribosomes join.") == [None]


def test_a_positive_must_name_the_key_and_others_need_not():
    evasive = "It makes most of the energy"
    assert why(texts(evasive)) == ["key_not_named"]
    assert why(texts(evasive, is_positive=False)) == [None]


def test_a_key_without_a_word_is_not_asked_for():
    assert why(texts("one two three four").assign(key_text="+")) == [None]


def test_a_short_text_is_refused_at_the_limit():
    assert why(texts("The mitochondrion makes", "The mitochondrion makes energy")) == [
        "too_short",
        None,
    ]


def test_a_text_that_differs_in_case_and_space_is_equal():
    assert why(texts(GOOD), existing(f" {GOOD.upper()}\n")) == ["equal_to_existing"]
    assert why(texts(GOOD, GOOD.upper())) == [None, "equal_to_existing"]


def test_equal_is_said_before_near_and_near_before_held_out():
    assert why(texts(GOOD), existing(GOOD), GOOD) == ["equal_to_existing"]
    assert why(texts(GOOD), existing(f"{GOOD} there"), GOOD) == ["near_existing"]
    assert why(texts(GOOD), existing(), GOOD) == ["near_held_out"]


@pytest.mark.parametrize(
    ("limit", "expected"), [(5 / 7, "near_existing"), (5 / 7 + 1e-6, None)], ids=["at", "above"]
)
def test_near_by_hand(limit: float, expected: str | None):
    # 5 rows of three, all of them among the 7 of the longer text: 5/7
    longer = f"{GOOD} of cells"
    assert len(word_shingles(GOOD)) == 5
    assert len(word_shingles(longer)) == 7
    assert why(
        texts(GOOD), existing(longer), limits=LIMITS._replace(max_existing_similarity=limit)
    ) == [expected]
    expected_out = expected and "near_held_out"
    assert why(
        texts(GOOD), None, longer, limits=LIMITS._replace(max_held_out_similarity=limit)
    ) == [expected_out]


def test_texts_of_another_question_are_not_compared_but_held_out_ones_are():
    assert why(texts(GOOD), existing(GOOD, question="q2")) == [None]
    two = pd.concat([texts(GOOD), texts(GOOD, question="q2").assign(text_id="t9")])
    assert why(two) == [None, None]
    assert why(two, None, GOOD) == ["near_held_out", "near_held_out"]


def test_a_refused_text_refuses_no_other():
    evasive = GOOD.replace("mitochondrion", "cell's part")
    table = texts(evasive, f"{evasive} mitochondrion")
    assert why(table) == ["key_not_named", None]


def test_the_first_by_id_is_kept():
    table = texts(GOOD, f"{GOOD} there").assign(text_id=["b", "a"])
    assert why(table) == ["near_existing", None]


def test_the_index_of_the_table_is_kept_and_may_repeat():
    table = texts(GOOD, "short").set_axis([7, 7])
    found = explanation_reasons(table, existing(), [], LIMITS)
    assert [*found.index] == [7, 7]
    assert counts(found) == dict.fromkeys(REASONS, 0) | {"key_not_named": 1}


def test_no_texts_give_no_reasons():
    found = explanation_reasons(texts(), existing(GOOD), [GOOD], LIMITS)
    assert len(found) == 0
    assert counts(found) == dict.fromkeys(REASONS, 0)


# ---- laws ----------------------------------------------------------------------------------


@given(st.lists(words, max_size=6), st.lists(words, max_size=3), st.randoms())
def test_the_order_of_the_rows_does_not_matter(said: list[str], known: list[str], random: Any):
    table = texts(*said, is_positive=False)
    limits = Limits(2, 0.5, 0.5)
    first = explanation_reasons(table, existing(*known), known[:1], limits)
    order = random.sample(range(len(said)), len(said))
    turned = explanation_reasons(table.iloc[order], existing(*known[::-1]), known[:1], limits)
    pd.testing.assert_series_equal(first, turned.loc[first.index])


@given(st.lists(words, max_size=6), st.lists(words, max_size=3), st.lists(words, max_size=3))
def test_what_is_used_is_near_nothing(said: list[str], known: list[str], held_out: list[str]):
    limits = Limits(2, 0.5, 0.4)
    table = texts(*said, is_positive=False)
    found = explanation_reasons(table, existing(*known), held_out, limits)
    used = [word_shingles(text) for text in table.text[found.isna()]]
    others = [word_shingles(text) for text in known]
    assert all(jaccard(a, b) < 0.5 for a, b in itertools.combinations(used, 2))
    assert all(jaccard(a, b) < 0.5 for a in used for b in others)
    assert all(jaccard(a, word_shingles(b)) < 0.4 for a in used for b in held_out)


@given(st.lists(words, max_size=6), st.lists(words, max_size=3))
def test_what_is_used_is_used_again_beside_the_same_texts(said: list[str], known: list[str]):
    limits = Limits(2, 0.5, 0.5)
    table = texts(*said, is_positive=False)
    used = table[explanation_reasons(table, existing(*known), [], limits).isna()]
    assert explanation_reasons(used, existing(*known), [], limits).isna().all()


@given(sets, sets, limits)
def test_no_near_pair_is_overlooked(own: list[Any], others: list[Any], limit: float):
    expected = [[j for j, b in enumerate(others) if jaccard(a, b) >= limit] for a in own]
    assert neighbours(own, others, limit) == expected


@given(words)
def test_a_text_is_as_near_as_can_be_to_itself(text: str):
    assert neighbours([word_shingles(text)], [word_shingles(text.upper())], 1.0) == [[0]]


@pytest.mark.parametrize("text", ["", "+", "...", "two words"])
def test_every_text_has_a_shingle(text: str):
    assert len(word_shingles(text)) == 1


# ---- questions -----------------------------------------------------------------------------

ATP = "Which part of a cell makes most of its ATP?"
PARTS = ["mitochondrion", "lysosome", "ribosome", "nucleus"]


def questions(*stems: str, options: list[str] = PARTS, key: str = "A") -> pd.DataFrame:
    """Questions with the same options, with the ids t0, t1, ..."""
    table = pd.DataFrame({"text_id": [f"t{i}" for i in range(len(stems))], "stem": stems})
    given: dict[str, str | None] = {f"option_{c.lower()}": None for c in LETTERS}
    given |= {f"option_{c.lower()}": text for c, text in zip(LETTERS, options, strict=False)}
    return table.assign(**given, options_n=len(options), key=key)


def why_question(
    table: pd.DataFrame, known: pd.DataFrame, held_out: pd.DataFrame
) -> list[str | None]:
    found = question_reasons(table, known, held_out, Limits(3, 0.8, 0.6))
    return [None if pd.isna(reason) else reason for reason in found]


NONE = questions()
SPAIN = questions("What is the capital of Spain?", options=["Madrid", "Rome"])


def test_a_rephrased_question_is_used_and_a_copy_is_not():
    other_words = "Most ATP of a cell is produced where?"
    table = questions(other_words, ATP.upper(), f"{ATP} Say it.")
    assert why_question(table, questions(ATP), SPAIN) == [
        None,
        "equal_to_existing",
        "near_existing",
    ]


def test_the_same_stem_with_another_key_is_another_question():
    assert why_question(questions(ATP, key="B"), questions(ATP), NONE) == [None]


def test_a_question_about_a_held_out_fact_is_refused_in_other_words_and_another_order():
    other_words = "Select the part of the cell that makes most ATP."
    table = questions(other_words, options=[*PARTS[1:], PARTS[0]], key="D")
    assert why_question(table, NONE, questions(ATP)) == ["near_held_out"]
    assert why_question(table, NONE, SPAIN) == [None]


def test_a_question_asked_twice_is_used_once_and_a_short_one_never():
    assert why_question(questions(ATP, ATP, "ATP?"), NONE, NONE) == [
        None,
        "equal_to_existing",
        "too_short",
    ]


# ---- refusals ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (Limits(0, 0.5, 0.5), "min_words: 0"),
        (Limits(4, 0.0, 0.5), "max_existing_similarity: 0.0"),
        (Limits(4, 0.5, 1.5), "max_held_out_similarity: 1.5"),
        (Limits(4, 0.5, math.nan), "max_held_out_similarity: nan"),
    ],
)
def test_limits_out_of_range_are_refused(wrong: Limits, words: str):
    with pytest.raises(InputError, match=words):
        why(texts(GOOD), limits=wrong)
    with pytest.raises(InputError, match=words):
        question_reasons(questions(ATP), NONE, NONE, wrong)


def test_an_id_that_comes_twice_is_refused():
    with pytest.raises(InputError, match="t0 stands twice"):
        why(pd.concat([texts(GOOD), texts(GOOD)]))
