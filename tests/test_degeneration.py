"""Each detector fires on its crafted string, and not on what people write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.pure import prompts
from stages.pure.degeneration import (
    echoes_prompt,
    endorses_distractor,
    is_truncated,
    restates_answer,
)
from stages.pure.metrics import Value

STEM = "Which part of an animal cell makes most of its ATP?"
OPTIONS = ["lysosome", "mitochondrion", "inner membrane", "membrane"]
KEY = "B"
QUESTION = {"stem": STEM, "key": KEY, "options_n": 4} | {
    f"option_{letter}": text for letter, text in zip("abcd", OPTIONS, strict=True)
}
ORDINARY = [
    "The answer is mitochondrion because its folded surface holds the enzymes of respiration.",
    "Most of the ATP is made by the mitochondrion, since oxygen is used up there.",
    "Not the lysosome, which breaks down worn out parts. The mitochondrion respires.",
    "The mitochondrion is the right one: protons run back through a ring and drive it.",
    "A lysosome is correct for digestion only. ATP comes from the powerhouse of the cell.",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_an_ordinary_text_is_none_of_it(text: str):
    flags = [
        restates_answer(text, STEM, OPTIONS),
        echoes_prompt(text, STEM),
        is_truncated(text),
    ]
    assert flags == [Value(0.0)] * 3


@pytest.mark.parametrize("text", ORDINARY[:4])
def test_an_ordinary_text_endorses_no_distractor(text: str):
    assert endorses_distractor(text, OPTIONS, KEY) == Value(0.0)


# ---- restating ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("The mitochondrion is the answer because the right answer is mitochondrion.", 1.0),
        ("mitochondria", 0.0),  # another form than the stemmer knows is a word of its own
        ("Mitochondrion. The other ones are wrong.", 1.0),
        ("Most ATP of an animal's cells is made by the mitochondrion.", 1.0),
        ("Most ATP of an animal's cells is burnt by the mitochondrion.", 0.0),
        ("Mitochondrion makes most of the ATP in the cell, not the lysosome.", 1.0),
        ("The mitochondrion makes ATP by burning sugar.", 0.0),
        ("The answer is B.", 1.0),
        ("lysosome + membrane = mitochondrion", 0.0),
        ("", 0.0),
        ("...", 0.0),
    ],
)
def test_a_text_without_a_word_of_its_own_restates(text: str, flag: float):
    assert restates_answer(text, STEM, OPTIONS) == Value(flag)


@given(st.permutations([*STEM.rstrip("?").split(), *OPTIONS, "because", "right"]))
def test_the_words_of_the_question_in_any_order_are_no_reason(words: list[str]):
    assert restates_answer(" ".join(words), STEM, OPTIONS) == Value(1.0)
    assert restates_answer(" ".join([*words, "oxygen"]), STEM, OPTIONS) == Value(0.0)


# ---- echoing -----------------------------------------------------------------------------

LONG = "Cells that line the gut of a healthy adult are replaced every few days by"


@pytest.mark.parametrize(
    ("text", "stem", "flag"),
    [
        ("Question: what is it", STEM, 1.0),
        ("It is so.\nQuestion: and on", STEM, 1.0),
        ("Explain why it is mitochondrion", STEM, 1.0),
        ("it was asked WHICH PART OF AN ANIMAL cell it is", STEM, 1.0),  # five words that ask
        ("which part of an organ", STEM, 0.0),  # four
        ("the part of an animal cell makes most of its ATP", STEM, 0.0),  # states the fact
        (f"So {LONG} stem cells.", LONG, 1.0),  # 15 words
        ("So cells that line the gut of a healthy adult are new.", LONG, 0.0),  # 10
        ("This begs the question: who makes ATP?", STEM, 0.0),
        ("", STEM, 0.0),
        ("", "Why?", 0.0),
        ("why", "Why?", 0.0),
    ],
)
def test_a_text_with_words_of_the_prompt_echoes(text: str, stem: str, flag: float):
    assert echoes_prompt(text, stem) == Value(flag)


@pytest.mark.parametrize("line", [0, -1])
def test_the_labels_are_those_of_the_prompts(line: int):
    for prompt in (
        prompts.render_prompt(QUESTION),
        prompts.render_refinement(QUESTION, "Just so.", 2.5),
    ):
        assert echoes_prompt(prompt.split("\n")[line], "Another stem") == Value(1.0)
    assert echoes_prompt(f"Last explanation: {ORDINARY[0]}", STEM) == Value(1.0)
    assert echoes_prompt("Rating: 2.5", STEM) == Value(1.0)


# ---- breaking off ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "is_stopped", "value"),
    [
        ("It holds the enzymes of", True, Value(0.0)),  # the model's own end counts
        ("It holds the enzymes.", False, Value(1.0)),
        ("", True, Value(0.0)),
        ("It holds the enzymes of", None, Value(1.0)),
        ("It holds the enzymes,", None, Value(1.0)),
        ("It holds the enzymes.\n", None, Value(0.0)),
        ("It holds (some say \u201cowns\u201d) \u201cthe enzymes.\u201d)", None, Value(0.0)),
        ("Why not?!", None, Value(0.0)),
        ("pH 7.4", None, Value(1.0)),
        (" \n", None, Value(None, "empty_text")),
    ],
)
def test_a_text_without_its_end_is_truncated(text: str, is_stopped: bool | None, value: Value):
    assert is_truncated(text, is_stopped) == value


# ---- endorsing a wrong option ------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "The answer is lysosome because it is full of enzymes.",
        "The right answer is mitochondrion. Another right answer is the LYSOSOME.",
        "It must be the inner membrane.",
        "We should pick lysosome.",
        "Lysosome is correct.",
        "Here the lysosome is also the right choice!",
        "The lysosome is true and so on.",
        "The correct one is clearly a membrane",
        "The answer is A.",
        "Answer: (C)",
        "Option D is correct here.",
        "It is mitochondrion; the same holds for lysosome.",
    ],
)
def test_a_wrong_option_that_is_called_right_is_endorsed(text: str):
    assert endorses_distractor(text, OPTIONS, KEY) == Value(1.0)


@pytest.mark.parametrize(
    "text",
    [
        "The answer is mitochondrion.",
        "The answer is B.",
        "Option B is correct.",
        "The answer is not lysosome.",
        "The lysosome is not correct.",
        "The wrong answer is lysosome.",
        "It is wrong that the answer is lysosome.",
        "One might think the answer is lysosome.",
        "If the lysosome is right, where does the oxygen go?",
        "Neither membrane nor lysosome is correct.",
        "It isn't true that lysosome is correct.",
        "The answer is a part that burns sugar.",  # a letter's name is also an article
        "The answer is A-level stuff",
        "A lysosome breaks down worn out parts.",
        "The lysosome is right of the nucleus.",
        "lysosome",
        "",
    ],
)
def test_a_wrong_option_that_is_denied_doubted_or_only_named_is_not(text: str):
    assert endorses_distractor(text, OPTIONS, KEY) == Value(0.0)


def test_of_nested_options_the_longer_one_is_meant():
    text = "The answer is inner membrane."
    assert endorses_distractor(text, OPTIONS, "C") == Value(0.0)  # and not the membrane of D
    assert endorses_distractor(text, OPTIONS, "D") == Value(1.0)


def test_an_option_that_begins_another_is_not_meant_by_it():
    options = ["calcium", "calcium channel"]
    assert endorses_distractor("The answer is calcium channel.", options, "B") == Value(0.0)
    assert endorses_distractor("The answer is calcium channel.", options, "A") == Value(1.0)
    assert endorses_distractor("Calcium channel is correct.", options, "A") == Value(1.0)


def test_without_a_wrong_option_there_is_nothing_to_endorse():
    assert endorses_distractor("The answer is so.", ["so"], "A") == Value(None, "no_distractor")


@given(st.sampled_from("ABCD"), st.sampled_from("ABCD"))
def test_the_claimed_option_is_endorsed_exactly_if_it_is_not_the_key(claimed: str, key: str):
    said = OPTIONS["ABCD".index(claimed)]
    for text in (f"The answer is {said}.", f"The answer is {claimed}.", f"{said} is correct."):
        assert endorses_distractor(text, OPTIONS, key) == Value(float(claimed != key))


@given(st.text(max_size=80))
def test_any_text_has_a_value(text: str):
    for value in (
        restates_answer(text, STEM, OPTIONS),
        echoes_prompt(text, STEM),
        is_truncated(text, True),
        endorses_distractor(text, OPTIONS, KEY),
    ):
        assert value.value in (0.0, 1.0)
