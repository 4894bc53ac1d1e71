"""stage_run: read, write, report. The only door of a stage to disk, DVC and MLflow."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import pandas as pd

from schemas.base import Table
from schemas.errors import InputError
from schemas.metrics import Metrics
from stages.runtime import (
    artifacts,
    disk,
    formats,
    locks,
    params,
    resume,
    signals,
    store,
    tracking,
    usage,
)
from stages.runtime.params import StageParams

P = TypeVar("P", bound=StageParams)
S = TypeVar("S")
REPORTS_DIR = Path("reports")


@dataclass
class Run(Generic[P]):
    """One execution of a stage: its parameters, and what it read and wrote."""

    stage: str
    item: str | None
    params: P
    given: dict[str, Any]  # everything that dvc.yaml declares for the stage
    inputs: list[Path] = field(default_factory=list)
    outputs: list[Path] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    curve: pd.DataFrame | None = None

    @property
    def seed(self) -> int:
        """The global seed (params.yaml: seed)."""
        if "seed" not in self.given:
            raise InputError(
                f"params.yaml: no 'seed' for stage '{self.name}'. Add it there, and to the "
                "stage's params in dvc.yaml."
            )
        return int(self.given["seed"])

    @property
    def name(self) -> str:
        """Stage name as DVC shows it: train_verifier@judge."""
        return self.stage if self.item is None else f"{self.stage}@{self.item}"

    def section(self, cls: type[S], name: str) -> S:
        """Another declared section (of params.yaml or of the profile) as a `cls`."""
        return params.section(cls, name, self.given, "params.yaml or stages/profiles")

    def read(self, schema: type[Table], item: str | None = None) -> pd.DataFrame:
        """The validated table of `schema`."""
        self.inputs.append(schema.path(item))
        return artifacts.read(schema, item)

    def write(self, schema: type[Table], table: pd.DataFrame, item: str | None = None) -> None:
        """Validate `table` and write it, complete or not at all."""
        self.outputs.append(artifacts.write(schema, artifacts.conform(schema, table), item))

    def reads(self, *paths: Path) -> None:
        """Record a file or folder (an adapter, an export) as input of this run."""
        self.inputs += paths

    def wrote(self, *paths: Path) -> None:
        """Record a file or folder as output of this run."""
        self.outputs += paths

    def report(self, metrics: dict[str, float], details: dict[str, Any] | None = None) -> None:
        """Write reports/<stage>[_<item>].json: metrics at the top, `details` beside them.

        details: JSON values for the report page (tables, lists); not tracked as numbers.
        """
        rows = [(name, float(value)) for name, value in metrics.items()]
        path = REPORTS_DIR / f"{self.name.replace('@', '_')}.json"
        artifacts.validate(Metrics, pd.DataFrame(rows, columns=["name", "value"]), path)
        self.metrics = dict(rows)
        text = formats.metrics_text(metrics, details)
        self.outputs.append(artifacts.write_text(path, text))

    def write_curve(self, curve: pd.DataFrame) -> None:
        """Write reports/curves/<stage>[_<item>].csv: one row per logged training step."""
        path = REPORTS_DIR / "curves" / f"{self.name.replace('@', '_')}.csv"
        self.curve = curve
        self.outputs.append(artifacts.write_text(path, formats.curve_text(curve)))


def is_main_process() -> bool:
    """False in the other ranks of a distributed training, which must not write."""
    return os.environ.get("RANK", "0") == "0"


def is_launched() -> bool:
    """Whether torchrun started this process: the one that called torchrun holds the lock."""
    return "LOCAL_RANK" in os.environ


@contextmanager
def stage_run(stage: str, params_cls: type[P], item: str | None = None) -> Iterator[Run[P]]:
    """Load the stage's parameters, hand over a Run, and record it in MLflow when it is done.

    One run of a stage at a time in a workspace: another waits here for the first to end.
    """
    name = stage if item is None else f"{stage}@{item}"
    with contextlib.nullcontext() if is_launched() else locks.held(name):
        meter = usage.Meter()
        given = params.declared(name)
        run = Run(stage, item, params.section(params_cls, stage, given), given)
        with resume.until_done():
            yield run
            if is_main_process():
                metrics = run.metrics | meter.read()
                tracking.record(run.name, given, run.inputs, run.outputs, metrics, run.curve)
                usage.keep(run.name, meter.read())  # with the seconds that MLflow took


def start(main: Callable[..., None]) -> None:
    """Run a stage's `main` as a command: --help, and one line for every end but the good one.

    Exit codes: 2 for bad input, 74 for a full disk, 143 after SIGTERM, 130 after Ctrl-C.
    """
    import typer

    for name in ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ.setdefault(name, "1")  # before TRL is imported: each of its trainers sends one
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    try:
        with signals.handled(), disk.Writing():
            signals.end_with_dvc()
            app()
    except InputError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        raise SystemExit(2) from error
    except disk.DiskFull as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        raise SystemExit(os.EX_IOERR) from error
    except signals.Stopped as ended:
        print(
            f"stopped by {ended.name}: every output is complete or absent. To resume, run the same "
            f"command again: computed rows and checkpoints are kept in {store.place()}.",
            file=sys.stderr,
        )
        raise


def one_line(text: str) -> str:
    """`text` with each white space as one blank, and escapes for what a terminal would obey.

    A message quotes what it complains of, and a cell of an export may hold anything.
    """
    folded = " ".join(text.split())
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in folded
    )


def as_dict(stage_params: StageParams) -> dict[str, Any]:
    """The parameters as a plain dict, for manifests."""
    return asdict(stage_params)
