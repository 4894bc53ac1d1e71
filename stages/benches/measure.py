"""Alternating rounds: every way in turn, several times, and what is said of the times.

Naive is what a first script does, strong what an expert writes with the libraries, ours what
this repository does. Equality of results is checked before the clock runs.
"""

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class How:
    """How the command was asked."""

    device: str  # cpu or cuda
    threads: int
    rounds: int
    is_small: bool  # a quick run that shows that everything works; its times mean nothing
    scratch: Path  # a folder for what a way reads from files
    seed: int = 13


@dataclass(frozen=True)
class Phase:
    """Work that must be done one after the other, `count` times: what bounds a time from below."""

    flops: float
    numbers: float = 0.0  # read from memory, in the type of the way
    count: int = 1


@dataclass(frozen=True)
class Way:
    """One way to do the work. `run` gets what `prepare` returns; only `run` is timed."""

    name: str
    role: str  # ours, naive, strong or other
    run: Callable[[Any], Any]
    prepare: Callable[[], Any] = lambda: None
    dtype: str = "float32"
    scale: float = 1.0  # more than 1: only 1/scale of the items is done, the time is multiplied
    items: float | None = None  # where it is not the case's


@dataclass(frozen=True)
class Check:
    """An equality, in numbers: met if `value` is not above `limit`."""

    name: str
    value: float
    limit: float

    @property
    def is_met(self) -> bool:
        """False for NaN as well."""
        return self.value <= self.limit


@dataclass(frozen=True)
class Goal:
    """A target: `found` must be at least, or at most, `wanted`."""

    name: str
    found: float
    wanted: float
    is_at_most: bool = False

    @property
    def is_met(self) -> bool:
        """False for NaN as well."""
        return self.found <= self.wanted if self.is_at_most else self.found >= self.wanted


@dataclass(frozen=True)
class Lap:
    """One timed run; seconds are those of all items."""

    seconds: float
    cpu_seconds: float
    output: Any


Laps = Mapping[str, Sequence[Lap]]  # of each way


@dataclass(frozen=True)
class Case:
    """A benchmark that is ready to run."""

    items: float
    unit: str
    ways: Sequence[Way]
    checks: Callable[[], list[Check]]  # runs what it compares
    work: Sequence[Phase]  # the least that the task needs; empty = no limit is told
    limit_wanted: float | None = None  # target: share of the limit that `ours` reaches
    goals: Callable[[Laps], list[Goal]] = lambda laps: []
    details: Callable[[Laps], dict[str, Any]] = lambda laps: {}
    facts: dict[str, Any] = field(default_factory=dict)  # sizes of what was measured


def alternate(ways: Sequence[Way], how: How) -> dict[str, list[Lap]]:
    """The laps of each way, in rounds: ABCABC."""
    laps: dict[str, list[Lap]] = {way.name: [] for way in ways}
    for _ in range(how.rounds):
        for way in ways:
            laps[way.name].append(lap(way, how.device))
    return laps


def lap(way: Way, device: str) -> Lap:
    """One run of a way, timed."""
    given = way.prepare()
    gc.collect()
    wait(device)
    begun, cpu_begun = time.perf_counter(), time.process_time()
    output = way.run(given)
    wait(device)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu_begun
    return Lap(seconds * way.scale, cpu * way.scale, output)


def wait(device: str) -> None:
    """Until a GPU has done what it was told to."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def median(laps: Sequence[Lap]) -> float:
    """Median seconds."""
    return statistics.median(lap.seconds for lap in laps)


def ratio(laps: Laps, ours: str, other: str) -> float:
    """How many times as fast `ours` is: a ratio of medians."""
    return median(laps[other]) / median(laps[ours])


def faster(laps: Laps, ours: str, other: str, wanted: float) -> Goal:
    """The goal that `ours` is `wanted` times as fast as `other`."""
    return Goal(f"{ours} over {other}", ratio(laps, ours, other), wanted)


def least_seconds(work: Sequence[Phase], probe: Mapping[str, float], dtype: str) -> float:
    """The time below which the work cannot be done on this machine (roofline)."""
    rate, bandwidth = probe[f"{dtype}_flops_per_second"], probe["bytes_per_second"]
    return sum(
        phase.count * max(phase.flops / rate, phase.numbers * BYTES[dtype] / bandwidth)
        for phase in work
    )


def rows_of(case: Case, laps: Laps, probe: Mapping[str, float]) -> list[dict[str, Any]]:
    """One row per way, as the JSON file has them."""
    rows = []
    for way in case.ways:
        own = laps[way.name]
        seconds = median(own)
        row: dict[str, Any] = {
            "way": way.name,
            "role": way.role,
            "dtype": way.dtype,
            "median_seconds": seconds,
            "min_seconds": min(lap.seconds for lap in own),
            "max_seconds": max(lap.seconds for lap in own),
            "cpu_seconds": statistics.median(lap.cpu_seconds for lap in own),
            "items_per_second": (way.items or case.items) / seconds,
            "measured_frac": 1 / way.scale,
            "limit_frac": least_seconds(case.work, probe, way.dtype) / seconds or None,
        }
        for role in ("naive", "strong"):
            others = [other.name for other in case.ways if other.role == role]
            row[f"ratio_to_{role}"] = median(laps[others[0]]) / seconds if others else None
        rows.append(row)
    return rows


def goals_of(case: Case, laps: Laps, rows: Sequence[Mapping[str, Any]]) -> list[Goal]:
    """The targets of a case, that of the limit among them."""
    found = case.goals(laps)
    if case.limit_wanted is not None:
        share = next(row["limit_frac"] for row in rows if row["role"] == "ours")
        found.append(Goal("ours, share of the limit", share, case.limit_wanted))
    return found
