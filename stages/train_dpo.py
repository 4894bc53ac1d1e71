"""Tune the SFT adapter on preference pairs (DPO).

    data/preferences.parquet, models/sft -> models/dpo
                                            reports/train_dpo.json, curves/

The policy starts as the SFT adapter and the reference is a frozen copy of it. What to
watch: in the curve the chosen log-probabilities, which should not fall far, and what the
policy then does on the validation split (stage validate). Rafailov et al. 2023 (arXiv
2305.18290), eq. 7.

    dvc repro train_dpo
    dvc exp run -S train_dpo.beta=0.2
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from schemas.leakage import Leakage
from schemas.pair_audit import PairAudit
from schemas.preferences import Preferences
from schemas.questions import Questions
from schemas.synthetic_questions import SyntheticQuestions
from stages.pure import synthetic_questions
from stages.runtime import artifacts
from stages.runtime.loading import checkpoints
from stages.runtime.loading.profile import Model, Training
from stages.runtime.run import StageParams, is_main_process, stage_run, start
from stages.runtime.tuning import distributed
from stages.runtime.tuning import training as trainers
from stages.steps import dpo

PARENT, FOLDER = Path("models/sft"), Path("models/dpo")


@dataclass(frozen=True)
class Params(StageParams, dpo.Settings):
    """params.yaml: train_dpo."""


def main() -> None:
    """Train the DPO adapter."""
    with stage_run("train_dpo", Params) as run:
        dpo.check(run.params)
        model = run.section(Model, "model")
        distributed.relaunch("stages.train_dpo", model, sys.argv[1:])
        students, pairs = run.read(Questions), run.read(Preferences)
        questions = synthetic_questions.joined(students, run.read(SyntheticQuestions))
        run.reads(checkpoints.BASE_DIR, PARENT)
        run.reads(PairAudit.path(), Leakage.path("texts"))
        tokenizer = checkpoints.load_tokenizer(model)
        rows = dpo.encoded_pairs(tokenizer, questions, pairs, model)
        policy = checkpoints.load_policy(model, PARENT, trainable=True)
        settings = run.section(Training, "dpo")
        log = dpo.train(policy, tokenizer, rows, run.params, settings, model, run.seed)
        if is_main_process():
            data = [Preferences.path(), Questions.path(), SyntheticQuestions.path()]
            manifest = checkpoints.manifest_for(model, tokenizer, PARENT, data, "dpo")
            with artifacts.complete_folder(FOLDER) as folder:
                checkpoints.save_adapter(policy, folder, manifest)
            run.wrote(FOLDER)
            run.write_curve(pd.DataFrame(log))
            sizes = {"pairs_n": len(rows), "too_long_n": len(pairs) - len(rows)}
            ends = trainers.ends_of(log, "loss", "logps/chosen", "rewards/margins")
            run.report(sizes | ends)


if __name__ == "__main__":
    start(main)
