"""What a stage costs: seconds, CPU seconds, peak memory. Clock readings enter no DVC output."""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from stages.runtime import artifacts

FOLDER = Path(".dvc/tmp/stage_timings")  # one file per stage; git ignores it
PIPELINE = Path("dvc.yaml")
UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
COLUMNS = ("seconds", "cpu_seconds", "peak_mib")


class Meter:
    """Started with a stage. CPU seconds and memory are of the whole process and its children."""

    def __init__(self) -> None:
        self.started, self.cpu_before = time.perf_counter(), cpu_seconds()

    def read(self) -> dict[str, float]:
        """Seconds since the start, CPU seconds since then, peak resident memory in MiB."""
        peak = max(usage.ru_maxrss for usage in usages()) * UNIT / 2**20
        seconds = time.perf_counter() - self.started
        spent = cpu_seconds() - self.cpu_before
        return dict(zip(COLUMNS, (seconds, spent, peak), strict=True))


def usages() -> list[resource.struct_rusage]:
    """What the system counted for this process and for its children that have ended."""
    return [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]


def cpu_seconds() -> float:
    """CPU seconds of this process and of its children that have ended."""
    return sum(usage.ru_utime + usage.ru_stime for usage in usages())


def keep(stage: str, measured: dict[str, float]) -> None:
    """Write the last measurement of a stage, for `python -m stages.timings`.

    Not where there is no DVC: nothing would gather it.
    """
    if not Path(FOLDER.parts[0]).is_dir():
        return
    text = json.dumps({name: round(value, 3) for name, value in measured.items()}, indent=2)
    artifacts.write_text(FOLDER / f"{stage}.json", text + "\n")


def gather() -> dict[str, dict[str, float] | None]:
    """The last measurement of each stage of dvc.yaml, in its order; None if it did not run here."""
    return {stage: read(FOLDER / f"{stage}.json") for stage in stage_names()}


def stage_names() -> list[str]:
    """The stages of dvc.yaml with their items, as DVC names them; none without the file."""
    if not PIPELINE.exists():
        return []
    declared: dict[str, Any] = yaml.safe_load(PIPELINE.read_text(encoding="utf-8"))["stages"]
    names = []
    for name, stage in declared.items():
        items = stage.get("foreach")
        names += [name] if items is None else [f"{name}@{item}" for item in items]
    return names


def read(path: Path) -> dict[str, float] | None:
    """A measurement; None if there is none, or none that can be read."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        return {name: float(body[name]) for name in COLUMNS}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def total(measured: dict[str, dict[str, float] | None]) -> dict[str, float]:
    """Seconds and CPU seconds of all stages, and the largest peak."""
    known = [found for found in measured.values() if found is not None]
    sums: dict[str, float] = {name: sum(found[name] for found in known) for name in COLUMNS[:2]}
    return sums | {"peak_mib": max((found["peak_mib"] for found in known), default=0.0)}


def markdown(measured: dict[str, dict[str, float] | None]) -> str:
    """The table of all stages, their sum, and a sentence that says what was measured."""
    lines = ["| stage | seconds | CPU seconds | peak MiB |", "|---|---:|---:|---:|"]
    for stage, found in [*measured.items(), ("sum; largest peak", total(measured))]:
        numbers = ("not run here", "", "") if found is None else map(shown, found.values())
        lines.append(f"| {' | '.join([stage, *numbers])} |")
    said = (
        "Seconds of each stage when it last ran in this checkout, without the start of Python and "
        "the wait for another run; a stage that DVC took from its cache did not run."
    )
    return "\n".join([said, "", *lines]) + "\n"


def shown(value: float) -> str:
    """One decimal."""
    return f"{value:.1f}"
