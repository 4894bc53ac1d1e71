"""What the trainings share: arguments, datasets and logs.

An update learns from batch_size * accumulation_steps rows of each process, drawn by the seed
and sorted by length: small batches of like rows are read with less padding.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from stages.runtime.loading.profile import Model, Training
from stages.runtime.tuning import distributed, fitting, length_groups, reference


def arguments(
    training: Training, model: Model, seed: int, has_validation: bool = False
) -> dict[str, Any]:
    """Arguments of transformers' TrainingArguments that every trainer here gets.

    Nothing is reported, and nothing saved but where fitting.fit keeps checkpoints.
    """
    is_cpu = model.device == "cpu"
    given: dict[str, Any] = {
        "output_dir": tempfile.gettempdir(),  # it must exist; nothing is written there
        "learning_rate": training.learning_rate,
        "num_train_epochs": training.epochs,
        "per_device_train_batch_size": training.batch_size,
        "per_device_eval_batch_size": training.batch_size,
        "gradient_accumulation_steps": training.accumulation_steps,
        "gradient_checkpointing": training.gradient_checkpointing,
        "warmup_steps": training.warmup_frac,  # below 1 it is a share of all steps
        "lr_scheduler_type": "cosine",
        "logging_steps": 5,
        "eval_strategy": "epoch" if has_validation else "no",
        "save_strategy": "no",  # fitting.keeper saves when it is time
        "logging_nan_inf_filter": False,  # fitting.guard stops there; it would be hidden
        "report_to": "none",
        "seed": seed,
        "data_seed": seed,
        "use_cpu": is_cpu,
        "bf16": model.dtype == "bfloat16",
        "dataloader_pin_memory": not is_cpu,
        "disable_tqdm": not sys.stderr.isatty(),
    }
    return given | distributed.deepspeed_arguments(model)


@contextmanager
def scoring_labels_only() -> Iterator[None]:
    """Let TRL project only the tokens that count through the head, on any device.

    TRL 1.16 does so where Triton is and scores the whole prompt elsewhere, to keep tile shapes
    for one kind of accelerator (trl/trainer/utils.py, `compact` in _fused_forward). On a CPU
    that makes SFT and DPO take twice as long; the values are the same (tests/test_training.py).
    """
    from trl.trainer import utils

    usual = utils._use_triton
    utils._use_triton = lambda device: True
    try:
        yield
    finally:
        utils._use_triton = usual


def fresh_lora(base: Any, model: Model, seed: int) -> Any:
    """The base with a new, trainable LoRA adapter; `seed` fixes its weights."""
    import transformers
    from peft import LoraConfig, get_peft_model

    transformers.set_seed(seed)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=model.lora_rank,
        lora_alpha=model.lora_alpha,
        lora_dropout=model.lora_dropout,
        target_modules=sorted(model.lora_targets),
    )
    return get_peft_model(base, config)


def fit_sft(
    policy: Any,
    tokenizer: Any,
    rows: list[dict[str, Any]],
    validation: list[dict[str, Any]],
    training: Training,
    model: Model,
    seed: int,
    checkpoint_seconds: float | None = None,
    **extra: Any,
) -> list[dict[str, float]]:
    """SFT in place. rows: input_ids and completion_mask; the loss covers the completion only.

    checkpoint_seconds: see resume.Checkpoints; None keeps none.
    """
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    given = (training, model, seed, checkpoint_seconds, extra)
    kept = fitting.checkpoints_of("sft", policy, [rows, validation], *given)
    config = SFTConfig(
        **arguments(training, model, seed, bool(validation)) | extra,
        max_length=None,  # rows that are too long were left out: cutting would cut EOS
        completion_only_loss=True,
        packing=False,
    )
    trainer = SFTTrainer(
        model=policy,
        args=distributed.on_one_device(config),
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(validation) if validation else None,
        processing_class=tokenizer,
    )
    length_groups.sort_updates(trainer, [len(row["input_ids"]) for row in rows])
    with scoring_labels_only():
        log = fitting.fit("sft", trainer, kept)
    distributed.leave(trainer, policy)
    return tidy(log)


def fit_dpo(
    policy: Any,
    tokenizer: Any,
    rows: list[dict[str, Any]],
    training: Training,
    model: Model,
    seed: int,
    checkpoint_seconds: float | None = None,
    **science: Any,
) -> list[dict[str, float]]:
    """DPO in place. rows: prompt_ids, chosen_ids, rejected_ids.

    policy is the SFT adapter, trainable; TRL copies it to a frozen adapter `ref`, which is
    the reference. It is asked once per pair, but in every step where there are several ranks:
    none of them has all rows. checkpoint_seconds: see resume.Checkpoints; None keeps none.
    science: beta, loss_type and what else DPOConfig takes.
    """
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    class EncodedDPOTrainer(DPOTrainer):
        """Takes rows that are encoded already: student text must stay plain text."""

        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

    own = (training, model, seed, checkpoint_seconds, science)
    kept = fitting.checkpoints_of("dpo", policy, [rows], *own)
    given = arguments(training, model, seed) | {"eval_strategy": "no"} | science
    trainer = EncodedDPOTrainer(
        model=policy,
        args=distributed.on_one_device(DPOConfig(**given, max_length=None)),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    length_groups.sort_updates(trainer, [reference.length(row) for row in rows])
    with scoring_labels_only():
        if not distributed.is_rank():
            reference.ask_once(trainer, fitting.remembered(kept).get("reference"))
        log = fitting.fit("dpo", trainer, kept)
    distributed.leave(trainer, policy)
    return tidy(log)


def fit_regressor(
    regressor: Any,
    tokenizer: Any,
    model: Model,
    rows: list[dict[str, Any]],
    validation: list[dict[str, Any]],
    training: Training,
    seed: int,
    checkpoint_seconds: float | None = None,
) -> list[dict[str, float]]:
    """Train a score head and its adapter in place. rows: input_ids, labels and weight.

    checkpoint_seconds: see resume.Checkpoints; None keeps none.
    """
    from datasets import Dataset
    from transformers import Trainer, TrainingArguments

    class WeightedTrainer(Trainer):
        """Mean over rows of weight * squared error."""

        loss_is_scaled_for_ga = False  # a mean over one batch: the trainer divides by their number

        def compute_loss(  # type: ignore[override]
            self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any
        ) -> Any:
            weights, labels = inputs.pop("weight"), inputs.pop("labels")
            outputs = model(**inputs)
            loss = (weights * (outputs.logits.float()[:, 0] - labels) ** 2).mean()
            return (loss, outputs) if return_outputs else loss

    given = (training, model, seed, checkpoint_seconds)
    kept = fitting.checkpoints_of("verifier", regressor, [rows, validation], *given, science={})
    config = TrainingArguments(
        **arguments(training, model, seed, bool(validation)),
        remove_unused_columns=False,
        label_names=["labels"],
    )
    trainer = WeightedTrainer(
        model=regressor,
        args=distributed.on_one_device(config),
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(validation) if validation else None,
        data_collator=partial(collate, tokenizer),
        processing_class=tokenizer,
    )
    length_groups.sort_updates(trainer, [len(row["input_ids"]) for row in rows])
    log = fitting.fit("verifier", trainer, kept)
    distributed.leave(trainer, regressor)
    return tidy(log)


def collate(tokenizer: Any, batch: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows of fit_regressor -> tensors, padded on the right."""
    import torch

    texts = [{"input_ids": row["input_ids"]} for row in batch]
    padded = dict(tokenizer.pad(texts, padding_side="right", return_tensors="pt"))
    for name in ("labels", "weight"):
        padded[name] = torch.tensor([row[name] for row in batch], dtype=torch.float32)
    return padded


def tidy(history: list[dict[str, float]]) -> list[dict[str, float]]:
    """The log without run times: they differ between equal runs."""
    rows = []
    for entry in history:
        if any(name.startswith("train_") for name in entry):
            continue  # the closing summary, nothing but times and the mean loss
        kept = {k: v for k, v in entry.items() if "runtime" not in k and "per_second" not in k}
        rows.append(kept)
    return rows


def ends_of(log: list[dict[str, float]], *names: str) -> dict[str, float]:
    """First and last logged value of each series, as metrics in nats (see schemas/metrics.py)."""
    numbers: dict[str, float] = {}
    for name in names:
        values = [entry[name] for entry in log if name in entry]
        if values:
            plain = name.replace("/", "_")
            numbers |= {f"{plain}_first_nats": values[0], f"{plain}_last_nats": values[-1]}
    return numbers
