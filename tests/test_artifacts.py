"""Tables cross the border to disk unchanged, complete and validated, or not at all."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from schemas.base import Table
from schemas.candidates import Candidates
from schemas.drops import Drops
from schemas.errors import InputError
from schemas.explanations import Explanations
from schemas.preferences import Preferences
from schemas.questions import Questions
from schemas.scores import Scores
from stages.runtime import artifacts
from stages.runtime.disk import DiskFull
from tests import invented

TABLES = invented.tables()


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def through_disk(schema: type[Table], table: pd.DataFrame, item: str | None = None) -> pd.DataFrame:
    artifacts.write(schema, artifacts.conform(schema, table), item)
    return artifacts.read(schema, item)


# ---- the round trip: why the plumbing is no dependency of a stage --------------------------


@pytest.mark.parametrize(("schema", "item"), TABLES, ids=lambda x: getattr(x, "__name__", x))
def test_a_table_comes_back_as_it_was_written(schema: type[Table], item: str | None):
    table = TABLES[schema, item]
    expected = table.sort_values(schema.primary_key(), kind="stable", ignore_index=True)
    assert_frame_equal(through_disk(schema, table, item), expected)


@pytest.mark.parametrize("schema", Table.__subclasses__(), ids=lambda schema: schema.__name__)
def test_a_table_without_rows_comes_back_with_its_types(schema: type[Table]):
    empty = artifacts.empty(schema)
    assert_frame_equal(through_disk(schema, empty), empty)


# null for a reason that the schema checks
CHECKED = {"reason", "value", "negative_kind", "winner", "explanation"}


@pytest.mark.parametrize(("schema", "item"), TABLES, ids=lambda x: getattr(x, "__name__", x))
def test_a_column_of_nulls_comes_back_as_nulls_of_its_type(schema: type[Table], item: str | None):
    columns = schema.to_schema().columns
    nullable = [name for name, column in columns.items() if column.nullable]
    nullable = [name for name in nullable if name not in CHECKED]
    table = TABLES[schema, item].assign(**dict.fromkeys(nullable, None))
    back = through_disk(schema, table, item)
    assert back[nullable].isna().all(axis=None)
    assert {name: str(back[name].dtype) for name in columns} == {
        name: artifacts.pandas_type(column) for name, column in columns.items()
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "NA",
        "null",
        "None",
        "0123",
        "1e5",
        "=1+1",
        "a\nb\r\nc\td",
        "é\u0301 漢字 🙂",
        "\u202eabc",
    ],
)
def test_a_text_keeps_every_character(text: str):
    table = invented.candidates().assign(explanation=text)
    assert through_disk(Candidates, table).explanation.tolist() == [text] * len(table)


def test_a_number_keeps_every_bit():
    values = [0.1 + 0.2, 1e-300, -0.0, 5e-324, 2.0**53 + 2]
    table = invented.scores().assign(reason=None)
    table["value"] = (values * len(table))[: len(table)]
    table = table.sort_values(Scores.primary_key(), ignore_index=True)
    assert through_disk(Scores, table).value.tolist() == table.value.tolist()


def test_rows_are_sorted_by_key_so_that_equal_tables_are_equal_bytes():
    table = invented.questions()
    first = artifacts.write(Questions, table).read_bytes()
    second = artifacts.write(Questions, table.sample(frac=1, random_state=3)).read_bytes()
    assert first == second


# ---- what is refused ---------------------------------------------------------------------


def refusal(schema: type[Table], table: pd.DataFrame) -> str:
    with pytest.raises(InputError) as raised:
        artifacts.write(schema, artifacts.conform(schema, table))
    assert not schema.path().exists()
    return str(raised.value)


def test_a_refusal_names_check_column_rows_and_values():
    table = invented.preferences().assign(chosen_origin=["students", "sft"])
    message = refusal(Preferences, table)
    assert message.splitlines() == [
        "data/preferences.parquet: contract of 'preferences' violated",
        "  - isin(['sft', 'student', 'synthetic']) [chosen_origin]: 1 row(s), first rows [0], "
        "got 'students'",
    ]


def test_a_refusal_stays_short_however_many_rows_are_wrong():
    bad = pd.concat([invented.preferences()] * 2000, ignore_index=True)
    bad["chosen"] = bad["rejected"] = "the same " * 500
    bad["score_gap"] = -1.0
    message = refusal(Preferences, bad)
    assert "texts_differ: 4000 row(s), first rows [0, 1, 2]" in message
    assert "gap_is_the_difference" in message
    assert "[score_gap]: 4000 row(s), first rows [0, 1, 2], got '-1.0', '-1.0', '-1.0'" in message
    assert len(message) < 1000


def test_one_check_that_fails_in_two_columns_is_told_for_each():
    table = invented.drops().assign(question_id=None, reason=None)
    message = refusal(Drops, table)
    assert "[question_id]" in message
    assert "[reason]" in message


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.assign(passenger=1), "passenger"),
        (lambda t: t.drop(columns="reason"), "reason"),
        (lambda t: t.assign(candidate_index=t.candidate_index.astype("int32")), "int64"),
        (lambda t: t.assign(candidate_index=t.candidate_index.astype(float)), "int64"),
        (lambda t: t.assign(candidate_index=-1), "[candidate_index]"),
        (lambda t: pd.concat([t, t]), "unique"),
        (lambda t: t.assign(origin=None), "[origin]"),
        (lambda t: t.assign(candidate_index=None), "[candidate_index]"),
        (lambda t: t.assign(reason=7), "[reason]"),
    ],
    ids=["extra", "missing", "int32", "float", "range", "key", "null", "null number", "type"],
)
def test_a_table_that_breaks_its_contract_is_not_written(change, told: str):
    assert told in refusal(Drops, change(invented.drops()))


def test_a_null_without_a_reason_is_refused():
    assert "a_null_has_a_reason" in refusal(Scores, invented.scores().assign(reason=None))


def test_a_table_is_checked_when_it_is_read_too():
    Path("data").mkdir()
    invented.drops().assign(reason="no reason").to_parquet("data/drops.parquet")
    with pytest.raises(InputError, match="no reason"):
        artifacts.read(Drops)


def test_a_missing_table_names_the_commands_that_bring_it():
    with pytest.raises(
        InputError, match=r"data/explanations_dpo.parquet .* `dvc repro` .*dvc pull"
    ):
        artifacts.read(Explanations, "dpo")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"question_id,reason\n"])
def test_a_damaged_table_is_one_line(content: bytes):
    Path("data").mkdir()
    Path("data/drops.parquet").write_bytes(content)
    with pytest.raises(InputError, match=r"^data/drops.parquet is no readable Parquet file"):
        artifacts.read(Drops)


# ---- crashes -----------------------------------------------------------------------------


def test_a_failing_write_leaves_the_old_table_and_nothing_else(monkeypatch: pytest.MonkeyPatch):
    old = artifacts.write(Drops, invented.drops()).read_bytes()

    def full(self: pd.DataFrame, path: Path, **_: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(DiskFull, match="No space left"):
        artifacts.write(Drops, invented.drops().head(1))
    assert Path("data/drops.parquet").read_bytes() == old
    assert [path.name for path in Path("data").iterdir()] == ["drops.parquet"]


def test_a_refused_table_leaves_the_old_one():
    old = artifacts.write(Drops, invented.drops()).read_bytes()
    with pytest.raises(InputError):
        artifacts.write(Drops, invented.drops().assign(reason="?"))
    assert Path("data/drops.parquet").read_bytes() == old


def test_a_text_file_is_complete_or_not_there():
    path = artifacts.write_text(Path("reports/a.json"), "old")
    with pytest.raises(UnicodeEncodeError):
        artifacts.write_text(path, "half \ud800")
    assert path.read_text() == "old"
    assert [p.name for p in Path("reports").iterdir()] == ["a.json"]


# ---- conform -----------------------------------------------------------------------------


def test_conform_orders_columns_and_types_nulls_but_repairs_no_value():
    table = invented.candidates()
    shuffled = table[[*table.columns[::-1]]].assign(temperature=None, tokens_n=np.int32(1))
    done = artifacts.conform(Candidates, shuffled)
    assert [*done.columns] == [*table.columns]
    assert str(done.temperature.dtype) == "float64"
    assert str(done.tokens_n.dtype) == "int32"
