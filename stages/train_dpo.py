"""Tune the SFT adapter on preference pairs (DPO).

    data/preferences.parquet, models/sft -> models/dpo
                                            reports/train_dpo.json, curves/

The policy starts as the SFT adapter and the reference is a frozen copy of it. What to
watch, on the validation split: answers that stop, words and loops (a policy may drift into
loops that a reward even likes), and in the curve the chosen log-probabilities, which should
not fall far. Rafailov et al. 2023 (arXiv 2305.18290), eq. 7.

    dvc repro train_dpo
    dvc exp run -S train_dpo.beta=0.2
"""

import difflib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from schemas.errors import InputError
from schemas.leakage import Leakage
from schemas.pair_audit import PairAudit
from schemas.preferences import Preferences
from schemas.questions import Questions
from stages.pure import metrics
from stages.pure.prompts import distinct_questions, key_text, render_prompt
from stages.runtime import checkpoints, distributed
from stages.runtime import training as trainers
from stages.runtime.generation import Decoding, Writer
from stages.runtime.profile import Generation, Model, Training
from stages.runtime.run import Run, StageParams, is_main_process, stage_run, start

# TRL 1.16, trainer/dpo_trainer.py, _compute_loss
LOSSES = (
    *("sigmoid", "sigmoid_norm", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair"),
    *("sppo_hard", "aot", "aot_unpaired", "apo_zero", "apo_down", "discopop", "sft"),
)
PARENT, FOLDER = Path("models/sft"), Path("models/dpo")


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: train_dpo."""

    beta: float
    loss_type: list[str]
    loss_weights: list[float] | None
    ld_alpha: float | None
    label_smoothing: float


def check(params: Params) -> None:
    """Raise InputError for settings that TRL would refuse late, or take and compute nonsense."""

    def refuse(name: str, value: object, hint: str) -> None:
        raise InputError(f"params.yaml: train_dpo.{name}: {value!r}: {hint}")

    for name in params.loss_type:
        if name not in LOSSES:
            nearest = difflib.get_close_matches(name, LOSSES, n=1)
            hint = f"did you mean '{nearest[0]}'?" if nearest else f"use one of {LOSSES}."
            refuse("loss_type", name, hint)
    if not params.loss_type:
        refuse("loss_type", params.loss_type, "name at least one.")
    weights = params.loss_weights
    if weights is not None and len(weights) != len(params.loss_type):
        refuse("loss_weights", weights, f"give one for each of {params.loss_type}, or null.")
    if not params.beta > 0:
        refuse("beta", params.beta, "give a number above 0.")
    if not 0 <= params.label_smoothing < 0.5:
        refuse("label_smoothing", params.label_smoothing, "give 0 or more and less than 0.5.")
    if "exo_pair" in params.loss_type and not params.label_smoothing:
        refuse("label_smoothing", params.label_smoothing, "'exo_pair' needs more than 0.")
    if params.ld_alpha is not None and not 0 <= params.ld_alpha <= 1:
        refuse("ld_alpha", params.ld_alpha, "give 0 to 1, or null.")


def encode(
    tokenizer: Any, pairs: pd.DataFrame, prompts: dict[str, str], model: Model
) -> list[dict[str, Any]]:
    """Token ids of prompt, chosen and rejected; pairs longer than max_length are left out."""
    rows = []
    for pair in pairs.to_dict("records"):
        text = prompts[pair["question_id"]]
        asked = checkpoints.encode_prompt(tokenizer, text, model.chat_template_kwargs)
        chosen = checkpoints.encode_completion(tokenizer, pair["chosen"])
        rejected = checkpoints.encode_completion(tokenizer, pair["rejected"])
        if len(asked) + max(len(chosen), len(rejected)) <= model.max_length:
            rows.append({"prompt_ids": asked, "chosen_ids": chosen, "rejected_ids": rejected})
    return rows


def watch(run: Run[Params], writer: Writer, questions: pd.DataFrame, name: str) -> dict[str, float]:
    """What the policy does on validation questions: stops, length, loops, names the key."""
    validation = questions[questions.split == "validation"].to_dict("records")
    if not validation:
        return {}
    writer.policy.eval()  # in training it would answer with dropout; the trainer turns it on again
    prompts = [render_prompt(row) for row in validation]
    decoding = run.section(Decoding, "decoding")
    answers = writer.answer(prompts, decoding, run.seed, f"watch {name}")
    covered = [
        metrics.acr(answer.text, key_text(row)).value
        for answer, row in zip(answers, validation, strict=True)
    ]
    known = [value for value in covered if value is not None]
    numbers = {
        f"validation_{name}_stopped_frac": float(np.mean([a.is_stopped for a in answers])),
        f"validation_{name}_mean_words": float(np.mean([len(a.text.split()) for a in answers])),
        f"validation_{name}_loop_frac": float(
            np.mean([metrics.is_loop(a.text).value for a in answers])
        ),
    }
    return numbers | ({f"validation_{name}_acr_frac": float(np.mean(known))} if known else {})


def main() -> None:
    """Train the DPO adapter."""
    with stage_run("train_dpo", Params) as run:
        check(run.params)
        model = run.section(Model, "model")
        distributed.relaunch("stages.train_dpo", model, sys.argv[1:])
        questions, pairs = distinct_questions(run.read(Questions)), run.read(Preferences)
        run.reads(checkpoints.BASE_DIR, PARENT)
        run.reads(PairAudit.path(), Leakage.path("texts"))
        tokenizer = checkpoints.load_tokenizer(model)
        prompts = {row["question_id"]: render_prompt(row) for row in questions.to_dict("records")}
        rows = encode(tokenizer, pairs, prompts, model)
        if not rows:
            raise InputError(
                f"stages/profiles: model.max_length {model.max_length} is shorter than each of "
                f"{len(pairs)} pairs of data/preferences.parquet. Raise it."
            )
        policy = checkpoints.load_policy(model, PARENT, trainable=True)
        writer = Writer(policy, tokenizer, model, run.section(Generation, "generation"))
        before = watch(run, writer, questions, "sft")
        science = {k: v for k, v in vars(run.params).items() if v is not None}
        settings = run.section(Training, "dpo")
        log = trainers.fit_dpo(policy, tokenizer, rows, settings, model, run.seed, **science)
        if is_main_process():
            after = watch(run, writer, questions, "dpo")
            data = [Preferences.path(), Questions.path()]
            manifest = checkpoints.manifest_for(model, tokenizer, PARENT, data, "dpo")
            checkpoints.save_adapter(policy, checkpoints.scratch_outputs(FOLDER), manifest)
            run.wrote(FOLDER)
            run.write_curve(pd.DataFrame(log))
            sizes = {"pairs_n": len(rows), "too_long_n": len(pairs) - len(rows)}
            ends = trainers.ends_of(log, "loss", "logps/chosen", "rewards/margins")
            run.report(sizes | before | after | ends)


if __name__ == "__main__":
    start(main)
