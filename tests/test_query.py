"""SQL over the tables: what a query sees, what it is told when it is wrong, what it cannot do."""

import contextlib
import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from schemas.base import Table
from schemas.errors import InputError
from stages.query import SQL_DIR, Format, answer, export, named_queries, named_query
from stages.runtime import artifacts, sandbox
from tests import invented
from tests.imports import ROOT

METRICS = {
    "build_preferences": {"pairs_n": 2, "chosen_longer_frac": 0.5},
    "evaluate": {"rows_n": 16},
}
CURVES = {
    "train_sft": "step,loss\n1,2.5\n2,1.5\n",
    "train_dpo": "step,loss,margin\n1,0.7,\n2,0.6,0.1\n",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every invented table, two reports and two training curves."""
    folder = tmp_path_factory.mktemp("built")
    with contextlib.chdir(folder):
        invented.write_all()
    for stage, metrics in METRICS.items():
        text = json.dumps({"metrics": metrics, "details": {"a": [1, 2]}})
        artifacts.write_text(folder / "reports" / f"{stage}.json", text)
    for stage, text in CURVES.items():
        artifacts.write_text(folder / "reports" / "curves" / f"{stage}.csv", text)
    return folder


@pytest.fixture
def checkout(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder for one test, which is the current folder."""
    folder = tmp_path / "checkout"
    shutil.copytree(built, folder)
    monkeypatch.chdir(folder)
    return folder


def rows(sql: str) -> list[dict]:
    """The answer as a list of dictionaries."""
    return json.loads(answer(sql, Format.json, None))


# ---- what a query sees -----------------------------------------------------------------


def test_every_table_of_the_schemas_has_a_view_with_all_its_rows(checkout: Path):
    for (schema, item), frame in invented.tables().items():
        view = schema.table_name() if item is None else f"{schema.table_name()}_{item}"
        assert rows(f"select count(*) as n from {view}") == [{"n": len(frame)}]


def test_no_schema_is_forgotten_by_the_invented_tables():
    assert {schema for schema, _ in invented.tables()} == set(Table.__subclasses__())


def test_explanations_are_those_of_all_policies(checkout: Path):
    answers = rows(
        "select policy, count(*) as n from explanations group by policy order by n, policy"
    )
    assert [(a["policy"], a["n"]) for a in answers] == [
        ("api", 2),
        ("student", 2),
        ("dpo", 4),  # of two trainings
        ("ilearner", 4),
        ("sft", 4),
    ]


def test_explanations_hold_the_policies_that_exist_and_no_leftover_file(checkout: Path):
    Path("data/explanations_ilearner.parquet").rename("data/explanations_old.parquet")
    policies = rows("select distinct policy from explanations order by policy")
    assert [p["policy"] for p in policies] == ["api", "dpo", "sft", "student"]


def test_metrics_are_in_long_form(checkout: Path):
    assert rows("from metrics") == [
        {"stage": "build_preferences", "name": "chosen_longer_frac", "value": 0.5},
        {"stage": "build_preferences", "name": "pairs_n", "value": 2.0},
        {"stage": "evaluate", "name": "rows_n", "value": 16.0},
    ]


def test_a_report_without_metrics_adds_none(checkout: Path):
    Path("reports/timings.json").write_text('{"train_sft": 12.5}')
    assert rows("select distinct stage from metrics order by stage") == [
        {"stage": "build_preferences"},
        {"stage": "evaluate"},
    ]


def test_curves_of_different_stages_share_one_view(checkout: Path):
    points = rows("select stage, step, name, value from curves where step = 2")
    assert sorted((p["stage"], p["name"], p["value"]) for p in points) == [
        ("train_dpo", "loss", 0.6),
        ("train_dpo", "margin", 0.1),
        ("train_sft", "loss", 1.5),
    ]


@pytest.mark.parametrize("name", list(named_queries()))
def test_a_ready_made_query_answers(checkout: Path, name: str):
    assert rows(named_query(name)), f"{name} has no rows over the invented tables"


@pytest.mark.parametrize("name", list(named_queries()))
def test_a_ready_made_query_has_a_description_and_a_total_order(name: str):
    text = named_query(name)
    assert text.startswith("-- ")
    assert text.split("\n")[0].endswith((".", "?", "course."))
    assert "order by" in text.rsplit(")", 1)[-1] or "\norder by" in text


def test_scorers_disagree_puts_the_contradiction_first(checkout: Path):
    # q1: judge = verifier, so +1. q2: judge = 4 - verifier on the four texts that it scored
    assert rows(named_query("scorers_disagree")) == [
        {"question_id": "q2", "texts_n": 4, "rank_corr": -1.0},
        {"question_id": "q1", "texts_n": 5, "rank_corr": 1.0},
    ]


def test_the_gap_histogram_counts_a_gap_at_the_edge_in_the_bin_that_starts_there(checkout: Path):
    bins = rows(named_query("gap_histogram"))
    assert [(b["gap_from_stars"], b["pairs_n"]) for b in bins] == [(1.5, 1), (3.0, 1)]


def test_questions_without_pairs_name_their_reasons(checkout: Path):
    (found,) = rows(named_query("questions_without_pairs"))
    assert (found["question_id"], found["texts_n"]) == ("q2", 5)
    assert found["reasons"] == "below_gap, empty_text, not_worse"


def test_dpo_against_sft_keeps_a_comparison_that_could_not_be_made(checkout: Path):
    found = {row["metric"]: row["difference"] for row in rows(named_query("dpo_against_sft"))}
    assert found == {"judge": 1.0, "oracle": None}


def test_the_worst_explanations_come_with_their_question(checkout: Path):
    first = rows(named_query("worst_dpo_explanations"))[0]
    assert (first["stem"], first["explanation"]) == ("Is 4 so?", "dpo on 4")


# ---- how an answer is printed ----------------------------------------------------------


def test_csv_reads_back_and_defuses_formulas():
    text = answer("select '=1+1' as a, -5 as b, null as c, 'x,\"y' as d", Format.csv, None)
    assert list(csv.reader(io.StringIO(text))) == [
        ["a", "b", "c", "d"],
        ["'=1+1", "-5", "", 'x,"y'],
    ]


def test_json_has_null_where_a_number_is_not_finite():
    found = rows("select 'nan'::double as a, 'inf'::double as b, 1.5::decimal(4,1) as c, 'é' as d")
    assert found == [{"a": None, "b": None, "c": "1.5", "d": "é"}]


def test_json_holds_no_nan_at_any_depth_and_only_names_as_keys():
    sql = """select [1.0, 'nan'::double] as a, {'x': {'y': ['-inf'::double]}} as b,
        map {1: 'inf'::double} as c, map {date '2024-01-01': 1} as d, map {[1]: 'nan'::double} as e,
        ['nan'::float, 2]::float[2] as f"""
    assert rows(sql) == [
        {
            "a": [1.0, None],
            "b": {"x": {"y": [None]}},
            "c": {"1": None},
            "d": {"2024-01-01": 1},
            "e": {"key": [[1]], "value": [None]},
            "f": [None, 2.0],
        }
    ]


@pytest.mark.parametrize(
    "sql", ["select 1 as a, 2 as a", "select * from (select 1 x) a, (select 2 x) b"]
)
def test_json_does_not_lose_a_column_of_the_same_name(sql: str):
    with pytest.raises(InputError, match=r"two columns .* Rename one with AS"):
        answer(sql, Format.json, None)
    assert answer(sql, Format.csv, None).splitlines()[1] == "1,2"


@pytest.mark.parametrize("form", [Format.csv, Format.json])
def test_a_time_with_a_zone_that_python_cannot_hold_says_what_to_do(form: Format):
    with pytest.raises(InputError, match=r"Cast it, e\.g\. with ::timestamp") as error:
        answer("select now() as a", form, None)
    assert len(str(error.value)) < 200
    assert answer("select now()::timestamp as a", form, None)


def test_rows_limits_every_format():
    sql = "select range as n from range(100)"
    assert len(json.loads(answer(sql, Format.json, 3))) == 3
    assert len(answer(sql, Format.csv, 3).splitlines()) == 4
    assert "3 shown" in answer(sql, Format.table, 3)


def test_a_terminal_gets_no_control_characters_from_a_text():
    sql = "select chr(27) || '[31m' as a, chr(155) || '[31m' as b, chr(8238) || 'abc' as c"
    text = answer(sql, Format.table, None)
    assert not {chr(27), chr(155), chr(8238)} & set(text)


# ---- what it says when a query is wrong ------------------------------------------------


def message(sql: str) -> str:
    with pytest.raises(InputError) as raised:
        answer(sql, Format.table, None)
    text = str(raised.value)
    assert "\n" not in text
    return text


def test_a_wrong_column_is_named_with_the_right_ones(checkout: Path):
    assert '"scor_gap" not found' in message("select scor_gap from preferences")
    assert '"score_gap"' in message("select scor_gap from preferences")


def test_a_syntax_error_is_one_line():
    assert message("selec 1") == 'Parser Error: syntax error at or near "selec"'


def test_a_table_that_is_not_built_yet_is_named_with_its_file(checkout: Path):
    Path("data/scores.parquet").unlink()
    text = message("select count(*) from SCORES")
    assert "data/scores.parquet" in text
    assert "dvc repro" in text


def test_a_damaged_table_does_not_hide_the_others(checkout: Path):
    Path("data/scores.parquet").write_bytes(b"PAR1 and no more")
    assert rows("select count(*) as n from drops") == [{"n": 6}]
    assert "data/scores.parquet" in message("from scores")


def test_an_unknown_table_gets_the_list_of_tables(checkout: Path):
    assert "no table prefs. Tables: candidates, comparisons," in message("from prefs")


def test_a_failure_while_rows_are_fetched_is_one_line_too():
    assert "Conversion Error" in message("select (range || 'x')::int from range(5)")


def test_two_questions_at_once_are_refused_rather_than_half_answered():
    assert "2 statements" in message("select 1; select 2")
    assert "0 statements" in message(" -- nothing")


def test_an_unknown_ready_made_query_gets_the_nearest_name():
    with pytest.raises(InputError, match="Did you mean 'gap_histogram'"):
        named_query("gap_histogramm")


@pytest.mark.parametrize("name", ["../views", "/etc/passwd", "../../../params"])
def test_a_ready_made_query_is_never_a_path(name: str):
    with pytest.raises(InputError, match="no such query"):
        named_query(name)


# ---- what a query cannot do ------------------------------------------------------------

ATTACKS = [
    "from read_csv('/etc/passwd')",
    "from read_text('/etc/passwd')",
    "from read_blob('/proc/self/environ')",
    "from read_json('secret.txt')",
    "from sniff_csv('secret.txt')",
    "from 'secret.txt'",
    "from glob('*')",
    "from read_text('data/../secret.txt')",
    "from parquet_metadata('data/scores.parquet')",
    "from read_parquet('data/scores.parquet')",
    "from query_table('secret.txt')",
    "from query('from read_text(''secret.txt'')')",
    "from read_text(['secret.txt'])",
    "from read_parquet('http://127.0.0.1:9/x.parquet')",
    "from read_csv('s3://bucket/x.csv')",
    "from duckdb_secrets()",
    "copy (select 1) to 'stolen.csv'",
    "copy scores to 'data/scores.parquet' (use_tmp_file false)",
    "with x as (copy (select 1) to 'data/scores.parquet' (use_tmp_file false)) from x",
    "with x as (copy (select 1) to 'stolen.csv') from x",
    "from query('with x as (copy (select 1) to ''stolen.csv'') from x')",
    "explain analyze copy (select 1) to 'stolen.csv'",
    "explain analyze from read_text('secret.txt')",
    "export database 'stolen'",
    "import database 'stolen'",
    "attach 'stolen.db'",
    "attach 'data/scores.parquet' as x",
    "install httpfs",
    "load httpfs",
    "load 'stolen.so'",
    "set enable_external_access = true",
    "set lock_configuration = false",
    "set threads = 1",
    "reset lock_configuration",
    "pragma enable_external_access",
    "pragma database_list",
    "call enable_logging(storage = 'file', storage_config = {'path': 'stolen'})",
    "from enable_logging('QueryLog', storage = 'file', storage_config = {'path': 'stolen'})",
    "create table x as from scores",
    "create view x as from read_text('secret.txt')",
    "create macro f() as table from read_text('secret.txt')",
    "drop view scores",
    "delete from scores",
    "update scores set value = 5",
    "insert into scores from scores",
    "with x as (insert into scores from scores returning value) from x",
    "with x as (delete from scores returning value) from x",
    "explain analyze delete from scores",
    "prepare x as from scores",
    "begin; from scores",
    "rollback",
    "select 1; from read_text('secret.txt')",
    "set variable x = 1",
    "create secret (type s3)",
    "vacuum",
    "checkpoint",
    "",
    "-- nothing",
]


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("sql", ATTACKS)
def test_a_query_reads_no_file_changes_nothing_and_leaves_nothing(checkout: Path, sql: str):
    Path("secret.txt").write_text("secret\n")
    before = files(checkout)
    message(sql)
    assert files(checkout) == before


@pytest.mark.parametrize(
    "sql",
    [
        "from preferences",
        "values (1)",
        "with a as (from drops) select count(*) from a",
        "describe preferences",
        "summarize preferences",
        "show tables",
        "explain from preferences",
        "pivot drops on reason using count(*) group by origin",
        "from (pivot drops on origin in ('sft', 'student') using count(*))",
        "select * from scores semi join drops using (question_id, candidate_index);",
    ],
)
def test_what_reads_is_allowed(checkout: Path, sql: str):
    assert answer(sql, Format.csv, None).count("\n") > 1


def test_the_reason_for_loading_tables_still_holds(checkout: Path):
    """If this fails, DuckDB has mended it, and sandbox.load can give way to allowed_paths."""
    with sandbox.connection() as con:
        con.execute("set allowed_paths = ['data/scores.parquet']")
        con.execute("set enable_external_access = false")
        sql = "with x as (copy (select 1) to 'data/scores.parquet' (use_tmp_file false)) from x"
        assert [s.type.name for s in con.extract_statements(sql)] == ["SELECT"]
        con.execute(sql)
    assert Path("data/scores.parquet").stat().st_size < 1000


# ---- the file for other tools ----------------------------------------------------------


def test_an_export_holds_every_table(checkout: Path):
    names = export(Path("all.duckdb"), force=False)
    with duckdb.connect("all.duckdb", read_only=True) as con:
        found = {name for (name,) in con.execute("show tables").fetchall()}
        pairs = con.execute("select count(*) from preferences").fetchall()
    assert found == set(names)
    assert {"metrics", "curves", "explanations", "explanations_sft", "questions"} <= found
    assert pairs == [(2,)]
    assert not list(checkout.glob("*.partial*"))


def test_an_export_replaces_a_file_only_when_told(checkout: Path):
    Path("it's.duckdb").write_text("mine")
    with pytest.raises(InputError, match="--force"):
        export(Path("it's.duckdb"), force=False)
    assert Path("it's.duckdb").read_text() == "mine"
    export(Path("it's.duckdb"), force=True)
    assert Path("it's.duckdb").stat().st_size > 1000


@pytest.mark.parametrize("path", ["all.db", "all", "none/all.duckdb", "folder.duckdb"])
def test_an_export_that_cannot_be_written_says_so(checkout: Path, path: str):
    Path("folder.duckdb").mkdir()
    with pytest.raises(InputError, match="--export"):
        export(Path(path), force=True)


@pytest.mark.parametrize(
    "path",
    ["a\0b.duckdb", "a\nb.duckdb", "a\udcffb.duckdb", "x" * 300 + ".duckdb", "/proc/all.duckdb"],
)
def test_an_export_to_a_name_that_no_file_can_have_says_so(checkout: Path, path: str):
    before = files(checkout)
    with pytest.raises(InputError, match="--export") as error:
        export(Path(path), force=True)
    assert "\n" not in str(error.value)
    assert files(checkout) == before


def test_an_export_beside_a_folder_of_its_partial_name_says_so(checkout: Path):
    Path("all.duckdb.partial").mkdir()
    with pytest.raises(InputError, match=r"--export all.duckdb"):
        export(Path("all.duckdb"), force=False)


@pytest.mark.parametrize(
    ("file", "data", "table"),
    [
        ("reports/broken.json", b'{"metrics": {', "metrics"),
        ("reports/broken.json", b'{"metrics": {"a": "b"}}', "metrics"),
        ("reports/broken.json", b"\xff\xfe", "metrics"),
        ("reports/curves/broken.csv", b'step,loss\n1,"a\n', "curves"),
        ("reports/curves/broken.csv", b"step,loss\n1,high\n", "curves"),
        ("reports/curves/broken.csv", b"\xff\xfe\x00,\n", "curves"),
        ("data/scores.parquet", b"PAR1 and no more", "scores"),
    ],
)
def test_an_export_of_a_broken_file_is_one_line_and_leaves_nothing(
    checkout: Path, file: str, data: bytes, table: str
):
    Path(file).write_bytes(data)
    before = files(checkout)
    with pytest.raises(InputError, match=f"table {table} cannot be exported") as error:
        export(Path("all.duckdb"), force=False)
    assert "\n" not in str(error.value)
    assert files(checkout) == before


def test_an_export_leaves_out_what_is_not_built_yet(checkout: Path):
    Path("data/scores.parquet").unlink()
    assert "scores" not in export(Path("all.duckdb"), force=False)


def test_an_export_of_nothing_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="dvc repro"):
        export(Path("all.duckdb"), force=False)
    assert not list(tmp_path.glob("all*"))


# ---- the command -----------------------------------------------------------------------


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stages.query", *arguments]
    return subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, text=True)


def run_bytes(
    *arguments: str | bytes, stdin: bytes = b"", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "stages.query", *arguments]
    env = os.environ | environment
    return subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, env=env)


@pytest.mark.parametrize(
    ("argument", "stdin"),
    [("-", b"select '\xff' as a"), (b"select '\xff' as a", b""), ("-", b"select 1 as a\0, 2")],
)
def test_a_query_that_is_no_utf_8_is_one_line(argument: str | bytes, stdin: bytes):
    for locale in ("C.UTF-8", "C"):
        done = run_bytes(argument, stdin=stdin, LC_ALL=locale)
        assert done.returncode == 2
        assert done.stderr.startswith(b"error: ")
        assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("form", list(Format))
def test_an_answer_is_utf_8_whatever_the_terminal_says(form: Format):
    done = run_bytes("select 'é' as a", "--format", form, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert "é" in done.stdout.decode("utf-8")


def test_a_query_is_read_as_utf_8_in_a_plain_locale():
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    sql = "select 'é' as a".encode()
    for argument in ("-", sql):
        done = run_bytes(argument, "--format", "csv", stdin=sql, **plain)
        assert done.stdout.decode("utf-8") == "a\né\n"


@pytest.mark.parametrize(
    ("arguments", "code", "shown"),
    [
        (["select 40 + 2 as n", "--format", "csv"], 0, "n\n42\n"),
        (["-", "--format", "json"], 0, '"n": 7'),
        (["--list"], 0, "gap_histogram "),
        (["selec 1"], 2, "error: Parser Error"),
        ([], 2, "error: give one of"),
        (["select 1", "--list"], 2, "error: give one of"),
        (["--named", "nothing"], 2, "error: --named nothing"),
        (["select 1", "--rows", "0"], 2, "--rows"),
    ],
)
def test_the_command_answers_and_fails_with_code_2(arguments: list[str], code: int, shown: str):
    done = run(*arguments, stdin="select 7 as n")
    assert done.returncode == code
    assert shown in (done.stderr if code else done.stdout)
    assert "Traceback" not in done.stderr


def test_every_ready_made_query_is_listed():
    assert len(named_queries()) == len(list((SQL_DIR / "queries").glob("*"))) >= 12
