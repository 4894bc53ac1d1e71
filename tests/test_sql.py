"""SQL over tables in memory: nulls at the border, parameters, isolation, determinism."""

import numpy as np
import pandas as pd
import pytest

from stages.pure import sql


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Run a query text through the module's own door, a file of the SQL folder."""
    monkeypatch.setattr(sql, "SQL_DIR", tmp_path)

    def run(text: str, tables: dict[str, pd.DataFrame], **params: object) -> pd.DataFrame:
        (tmp_path / "q.sql").write_text(text)
        return sql.query("q", tables, **params)

    return run


def test_a_nan_in_a_table_is_null_and_passes_no_threshold(ask):
    # a literal NaN would: 'nan'::double >= 5 is true in DuckDB
    table = pd.DataFrame({"reward": [np.nan, 5.0, None]})
    passed = ask("select reward from t where reward >= 1", {"t": table})
    assert passed.reward.tolist() == [5.0]
    assert ask("select count(*) as n from t where reward is null", {"t": table}).n[0] == 2
    assert ask("select 'nan'::double >= 5 as trap", {}).trap[0]


def test_none_in_a_text_column_is_null(ask):
    table = pd.DataFrame({"kind": pd.array(["circular", None], dtype="str")})
    assert ask("select count(kind) as n from t", {"t": table}).n[0] == 1


def test_parameters_are_bound_by_name_and_never_spliced(ask):
    table = pd.DataFrame({"name": ["x'; drop table t; --", "y"]})
    found = ask("select name from t where name = $name", {"t": table}, name="x'; drop table t; --")
    assert found.name.tolist() == ["x'; drop table t; --"]


def test_a_query_sees_only_its_own_tables(ask):
    import duckdb

    stranger = pd.DataFrame({"a": [1]})
    assert len(ask("select * from given", {"given": stranger})) == 1
    with pytest.raises(duckdb.CatalogException):
        ask("select * from given", {})


def test_python_variables_of_the_caller_are_no_tables(ask):
    import duckdb

    hidden = pd.DataFrame({"a": [1]})
    with pytest.raises(duckdb.CatalogException):
        ask("select * from hidden", {})
    assert len(hidden) == 1


def test_one_thread_runs_the_query(ask):
    assert ask("select current_setting('threads') as n", {}).n[0] == 1


def test_a_missing_parameter_is_an_error(ask):
    import duckdb

    with pytest.raises(duckdb.InvalidInputException, match="x"):
        ask("select $x as x", {})


@pytest.mark.parametrize("name", ["preferences", "drops", "leaks"])
def test_every_query_states_its_grain_and_its_order(name: str):
    text = (sql.SQL_DIR / f"{name}.sql").read_text()
    assert text.startswith(f"-- {name}: ")
    assert "-- Grain: " in text
    assert "\norder by " in text
