"""Run a query of stages/sql over tables in memory."""

from pathlib import Path

import pandas as pd

SQL_DIR = Path(__file__).parent.parent / "sql"


def query(name: str, tables: dict[str, pd.DataFrame], /, **params: object) -> pd.DataFrame:
    """Return the result of stages/sql/<name>.sql; `$x` in the query is `x=` here.

    The connection lives for one call and holds only `tables`, so a query depends on its
    arguments and nothing else. A NaN in a table is null in the query. One thread, because
    the order of rows and of sums depends on the threads; end queries with `order by` a
    unique key.
    """
    import duckdb

    text = (SQL_DIR / f"{name}.sql").read_text(encoding="utf-8")
    config = {"threads": 1, "python_enable_replacements": False}  # no table by accident
    with duckdb.connect(":memory:", config=config) as connection:
        for table_name, table in tables.items():
            connection.register(table_name, table)
        return connection.execute(text, params).df()
