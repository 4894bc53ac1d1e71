"""Preferences -> encoded pairs -> the SFT adapter tuned by DPO, in memory."""

from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from schemas.errors import InputError, nearest
from stages.pure.prompts import distinct_questions, render_prompt
from stages.runtime import resume
from stages.runtime.loading import checkpoints
from stages.runtime.loading.profile import Model, Training
from stages.runtime.tuning import training as trainers

# TRL 1.16, trainer/dpo_trainer.py, _compute_loss
LOSSES = (
    *("sigmoid", "sigmoid_norm", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair"),
    *("sppo_hard", "aot", "aot_unpaired", "apo_zero", "apo_down", "discopop", "sft"),
)


@dataclass(frozen=True)
class Settings:
    """params.yaml: train_dpo."""

    beta: float
    loss_type: list[str]
    loss_weights: list[float] | None
    ld_alpha: float | None
    label_smoothing: float


def check(settings: Settings) -> None:
    """Raise InputError for settings that TRL would refuse late, or take and compute nonsense."""

    def refuse(name: str, value: object, hint: str) -> None:
        raise InputError(f"params.yaml: train_dpo.{name}: {value!r}: {hint}")

    for name in settings.loss_type:
        if name not in LOSSES:
            refuse("loss_type", name, nearest(name, LOSSES))
    if not settings.loss_type:
        refuse("loss_type", settings.loss_type, "name at least one.")
    weights = settings.loss_weights
    if weights is not None and len(weights) != len(settings.loss_type):
        refuse("loss_weights", weights, f"give one for each of {settings.loss_type}, or null.")
    if not settings.beta > 0:
        refuse("beta", settings.beta, "give a number above 0.")
    if not 0 <= settings.label_smoothing < 0.5:
        refuse("label_smoothing", settings.label_smoothing, "give 0 or more and less than 0.5.")
    if "exo_pair" in settings.loss_type and not settings.label_smoothing:
        refuse("label_smoothing", settings.label_smoothing, "'exo_pair' needs more than 0.")
    if settings.ld_alpha is not None and not 0 <= settings.ld_alpha <= 1:
        refuse("ld_alpha", settings.ld_alpha, "give 0 to 1, or null.")


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


def encoded_pairs(
    tokenizer: Any, questions: pd.DataFrame, pairs: pd.DataFrame, model: Model
) -> list[dict[str, Any]]:
    """Questions, Preferences -> rows for DPO.

    Raises InputError for no pairs, for pairs that are all too long, and for a pair of which
    both texts are the same tokens: it says nothing about what is better.
    """
    if pairs.empty:
        raise InputError(
            "data/preferences.parquet: 0 pairs, nothing to tune on. Run `dvc repro "
            "build_preferences`."
        )
    asked = distinct_questions(questions).to_dict("records")
    prompts = {row["question_id"]: render_prompt(row) for row in asked}
    rows = encode(tokenizer, pairs, prompts, model)
    if not rows:
        raise InputError(
            f"stages/profiles: model.max_length {model.max_length} is shorter than each of "
            f"{len(pairs)} pairs of data/preferences.parquet. Raise it."
        )
    tied = sum(row["chosen_ids"] == row["rejected_ids"] for row in rows)
    if tied:
        raise InputError(
            f"data/preferences.parquet: in {tied} of {len(rows)} pairs chosen and rejected are the "
            "same to the model. Run `dvc repro build_preferences`."
        )
    return rows


def train(
    policy: Any,
    tokenizer: Any,
    rows: list[dict[str, Any]],
    settings: Settings,
    training: Training,
    model: Model,
    seed: int,
) -> list[dict[str, float]]:
    """DPO of `policy` (its trainable adapter) in place; the log. A killed training goes on."""
    science = {name: value for name, value in asdict(settings).items() if value is not None}
    science["checkpoint_seconds"] = resume.SECONDS
    return trainers.fit_dpo(policy, tokenizer, rows, training, model, seed, **science)
