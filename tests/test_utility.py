"""Student utility by hand: a language model whose answers are known."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.pure import utility
from stages.pure.metrics import Value
from stages.pure.utility import Test as Exam
from stages.runtime import students
from stages.runtime.students import Exam as ExamOfFolder
from stages.scorers import utility as scorer
from tests.tiny_models import STUDENT, course

QUESTION: dict[Any, Any] = course().query("question_id == 'q00'").to_dict("records")[0]
OTHER: dict[Any, Any] = course().query("question_id == 'q01'").to_dict("records")[0]
Answers = dict[utility.Choice, np.ndarray | None]
P: dict[str, utility.Choice] = {"before": ("q", ("x", "y")), "after": ("q e", ("x", "y"))}


def test_the_gain_is_the_difference_of_the_probabilities_of_the_key():
    test = Exam(P["after"], P["before"], place=1)
    student: Answers = {P["before"]: np.array([0.75, 0.25]), P["after"]: np.array([0.125, 0.875])}
    assert utility.values([[test]], [student]) == [Value(0.625)]


def test_it_is_the_mean_over_students_and_exam_questions():
    tests = [Exam(P["after"], P["before"], place) for place in (0, 1)]
    first: Answers = {P["before"]: np.array([0.5, 0.5]), P["after"]: np.array([1.0, 0.0])}
    second: Answers = {P["before"]: np.array([0.5, 0.5]), P["after"]: np.array([0.75, 0.25])}
    # key x: +.5 and +.25; key y: -.5 and -.25
    assert utility.values([tests[:1]], [first, second]) == [Value(0.375)]
    assert utility.values([tests], [first, second]) == [Value(0.0)]


def test_a_choice_that_cannot_be_read_has_no_value():
    test = Exam(P["after"], P["before"], 0)
    student: Answers = {P["before"]: np.array([0.5, 0.5]), P["after"]: None}
    assert utility.values([[test]], [student]) == [Value(None, "too_long")]


def test_the_keys_of_both_questions_are_hidden():
    text = "It is the meadow, not a river, old trees or B."
    own, other = utility.tests_of(text, [QUESTION, OTHER], is_masked=True)
    assert "Explanation: It is the ..., not a river, old trees or B." in own.after[0]
    assert "Explanation: It is the ..., not a ..., old trees or B." in other.after[0]
    assert (own.place, other.place) == (0, 1)
    assert "Explanation" not in own.before[0]


def test_unmasked_the_text_is_shown_as_it_is():
    (test,) = utility.tests_of("It is the meadow.", [QUESTION], is_masked=False)
    assert "Explanation: It is the meadow." in test.after[0]


def test_no_prompt_holds_the_key_of_the_question():
    (test,) = utility.tests_of("x", [QUESTION | {"key": "C"}], is_masked=False)
    (same,) = utility.tests_of("x", [QUESTION | {"key": "A"}], is_masked=False)
    assert (test.after, test.before) == (same.after, same.before)


# ---- the scorer ----------------------------------------------------------------------------


class Fake:
    """A student who gives an option that is named in the explanation twice the weight."""

    asked: list[Any]

    def __init__(self) -> None:
        self.asked = []

    def probabilities(self, choices: list[Any]) -> list[np.ndarray]:
        self.asked += choices
        said = [prompt.partition("Explanation: ")[2] for prompt, _ in choices]
        weights = [
            np.array([1.0 + (option in text) for option in options])
            for text, (_, options) in zip(said, choices, strict=True)
        ]
        return [weight / weight.sum() for weight in weights]


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Fake]:
    found = [Fake(), Fake()]
    places = {tmp_path / f"student_{i}": fake for i, fake in enumerate(found)}
    for place in places:
        place.mkdir()
        (place / "weights").write_text(place.name)  # of another student
    monkeypatch.setattr(students, "folders", lambda folder: [*places])
    monkeypatch.setattr(students, "read_how", lambda folder: STUDENT)
    monkeypatch.setattr(students, "load", places.__getitem__)
    monkeypatch.setattr(students, "read_exam", lambda folder: ExamOfFolder(1, [QUESTION, OTHER]))
    return found


def table(*explanations: str) -> pd.DataFrame:
    return pd.DataFrame([QUESTION | {"explanation": text} for text in explanations])


def test_a_blank_text_has_no_value(fakes: list[Fake]):
    empty = Value(None, "empty_text")
    assert scorer.utility_unmasked(table("", "x", " ")) == [empty, Value(0.0), empty]


def test_naming_the_key_helps_unless_it_is_hidden(fakes: list[Fake]):
    # own question: 2/5 - 1/4; the neighbour's key is a river, which is not named: 1/5 - 1/4
    texts = table("It is the meadow.")
    assert scorer.utility_unmasked(texts)[0].value == pytest.approx((0.15 - 0.05) / 2)
    assert scorer.utility(texts) == [Value(0.0)]


def test_naming_a_wrong_option_harms(fakes: list[Fake]):
    # both questions: 1/5 - 1/4, masked or not
    for score in scorer.SCORERS.values():
        assert score(table("It is old trees."))[0].value == pytest.approx(-0.05)


def test_no_student_reads_a_question_with_a_text_twice(fakes: list[Fake]):
    scorer.utility(table("It is old trees.", "It is old trees.", "It is the meadow."))
    for fake in fakes:
        assert len(fake.asked) == len(set(fake.asked)) == 2 * 3
