"""Ask the tables of this checkout in SQL.

    data/*.parquet, reports/*.json, reports/curves/*.csv -> an answer on the screen

The views are in stages/sql/views.sql, ready-made questions in stages/sql/queries/. A query
reads and nothing else (stages/runtime/sandbox.py).

    python -m stages.query --list
    python -m stages.query --named pairs_by_origin
    python -m stages.query "select reason, count(*) from drops group by reason"
    python -m stages.query --export peerwise.duckdb
"""

import contextlib
import csv
import io
import json
import math
import os
import re
import shutil
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import duckdb
import typer

from schemas.errors import InputError, nearest
from stages.runtime import artifacts, sandbox
from stages.runtime.asking import ledger
from stages.runtime.run import start

SQL_DIR = Path(__file__).parent / "sql"
TABLE_ROWS = 40  # rows shown when --rows is not given; csv and json show all
# Student text may hold these; a terminal would obey them (C1 codes, bidirectional overrides).
CONTROLS = {
    c: "\ufffd" for c in [*range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
}


class Format(StrEnum):
    """How an answer is printed."""

    table = "table"
    csv = "csv"
    json = "json"


def answer(sql: str, form: Format, rows: int | None) -> str:
    """The answer to `sql` over the views as text, or one readable InputError."""
    with sandbox.connection() as con:
        made, missing = sandbox.create_views(con, SQL_DIR / "views.sql")
        try:
            if re.search(r"\bledger\b", sql, re.IGNORECASE):
                sandbox.add_table(con, "ledger", ledger.table())
            return render(sandbox.ask(con, made, sql), form, rows)
        except duckdb.Error as error:  # some appear only when rows are fetched
            raise InputError(sandbox.explain(error, made, missing)) from error


def render(relation: duckdb.DuckDBPyRelation, form: Format, rows: int | None) -> str:
    """The rows of `relation` as a box, as CSV or as a JSON list of objects."""
    screen = io.StringIO()
    if form is Format.table:
        width = shutil.get_terminal_size((120, 40)).columns
        with contextlib.redirect_stdout(screen):
            relation.show(max_rows=rows or TABLE_ROWS, max_width=width)
        return screen.getvalue().translate(CONTROLS)
    names = relation.columns
    found = relation.fetchall()[:rows]
    if form is Format.json:
        if repeated := [name for name in names if names.count(name) > 1]:
            raise InputError(f"the answer has two columns '{repeated[0]}'. Rename one with AS.")
        objects = [dict(zip(names, map(json_value, row), strict=True)) for row in found]
        text = json.dumps(objects, indent=2, ensure_ascii=False, allow_nan=False, default=str)
        return f"{text}\n"
    writer = csv.writer(screen, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([csv_value(value) for value in row] for row in found)
    return screen.getvalue()


def json_value(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become null, at any depth. Keys become text."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): json_value(inner) for key, inner in value.items()}
    return [*map(json_value, value)] if isinstance(value, list | tuple) else value


def csv_value(value: Any) -> Any:
    """A text that a spreadsheet would run as a formula gets an apostrophe in front."""
    is_formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if is_formula else value


def export(path: Path, force: bool) -> list[str]:
    """Write every view as a table of a new DuckDB file, complete or not at all; their names."""
    try:
        check_target(path, force)
        with artifacts.complete(path) as partial:
            partial.unlink(missing_ok=True)  # of an export that was killed
            return fill(partial)
    except (OSError, duckdb.IOException) as error:
        told = " ".join(str(error).split())
        raise InputError(f"--export {path}: cannot be written ({told}). Name another.") from error


def check_target(path: Path, force: bool) -> None:
    """Raise InputError, or OSError, for a name that an export cannot have."""
    if not str(path).isprintable():  # also NUL, and bytes that are no text
        raise InputError(f"--export {str(path)!r}: a character is no text. Name another file.")
    if path.suffix != ".duckdb":
        raise InputError(f"--export {path}: the name must end in .duckdb (git ignores those).")
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(f"--export {path}: no file can stand there. Name a file in a folder.")
    if path.exists() and not force:
        raise InputError(f"--export {path}: the file exists. Add --force to replace it.")


def fill(path: Path) -> list[str]:
    """Copy every view into a new DuckDB file at `path`; their names."""
    with sandbox.connection() as con:
        made, missing = sandbox.create_views(con, SQL_DIR / "views.sql")
        for name, why in missing.items():
            if not sandbox.is_not_built(why):
                raise InputError(f"table {name} cannot be exported ({why}). Run `dvc repro`.")
        if not made:
            raise InputError("there is no table to export yet. Run `dvc repro`.")
        quoted = str(path).replace("'", "''")
        con.execute(f"attach '{quoted}' as exported")
        for name in made:
            try:
                con.execute(f"create table exported.{name} as from memory.{name}")
            except duckdb.Error as error:  # a view is made without a look at every row
                told = sandbox.one_line(error)
                raise InputError(
                    f"table {name} cannot be exported ({told}). Run `dvc repro`."
                ) from error
        con.execute("detach exported")
    return made


def named_queries() -> dict[str, str]:
    """The ready-made queries: name -> description, the first line of its file."""
    files = sorted((SQL_DIR / "queries").glob("*.sql"))
    return {f.stem: f.read_text(encoding="utf-8").split("\n")[0].removeprefix("-- ") for f in files}


def named_query(name: str) -> str:
    """The text of the ready-made query `name`."""
    names = list(named_queries())
    if name not in names:
        raise InputError(f"--named {name}: there is no such query. {nearest(name, names)}")
    return (SQL_DIR / "queries" / f"{name}.sql").read_text(encoding="utf-8")


def given_query(sql: str) -> str:
    """The query of the command line, or of stdin. Raises InputError if it is not UTF-8.

    A NUL is refused: DuckDB reads up to it, and would answer another question.
    """
    is_stdin = sql == "-"
    data = sys.stdin.buffer.read() if is_stdin else os.fsencode(sql)
    origin = "the query on stdin" if is_stdin else "the query"
    if b"\0" in data:
        raise InputError(f"{origin}: byte {data.index(0)} is NUL. Remove it.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{origin}: byte {error.start} (0x{data[error.start]:02x}) is not UTF-8. Convert it."
        ) from error


def main(
    sql: Annotated[str | None, typer.Argument(help="One SELECT; '-' reads it from stdin.")] = None,
    named: Annotated[str | None, typer.Option(help="A ready-made query, see --list.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the ready-made queries.")] = False,
    export_to: Annotated[
        Path | None, typer.Option("--export", help="Write all tables to FILE.duckdb.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Let --export replace a file.")] = False,
    form: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.table,
    rows: Annotated[
        int | None, typer.Option(min=1, help=f"Rows at most. Default: {TABLE_ROWS}, or all.")
    ] = None,
) -> None:
    """Ask the tables of this checkout in SQL. A query reads and nothing else.

    Tables: questions, rejects, candidates, negatives, scores, preferences, drops, texts (where
    each candidate went), explanations (and explanations_POLICY), evaluations, policy_means,
    comparisons, seed_comparisons, win_rates, judgements, predictions_ and fitness_reward and
    _judge, pair_audit, leakage_questions and _texts, validations, synthetic, metrics, curves; and
    ledger: what every request to a provider cost, of all checkouts that share the store.

    python -m stages.query "select reason, count(*) from drops group by reason"

    python -m stages.query --named pairs_by_origin --format csv

    python -m stages.query "describe preferences"
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # an ASCII one could not hold an answer
    if sum([sql is not None, named is not None, list_, export_to is not None]) != 1:
        raise InputError("give one of: a query, --named NAME, --list, --export FILE. See --help.")
    if list_:
        queries = named_queries()
        width = max(map(len, queries))
        print("\n".join(f"{name:{width}}  {text}" for name, text in queries.items()))
    elif export_to is not None:
        print(f"{export_to}: {', '.join(export(export_to, force))}")
    else:
        text = named_query(named) if named is not None else given_query(str(sql))
        print(answer(text, form, rows), end="")


if __name__ == "__main__":
    start(main)
