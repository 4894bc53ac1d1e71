"""Synthetic questions beside the students': from there on they are train questions like others."""

import pandas as pd

from schemas.synthetic import ORIGIN
from schemas.synthetic_questions import FIRST_DROPPED
from stages.pure.prompts import distinct_questions
from stages.pure.synthetic_texts import below

MARK = "synthetic:"  # before the id of a row; a student's is <course>/<id>, and has a slash
OF_SOURCE = ["question_id", "cluster_id", "split", "fold", "course"]


def joined(questions: pd.DataFrame, made: pd.DataFrame) -> pd.DataFrame:
    """Questions with a row for each usable one of SyntheticQuestions; as it is if there is none.

    The row is in its source's course, cluster, split and fold. Only sources that are in
    `questions` count.
    """
    return below(questions, as_rows(questions, made))


def as_rows(questions: pd.DataFrame, made: pd.DataFrame) -> pd.DataFrame:
    """The rows that `joined` adds, in the columns of Questions."""
    source = distinct_questions(questions)[OF_SOURCE]
    used = made[made.reason.isna()].drop(columns="reason")
    rows = used.merge(
        source.rename(columns={"question_id": "source_question_id"}),
        on="source_question_id",
        validate="many_to_one",
    )
    return rows.assign(
        row_id=MARK + rows.question_id.astype("str"),
        explanation_words_n=rows.explanation.map(lambda text: len(text.split())),
        question_rating_mean=float("nan"),
        question_ratings_n=0,
        rated_object="question",
        is_sft_row=True,
        is_training_row=True,
        user_hash=None,
    )


def unusable(made: pd.DataFrame) -> pd.DataFrame:
    """The rows of `drops` for questions that never came, or that are not used."""
    out = made[made.reason.notna()]
    index = FIRST_DROPPED + out.item_index
    return pd.DataFrame({"question_id": out.source_question_id, "candidate_index": index}).assign(
        origin=ORIGIN, reason=out.reason
    )


def is_synthetic(rows: pd.DataFrame) -> "pd.Series[bool]":
    """Which rows of Questions no student wrote."""
    return rows.row_id.str.startswith(MARK)
