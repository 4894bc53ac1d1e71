"""Read and write tables. Nothing unvalidated crosses this line in either direction."""

import os
from pathlib import Path

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from schemas.base import Table
from schemas.errors import InputError

SHOWN_ROWS = 3
SHOWN_CHARACTERS = 60


def read(schema: type[Table], item: str | None = None) -> pd.DataFrame:
    """Return the table of `schema`, or say which command would produce it."""
    path = schema.path(item)
    if not path.exists():
        raise InputError(f"{path} does not exist. Run `dvc repro` or `dvc pull {path}`.")
    return validate(schema, pd.read_parquet(path), path)


def write(schema: type[Table], table: pd.DataFrame, item: str | None = None) -> Path:
    """Validate, sort by key, write beside the target, rename: a crash leaves nothing half."""
    path = schema.path(item)
    table = validate(schema, table, path)
    if schema.key():
        table = table.sort_values(schema.key(), kind="stable", ignore_index=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    table.to_parquet(partial, index=False, compression="zstd")
    os.replace(partial, path)
    return path


def write_text(path: Path, text: str) -> Path:
    """Write a text file in one step: complete, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
    return path


def empty(schema: type[Table]) -> pd.DataFrame:
    """A table without rows that has the columns and types of `schema`."""
    columns = schema.to_schema().columns
    return pd.DataFrame({name: pd.Series(dtype=str(c.dtype)) for name, c in columns.items()})


def conform(schema: type[Table], table: pd.DataFrame) -> pd.DataFrame:
    """Put the columns in the schema's order and give all-null columns their declared type.

    Only types that pandas guesses from the values are set: a column of nulls is object to
    pandas, whatever it should hold. Values are not repaired.
    """
    wanted = schema.to_schema().columns
    for name, column in wanted.items():
        if name in table and table[name].isna().all():
            table = table.assign(**{name: table[name].astype(str(column.dtype))})
    return table[[*wanted]]


def validate(schema: type[pa.DataFrameModel], table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return `table` if it matches `schema`, else raise one readable InputError."""
    try:
        return schema.validate(table, lazy=True)  # lazy: every failure, not only the first
    except SchemaErrors as errors:
        raise InputError(explain(errors, path)) from errors


def explain(errors: SchemaErrors, path: Path) -> str:
    """A short text for a failed validation: each check once, with a few values."""
    schema_name = errors.schema.name if errors.schema is not None else "schema"
    lines = [f"{path}: contract of '{schema_name}' violated"]
    for check, group in errors.failure_cases.groupby("check", sort=False, dropna=False):
        columns = [str(name) for name in group["column"].dropna().unique()]
        rows = [int(row) for row in group["index"].dropna().unique()]
        line = f"  - {check}" + (f" [{columns[0]}]" if len(columns) == 1 else "")
        if rows:
            line += f": {len(rows)} row(s), first rows {rows[:SHOWN_ROWS]}"
        values = [repr(str(v)[:SHOWN_CHARACTERS]) for v in group["failure_case"].head(SHOWN_ROWS)]
        lines.append(line + (f", got {', '.join(values)}" if len(columns) == 1 else ""))
    return "\n".join(lines)
