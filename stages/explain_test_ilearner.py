"""ILearner on the test questions: generator and verifier in K rounds, the best text kept.

    data/questions.parquet (test), models/sft, models/verifier_reward
        -> data/explanations_ilearner.parquet

Round 0 asks the plain prompt. Each later round shows the question, the last text and its
rating, and asks for a better one (ILearner-LLM, arXiv 2309.10444). A question is done when
a rating reaches `stop_rating`, or after `rounds`. The prior code's stored script asks five
times without the question and returns the last text; here the loop is a true one and the
best-rated text is final. Every round is kept.

    dvc repro explain_test_ilearner
    python -m stages.explain_test_ilearner
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from schemas.errors import InputError
from schemas.explanations import Explanations
from schemas.questions import Questions
from stages.pure.prompts import render_prompt
from stages.pure.rounds import is_done, mark_final, next_prompt
from stages.pure.scored.marks import mark_options
from stages.pure.scored.scoring import NOT_TRAINED_ON
from stages.runtime import classifiers
from stages.runtime.classifiers import Classifier
from stages.runtime.loading.checkpoints import BASE_DIR
from stages.runtime.loading.profile import Generation, Model
from stages.runtime.run import Run, StageParams, stage_run, start
from stages.runtime.sampling.drawing import Decoding
from stages.runtime.sampling.generation import Generated, Resident, decodings, load_resident
from stages.scorers import verifier
from stages.steps import explaining

POLICY = Path("models/sft")


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: explain_test_ilearner."""

    max_questions: int | None
    rounds: int
    stop_rating: float


def rate(
    halves: dict[int, Classifier], questions: list[dict[Any, Any]], answers: list[Generated]
) -> np.ndarray:
    """Stars (n,) of the verifier for unseen questions; NaN for an empty text."""
    said = [i for i, answer in enumerate(answers) if answer.text]
    ratings = np.full(len(answers), np.nan)
    prompts = [render_prompt(questions[i]) for i in said]
    texts = [mark_options(questions[i], answers[i].text) for i in said]
    ratings[said] = verifier.ratings(halves, prompts, texts, np.full(len(said), NOT_TRAINED_ON))
    return ratings


def iterate(
    run: Run[Params],
    writer: Resident,
    halves: dict[int, Classifier],
    asked: pd.DataFrame,
    name: str,
    how: Decoding,
) -> pd.DataFrame:
    """All rounds of one decoding, as Explanations rows."""
    open_questions = asked.to_dict("records")
    last: dict[str, dict[str, Any]] = {}
    rows = []
    for index in range(run.params.rounds):
        if not open_questions:
            break
        texts = [next_prompt(q, last.get(q["question_id"])) for q in open_questions]
        label = f"explain {name}" if index == 0 else f"explain {name}, round {index}"
        answers = writer.answer(texts, how, run.seed, label)
        ratings = rate(halves, open_questions, answers)
        for question, answer, rating in zip(open_questions, answers, ratings, strict=True):
            row = {"policy": "ilearner", "training_seed": run.seed}
            row |= {"question_id": question["question_id"]}
            row |= {"cluster_id": question["cluster_id"], "decoding": name}
            row |= {"explanation_index": 0, "round_index": index, "is_final": False}
            row |= {"explanation": answer.text, "tokens_n": answer.tokens_n}
            row |= {"is_stopped": answer.is_stopped, "verifier_rating": float(rating)}
            rows.append(row)
            last[question["question_id"]] = row
        open_questions = [
            q
            for q, rating in zip(open_questions, ratings, strict=True)
            if not is_done(rating, run.params.stop_rating)
        ]
    return mark_final(pd.DataFrame(rows))


def summarize(rows: pd.DataFrame) -> dict[str, float]:
    """Rounds used, and what the first and the kept text are rated."""
    rounds = rows.groupby(["decoding", "question_id"]).size()
    numbers = {
        "questions_n": rows.question_id.nunique(),
        "texts_n": len(rows),
        "rounds_mean_n": float(rounds.mean()),
        "unrated_n": int(rows.verifier_rating.isna().sum()),
        "round_0_rating_stars": float(rows[rows.round_index == 0].verifier_rating.mean()),
        "final_rating_stars": float(rows[rows.is_final].verifier_rating.mean()),
    }
    return {name: value for name, value in numbers.items() if np.isfinite(value)}


def main() -> None:
    """Explain the test questions in K rounds."""
    with stage_run("explain_test_ilearner", Params) as run:
        if run.params.rounds < 1:
            raise InputError(
                f"params.yaml: explain_test_ilearner.rounds: {run.params.rounds}. Give 1 or more."
            )
        rows, limit = run.read(Questions), run.params.max_questions
        asked = explaining.asked_questions(rows, limit, "explain_test_ilearner")
        run.reads(BASE_DIR, POLICY, verifier.FOLDER)
        sizes = run.section(Model, "model"), run.section(Generation, "generation")
        writer = load_resident(*sizes, POLICY)  # one base in memory for generator and verifier
        halves = classifiers.load_folds(verifier.FOLDER, onto=writer.policy)
        tables = [
            iterate(run, writer, halves, asked, name, how)
            for name, how in decodings(run.section(Decoding, "decoding")).items()
        ]
        explanations = pd.concat(tables, ignore_index=True)
        run.write(Explanations, explanations, "ilearner")
        run.report(summarize(explanations))


if __name__ == "__main__":
    start(main)
