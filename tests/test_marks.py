"""What the verifier reads in the place of an option."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.pure.scored.marks import mark_options


def question(*options: str, key: str = "A") -> dict[str, Any]:
    named = {f"option_{c}": text for c, text in zip("abcde", options, strict=False)}
    return named | {"options_n": len(options), "key": key}


IRON = question("iron", "iron oxide", "Zinc", "c++", key="B")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("It is iron oxide.", "It is correct."),
        ("It is Iron, not IRON OXIDE!", "It is wrong, not correct!"),
        ("zinc and c++", "wrong and wrong"),
        ("ironic zincs", "ironic zincs"),  # whole words only
        ("iron-oxide", "wrong-oxide"),
        ("", ""),
        ("It rusts.", "It rusts."),
    ],
)
def test_options_are_named_by_what_they_are(text: str, read: str):
    assert mark_options(IRON, text) == read


def test_another_key_is_another_reading():
    text = "zinc, since iron rusts"
    assert mark_options(question("iron", "zinc"), text) == "wrong, since correct rusts"
    assert mark_options(question("iron", "zinc", key="B"), text) == "correct, since wrong rusts"


def test_an_option_with_signs_is_no_pattern():
    assert mark_options(question("a.c", "(b)"), "abc a.c (b)") == "abc correct wrong"


def test_an_empty_option_marks_nothing():
    assert mark_options(question(" ", ""), "any text") == "any text"


@pytest.mark.parametrize("key", ["A", "B"])
def test_of_options_that_differ_in_case_alone_the_key_is_meant(key: str):
    assert mark_options(question("pH", "PH", key=key), "The ph.") == "The correct."


@given(st.text(), st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_any_text_and_options_can_be_read(text: str, found: list[str]):
    read = mark_options(question(*found), text)
    assert read == text or "correct" in read or "wrong" in read


@given(st.text(alphabet="abc .", max_size=20), st.randoms())
def test_the_order_of_the_options_does_not_matter(text: str, random: Any):
    named = ["a", "b c", "c"]
    shuffled = random.sample(named, 3)
    key = "ABC"[shuffled.index("a")]
    assert mark_options(question(*shuffled, key=key), text) == mark_options(question(*named), text)
