"""Read what stages reported: numbers, training logs, digests. A missing one gives its reason."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from schemas.base import Table
from schemas.errors import InputError
from stages.runtime import artifacts
from stages.runtime.loading.digests import dvc_md5
from stages.runtime.run import REPORTS_DIR, Run


def read_report(run: Run[Any], stage: str) -> dict[str, Any] | str:
    """The content of reports/<stage>.json: metrics and maybe details."""
    path = REPORTS_DIR / f"{stage}.json"
    if not path.exists():
        return absent(path)
    run.reads(path)
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:  # no JSON, no UTF-8, no file
        raise InputError(f"{path}: no JSON ({error}). Run `dvc repro`.") from error
    metrics = body.get("metrics") if isinstance(body, dict) else None
    if not isinstance(metrics, dict):
        raise InputError(f"{path}: no 'metrics' in it. Run `dvc repro`.")
    for name, value in metrics.items():
        if not isinstance(value, int | float):
            raise InputError(f"{path}: metrics.{name}: {value!r} is no number. Run `dvc repro`.")
    return body


def read_curve(run: Run[Any], stage: str) -> pd.DataFrame | str:
    """The training log reports/curves/<stage>.csv: a column step and what was logged."""
    path = REPORTS_DIR / "curves" / f"{stage}.csv"
    if not path.exists():
        return absent(path)
    run.reads(path)
    try:
        return pd.read_csv(path)
    except (ValueError, OSError) as error:  # no table, no UTF-8, no file
        told = " ".join(str(error).split())
        raise InputError(f"{path}: no table ({told}). Run `dvc repro`.") from error


def read_table(run: Run[Any], schema: type[Table], item: str | None = None) -> pd.DataFrame | str:
    """A validated table. Only its absence is excused, a broken one is an InputError."""
    path = schema.path(item)
    return run.read(schema, item) if path.exists() else absent(path)


def digest(run: Run[Any], model: Path) -> str:
    """The digest of a model's folder as in dvc.lock."""
    if not model.exists():
        return f"not available: {absent(model)}"
    run.reads(model)
    return dvc_md5(model)


def absent(path: Path) -> str:
    """Why a file is not there."""
    return f"{path.as_posix()} does not exist"


def write_page(run: Run[Any], name: str, text: str) -> None:
    """Write reports/<name>, complete or not at all."""
    run.wrote(artifacts.write_text(REPORTS_DIR / name, text))
