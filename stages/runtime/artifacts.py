"""Read and write tables. Nothing unvalidated crosses this line in either direction."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pandera.pandas as pa
import pyarrow
from pandera.errors import SchemaErrors

from schemas.base import Table
from schemas.errors import InputError
from stages.runtime import formats
from stages.runtime.disk import Writing

SHOWN_ROWS = 3
SHOWN_CHARACTERS = 60


def read(schema: type[Table], item: str | None = None) -> pd.DataFrame:
    """Return the table of `schema`, or say which command would produce it."""
    path = schema.path(item)
    if not path.exists():
        raise InputError(f"{path} does not exist. Run `dvc repro` or `dvc pull {path}`.")
    try:
        table = pd.read_parquet(path)
    except (pyarrow.ArrowException, OSError) as error:
        hint = "Delete it and run `dvc checkout` or `dvc repro`."
        raise InputError(f"{path} is no readable Parquet file. {hint}") from error
    return validate(schema, table, path)


def write(schema: type[Table], table: pd.DataFrame, item: str | None = None) -> Path:
    """Validate, sort by key, write beside the target, rename: a crash leaves nothing half."""
    path = schema.path(item)
    table = formats.in_order(validate(schema, table, path), schema.primary_key())
    with complete(path) as partial:
        table.to_parquet(partial, **formats.PARQUET)
    return path


def write_text(path: Path, text: str) -> Path:
    """Write a text file in one step: complete, or not at all."""
    with complete(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


@contextmanager
def complete(path: Path) -> Iterator[Path]:
    """A file beside `path` to be filled; it becomes `path` only if the block ends well.

    Raises DiskFull if there is no room; what was at `path` stays.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        with Writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            sync(partial)
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def complete_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside `path` to be filled; it becomes `path` only if the block ends well.

    The folder that was there stays until then. Raises DiskFull if there is no room.
    """
    partial, old = (path.with_name(f"{path.name}.{what}.partial") for what in ("new", "old"))
    settle(path, partial, old)  # what a run left that was killed
    try:
        with Writing(path):
            partial.mkdir(parents=True)
            yield partial
            for file in sorted(p for p in partial.rglob("*") if p.is_file()):
                sync(file)
            if path.exists():
                os.replace(path, old)  # no system call puts a folder in place of a full one
            os.replace(partial, path)
    finally:
        settle(path, partial, old)


def settle(path: Path, *beside: Path) -> None:
    """Remove the folders beside `path`; the last is its old content, put back if it is gone."""
    if beside[-1].exists() and not path.exists():
        os.replace(beside[-1], path)
    for folder in beside:
        shutil.rmtree(folder, ignore_errors=True)


def sync(file: Path) -> None:
    """Wait until the bytes are on the disk: a power cut could keep a name and lose its bytes."""
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


def empty(schema: type[Table]) -> pd.DataFrame:
    """A table without rows that has the columns and types of `schema`."""
    columns = schema.to_schema().columns
    return pd.DataFrame({name: pd.Series(dtype=pandas_type(c)) for name, c in columns.items()})


def pandas_type(column: pa.Column) -> str:
    """The type that pandas itself gives to such values; pandera calls `str` by another name."""
    name = str(column.dtype)
    return "str" if name.startswith("str") else name


def conform(schema: type[Table], table: pd.DataFrame) -> pd.DataFrame:
    """Put the columns in the schema's order and give all-null columns their declared type.

    Only types that pandas guesses from the values are set: a column of nulls is object to
    pandas, whatever it should hold. Values are not repaired, and unknown columns stay, at
    the end, for the validation to find.
    """
    wanted = schema.to_schema().columns
    for name, column in wanted.items():
        if name in table and table[name].isna().all() and (column.nullable or table.empty):
            table = table.assign(**{name: table[name].astype(pandas_type(column))})
    known = [name for name in wanted if name in table]
    return table[known + [name for name in table if name not in wanted]]


def validate(schema: type[pa.DataFrameModel], table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return `table`, rows numbered from 0, if it matches `schema`; else raise InputError."""
    table = table.reset_index(drop=True)  # pandera cannot report on an index with duplicates
    try:
        return schema.validate(table, lazy=True)  # lazy: every failure, not only the first
    except SchemaErrors as errors:
        raise InputError(explain(errors, path)) from errors


def explain(errors: SchemaErrors, path: Path) -> str:
    """A short text for a failed validation: each check once, with a few values."""
    schema_name = errors.schema.name if errors.schema is not None else "schema"
    lines = [f"{path}: contract of '{schema_name}' violated"]
    failures = errors.failure_cases
    # a check of the whole table fails once per column, a check of a column only in its own
    where = failures["column"].where(failures["schema_context"] == "Column")
    for (check, _), group in failures.groupby(["check", where], sort=False, dropna=False):
        columns = [str(name) for name in group["column"].dropna().unique()]
        rows = [int(row) for row in group["index"].dropna().unique()]
        line = f"  - {check}" + (f" [{columns[0]}]" if len(columns) == 1 else "")
        if rows:
            line += f": {len(rows)} row(s), first rows {rows[:SHOWN_ROWS]}"
        values = [repr(str(v)[:SHOWN_CHARACTERS]) for v in group["failure_case"].head(SHOWN_ROWS)]
        lines.append(line + (f", got {', '.join(values)}" if len(columns) == 1 else ""))
    return "\n".join(lines)
