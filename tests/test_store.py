"""Rows come back as they were kept, or not at all, whatever happened to the file."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InputError
from stages import store as command
from stages.runtime import store, store_care, store_file
from stages.runtime.run import start
from stages.runtime.store import FILE, Store, digest_of
from tests.imports import ROOT

ROWS = {digest_of(row=i): {"text": f"row {i} é\n", "score": i / 7, "ids": [i]} for i in range(300)}
KEYS = list(ROWS)
KINDS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e300, 1e300) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.fixture
def file() -> Path:
    """Where the store of this test is; it is not there yet."""
    return store.folder() / FILE


@pytest.fixture
def filled(file: Path) -> Path:
    """A store of ROWS that was closed in order: everything is in the one file."""
    kept = Store(file)
    kept.add("texts", ROWS)
    kept.close()
    return file


def found(file: Path) -> dict[str, Any]:
    kept = Store(file)
    try:
        return kept.find("texts", KEYS)
    finally:
        kept.close()


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Another process that runs `code` with this store."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# ---- what is kept comes back -----------------------------------------------------------------


@given(value=KINDS)
def test_a_value_comes_back_as_it_was_given(value: Any):
    memory = Store.__new__(Store)
    memory.path, memory.connection = Path("memory"), store_file.connect(None)
    memory.add("any", {"key": value})
    assert memory.find("any", ["key", "other"]) == {"key": json.loads(json.dumps(value))}
    memory.close()


def test_only_the_rows_that_are_there_are_found_and_the_rest_is_counted(filled: Path):
    kept = Store(filled)
    assert kept.find("texts", [*KEYS[:3], "missing", KEYS[0]]) == {k: ROWS[k] for k in KEYS[:3]}
    (kind,) = store_care.kinds(kept.connection)
    assert (kind.name, kind.rows_n, kind.found_n, kind.missed_n) == ("texts", 300, 3, 1)
    kept.close()


def test_a_row_is_replaced_by_a_later_one(filled: Path):
    kept = Store(filled)
    kept.add("texts", {KEYS[0]: "new"})
    assert kept.find("texts", KEYS[:1]) == {KEYS[0]: "new"}
    kept.close()


def test_what_is_no_json_keeps_nothing_of_its_batch(file: Path):
    kept = Store(file)
    with pytest.raises(ValueError, match="JSON"):
        kept.add("texts", {"a": 1.0, "b": float("nan")})
    assert kept.find("texts", ["a", "b"]) == {}
    kept.close()


def test_the_order_of_names_is_no_part_of_a_key_and_every_value_is():
    assert digest_of(a=1, b={"x": 1, "y": 2}) == digest_of(b={"y": 2, "x": 1}, a=1)
    assert len({digest_of(a=1), digest_of(a=2), digest_of(b=1), digest_of(a="1")}) == 4


def test_ten_thousand_keys_are_found_in_well_under_a_second(file: Path):
    rows = {digest_of(row=i): {"text": "x" * 400, "score": 0.5} for i in range(10_000)}
    kept = Store(file)
    kept.add("texts", rows)
    age(file, days=3)  # so that every row is noted as used again
    began = time.process_time()
    assert kept.find("texts", rows) == rows
    first = time.process_time() - began
    assert first < 1.0
    kept.close()


def age(file: Path, days: float, keys: list[str] | None = None) -> None:
    """Let rows look as if they were last used so many days ago."""
    with sqlite3.connect(file) as connection:
        now = int(time.time() - days * 86400)
        if keys is None:
            connection.execute("update rows set used = ?", (now,))
        for key in keys or []:
            connection.execute("update rows set used = ? where key = ?", (now, key))
    connection.close()


def test_the_open_store_of_a_process_is_one_and_another_place_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first = store.opened()
    assert store.opened() is first
    monkeypatch.setenv("PEERWISE_STORE", str(tmp_path / "other"))
    other = store.opened()
    assert other is not first
    for kept in (first, other):
        kept.close()


def test_a_forked_process_opens_its_own_and_both_write(file: Path):
    store.opened().add("texts", {"parent": 1})
    child = os.fork()
    if child == 0:  # no test of the child's may go on in it
        store.opened().add("texts", {"child": 2})
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    store.opened().add("texts", {"later": 3})
    assert store.opened().find("texts", ["parent", "child", "later"]) == {
        "parent": 1,
        "child": 2,
        "later": 3,
    }
    store.opened().close()


def test_what_is_remembered_is_computed_once_in_batches_and_comes_back_in_order():
    asked: list[list[int]] = []

    def compute(items: list[int]) -> list[int]:
        asked.append(items)
        return [item * item for item in items]

    assert store.remembered("squares", "v1", [3, 1, 2, 3], compute, batch=2) == [9, 1, 4, 9]
    assert asked == [[1, 2], [3]]
    assert store.remembered("squares", "v1", [4, 2], compute, batch=2) == [16, 4]
    assert store.remembered("squares", "v2", [2], compute, batch=2) == [4]
    assert asked[2:] == [[4], [2]]
    with store.forgetful():
        assert store.remembered("squares", "v1", [2], compute, batch=2) == [4]
    assert asked[4:] == [[2]]
    assert store.remembered("squares", "v1", [2], compute, batch=2) == [4]
    assert len(asked) == 5
    store.opened().close()


WRITER = """
import sys
from stages.runtime import store
kept = store.opened()
for i in range(30):
    kept.add("texts", {f"{sys.argv[1]}-{i}-{j}": [i, j] for j in range(20)})
    kept.find("texts", [f"{sys.argv[1]}-{i}-0"])
"""


def test_case_29_processes_that_create_and_write_at_once_all_succeed(file: Path):
    writers = [python(WRITER, str(number)) for number in range(4)]
    for writer in writers:
        assert writer.communicate() == ("", "")
        assert writer.returncode == 0
    kept = Store(file)
    wanted = [f"{n}-{i}-{j}" for n in range(4) for i in range(30) for j in range(20)]
    assert len(kept.find("texts", wanted)) == 2400
    kept.close()


# ---- damage ------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["value", "digest"])
def test_case_28_a_bit_flip_in_a_row_is_seen_told_and_computed_again(
    filled: Path, caplog: pytest.LogCaptureFixture, column: str
):
    with sqlite3.connect(filled) as connection:
        (old,) = connection.execute(f"select {column} from rows where key = ?", KEYS[:1]).fetchone()
        data = old if isinstance(old, bytes) else old.encode()
        flipped = bytes([data[0] ^ 0x80, *data[1:]])  # no UTF-8 any more
        new: Any = flipped if column == "value" else flipped.decode("latin-1")
        connection.execute(f"update rows set {column} = ? where key = ?", (new, KEYS[0]))
    connection.close()
    rows = found(filled)
    assert rows == {key: ROWS[key] for key in KEYS[1:]}
    (warning,) = caplog.messages
    assert "1 damaged row(s) of kind 'texts', computed again" in warning
    kept = Store(filled)
    kept.add("texts", {KEYS[0]: ROWS[KEYS[0]]})
    kept.close()
    assert found(filled) == ROWS


@pytest.mark.parametrize("new", [None, 7, 1.5, "text", b"\xff"])
def test_case_28_a_value_of_another_type_is_a_damaged_row(filled: Path, new: Any):
    with sqlite3.connect(filled) as connection:
        connection.execute("pragma ignore_check_constraints = on")
        value = b"" if new is None else new
        connection.execute("update rows set value = ? where key = ?", (value, KEYS[0]))
    connection.close()
    assert found(filled) == {key: ROWS[key] for key in KEYS[1:]}


def test_case_28_a_row_under_the_key_of_another_is_a_damaged_row(filled: Path):
    with sqlite3.connect(filled) as connection:
        connection.execute(
            "update rows set (value, digest) = (select value, digest from rows where key = ?) "
            "where key = ?",
            KEYS[:2],
        )
    connection.close()
    assert KEYS[1] not in found(filled)


def test_case_28_bits_flipped_anywhere_in_the_file_change_no_row_and_end_no_run(
    filled: Path, caplog: pytest.LogCaptureFixture
):
    whole = filled.read_bytes()
    told: set[str] = set()
    for number in range(150):
        damaged = bytearray(whole)
        for k in range(1 + 40 * (number % 2)):  # one bit, or many
            place = (number * 7919 * 65537 + k * 104729) % len(whole)
            damaged[place] ^= 1 << ((number + k) % 8)
        filled.write_bytes(damaged)
        caplog.clear()
        try:
            kept = Store(filled)
        except InputError as refused:  # its marks were hit
            told.add(str(refused).split("(")[0].split(": ")[1])
            continue
        rows = kept.find("texts", KEYS)
        kept.add("texts", {key: ROWS[key] for key in KEYS if key not in rows})
        again = kept.find("texts", KEYS)
        kept.close()
        assert rows.items() <= ROWS.items()
        assert again.items() <= ROWS.items()
        assert len(caplog.messages) <= 3, caplog.messages
        assert not any("\n" in message for message in caplog.messages)
        told |= {"damaged row" if "damaged row" in m else "cannot be used" for m in caplog.messages}
        for end in ("-wal", "-shm"):
            filled.with_name(FILE + end).unlink(missing_ok=True)
    assert told <= {"damaged row", "cannot be used", "a database of another program or version "}
    assert {"damaged row", "cannot be used"} <= told, "the flips reached rows and pages"


def test_case_28_damage_that_sqlite_meets_only_later_ends_no_run(
    filled: Path, caplog: pytest.LogCaptureFixture
):
    kept = Store(filled)  # opens well: the first page is whole
    with filled.open("r+b") as handle:
        handle.seek(4096)
        handle.write(b"\xa5" * (filled.stat().st_size - 4096))
    assert kept.find("texts", KEYS) == {}
    kept.add("texts", {KEYS[0]: "computed"})
    assert kept.find("texts", KEYS) == {KEYS[0]: "computed"}  # of this run, in memory
    (warning,) = caplog.messages
    assert "cannot be used as a store of rows" in warning
    kept.close()


# There is no JSONL that could end in half a line: rows are in SQLite, whose journal is the WAL.
@pytest.mark.parametrize("kept_part", [0.0, 0.3, 0.5, 0.9, 0.999])
def test_case_23_a_truncated_journal_loses_its_end_and_no_other_row(file: Path, kept_part: float):
    code = """
import os, signal
from stages.runtime import store
kept = store.opened()
kept.connection.execute("pragma wal_autocheckpoint = 0")
kept.add("texts", {"first": 1})
kept.connection.execute("pragma wal_checkpoint(truncate)")
for i in range(20):
    kept.add("texts", {f"row-{i}": "x" * 3000})
os.kill(os.getpid(), signal.SIGKILL)
"""
    writer = python(code)
    writer.communicate()
    assert writer.returncode == -signal.SIGKILL
    journal = file.with_name(FILE + "-wal")
    size = journal.stat().st_size
    assert size > 60_000
    os.truncate(journal, int(size * kept_part))
    kept = Store(file)
    rows = kept.find("texts", ["first", *(f"row-{i}" for i in range(20))])
    assert rows["first"] == 1
    later = len(rows) - 1
    assert sorted(rows) == sorted(["first", *(f"row-{i}" for i in range(later))])
    assert later == pytest.approx(20 * kept_part, abs=2)
    kept.add("texts", {"after": 2})
    kept.close()
    assert Store(file).find("texts", ["first", "after"]) == {"first": 1, "after": 2}


def test_case_23_a_killed_writer_loses_nothing_that_was_added(file: Path):
    code = """
import os, signal
from stages.runtime import store
kept = store.opened()
kept.add("texts", {"a": 1})
kept.connection.execute("begin immediate")
kept.connection.execute("delete from rows")
os.kill(os.getpid(), signal.SIGKILL)
"""
    python(code).communicate()
    kept = Store(file)
    assert kept.find("texts", ["a"]) == {"a": 1}
    kept.close()


# ---- what is no store --------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"no database, but text\n" * 400, b"\0" * 9000, b"x"])
def test_a_file_that_is_no_database_is_left_alone_in_one_line(
    file: Path, content: bytes, caplog: pytest.LogCaptureFixture
):
    file.write_bytes(content)
    kept = Store(file)
    kept.add("texts", {"a": 1})
    assert kept.find("texts", ["a", "b"]) == {"a": 1}
    kept.close()
    assert file.read_bytes() == content
    (warning,) = caplog.messages
    assert str(file) in warning
    assert "move the file away" in warning


def test_a_folder_in_place_of_the_file_is_one_line(file: Path, caplog: pytest.LogCaptureFixture):
    file.mkdir()
    kept = Store(file)
    assert kept.find("texts", KEYS) == {}
    kept.close()
    assert len(caplog.messages) == 1


def foreign(file: Path, *statements: str) -> bytes:
    with sqlite3.connect(file) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
    return file.read_bytes()


@pytest.mark.parametrize(
    "statements",
    [
        ["create table bookmarks (url text)"],
        ["create table rows (a int)", "pragma application_id = 252006674"],
        [*store_file.TABLES, f"pragma application_id = {store_file.APPLICATION}"],
        [
            *store_file.TABLES,
            f"pragma application_id = {store_file.APPLICATION}",
            f"pragma user_version = {store_file.VERSION + 1}",
        ],
    ],
    ids=["another's", "another's with a mark", "no version", "newer version"],
)
def test_another_programs_or_versions_database_is_refused_and_not_touched(
    file: Path, statements: list[str]
):
    before = foreign(file, *statements)
    with pytest.raises(InputError, match=r"another program or version.*PEERWISE_STORE"):
        Store(file)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [FILE]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PEERWISE_STORE", str(tmp_path / "file/store"))
    with pytest.raises(InputError, match=r"^PEERWISE_STORE: .*file/store: Not a directory"):
        store.folder()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_one_line(filled: Path, caplog: pytest.LogCaptureFixture):
    filled.parent.chmod(0o500)
    filled.chmod(0o400)
    kept = Store(filled)
    kept.add("texts", {"a": 1})
    kept.close()
    filled.parent.chmod(0o700)
    assert len(caplog.messages) == 1


# ---- the command -------------------------------------------------------------------------------


@pytest.fixture
def checkpoints(file: Path) -> Iterator[Path]:
    """Two unfinished trainings: one 40 days old, one of now and in use by another process."""
    folder = file.parent / store_care.CHECKPOINTS
    for name in ("old", "used"):
        (folder / name / "checkpoint-5").mkdir(parents=True)
        (folder / name / "checkpoint-5/state.safetensors").write_bytes(b"x" * 2**20)
        (folder / name / "lock").write_text("")
        for path in [folder / name, *(folder / name).rglob("*")]:
            os.utime(path, (time.time() - 40 * 86400,) * 2)
    code = (
        "import fcntl, sys; lock = open(sys.argv[1]); fcntl.flock(lock, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code, str(folder / "used/lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "held\n"
    yield folder
    owner.communicate("")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, answer: str = "") -> int:
    """`python -m stages.store` with arguments; its exit code."""
    import io

    monkeypatch.setattr("sys.argv", ["store", *arguments])
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    with pytest.raises(SystemExit) as ended:
        start(command.main)
    return int(ended.value.code or 0)


def test_the_command_shows_rows_hit_rates_and_checkpoints(
    filled: Path,
    checkpoints: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    kept = Store(filled)
    kept.find("texts", [*KEYS[:3], "missing"])
    kept.add("scores", {"s": 1})
    kept.close()
    before = filled.read_bytes()
    assert run(monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{filled}: 0.")
    assert lines[1].split() == ["kind", "rows", "MiB", "found", "missed", "hit", "rate"]
    assert lines[2].split()[:2] == ["scores", "1"]
    assert lines[2].split()[-1] == "-"
    assert lines[3].split() == ["texts", "300", "0.0", "3", "1", "75.0%"]
    assert lines[4] == "checkpoints of unfinished trainings: 2"
    assert sorted(lines[5:]) == [
        "  old: 1.0 MiB, 40.0 days old",
        "  used: 1.0 MiB, 40.0 days old, in use",
    ]
    assert filled.read_bytes() == before


def test_the_command_creates_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("PEERWISE_STORE", str(tmp_path / "none"))
    for arguments in ([], ["--prune-days", "1"], ["--clear", "--yes"]):
        assert run(monkeypatch, *arguments) == 0
    assert "no rows yet" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_pruning_removes_what_was_not_used_and_keeps_the_rest(
    filled: Path,
    checkpoints: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    age(filled, 40)
    kept = Store(filled)
    kept.find("texts", KEYS[:10])  # used now
    kept.close()
    age(filled, 30.5, KEYS[10:20])  # may have been used within the day after
    size = filled.stat().st_size
    assert run(monkeypatch, "--prune-days", "30") == 0
    assert capsys.readouterr().out == "removed: 280 row(s), checkpoints of 1 training(s)\n"
    assert sorted(found(filled)) == sorted(KEYS[:20])
    assert filled.stat().st_size < size
    assert [path.name for path in checkpoints.iterdir()] == ["used"]


@pytest.mark.parametrize("answer", ["", "n\n", "\n"])
def test_clearing_asks_first(filled: Path, monkeypatch: pytest.MonkeyPatch, answer: str):
    run(monkeypatch, "--clear", answer=answer)
    assert found(filled) == ROWS


@pytest.mark.parametrize(("arguments", "answer"), [(["--yes"], ""), ([], "y\n")])
def test_clearing_removes_everything_that_is_not_in_use(
    filled: Path,
    checkpoints: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    answer: str,
):
    assert run(monkeypatch, "--clear", *arguments, answer=answer) == 0
    assert found(filled) == {}
    assert [path.name for path in checkpoints.iterdir()] == ["used"]


def test_a_damaged_store_is_one_line_and_clearing_begins_a_new_one(
    filled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    filled.write_bytes(b"no database" * 1000)
    assert run(monkeypatch) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be read as a store of rows" in line
    assert run(monkeypatch, "--clear", "--yes") == 0
    assert found(filled) == {}


def test_another_programs_database_is_not_cleared(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    before = foreign(file, "create table bookmarks (url text)")
    for arguments in ([], ["--clear", "--yes"], ["--prune-days", "1"]):
        assert run(monkeypatch, *arguments) == 2
        assert "another program" in capsys.readouterr().err
    assert file.read_bytes() == before


def test_two_orders_at_once_and_a_senseless_number_are_refused(monkeypatch: pytest.MonkeyPatch):
    assert run(monkeypatch, "--clear", "--prune-days", "3") == 2
    assert run(monkeypatch, "--prune-days", "0") == 2
