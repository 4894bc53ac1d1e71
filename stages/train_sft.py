"""Teach the base to explain: supervised fine-tuning of a LoRA adapter.

    data/questions_taught.parquet (train, is_sft_row), -> models/sft
    synthetic_questions.parquet, models/base              reports/train_sft.json, curves/

Two kinds of rows: a question and a student's explanation, and refinements (a worse text of
the cluster with its rating, then the better one) in ILearner's prompt, so that the ILearner
loop asks for what it was trained on. The loss covers the completion only and EOS is part of
it: the model learns to stop. Healthy: eval_loss falls, and does not rise again by much (more
epochs learn the train texts by heart); sampled answers stop by themselves in at least 95 %
(reports/evaluate.json, sft_stopped_frac). Synthetic questions are rows like the students'.

    dvc repro train_sft
    python -m stages.train_sft
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from schemas.leakage import Leakage
from schemas.questions import TAUGHT, Questions
from schemas.synthetic_questions import SyntheticQuestions
from stages.pure import synthetic_questions
from stages.runtime import artifacts
from stages.runtime.loading import checkpoints
from stages.runtime.loading.profile import Model, Training
from stages.runtime.run import StageParams, is_main_process, stage_run, start
from stages.runtime.tuning import distributed
from stages.runtime.tuning import training as trainers
from stages.steps import sft

FOLDER = Path("models/sft")


@dataclass(frozen=True)
class Params(StageParams, sft.Settings):
    """params.yaml: train_sft."""


def main() -> None:
    """Train the SFT adapter."""
    with stage_run("train_sft", Params) as run:
        model = run.section(Model, "model")
        distributed.relaunch("stages.train_sft", model, sys.argv[1:])
        students, added = run.read(Questions, TAUGHT), run.read(SyntheticQuestions)
        questions = synthetic_questions.joined(students, added)
        run.reads(Leakage.path("questions"))
        run.reads(checkpoints.BASE_DIR)
        tokenizer = checkpoints.load_tokenizer(model)
        taught = sft.lessons(questions, run.params, tokenizer, model)
        settings = run.section(Training, "sft")
        policy, log = sft.train(taught, tokenizer, model, settings, run.seed)
        if is_main_process():
            data = [Questions.path(TAUGHT), SyntheticQuestions.path()]
            manifest = checkpoints.manifest_for(model, tokenizer, None, data, "sft")
            with artifacts.complete_folder(FOLDER) as folder:
                checkpoints.save_adapter(policy, folder, manifest)
            run.wrote(FOLDER)
            run.write_curve(pd.DataFrame(log))
            sizes = {"plain_n": taught.plain_n, "refinements_n": taught.refinements_n}
            sizes |= {"too_long_n": taught.too_long_n}
            run.report(sizes | trainers.ends_of(log, "loss", "eval_loss"))


if __name__ == "__main__":
    start(main)
