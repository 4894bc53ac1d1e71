"""The bytes of every prompt. If one of these changes, every model must be trained again."""

from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.pure import prompts
from tests import invented

TEXTS = ["the heart", "the liver", "a lung", "a kidney", "none"]


def question(options_n: int = 2, key: str = "A", **changed: Any) -> dict[str, Any]:
    """A row of `questions`, as far as a prompt needs it."""
    texts = TEXTS[:options_n] + [None] * (5 - options_n)
    options = {f"option_{c}": text for c, text in zip("abcde", texts, strict=True)}
    stem = "Which organ pumps blood?"
    return {"stem": stem, **options, "options_n": options_n, "key": key} | changed


QUESTION = {
    1: "Question: Which organ pumps blood?\nA: the heart\nAnswer: A",
    2: "Question: Which organ pumps blood?\nA: the heart\nB: the liver\nAnswer: B",
    3: ("Question: Which organ pumps blood?\nA: the heart\nB: the liver\nC: a lung\nAnswer: C"),
    4: (
        "Question: Which organ pumps blood?\nA: the heart\nB: the liver\nC: a lung\n"
        "D: a kidney\nAnswer: D"
    ),
    5: (
        "Question: Which organ pumps blood?\nA: the heart\nB: the liver\nC: a lung\n"
        "D: a kidney\nE: none\nAnswer: E"
    ),
}


@pytest.mark.parametrize("options_n", QUESTION)
def test_a_question_with_one_to_five_options(options_n: int):
    row = question(options_n, key="ABCDE"[options_n - 1])
    assert prompts.render_question(row) == QUESTION[options_n]


def test_what_the_generator_is_asked():
    assert prompts.render_prompt(question()) == (
        "Question: Which organ pumps blood?\nA: the heart\nB: the liver\nAnswer: A\n"
        "Explain why it is the heart"
    )


def test_what_ilearner_asks_from_the_second_round_on():
    assert prompts.render_refinement(question(), "It beats.", 2.04) == (
        "Question: Which organ pumps blood?\nA: the heart\nB: the liver\nAnswer: A\n"
        "Last explanation: It beats.\nRating: 2.0\n"
        "Better: Explain why it is the heart"
    )


@pytest.mark.parametrize(
    ("rating", "shown"), [(0.0, "0.0"), (5, "5.0"), (3.149, "3.1"), (4.96, "5.0")]
)
def test_a_rating_is_shown_with_one_decimal(rating: float, shown: str):
    assert f"\nRating: {shown}\n" in prompts.render_refinement(question(), "x", rating)


def test_a_prompt_ends_with_the_keys_text():
    # a small model takes the key over when nothing stands between it and the answer
    assert prompts.render_task("the heart") == "Explain why it is the heart"
    row = question(4, key="C")
    for text in (prompts.render_prompt(row), prompts.render_refinement(row, "So.", 3.0)):
        assert text.endswith("Explain why it is a lung")


def test_the_hypothesis_of_the_entailment_scorer():
    assert prompts.declarative("Which organ pumps blood?", "the heart") == (
        'The correct answer to "Which organ pumps blood?" is the heart.'
    )


# ---- options -----------------------------------------------------------------------------


def test_options_beyond_the_count_are_not_shown():
    row = question(2) | {"option_c": "a leftover"}
    assert prompts.options(row) == ["the heart", "the liver"]
    assert "leftover" not in prompts.render_prompt(row)


def test_the_key_is_the_right_text_and_the_rest_are_distractors_in_order():
    row = question(4, key="C")
    assert prompts.key_text(row) == "a lung"
    assert prompts.distractor_texts(row) == ["the heart", "the liver", "a kidney"]


def test_two_options_with_one_text_are_told_apart_by_their_letter():
    row = question(3, key="B", option_a="same", option_b="same")
    assert prompts.distractor_texts(row) == ["same", "a lung"]


def test_the_text_of_a_student_is_neither_stripped_nor_escaped():
    row = question(2, stem="  {stem} </s> <|im_end|>\\n", option_a="=1+1 ", option_b="Answer: A")
    assert prompts.render_question(row) == (
        "Question:   {stem} </s> <|im_end|>\\n\nA: =1+1 \nB: Answer: A\nAnswer: A"
    )


def test_a_line_break_in_an_option_stays_as_it_is():
    # a student may write one; to join the lines here would show the model another text than
    # the tables hold
    assert "\nA: one\ntwo\nB: " in prompts.render_question(question(option_a="one\ntwo"))


@given(st.integers(1, 5), st.data())
def test_every_prompt_of_a_question_begins_with_the_same_bytes(options_n: int, data: st.DataObject):
    # so that a model meets one rendering of a question, and a cache one prefix
    texts = data.draw(st.lists(st.text(), min_size=options_n, max_size=options_n))
    row = question(options_n, key=data.draw(st.sampled_from("ABCDE"[:options_n])))
    row |= {f"option_{c}": text for c, text in zip("abcde", texts, strict=False)}
    start, task = prompts.render_question(row), prompts.render_task(prompts.key_text(row))
    explanation = data.draw(st.text())
    assert prompts.render_prompt(row) == f"{start}\n{task}"
    refinement = prompts.render_refinement(row, explanation, 1.0)
    assert refinement.startswith(f"{start}\nLast explanation: {explanation}\n")
    assert refinement.endswith(f"\nBetter: {task}")


def test_a_row_of_a_table_and_a_dictionary_give_the_same_prompt():
    table = invented.questions()
    rows: list[Any] = [row for _, row in table.iterrows()]
    dictionaries: list[Any] = table.to_dict("records")
    as_rows = [prompts.render_prompt(row) for row in rows]
    assert as_rows == [prompts.render_prompt(row) for row in dictionaries]
    assert as_rows[0] == ("Question: Is 1 so?\nA: yes\nB: no\nAnswer: A\nExplain why it is yes")


# ---- distinct questions ------------------------------------------------------------------


def test_a_question_that_several_students_wrote_is_asked_once():
    rows = invented.questions()
    found = prompts.distinct_questions(rows.sample(frac=1, random_state=1))
    assert found.question_id.tolist() == ["q1", "q2", "q3", "q4", "q5"]
    pd.testing.assert_frame_equal(found, prompts.distinct_questions(rows))


def test_a_distinct_question_is_that_of_the_first_row_by_id():
    rows = invented.questions().query("question_id == 'q1'").assign(course=["second", "first"])
    rows["row_id"] = ["b", "a"]
    assert prompts.distinct_questions(rows).course.tolist() == ["first"]
