"""Let the SFT policy explain train questions, several times each, and add the students' texts.

    data/questions.parquet (train), -> data/candidates.parquet
    synthetic_questions.parquet,
    models/sft

One sample per temperature in `temperatures`; low ones give likely texts, high ones variety.
Questions are drawn by a hash of their id, so that adding rows changes little of the choice.

    dvc repro sample_candidates
    python -m stages.sample_candidates
"""

from dataclasses import dataclass
from pathlib import Path

from schemas.candidates import Candidates
from schemas.questions import Questions
from schemas.synthetic_questions import SyntheticQuestions
from stages.pure import synthetic_questions
from stages.runtime.loading import checkpoints
from stages.runtime.loading.profile import Generation, Model
from stages.runtime.run import StageParams, stage_run, start
from stages.runtime.sampling.generation import load_writer
from stages.steps import candidates as steps

POLICY = Path("models/sft")


@dataclass(frozen=True)
class Params(StageParams, steps.Settings):
    """params.yaml: sample_candidates."""


def main() -> None:
    """Sample candidates for the train questions."""
    with stage_run("sample_candidates", Params) as run:
        rows = synthetic_questions.joined(run.read(Questions), run.read(SyntheticQuestions))
        run.reads(checkpoints.BASE_DIR, POLICY)
        model, size = run.section(Model, "model"), run.section(Generation, "generation")
        writer = load_writer(model, size, POLICY)
        candidates = steps.candidates(writer, rows, run.params, run.seed)
        run.write(Candidates, candidates)
        ours = candidates[candidates.origin == "sft"]
        run.report(
            {
                "questions_n": candidates.question_id.nunique(),
                "candidates_n": len(candidates),
                "sampled_n": len(ours),
                "stopped_frac": float(ours.is_stopped.mean()),
                "distinct_frac": float(len(ours.drop_duplicates(["question_id", "explanation"])))
                / len(ours),
                "sampled_mean_words": float(ours.explanation.str.split().map(len).mean()),
            }
        )


if __name__ == "__main__":
    start(main)
