"""The students' own explanations of the test questions, as one more policy.

    data/questions.parquet (test) -> data/explanations_student.parquet

A student's text has no tokens and did not stop: evaluate leaves both without a value.

    dvc repro explain_test_student
    python -m stages.explain_test_student
"""

from dataclasses import dataclass

import pandas as pd

from schemas.errors import InputError
from schemas.explanations import NO_TRAINING, Explanations
from schemas.questions import Questions
from stages.runtime.run import StageParams, stage_run, start


@dataclass(frozen=True)
class Params(StageParams):
    """No parameters: every text is taken as it is."""


def student_explanations(rows: pd.DataFrame) -> pd.DataFrame:
    """Explanations of the test rows; one explanation_index per student of a question."""
    test = rows[rows.split == "test"].sort_values(["question_id", "row_id"], ignore_index=True)
    return pd.DataFrame(
        {
            "policy": "student",
            "training_seed": NO_TRAINING,
            "question_id": test.question_id,
            "cluster_id": test.cluster_id,
            "decoding": "none",
            "explanation_index": test.groupby("question_id").cumcount().astype(int),
            "round_index": 0,
            "is_final": True,
            "explanation": test.explanation,
            "tokens_n": 0,  # not generated: words are counted by evaluate
            "is_stopped": True,
            "verifier_rating": float("nan"),
        }
    )


def main() -> None:
    """Collect the students' texts of the test questions."""
    with stage_run("explain_test_student", Params) as run:
        explanations = student_explanations(run.read(Questions))
        if explanations.empty:
            raise InputError(
                "explain_test_student: no row in the split 'test'. Add exports or change "
                "prepare_questions.split_percent."
            )
        run.write(Explanations, explanations, "student")
        run.report(
            {
                "questions_n": explanations.question_id.nunique(),
                "texts_n": len(explanations),
                "mean_words": float(explanations.explanation.str.split().map(len).mean()),
            }
        )


if __name__ == "__main__":
    start(main)
