"""DuckDB for other people's SQL: it reads the views of stages/sql/views.sql and nothing else.

The tables that a query names are loaded into memory; then DuckDB loses files, network,
extensions and settings. Leaving it the paths of the tables (allowed_paths) would be lazier,
but DuckDB 2.0 takes a COPY inside a common table expression for a SELECT, and that COPY
could overwrite them (tests/test_query.py).
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from schemas.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

ALLOWED = {"SELECT", "EXPLAIN", "MULTI"}  # MULTI is how DuckDB parses PIVOT


def one_line(error: duckdb.Error) -> str:
    """DuckDB's message without the excerpt of the query and the list of remedies below it."""
    return " ".join(str(error).split("\n\n")[0].split())


@contextlib.contextmanager
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty database in memory, without extensions, spill files or Python variables."""
    config = {
        "autoload_known_extensions": False,
        "autoinstall_known_extensions": False,
        "allow_community_extensions": False,
        "python_enable_replacements": False,
        "max_temp_directory_size": "0B",
    }
    with duckdb.connect(":memory:", config=config) as con:
        yield con


def create_views(con: duckdb.DuckDBPyConnection, views: Path) -> tuple[list[str], dict[str, str]]:
    """Create the views of a file: the names of those that exist, and why the others do not."""
    made, missing = [], {}
    for statement in con.extract_statements(views.read_text(encoding="utf-8")):
        name = re.findall(r"create view (\w+)", statement.query)[0]
        try:
            con.execute(statement)
            made.append(name)
        except duckdb.Error as error:
            missing[name] = one_line(error)
    policies = [name for name in made if name.startswith("explanations_")]
    if policies:
        union = " union all by name ".join(f"from {name}" for name in policies)
        con.execute(f"create view explanations as {union}")
        made.append("explanations")
    else:
        missing["explanations"] = missing["explanations_sft"]
    return made, missing


def add_table(con: duckdb.DuckDBPyConnection, name: str, table: "pd.DataFrame") -> None:
    """A table in memory beside the views."""
    con.register("adding", table)
    con.execute(f"create table {name} as from adding")
    con.unregister("adding")


def is_not_built(why: str) -> bool:
    """Whether a view is missing because its file is, and not because the file is broken."""
    return "No files found" in why


def load(con: duckdb.DuckDBPyConnection, names: list[str], sql: str) -> None:
    """Turn the views that `sql` names into tables in memory."""
    words = set(re.findall(r"\w+", sql.lower()))
    for name in names:
        if name in words:
            con.execute(f"create table loading as from {name}")
            con.execute(f"drop view {name}")
            con.execute(f"alter table loading rename to {name}")


def lock(con: duckdb.DuckDBPyConnection) -> None:
    """Take files, network, extensions and settings away, and the right to change a table."""
    con.execute("set enable_external_access = false")
    con.execute("set lock_configuration = true")
    con.execute("begin transaction read only")


def check(con: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Raise InputError unless `sql` is one statement that reads."""
    types = [statement.type.name for statement in con.extract_statements(sql)]
    if len(types) != 1:
        raise InputError(f"the query holds {len(types)} statements, not one. Ask one at a time.")
    if types[0] not in ALLOWED:
        raise InputError(f"{types[0]} is not allowed: a query reads. Begin with SELECT or FROM.")


def ask(con: duckdb.DuckDBPyConnection, views: list[str], sql: str) -> duckdb.DuckDBPyRelation:
    """The answer to `sql`, not fetched yet. Afterwards `con` can do nothing but read."""
    check(con, sql)
    load(con, views, sql)
    lock(con)
    return con.sql(sql)


def explain(error: duckdb.Error, made: list[str], missing: dict[str, str]) -> str:
    """One line for a failed query; says what to do when it names a table that is not there."""
    if "'pytz'" in str(error):  # a package that nothing else here needs
        return "a time with a time zone cannot be fetched. Cast it, e.g. with ::timestamp."
    unknown = re.search(r"Table with name (\w+) does not exist", str(error))
    if not unknown:
        return one_line(error)
    name = unknown[1].lower()
    if name in missing:
        return f"table {name} cannot be read ({missing[name]}). Run `dvc repro`."
    return f"no table {name}. Tables: {', '.join(sorted(made)) or 'none yet. Run `dvc repro`'}."
