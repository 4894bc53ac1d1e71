"""What stops a training that has gone wrong: numbers that are none, and nothing to learn from."""

import math
from typing import Any

from schemas.errors import InputError

PATIENCE = 5  # updates that may be without any gradient before one was seen


def guard(name: str, trainer: Any) -> Any:
    """The callback that stops a training before an update that would spoil the weights."""
    from transformers import TrainerCallback

    class Guard(TrainerCallback):  # type: ignore[misc]
        has_learnt = False

        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            step = state.global_step + 1
            check_number(name, "loss", trainer._tr_loss.item(), step)
            if trainer.is_deepspeed_enabled:
                return  # each rank has parts of a gradient
            size = gradient_size(trainer.model.parameters())
            check_number(name, "gradient", size, step)
            self.has_learnt = self.has_learnt or size > 0
            if not self.has_learnt and step >= min(PATIENCE, state.max_steps):
                raise InputError(
                    f"{name}: no gradient in the first {step} updates: the loss does not depend on "
                    "what is trained. Look at the rows it is trained on."
                )

    return Guard()


def gradient_size(weights: Any) -> float:
    """The Euclidean norm of all gradients together; 0 where there is none."""
    import torch

    found = [weight.grad for weight in weights if weight.grad is not None]
    return float(torch.nn.utils.get_total_norm(found)) if found else 0.0


def check_number(name: str, what: str, value: float, step: int) -> None:
    """Raise InputError for NaN and infinity."""
    if not math.isfinite(value):
        raise InputError(
            f"{name}: {what} is {value} at step {step}. Lower its learning rate in stages/profiles."
        )
