"""Measure our way of a piece of work beside a naive and a strong one.

    models with random weights -> FILE.json, a table

Results are compared before the clock runs; where they differ nothing is timed. The ways
alternate in rounds, so that a busy machine is busy for all of them; a row holds the median, the
spread, and the share of what the machine can do, probed in the same run. Not a stage: clock
readings differ between equal runs.

    python -m stages.benchmarks --list
    python -m stages.benchmarks c1 --json reports/benchmarks/c1.json
    python -m stages.benchmarks g1 --device cuda --rounds 1
    python -m stages.benchmarks --table reports/benchmarks.md  # of all files in reports/benchmarks
"""

import json
import math
import tempfile
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from schemas.errors import InputError, nearest
from stages.benches import catalogue, machine, measure, tables
from stages.benches.measure import How
from stages.runtime import artifacts
from stages.runtime.run import REPORTS_DIR, start

FOLDER = REPORTS_DIR / "benchmarks"


class Device(StrEnum):
    """Where it is measured."""

    cpu = "cpu"
    cuda = "cuda"


def run(name: str, how: How) -> dict[str, Any]:
    """One benchmark as a JSON body; without rows where results are not equal."""
    import torch

    if how.device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch finds no GPU. Leave the option out.")
    torch.set_num_threads(how.threads)
    bench = catalogue.BENCHES[name]
    probe = machine.probed(how)
    case = bench.case(how)
    checks = case.checks()
    is_equal = all(check.is_met for check in checks)
    laps = measure.alternate(case.ways, how) if is_equal else {}
    probe = machine.best(probe, machine.probed(how))
    rows = measure.rows_of(case, laps, probe) if is_equal else []
    goals = measure.goals_of(case, laps, rows) if is_equal else []
    return {
        "id": name,
        "description": bench.description,
        "is_small": how.is_small,
        "seed": how.seed,
        "machine": machine.described(how),
        "probe": probe,
        "items": case.items,
        "unit": case.unit,
        "rounds": how.rounds,
        "facts": case.facts,
        "checks": [asdict(check) | {"is_met": check.is_met} for check in checks],
        "rows": rows,
        "details": case.details(laps) if is_equal else {},
        "verdict": {
            "is_equal": is_equal,
            "goals": [asdict(goal) | {"is_met": goal.is_met} for goal in goals],
            "is_met": is_equal and all(goal.is_met for goal in goals),
        },
    }


def json_text(body: dict[str, Any]) -> str:
    """JSON has no NaN and no infinity: they become null."""
    return json.dumps(finite(body), indent=2, allow_nan=False) + "\n"


def finite(value: Any) -> Any:
    """`value` with null for numbers that are not finite, at any depth."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    return [finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def known(name: str) -> str:
    """The id of a benchmark. Raises InputError for another name."""
    if (lower := name.lower()) in catalogue.BENCHES:
        return lower
    raise InputError(
        f"{name}: there is no such benchmark. {nearest(lower, catalogue.BENCHES)} See --list."
    )


def written() -> list[dict[str, Any]]:
    """The measurements of reports/benchmarks. Raises InputError if there is none."""
    files = sorted(FOLDER.glob("*.json"))
    if not files:
        raise InputError(f"{FOLDER}: holds no measurement. Run `make bench`.")
    return [json.loads(path.read_text(encoding="utf-8")) for path in files]


def main(
    name: Annotated[str | None, typer.Argument(help="The benchmark, see --list.")] = None,
    to: Annotated[Path | None, typer.Option("--json", help="Write FILE.json.")] = None,
    device: Annotated[Device, typer.Option(help="Where to measure.")] = Device.cpu,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Alternating rounds.")] = 3,
    small: Annotated[bool, typer.Option("--small", help="Tiny, to see that it runs.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the benchmarks.")] = False,
    table: Annotated[
        Path | None, typer.Option(help="Write a table of all files in reports/benchmarks.")
    ] = None,
) -> None:
    """Measure our way of a piece of work beside a naive and a strong one, results equal.

    Exit code 1 where results are not equal; a target that is not met is told, and no error.
    """
    if sum([name is not None, list_, table is not None]) != 1:
        raise InputError("give one of: a benchmark, --list, --table FILE. See --help.")
    if list_:
        print("\n".join(f"{key}  {one.description}" for key, one in catalogue.BENCHES.items()))
    elif table is not None:
        artifacts.write_text(table, tables.render(written()))
    else:
        with tempfile.TemporaryDirectory(prefix="peerwise-benchmark-") as scratch:
            how = How(device.value, threads, rounds, small, Path(scratch))
            body = run(known(str(name)), how)
        if to is not None:
            to.parent.mkdir(parents=True, exist_ok=True)
            artifacts.write_text(to, json_text(body))
        print(tables.section(body))
        if not body["verdict"]["is_equal"]:
            raise typer.Exit(1)


if __name__ == "__main__":
    start(main)
