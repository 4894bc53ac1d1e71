"""Let an adapter explain the test questions: one pass, sampled and greedy.

    data/questions.parquet (test), models/<policy> -> data/explanations_<policy>.parquet

All policies decode alike (params.yaml: decoding). Each test question is asked once per
decoding, however many students wrote it.

    dvc repro explain_test@dpo
    python -m stages.explain_test sft
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from schemas.errors import InputError
from schemas.explanations import Explanations
from schemas.questions import Questions
from stages.pure.prompts import distinct_questions, render_prompt
from stages.runtime.checkpoints import BASE_DIR
from stages.runtime.generation import Decoding, Generated, decodings, load_writer
from stages.runtime.profile import Generation, Model
from stages.runtime.run import StageParams, stage_run, start

POLICIES = ["sft", "dpo"]


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: explain_test."""

    max_questions: int | None


def table(policy: str, decoding: str, asked: pd.DataFrame, answers: list[Generated]) -> Any:
    """Explanations rows of one decoding."""
    return pd.DataFrame(
        {
            "policy": policy,
            "question_id": asked.question_id,
            "cluster_id": asked.cluster_id,
            "decoding": decoding,
            "explanation_index": 0,
            "round_index": 0,
            "is_final": True,
            "explanation": [answer.text for answer in answers],
            "tokens_n": [answer.tokens_n for answer in answers],
            "is_stopped": [answer.is_stopped for answer in answers],
            "verifier_rating": float("nan"),
        }
    )


def main(item: str) -> None:
    """Explain the test questions with models/<item> (sft or dpo)."""
    if item not in POLICIES:
        raise InputError(f"explain_test: unknown policy '{item}'. Use one of {POLICIES}.")
    with stage_run("explain_test", Params, item) as run:
        questions = distinct_questions(run.read(Questions))
        asked = questions[questions.split == "test"][: run.params.max_questions]
        if asked.empty:
            raise InputError(
                f"explain_test: no question in the split 'test', or max_questions "
                f"{run.params.max_questions} takes none. Add exports or change split_percent."
            )
        model, size = run.section(Model, "model"), run.section(Generation, "generation")
        adapter = Path("models") / item
        run.reads(BASE_DIR, adapter)
        writer = load_writer(model, size, adapter)
        prompts = [render_prompt(row) for row in asked.to_dict("records")]
        tables = []
        for name, decoding in decodings(run.section(Decoding, "decoding")).items():
            label = f"explain {name}"  # the same seeds for every policy
            answers = writer.answer(prompts, decoding, run.seed, label)
            tables.append(table(item, name, asked, answers))
        explanations = pd.concat(tables, ignore_index=True)
        run.write(Explanations, explanations, item)
        run.report(
            {
                "questions_n": len(asked),
                "stopped_frac": float(explanations.is_stopped.mean()),
                "mean_words": float(explanations.explanation.str.split().map(len).mean()),
            }
        )


if __name__ == "__main__":
    start(main)
