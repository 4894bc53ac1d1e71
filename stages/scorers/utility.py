"""Student utility: does a student find the key more easily after the explanation?

Two definitions under two names. `utility` hides the key in the explanation: what counts is
what is said about it. `utility_unmasked` leaves it: a student who can read finds the key where
it is named, so it measures whether a text speaks for the key and for nothing else.
"""

from pathlib import Path

import pandas as pd

from stages.pure import exams
from stages.pure import utility as measure
from stages.pure.metrics import Value
from stages.runtime import students

FOLDER = Path("models/students")
MODELS = (FOLDER,)


def utility(texts: pd.DataFrame) -> list[Value]:
    """Mean gain of P(key) with the keys hidden in the explanation, -1..1, one per row."""
    return gain(texts, is_masked=True)


def utility_unmasked(texts: pd.DataFrame) -> list[Value]:
    """Mean gain of P(key) with the explanation as it is, -1..1, one per row."""
    return gain(texts, is_masked=False)


def gain(texts: pd.DataFrame, is_masked: bool) -> list[Value]:
    """The values of all rows; no student reads the same question and text twice."""
    exam = students.read_exam(FOLDER)
    distinct = texts.drop_duplicates("question_id").to_dict("records")
    found = exams.exams(distinct, exam.pool, exam.neighbours)
    of_question = {row["question_id"]: rows for row, rows in zip(distinct, found, strict=True)}
    is_empty = texts.explanation.str.strip() == ""
    said = texts[~is_empty]
    tests = [
        measure.tests_of(text, of_question[question], is_masked)
        for question, text in zip(said.question_id, said.explanation, strict=True)
    ]
    choices = measure.asked(tests)
    answers = [
        dict(zip(choices, reader.probabilities(choices), strict=True))
        for reader in students.load_all(FOLDER)
    ]
    values = iter(measure.values(tests, answers))
    return [Value(None, "empty_text") if empty else next(values) for empty in is_empty]


SCORERS = {"utility": utility, "utility_unmasked": utility_unmasked}
