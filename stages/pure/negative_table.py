"""Train questions -> Negatives: which kinds of wrong text each question gets."""

from collections.abc import Hashable
from typing import Any

import pandas as pd

from schemas.errors import InputError
from schemas.negatives import KINDS
from stages.pure import negatives, prompts

FIRST_INDEX = 1000  # schemas/negatives.py: above every candidate's index
COLUMNS = ["question_id", "candidate_index", "kind", "source_question_id", "explanation"]


def make_negatives(
    questions: pd.DataFrame, candidates: pd.DataFrame, per_question: int
) -> pd.DataFrame:
    """Questions, Candidates -> Negatives of the train questions that have candidates.

    Of a question with more kinds than `per_question`, a digest of its id decides which.
    Raises InputError for a number of kinds that does not exist, and for a candidate of a
    question that is not a train question.
    """
    if not 0 <= per_question <= len(KINDS):
        raise InputError(
            f"make_negatives.negatives_per_question: {per_question} in params.yaml; "
            f"there are {len(KINDS)} kinds. Use 0 to {len(KINDS)}."
        )
    train = questions[questions.split == "train"].sort_values("row_id", kind="stable")
    asked = train_questions(train, candidates)
    texts_of = best_first(train)
    rings: dict[Any, list[negatives.Source]] = {}
    for course, good in train[train.is_sft_row].groupby("course"):
        good_rows: list[Any] = good.to_dict("records")
        rings[course] = negatives.ring(good_rows)
    taken_of = candidates.groupby("question_id").explanation
    rows = []
    for question in asked:
        name = question["question_id"]
        versions = negatives.versions(question, texts_of[name], rings.get(question["course"], []))
        made = negatives.new_texts(versions, taken_of.get_group(name))
        chosen = [k for k in negatives.rotated(KINDS, f"kinds {name}") if k in made][:per_question]
        rows += [(name, FIRST_INDEX + KINDS.index(kind), kind, *made[kind]) for kind in chosen]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.sort_values(["question_id", "candidate_index"], ignore_index=True)


def train_questions(train: pd.DataFrame, candidates: pd.DataFrame) -> list[Any]:
    """The distinct questions that have candidates; all must be train questions."""
    asked = set(candidates.question_id)
    if strangers := sorted(asked - set(train.question_id)):
        raise InputError(
            f"question {strangers[0]} of data/candidates.parquet is no train question of "
            "data/questions.parquet. Run `dvc repro sample_candidates`."
        )
    distinct = prompts.distinct_questions(train)
    return distinct[distinct.question_id.isin(asked)].to_dict("records")


def best_first(train: pd.DataFrame) -> dict[Hashable, list[str]]:
    """The students' texts of each question, best question rating first, unrated ones last."""
    ordered = train.sort_values(
        ["question_rating_mean", "row_id"], ascending=[False, True], na_position="last"
    )
    return ordered.groupby("question_id").explanation.agg(list).to_dict()
