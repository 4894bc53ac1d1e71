"""The loop of the trainings from nothing: teach, update, log; resumed after a kill."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.runtime.loading.guards import check_number, gradient_size
from stages.runtime.pretraining.muon import Optimizer
from stages.runtime.pretraining.packing import Stream
from stages.runtime.resume import Checkpoints

EVERY = 10  # steps between lines of the log


@dataclass(frozen=True)
class Course:
    """A training from nothing, with all that changes while it runs."""

    name: str  # of what is trained, for messages
    network: Any
    optimizer: Optimizer
    teach: Callable[[int], float]  # adds the gradients of a step, returns its loss in nats
    factor: Callable[[int], float]  # of the learning rates
    total: int  # steps
    generators: Sequence[np.random.Generator] = ()  # what draws the batches
    streams: Sequence[Stream] = ()  # and the rows that they have left


def run(course: Course, kept: Checkpoints | None) -> list[dict[str, float]]:
    """Train in place, from the last checkpoint if there is one; the log, a dict per 10 steps.

    Raises InputError at the first loss or gradient that is not finite.
    """
    from tqdm import tqdm

    first, log = resumed(course, kept)
    course.network.train()
    steps = range(first, course.total)
    bar = {"initial": first, "total": course.total, "unit": "batch", "disable": None}
    for step in tqdm(steps, desc=f"train {course.name}", **bar):
        course.network.zero_grad()
        loss = course.teach(step)
        check_number(course.name, "loss", loss, step + 1)
        size = gradient_size(course.network.parameters())
        check_number(course.name, "gradient", size, step + 1)
        factor = course.factor(step)
        course.optimizer.step(factor)
        is_last = step == course.total - 1
        if step % EVERY == EVERY - 1 or is_last:
            log.append({"step": step + 1, "loss": loss, "learning_rate": factor})
        if kept is not None and (is_last or kept.is_due()):
            keep(course, kept, step + 1, log)
    return log


def keep(course: Course, kept: Checkpoints, step: int, log: list[dict[str, float]]) -> None:
    """Write all that the next step depends on."""
    import torch

    weights = {f"weight.{name}": value for name, value in course.network.named_parameters()}
    rows = {f"rows.{i}": torch.from_numpy(of.rows.copy()) for i, of in enumerate(course.streams)}
    tensors = {**weights, **rows, **course.optimizer.state()}
    drawn = [generator.bit_generator.state for generator in course.generators]
    contiguous = {name: value.detach().contiguous() for name, value in tensors.items()}
    kept.write(step, contiguous, {"step": step, "log": log, "generators": drawn})


def resumed(course: Course, kept: Checkpoints | None) -> tuple[int, list[dict[str, float]]]:
    """Undo `keep`: the steps that are done, and their log."""
    import torch

    found = None if kept is None else kept.read()
    if found is None:
        return 0, []
    tensors, state = found
    with torch.no_grad():
        for name, weight in course.network.named_parameters():
            weight.copy_(tensors[f"weight.{name}"])
    for i, stream in enumerate(course.streams):
        stream.rows = tensors[f"rows.{i}"].numpy()
    for generator, drawn in zip(course.generators, state["generators"], strict=True):
        generator.bit_generator.state = drawn
    course.optimizer.restore(tensors)
    return state["step"], state["log"]
