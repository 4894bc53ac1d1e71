"""Let an adapter explain the test questions: one pass, sampled and greedy.

    data/questions.parquet (test), models/<policy> -> data/explanations_<policy>.parquet

All policies decode alike (params.yaml: decoding). Each test question is asked once per
decoding, however many students wrote it.

    dvc repro explain_test@dpo
    python -m stages.explain_test sft
"""

from dataclasses import dataclass
from pathlib import Path

from schemas.errors import InputError
from schemas.explanations import Explanations
from schemas.questions import Questions
from stages.runtime.loading.checkpoints import BASE_DIR
from stages.runtime.loading.profile import Generation, Model
from stages.runtime.run import StageParams, stage_run, start
from stages.runtime.sampling.drawing import Decoding
from stages.runtime.sampling.generation import load_writer
from stages.steps import explaining

POLICIES = ["sft", "dpo"]


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: explain_test."""

    max_questions: int | None


def main(item: str) -> None:
    """Explain the test questions with models/<item> (sft or dpo)."""
    if item not in POLICIES:
        raise InputError(f"explain_test: unknown policy '{item}'. Use one of {POLICIES}.")
    with stage_run("explain_test", Params, item) as run:
        asked = explaining.asked_questions(
            run.read(Questions), run.params.max_questions, "explain_test"
        )
        model, size = run.section(Model, "model"), run.section(Generation, "generation")
        adapter = Path("models") / item
        run.reads(BASE_DIR, adapter)
        writer, decoding = load_writer(model, size, adapter), run.section(Decoding, "decoding")
        explanations = explaining.explain(writer, asked, decoding, item, run.seed)
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
