"""Teach the base to explain: supervised fine-tuning of a LoRA adapter.

    data/questions.parquet (train, is_sft_row), models/base -> models/sft
                                                               reports/train_sft.json, curves/

Two kinds of rows: a question and a student's explanation, and refinements (a worse text of
the cluster with its rating, then the better one) in ILearner's prompt, so that the ILearner
loop asks for what it was trained on. The loss covers the completion only and EOS is part of
it: the model learns to stop. Healthy: eval_loss falls, and does not rise again by much (more
epochs learn the train texts by heart); sampled answers stop by themselves in at least 95 %
(reports/evaluate.json, sft_stopped_frac).

    dvc repro train_sft
    python -m stages.train_sft
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from schemas.errors import InputError
from schemas.leakage import Leakage
from schemas.questions import Questions
from stages.pure.prompts import render_prompt
from stages.pure.refinements import refinements
from stages.runtime import checkpoints, distributed
from stages.runtime import training as trainers
from stages.runtime.profile import Model, Training
from stages.runtime.run import StageParams, is_main_process, stage_run, start

FOLDER = Path("models/sft")


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: train_sft."""

    refinement_frac: float
    min_refinement_gap: float


def plain_texts(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """(prompt, explanation) of rows good enough to imitate."""
    good = rows[rows.is_sft_row].sort_values("row_id").to_dict("records")
    return [(render_prompt(row), row["explanation"]) for row in good]


def encode(tokenizer: Any, texts: list[tuple[str, str]], model: Model) -> list[dict[str, Any]]:
    """Token ids with a mask of the completion; a row longer than max_length is left out.

    Cutting it would cut its EOS, and teach the model not to stop.
    """
    rows = []
    for prompt, answer in texts:
        asked = checkpoints.encode_prompt(tokenizer, prompt, model.chat_template_kwargs)
        said = checkpoints.encode_completion(tokenizer, answer)
        if len(asked) + len(said) <= model.max_length:
            mask = [0] * len(asked) + [1] * len(said)
            rows.append({"input_ids": asked + said, "completion_mask": mask})
    return rows


def main() -> None:
    """Train the SFT adapter."""
    with stage_run("train_sft", Params) as run:
        model = run.section(Model, "model")
        distributed.relaunch("stages.train_sft", model, sys.argv[1:])
        rows = run.read(Questions)
        run.reads(Leakage.path("questions"))
        run.reads(checkpoints.BASE_DIR)
        train = rows[rows.split == "train"]
        plain = plain_texts(train)
        better = refinements(train, run.params.min_refinement_gap)
        better = better[: round(run.params.refinement_frac * len(plain))]
        if not plain:
            raise InputError(
                "data/questions.parquet: no train row has is_sft_row. Lower "
                "prepare_questions.min_question_rating or min_explanation_words."
            )
        tokenizer = checkpoints.load_tokenizer(model)
        encoded = encode(tokenizer, plain + better, model)
        if not encoded:
            raise InputError(
                f"stages/profiles: model.max_length {model.max_length} is shorter than each of "
                f"{len(plain)} rows of data/questions.parquet. Raise it."
            )
        validation = encode(tokenizer, plain_texts(rows[rows.split == "validation"]), model)
        policy = trainers.fresh_lora(checkpoints.load_base(model), model, run.seed)
        settings = run.section(Training, "sft")
        log = trainers.fit_sft(policy, tokenizer, encoded, validation, settings, model, run.seed)
        if is_main_process():
            manifest = checkpoints.manifest_for(model, tokenizer, None, [Questions.path()], "sft")
            checkpoints.save_adapter(policy, checkpoints.scratch_outputs(FOLDER), manifest)
            run.wrote(FOLDER)
            run.write_curve(pd.DataFrame(log))
            left_out = len(plain) + len(better) - len(encoded)
            sizes = {"plain_n": len(plain), "refinements_n": len(better), "too_long_n": left_out}
            run.report(sizes | trainers.ends_of(log, "loss", "eval_loss"))


if __name__ == "__main__":
    start(main)
