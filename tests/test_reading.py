"""Exercises hold no fact, and whoever reads them can answer them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.pure import prompts, reading
from stages.pure.scored import masking
from tests.tiny_models import course

ROWS: list[Any] = course().query("split == 'judge'").to_dict("records")
GIVEN = reading.material(ROWS, [])
seeds = st.integers(0, 10_000)


def stream(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_material_is_what_names_its_key():
    unnamed = ROWS[0] | {"explanation": "Nobody knows."}
    other = ROWS[0] | {"option_a": "a far island", "explanation": "Read by nobody."}
    found = reading.material([*ROWS, unnamed], [other])
    assert found.rows == ROWS
    assert "a far island" in found.phrases
    assert "Read" not in found.said
    assert set(found.phrases) == {*prompts.options(ROWS[0]), "a far island"}
    assert ("I think it is", ".") in found.frames


def test_frames_are_the_words_around_the_key():
    row = ROWS[0] | {"option_a": "x y", "key": "A"}
    said = "One two three four five six seven x y, and a b c. No key. X y or x y."
    assert reading.frames_of(row | {"explanation": said}) == [
        ("two three four five six seven", ", and a")
    ]


@settings(max_examples=60)
@given(seeds)
def test_an_explained_exercise_names_its_answer_and_keeps_no_option(seed: int):
    question, text, answer = reading.exercise(GIVEN, 1.0, stream(seed))
    options = prompts.options(question)
    assert len(set(options)) == 4
    assert answer == prompts.key_text(question)
    assert answer in text


@settings(max_examples=60)
@given(seeds)
def test_a_short_exercise_names_one_of_its_options(seed: int):
    question, text, answer = reading.short_exercise(GIVEN, stream(seed))
    assert answer == prompts.key_text(question)
    assert masking.phrase_spans(text, answer)


def test_without_explanation_every_option_is_the_answer_as_often():
    rng, places = stream(0), [0, 0, 0, 0]
    for _ in range(800):
        question, text, answer = reading.exercise(GIVEN, 0.0, rng)
        assert text == ""
        places[prompts.options(question).index(answer)] += 1
    # 200 each; five standard deviations are 61
    assert min(places) > 139


def test_the_share_of_explained_exercises_is_the_one_asked_for():
    rng = stream(1)
    explained = sum(bool(reading.exercise(GIVEN, 0.25, rng)[1]) for _ in range(400))
    assert explained == pytest.approx(100, abs=44)  # five standard deviations


def test_letters_move_with_their_options():
    place = {"A": "C", "C": "A", "B": "B"}
    assert reading.moved("Answer A, not (C) or option B.", place) == (
        "Answer C, not (A) or option B."
    )


def test_scrambling_keeps_the_options_and_the_number_of_words(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading, "SCRAMBLED_FRAC", 1.0)
    text = "One should choose old trees and not the river there."
    found = reading.scrambled(text, ["old trees", "a river"], GIVEN, stream(3))
    assert len(found.split()) == len(text.split())
    assert found.split()[3:5] == ["old", "trees"]
    assert found.split()[8] == "river"
    assert set(found.split()) - {"old", "trees", "river"} <= set(GIVEN.said)


def test_an_announcement_takes_the_place_of_the_first_sentence_that_names_the_key(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(reading, "ANNOUNCED_FRAC", 1.0)
    monkeypatch.setattr(reading, "ANNOUNCED", ("we call it {}",))
    text = "Hello. Here old trees win. Old trees, yes."
    assert reading.announced(text, "old trees", stream(0)) == (
        "Hello. We call it old trees. Old trees, yes."
    )
    assert reading.announced("Nothing.", "old trees", stream(0)) == "Nothing."


def test_equal_streams_give_equal_exercises():
    assert reading.exercise(GIVEN, 0.5, stream(7)) == reading.exercise(GIVEN, 0.5, stream(7))
