"""Which questions show whether a student has learnt something from an explanation.

Exam items must resemble the taught one (Can LLMs Learn by Teaching? arXiv 2406.14629), so the
exam is the question itself and the questions of its course that read most like it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from stages.pure import prompts

Question = Mapping[Any, Any]  # a row of prompts.distinct_questions


def exams(taught: Sequence[Question], pool: Sequence[Question], count: int) -> list[list[Question]]:
    """Of each taught question: itself, then its `count` nearest of `pool` in the same course.

    Nearest by cosine of TF-IDF vectors of stem and key, ties by question_id; fewer where the
    course has fewer. The taught question itself is none of the nearest.
    """
    if not taught:
        return []
    likeness = similarity([subject(q) for q in taught], [subject(q) for q in pool])
    names = np.array([q["question_id"] for q in pool], dtype=str)
    found = []
    for question, row in zip(taught, likeness, strict=True):
        nearest = [pool[i] for i in np.lexsort((names, -row))]  # by the last key first
        others = [
            other
            for other in nearest
            if other["course"] == question["course"]
            and other["question_id"] != question["question_id"]
        ]
        found.append([question, *others[:count]])
    return found


def records(questions: pd.DataFrame) -> list[dict[Any, Any]]:
    """Rows of distinct_questions as plain values, None where an option is missing."""
    plain = questions.astype(object).where(questions.notna(), None)
    return plain.to_dict("records")


def subject(question: Question) -> str:
    """What a question is about: its stem and its key."""
    return f"{question['stem']} {prompts.key_text(question)}"


def similarity(texts: list[str], others: list[str]) -> np.ndarray:
    """Cosine of TF-IDF vectors, (texts, others), 0..1; 0 where no word is shared."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    if not others:
        return np.zeros((len(texts), 0))
    vectors = TfidfVectorizer(token_pattern=r"\w+", stop_words="english").fit_transform(
        texts + others
    )
    dense = np.asarray((vectors[: len(texts)] @ vectors[len(texts) :].T).todense())
    return dense.round(9)  # so that equal texts tie whatever order their sums had
