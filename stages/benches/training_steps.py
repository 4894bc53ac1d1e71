"""What the benchmarks of training share: rows, settings, and what a way leaves.

Naive: TRL's trainer as it comes (checkpointing on, the reference asked in each step). Strong:
the same trainer with the settings that an expert turns. Ours: stages/runtime/tuning/training.py.
Every way starts from the same weights and sees the same rows in the same order.
"""

import contextlib
import io
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stages.benches import shapes
from stages.benches.measure import Case, Check, Goal, How, Laps, Phase, Way, faster, median
from stages.benches.shapes import PAD, Size
from stages.runtime.loading.profile import Training
from stages.runtime.tuning import training

Row = dict[str, list[int]]


@dataclass(frozen=True)
class Plan:
    """What is learned."""

    size: Size
    rows_n: int  # pairs, or texts
    batch_size: int
    prompt_tokens: tuple[int, int]
    text_tokens: tuple[int, int]
    wanted: float  # target: times as fast as the naive way
    limit_wanted: float | None = None  # target: share of the limit
    at_once: int | None = None  # rows that ours reads together, of an update of batch_size


SMALL = Plan(shapes.TINY, 12, 4, (5, 9), (3, 12), 1.0, at_once=2)


@dataclass
class Trained:
    """What a way leaves: its losses, the tokens that it computed, and when its steps began."""

    losses: list[float] = field(default_factory=list)
    tokens_n: int = 0  # of the steps, with padding
    real_tokens_n: int = 0
    seconds_before: float = 0.0  # of the first step: trainer, and what is asked in advance
    peak_gib: float | None = None


def settings(plan: Plan, is_checkpointing: bool, at_once: int | None = None) -> Training:
    """One pass over the rows, in updates of plan.batch_size."""
    return Training(
        learning_rate=1e-3,
        epochs=1,
        batch_size=at_once or plan.batch_size,
        accumulation_steps=plan.batch_size // (at_once or plan.batch_size),
        warmup_frac=0.0,
        gradient_checkpointing=is_checkpointing,
    )


def fresh_policy(plan: Plan, how: How) -> Any:
    """The weights that every way starts from."""
    return shapes.with_lora(shapes.llama(plan.size, how, shapes.dtype_of(how)), how.seed)


def watched(fit: Callable[[Any], list[dict[str, float]]], how: How) -> Callable[[Any], Trained]:
    """`fit` of a policy, with what its embedding saw: tokens of the steps, and their begin."""
    import torch

    def run(policy: Any) -> Trained:
        found, begun = Trained(), time.perf_counter()

        def look(_: Any, args: tuple[Any, ...]) -> None:
            if not torch.is_grad_enabled():
                return  # the reference
            found.seconds_before = found.seconds_before or time.perf_counter() - begun
            found.tokens_n += args[0].numel()
            found.real_tokens_n += int((args[0] != PAD).sum())

        policy.get_input_embeddings().register_forward_pre_hook(look)
        if how.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            log = fit(policy)  # the trainers print every line of their logs
        if how.device == "cuda":
            found.peak_gib = torch.cuda.max_memory_allocated() / 2**30
        found.losses = [entry["loss"] for entry in log if "loss" in entry]
        return found

    return run


def loss_check(name: str, found: Trained, wanted: Trained, limit: float) -> Check:
    """The largest difference of a step's loss; NaN if the steps are not as many."""
    if len(found.losses) != len(wanted.losses) or not found.losses:
        return Check(f"{name}: largest loss difference", float("nan"), limit)
    differences = np.abs(np.array(found.losses) - np.array(wanted.losses))
    return Check(f"{name}: largest loss difference", float(differences.max()), limit)


def told(laps: Laps) -> dict[str, Any]:
    """Per way: seconds before the first step, share of padding, real tokens per second."""
    rows = {}
    for name, own in laps.items():
        last: Trained = own[-1].output
        steps = median(own) - float(np.median([lap.output.seconds_before for lap in own]))
        rows[name] = {
            "seconds_before_steps": median(own) - steps,
            "seconds_of_steps": steps,
            "pad_frac": 1 - last.real_tokens_n / last.tokens_n,
            "real_tokens_per_second": last.real_tokens_n / steps,
            "peak_gib": last.peak_gib,
        }
    return {"steps": rows}


def trl_arguments(plan: Plan, how: How, is_checkpointing: bool) -> dict[str, Any]:
    """The same arguments for TRL's own trainers: rates, order and number of rows."""
    given = training.arguments(settings(plan, is_checkpointing), shapes.backbone(how), how.seed)
    return given | {"logging_steps": 1, "output_dir": str(how.scratch)}


def ways_of(fits: dict[str, Any], plan: Plan, how: How) -> list[Way]:
    """ours, naive, strong and others, each from fresh weights."""
    named = ("ours", "naive", "strong")
    roles = dict(itertools.zip_longest(fits, named, fillvalue="other"))
    return [
        Way(
            name,
            roles[name],
            watched(fit, how),
            prepare=lambda: fresh_policy(plan, how),
            dtype=shapes.dtype_of(how),
        )
        for name, fit in fits.items()
    ]


def case_of(plan: Plan, how: How, fits: dict[str, Any], work: list[Phase]) -> Case:
    """Ways that must have the losses of the naive one, step by step; but not the others."""
    ways = ways_of(fits, plan, how)
    limit = 1e-4 if shapes.dtype_of(how) == "float32" else 0.05

    def checks() -> list[Check]:
        found = {way.name: way.run(way.prepare()) for way in ways if way.role != "other"}
        naive = next(way.name for way in ways if way.role == "naive")
        return [loss_check(n, one, found[naive], limit) for n, one in found.items() if n != naive]

    def goals(laps: Laps) -> list[Goal]:
        return [faster(laps, "ours", next(w.name for w in ways if w.role == "naive"), plan.wanted)]

    facts = {"size": vars(plan.size), "batch_size": plan.batch_size, "rows": plan.rows_n}
    return Case(
        plan.rows_n,
        "rows",
        ways,
        checks,
        work,
        limit_wanted=plan.limit_wanted,
        goals=goals,
        details=told,
        facts=facts,
    )


def body_of(size: Size) -> int:
    """Parameters of all layers, by hand: no model is made for it."""
    kv = size.kv_heads * size.width // size.heads
    attention = 2 * size.width * size.width + 2 * size.width * kv
    return size.layers * (attention + 3 * size.width * size.feed_forward)
