"""Train a student from nothing: a small Qwen3-shaped model that learns to read, on CPU."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from schemas.errors import InputError
from stages.runtime.loading import processor
from stages.runtime.loading.profile import Student
from stages.runtime.pretraining import base_model, loop
from stages.runtime.pretraining.loop import Course
from stages.runtime.pretraining.muon import Optimizer
from stages.runtime.pretraining.packing import Document, one_per_row
from stages.runtime.resume import Checkpoints


@dataclass(frozen=True)
class Reading:
    """Profile section `reading`: how students that are trained here learn to read."""

    vocabulary: int
    short_steps: int
    steps: int
    batch_size: int
    muon_learning_rate: float
    adam_learning_rate: float


def train(
    how: Student,
    reading: Reading,
    tokenizer: Any,
    exercise: Callable[[bool], Document],
    seed: int,
    rng: np.random.Generator | None = None,
    kept: Checkpoints | None = None,
) -> tuple[Any, list[dict[str, float]]]:
    """A student trained from nothing on ever new exercises, and its log (a row per 10 steps).

    rng: what `exercise` draws from; with `kept` its state is saved and set again.
    exercise(is_short) makes one; the first `short_steps` batches are of short ones. Raises
    InputError for a profile without its size, and for a loss that is not finite.
    """
    import torch

    if how.size is None:
        raise InputError("stages/profiles: students: a trained student needs a size. Add it.")
    torch.manual_seed(seed)
    processor.prepare(how.threads)
    network = base_model.build_model(base_model.Size(**how.size), how, tokenizer)
    start_as_copier(network)

    def teach(step: int) -> float:
        batch = [exercise(step < reading.short_steps) for _ in range(reading.batch_size)]
        return base_model.learn(network, one_per_row(batch, tokenizer.pad_token_id))

    course = Course(
        "student",
        network,
        Optimizer(network, reading.muon_learning_rate, reading.adam_learning_rate),
        teach,
        factor=lambda step: base_model.schedule(step - reading.short_steps, reading.steps),
        total=reading.short_steps + reading.steps,
        generators=[] if rng is None else [rng],
    )
    log = loop.run(course, kept)
    return network.eval(), log


def start_as_copier(network: Any) -> None:
    """Attention heads that hand on what they look at: output = value transposed, orthogonal.

    After Trockman & Kolter 2023 ("Mimetic initialization of self-attention layers", arXiv
    2305.09828, section 4), with the sign that copies: a token that stands in the prompt is
    likelier from the first step on, which saves half of the training.
    """
    import torch

    with torch.no_grad():
        for layer in network.model.layers:
            torch.nn.init.orthogonal_(layer.self_attn.v_proj.weight)
            layer.self_attn.o_proj.weight.copy_(layer.self_attn.v_proj.weight.T)
