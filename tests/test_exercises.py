"""Copying exercises: made of the words they are given, and answered by copying alone."""

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stages.pure import exercises
from stages.pure.prompts import render_task

WORDS = ["alpha", "beta", "gamma", "delta"]
LINES = ["One two three four five.", "Six."]
REQUEST = set(render_task("").split())  # the words that every request has
ANSWER = "The right answer is "


def drawn(seed: int, words: list[str] = WORDS, lines: list[str] = LINES) -> tuple[str, str, str]:
    """Prompt, answer and key of one exercise."""
    prompt, answer = exercises.copying(words, lines, np.random.default_rng(seed))
    assert answer.startswith(ANSWER)
    assert answer.endswith(".")
    return prompt, answer, answer.removeprefix(ANSWER).removesuffix(".")


def test_the_words_of_texts_are_distinct_sorted_and_without_signs():
    texts = ["B-cells make IgG2, (not T-cells)!", "make it: 3.5 mg", ""]
    assert exercises.words_of(texts) == ["B-cells", "IgG", "T-cells", "it", "make", "mg", "not"]


@given(st.integers(0, 2**32 - 1))
def test_the_answer_names_what_the_request_asks_for(seed: int):
    prompt, _, key = drawn(seed)
    assert prompt.endswith(f"\n{render_task(key)}")
    assert 1 <= len(key.split()) <= 3


@given(st.integers(0, 2**32 - 1))
def test_an_exercise_holds_no_word_that_was_not_given(seed: int):
    prompt, _, key = drawn(seed)
    given_words = {*WORDS, *re.findall(r"\w+", " ".join(LINES))}
    assert set(key.split()) <= given_words
    assert set(prompt.split()) <= given_words | REQUEST


@given(st.integers(0, 2**32 - 1))
def test_a_key_of_drawn_words_is_one_to_three_and_the_rest_is_one_to_six(seed: int):
    prompt, _, key = drawn(seed, lines=["beta."])
    first, second = prompt.split("\n")
    assert 1 <= len(first.split()) <= 6
    assert second == render_task(key)


@given(st.integers(0, 2**32 - 1))
def test_words_of_a_line_are_copied_as_neighbours(seed: int):
    line = "one two three four five"
    _, _, key = drawn(seed, words=["alpha"], lines=[f"{line}."])
    assert f" {key} " in f" {line} " or set(key.split()) == {"alpha"}


def test_every_word_of_a_line_is_copied_sometimes():
    keys = [
        drawn(seed, words=["alpha"], lines=["one two three four five."])[2] for seed in range(99)
    ]
    assert {word for key in keys for word in key.split()} == {
        "alpha",
        "one",
        "two",
        "three",
        "four",
        "five",
    }


def test_about_half_of_the_keys_are_taken_from_a_line():
    keys = [drawn(seed)[2] for seed in range(400)]
    from_lines = sum(not set(key.split()) <= set(WORDS) for key in keys)
    assert 160 < from_lines < 240  # 200 +- 4 standard deviations of 10


def test_the_stream_of_exercises_is_fixed_by_its_seed():
    def stream(seed: int) -> list[tuple[str, str]]:
        rng = np.random.default_rng(seed)
        return [exercises.copying(WORDS, LINES, rng) for _ in range(5)]

    assert stream(1) == stream(1)
    assert stream(1) != stream(2)
    assert len(set(stream(1))) == 5  # each exercise is new
