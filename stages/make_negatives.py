"""Write explanations that are wrong on purpose, from the students' own texts.

    data/questions.parquet, data/candidates.parquet -> data/negatives.parquet
                                                       reports/make_negatives.json

One text per kind and question: a good text with key and distractor exchanged, a good text
about another question, a circle, an inverted claim. They are made of real sentences, since
a fixed string teaches a policy only to avoid that string. Whether one is worse is not
assumed: score_candidates measures it, and build_preferences uses only those that are.
Where a kind cannot be made (nothing to invert, no distractor) there is none, counted.

    dvc repro make_negatives
    python -m stages.make_negatives
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from schemas.candidates import Candidates
from schemas.errors import InputError
from schemas.negatives import KINDS, Negatives
from schemas.questions import Questions
from stages.pure import negatives, prompts
from stages.runtime.params import StageParams
from stages.runtime.run import stage_run, start

FIRST_INDEX = 1000  # schemas/negatives.py: above every candidate's index
COLUMNS = ["question_id", "candidate_index", "kind", "source_question_id", "explanation"]


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: make_negatives. Units and sources are commented there."""

    negatives_per_question: int


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


def summarize(candidates: pd.DataFrame, table: pd.DataFrame) -> dict[str, float]:
    """How many questions have each kind, and how long the texts are."""
    questions_n = candidates.question_id.nunique()
    counts = {kind: int((table.kind == kind).sum()) for kind in KINDS}
    lengths = table.explanation.map(lambda text: len(text.split()))
    return (
        {"questions_n": questions_n, "negatives_n": len(table)}
        | {f"{kind}_n": n for kind, n in counts.items()}
        | {f"{kind}_missing_n": questions_n - n for kind, n in counts.items()}
        | ({"median_words": float(lengths.median())} if len(table) else {})
    )


def main() -> None:
    """Read, compute, write, report."""
    with stage_run("make_negatives", Params) as run:
        questions, candidates = run.read(Questions), run.read(Candidates)
        table = make_negatives(questions, candidates, run.params.negatives_per_question)
        run.write(Negatives, table)
        run.report(summarize(candidates, table))


if __name__ == "__main__":
    start(main)
