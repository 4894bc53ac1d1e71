"""Run a trainer of transformers to its end: resumed after a kill, stopped where it cannot learn.

The trainer's own checkpoints hold weights, optimizer, schedule, random state and log. What it
keeps in memory between two lines of the log is added here, so that a resumed training writes
the same log, and learns the same weights, as one that was never killed.
"""

import json
import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from schemas.errors import InputError
from stages.runtime import resume
from stages.runtime.loading import guards
from stages.runtime.loading.checkpoints import BASE_DIR
from stages.runtime.loading.digests import dvc_md5
from stages.runtime.loading.profile import Model, Training
from stages.runtime.resume import Checkpoints
from stages.runtime.sources import code_digest
from stages.runtime.tuning import distributed

MEMORY = "memory.json"  # what the trainer does not save itself
STATE = "trainer_state.json"  # transformers' name


def checkpoints_of(
    kind: str,
    policy: Any,
    rows: list[list[dict[str, Any]]],
    training: Training,
    model: Model,
    seed: int,
    seconds: float | None,
    science: dict[str, Any],
) -> Checkpoints | None:
    """Where this training is kept while it runs; None without `seconds`, or for several ranks.

    rows: tables of encoded rows. The key has the weights that are trained and the base that
    stays; a rank of a launch has parts of them only, and its training starts anew after a kill.
    """
    if seconds is None:
        return None
    if distributed.is_rank():
        if os.environ.get("RANK", "0") == "0":
            logging.warning(f"{kind}: a training in several processes keeps no checkpoints.")
        return None
    return resume.of(
        seconds,
        kind=kind,
        rows=[resume.rows_digest(table) for table in rows],
        training=asdict(training),
        model=asdict(model),
        base=dvc_md5(BASE_DIR),
        weights=resume.weights_digest(policy, trainable_only=True),
        seed=seed,
        science=science,
        code=code_digest("stages.runtime.tuning.training"),
    )


def fit(name: str, trainer: Any, kept: Checkpoints | None) -> list[dict[str, float]]:
    """Train what is left to train; the whole log. `name` is the profile's section.

    Raises InputError for a loss or a gradient that is not finite, for nothing to train, and
    for updates without a gradient.
    """
    if not any(weight.requires_grad for weight in trainer.model.parameters()):
        raise InputError(f"{name}: no weight is trainable. Name modules in model.lora_targets.")
    trainer.add_callback(guards.guard(name, trainer))
    if kept is None:
        trainer.train()
        return list(trainer.state.log_history)
    trainer.args.output_dir = str(kept.folder)
    if (log := finished(kept.latest)) is not None:
        restore(trainer, str(kept.latest))
        return log
    trainer.add_callback(keeper(trainer, kept))
    trainer.train(resume_from_checkpoint=None if kept.latest is None else str(kept.latest))
    return list(trainer.state.log_history)


def finished(checkpoint: Path | None) -> list[dict[str, float]] | None:
    """The log of a checkpoint that was written after the last update; None for any other."""
    if checkpoint is None:
        return None
    state = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    is_last = state["global_step"] >= state["max_steps"]
    return list(memory_in(checkpoint)["log"]) if is_last else None


def restore(trainer: Any, checkpoint: str) -> None:
    """Leave model and random state as a training leaves them that ended here."""
    from transformers.trainer_utils import align_special_tokens

    align_special_tokens(trainer.model, trainer.processing_class)  # train() begins with it
    trainer._load_from_checkpoint(checkpoint)
    trainer._load_rng_state(checkpoint)


def remembered(kept: Checkpoints | None) -> dict[str, Any]:
    """What `keeper` added to the checkpoint that will be resumed from; empty at a start."""
    return {} if kept is None or kept.latest is None else memory_in(kept.latest)


def memory_in(checkpoint: Path) -> dict[str, Any]:
    """What `keeper` added to a checkpoint."""
    memory: dict[str, Any] = json.loads((checkpoint / MEMORY).read_text(encoding="utf-8"))
    return memory


def memory_of(trainer: Any) -> dict[str, Any]:
    """The log, sums since its last line, TRL's counters, and the reference of DPO.

    The trainer saves its log, too, but with other columns first.
    """
    metrics = getattr(trainer, "_metrics", {}).get("train", {})
    return {
        "log": trainer.state.log_history,
        "loss": trainer._tr_loss.item(),
        "last_logged": trainer._globalstep_last_logged,
        "metrics": {name: list(values) for name, values in metrics.items()},
        "tokens": getattr(trainer, "_total_train_tokens", 0),
        "reference": getattr(trainer, "reference", None),
    }


def remember(trainer: Any, memory: dict[str, Any]) -> None:
    """Undo memory_of."""
    trainer.state.log_history = memory["log"]
    trainer._tr_loss += memory["loss"]
    trainer._globalstep_last_logged = memory["last_logged"]
    if hasattr(trainer, "_metrics"):
        for name, values in memory["metrics"].items():
            trainer._metrics["train"][name] = list(values)
        trainer._total_train_tokens = memory["tokens"]


def keeper(trainer: Any, kept: Checkpoints) -> Any:
    """The callback that decides when a checkpoint is due, and completes it.

    After the last step of an epoch it waits for the validation, which a training that resumes
    in the next epoch would leave out. The last checkpoint holds a finished training.
    """
    from transformers import TrainerCallback

    class Keeper(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if memory := remembered(kept):
                remember(trainer, memory)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if not ends_epoch(state) and kept.is_due():
                control.should_save = True

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step >= state.max_steps or kept.is_due():
                control.should_save = True

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            text = json.dumps(memory_of(trainer))
            (kept.path(state.global_step) / MEMORY).write_text(text, encoding="utf-8")
            kept.complete(state.global_step)

    return Keeper()


def ends_epoch(state: Any) -> bool:
    """Whether the step that was just taken is the last of an epoch, or of all."""
    return state.epoch == int(state.epoch) or state.global_step >= state.max_steps
