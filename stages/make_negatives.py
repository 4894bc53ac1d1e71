"""Write explanations that are wrong on purpose, from the students' own texts.

    data/{questions,synthetic_questions,candidates}.parquet -> data/negatives.parquet
                                                               reports/make_negatives.json

One text per kind and question: a good text with key and distractor exchanged, a good text
about another question, a circle, an inverted claim. They are made of real sentences, since
a fixed string teaches a policy only to avoid that string. Whether one is worse is not
assumed: score_candidates measures it, and build_preferences uses only those that are.
Where a kind cannot be made (nothing to invert, no distractor) there is none, counted.

    dvc repro make_negatives
    python -m stages.make_negatives
"""

from dataclasses import dataclass

import pandas as pd

from schemas.candidates import Candidates
from schemas.negatives import KINDS, Negatives
from schemas.questions import Questions
from schemas.synthetic_questions import SyntheticQuestions
from stages.pure import synthetic_questions
from stages.pure.negative_table import make_negatives
from stages.runtime.params import StageParams
from stages.runtime.run import stage_run, start


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: make_negatives. Units and sources are commented there."""

    negatives_per_question: int


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
        students, candidates = run.read(Questions), run.read(Candidates)
        questions = synthetic_questions.joined(students, run.read(SyntheticQuestions))
        table = make_negatives(questions, candidates, run.params.negatives_per_question)
        run.write(Negatives, table)
        run.report(summarize(candidates, table))


if __name__ == "__main__":
    start(main)
