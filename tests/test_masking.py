"""What is hidden is gone, whatever stands around it; everything else stays as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.pure.scored import masking
from stages.pure.scored.masking import (
    MARKER,
    Hidden,
    key_of,
    letter_spans,
    mask,
    options_of,
    substitute,
)

QUESTION = {
    "stem": "Which enzyme digests starch?",
    "option_a": "lipase",
    "option_b": "amylase",
    "option_c": "the salivary glands",
    "option_d": None,
    "options_n": 3,
    "key": "B",
}
words = st.text("abAB '-.,()+1è", max_size=8)
texts = st.lists(
    st.one_of(words, st.sampled_from(["B", "(B)", "option", "answer is"])), max_size=12
)


def hide(text: str, *phrases: str) -> str:
    return mask(text, Hidden((), phrases))


# ---- phrases -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "phrase", "left"),
    [
        ("It is amylase.", "amylase", "It is ...."),
        ("AMYLASE digests it", "amylase", "... digests it"),
        ("two amylases, Amylase's work", "amylase", "two ..., ...'s work"),
        ("increased by", "Increases", "... by"),
        ("ration, ions and ion", "ion", "ration, ... and ..."),
        ("6.5 and -6 and 6", "6", "6.5 and -6 and ..."),
        ("a river bank", "The river banks", "a ..."),
        ("river-bank, river  bank", "river bank", "..., ..."),
        ("vitamin D and vitamin C", "vitamin D", "... and vitamin C"),
        ("big ... cat", "big cat", "big ... cat"),  # not neighbours
        ("nothing here", "+", "nothing here"),  # no word to look for
        ("the the", "the", "... ..."),  # an article alone is looked for
        ("", "amylase", ""),
    ],
)
def test_phrases_are_hidden_as_whole_words_in_any_inflection(text: str, phrase: str, left: str):
    assert hide(text, phrase) == left


def test_a_phrase_within_a_longer_one_leaves_nothing_of_it():
    assert hide("vitamin D deficiency", "vitamin D", "vitamin D deficiency") == "..."
    assert hide("red blood cell", "red blood", "blood cell") == "..."


@given(texts, texts)
def test_masking_twice_is_masking_once_and_leaves_no_phrase(said: list[str], phrase: list[str]):
    hidden = Hidden(("A", "B"), (" ".join(phrase), "ab"))
    once = mask(" ".join(said), hidden)
    assert mask(once, hidden) == once
    assert masking.hidden_spans(once, hidden) == []


@given(texts, st.sampled_from(["zebra", "zebras cross", "12"]))
def test_a_text_without_the_phrase_stays_as_it_is(said: list[str], phrase: str):
    text = " ".join(said)
    assert hide(text, phrase) == text
    assert hide(f"{text} {phrase}", phrase) == f"{text} {MARKER}"


# ---- letters -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "The answer is {}.",
        "answer: {}",
        "Option {} fits",
        "choice ({}) fits",
        "it is ({})",
        "{}) because",
        "{}: because",
        "{} is correct",
        "{} is not the best",
        "So {} was wrong",
        "The correct answer must be {}",
    ],
)
def test_a_letter_that_names_an_option_is_hidden(text: str):
    assert mask(text.format("B"), Hidden(("B",), ())) == text.format(MARKER)
    assert mask(text.format("C"), Hidden(("B",), ())) == text.format("C")


@pytest.mark.parametrize(
    "text",
    ["vitamin B is made", "A cell is small", "the answer is a cell", "hepatitis B", "B-cells"],
)
def test_a_letter_that_may_be_a_word_stays(text: str):
    assert mask(text, Hidden(("A", "B"), ())) == text


def test_a_small_letter_is_one_only_in_brackets():
    assert [letter_spans(text, "B") for text in ("see (b)", "answer b")] == [[(5, 6)], []]


# ---- questions -----------------------------------------------------------------------------


def test_the_key_is_its_letter_and_text():
    assert key_of(QUESTION) == Hidden(("B",), ("amylase",))
    text = "B is right: amylase, not lipase (A)."
    assert mask(text, key_of(QUESTION)) == "... is right: ..., not lipase (A)."


def test_several_keys_are_hidden_together_and_once():
    other = QUESTION | {"key": "A"}
    assert key_of(QUESTION, other, QUESTION) == Hidden(("B", "A"), ("amylase", "lipase"))


def test_all_options_are_hidden_for_the_solver():
    assert options_of(QUESTION).letters == ("A", "B", "C")
    text = "B is right: amylase, not lipase (A), of the salivary gland."
    assert mask(text, options_of(QUESTION)) == "... is right: ..., not ... (...), of the ...."


# ---- substitution --------------------------------------------------------------------------


def test_options_are_exchanged_in_one_pass():
    said = substitute("Amylase is no lipase.", {"amylase": "lipase", "lipase": "amylase"})
    assert said == "lipase is no amylase."


def test_a_longer_phrase_goes_before_its_part():
    assert substitute("blood cell", {"cell": "x", "blood cell": "y"}) == "y"
