"""Student utility: does a student find the key more easily after the explanation?

Two definitions under two names. `utility` hides the key in the explanation: what counts is
what is said about it. `utility_unmasked` leaves it: a student who can read finds the key where
it is named, so it measures whether a text speaks for the key and for nothing else.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from stages.pure import exams
from stages.pure import utility as measure
from stages.pure.metrics import Value
from stages.pure.scored.scoring import is_blank
from stages.runtime import store, students
from stages.scorers.asking import kept_by

FOLDER = Path("models/students")
MODELS = (FOLDER,)
CHOICES = 2048  # that a student reads, and that are kept, together


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
    is_empty = is_blank(texts)
    said = texts[~is_empty]
    tests = [
        measure.tests_of(text, of_question[question], is_masked)
        for question, text in zip(said.question_id, said.explanation, strict=True)
    ]
    choices = measure.asked(tests)
    answers = [
        dict(zip(choices, ask(folder, choices), strict=True)) for folder in students.folders(FOLDER)
    ]
    values = iter(measure.values(tests, answers))
    return [Value(None, "empty_text") if empty else next(values) for empty in is_empty]


def ask(folder: Path, choices: Sequence[students.Choice]) -> list[np.ndarray | None]:
    """What one student says of each choice: P of each option, None where it is too long."""
    how = students.read_how(folder)
    reader = functools.cache(students.load)

    def compute(asked: list[students.Choice]) -> list[list[float] | None]:
        found = reader(folder).probabilities(asked)
        return [None if likely is None else likely.tolist() for likely in found]

    same = kept_by(__name__, folder, how)
    known = store.remembered("utility", same, list(choices), compute, CHOICES)
    return [None if likely is None else np.array(likely) for likely in known]


SCORERS = {"utility": utility, "utility_unmasked": utility_unmasked}
