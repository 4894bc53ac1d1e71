"""The exam of an explanation: its own question, then what reads most like it in the course."""

from typing import Any

import pandas as pd
import pytest

from stages.pure import exams


def question(name: str, stem: str, course: str = "zoo") -> dict[str, Any]:
    return {
        "question_id": name,
        "course": course,
        "stem": stem,
        "option_a": "yes",
        "option_b": None,
        "options_n": 1,
        "key": "A",
    }


LUNG = question("q0", "What do lungs exchange?")
POOL = [
    question("q3", "What do gills exchange?"),
    question("q2", "Which lungs exchange gas?"),
    LUNG,
    question("q1", "Who wrote the treaty?"),
    question("q4", "What do lungs exchange?", course="law"),
]


def names(found: list[Any]) -> list[str]:
    return [q["question_id"] for q in found]


def test_the_question_comes_first_then_the_nearest_of_its_course():
    (found,) = exams.exams([LUNG], POOL, 2)
    assert names(found) == ["q0", "q2", "q3"]


def test_it_is_not_its_own_neighbour_and_a_small_course_gives_fewer():
    (found,) = exams.exams([LUNG], POOL, 9)
    assert names(found) == ["q0", "q2", "q3", "q1"]
    assert names(exams.exams([LUNG], [], 2)[0]) == ["q0"]
    assert names(exams.exams([LUNG], POOL, 0)[0]) == ["q0"]


def test_ties_go_by_name_whatever_the_order_of_the_pool():
    same = [question(f"p{i}", "What do gills exchange?") for i in (2, 0, 1)]
    for pool in (same, same[::-1]):
        assert names(exams.exams([LUNG], pool, 2)[0]) == ["q0", "p0", "p1"]


def test_likeness_is_a_cosine():
    found = exams.similarity(["lung gas", "lung gas"], ["gas lung", "treaty"])
    assert found.tolist() == [[pytest.approx(1), 0], [pytest.approx(1), 0]]


def test_no_question_has_no_exam():
    assert exams.exams([], POOL, 2) == []


def test_records_are_plain_values():
    (row,) = exams.records(pd.DataFrame({"option_b": [float("nan")], "options_n": [1]}))
    assert row == {"option_b": None, "options_n": 1}
