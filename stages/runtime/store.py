"""Rows that were computed once: a content-addressed store beside the pipeline.

DVC decides which stage runs; the store decides which rows are computed. It is one SQLite file
outside the workspace, so that `dvc repro`, `dvc exp run --temp` and `--queue` share it: in
PEERWISE_STORE, else in the user's cache folder. A key is a digest of everything that can change
the row, and a row carries a digest of its value: one that does not fit is computed again.
Nothing is deleted but by `python -m stages.store`.
"""

import contextlib
import functools
import hashlib
import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from schemas.errors import InputError

FILE = "rows.sqlite"
APPLICATION = 0x50574558  # SQLite's application_id: "PWEX"
VERSION = 1  # SQLite's user_version: of the tables below
WAIT_SECONDS = 60.0  # for another process that is writing
CHUNK = 500  # keys of one SELECT
is_forgetful = False  # see forgetful
TABLES = """
create table rows (
    key text primary key, kind text not null, value text not null, digest text not null,
    used integer not null
) without rowid;
create table asked (kind text primary key, found integer not null, missed integer not null);
"""


def folder() -> Path:
    """Where rows and the checkpoints of trainings are kept; created if it is not there."""
    import platformdirs

    named = os.environ.get("PEERWISE_STORE")
    found = Path(named) if named else platformdirs.user_cache_path("peerwise-explanations")
    try:
        found.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"PEERWISE_STORE: {found}: {error.strerror}. Name a folder that can be written."
        ) from error
    return found


def digest_of(**parts: Any) -> str:
    """sha256 of named values as canonical JSON: the order of names does not matter."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def check_digest(key: str, value: str) -> str:
    """What a row's `digest` must be: it also ties the value to its key."""
    return hashlib.sha256(f"{key}\0{value}".encode("utf-8", "surrogatepass")).hexdigest()


class Store:
    """Rows by key. One transaction per call of `add`: a kill loses at most that batch."""

    def __init__(self, path: Path):
        self.path, self.connection = path, connect(path)

    def find(self, kind: str, keys: Iterable[str]) -> dict[str, Any]:
        """The values of those `keys` that are there; counted for the hit rate of `kind`."""
        wanted = sorted(set(keys))
        found: dict[str, Any] = {}
        damaged = []
        for start in range(0, len(wanted), CHUNK):
            part = wanted[start : start + CHUNK]
            marks = ", ".join("?" * len(part))
            question = f"select key, value, digest from rows where key in ({marks})"
            for key, value, digest in self.connection.execute(question, part):
                if digest == check_digest(key, value):
                    found[key] = json.loads(value)
                else:
                    damaged.append(key)
        if damaged:
            logging.warning(
                f"{self.path}: {len(damaged)} damaged row(s) of kind '{kind}', computed again."
            )
        self.count(kind, found, len(wanted) - len(found))
        return found

    def add(self, kind: str, rows: Mapping[str, Any]) -> None:
        """Keep values (JSON) by key, all or none; a value that is there already is replaced."""
        now = int(time.time())
        written = []
        for key, value in rows.items():
            text = json.dumps(value, ensure_ascii=False, allow_nan=False)
            written.append((key, kind, text, check_digest(key, text), now))
        with transaction(self.connection):
            self.connection.executemany(
                "insert or replace into rows values (?, ?, ?, ?, ?)", written
            )

    def count(self, kind: str, found: Iterable[str], missed: int) -> None:
        """Note hits and misses, and when the rows that were found were last of use."""
        names = sorted(found)
        now = int(time.time())
        with transaction(self.connection):
            self.connection.execute(
                "insert into asked values (?, ?, ?) on conflict (kind) do update set "
                "found = found + excluded.found, missed = missed + excluded.missed",
                (kind, len(names), missed),
            )
            self.connection.executemany(
                "update rows set used = ? where key = ?", [(now, name) for name in names]
            )

    def close(self) -> None:
        """Close the file; what was added is in it."""
        self.connection.close()


def opened() -> Store:
    """The store of this process, opened once; a fork opens it anew."""
    if is_forgetful:
        return Forgetful()
    return of_process(folder() / FILE, os.getpid())


class Forgetful(Store):
    """A store that keeps nothing and finds nothing."""

    def __init__(self) -> None:
        """Without a file."""

    def find(self, kind: str, keys: Iterable[str]) -> dict[str, Any]:
        """Nothing."""
        return {}

    def add(self, kind: str, rows: Mapping[str, Any]) -> None:
        """Forget them."""


@contextlib.contextmanager
def forgetful() -> Iterator[None]:
    """For the length of the block every row is computed, and none kept: to measure time."""
    global is_forgetful
    is_forgetful = True
    try:
        yield
    finally:
        is_forgetful = False


@functools.cache
def of_process(path: Path, process: int) -> Store:
    """See opened."""
    return Store(path)


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All statements of the block or none."""
    connection.execute("begin immediate")
    try:
        yield
    except BaseException:  # also Ctrl-C: what was begun is taken back
        connection.execute("rollback")
        raise
    connection.execute("commit")


def connect(path: Path) -> sqlite3.Connection:
    """An open connection to the store, made if it is not there.

    Raises InputError for a file that is no store of this version. A damaged one is left as it
    is, and rows are kept in memory for this run only, with a warning.
    """
    try:
        connection = prepare(path)
    except sqlite3.DatabaseError as error:
        logging.warning(
            f"{path}: cannot be used as a store of rows ({error}). Everything is computed and "
            "nothing kept; move the file away to begin a new one."
        )
        return prepare(":memory:")
    return connection


def prepare(path: Path | str) -> sqlite3.Connection:
    """Open, check that the file is ours, create the tables in an empty one."""
    connection = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)
    try:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = normal")
        with transaction(connection):
            (application,) = connection.execute("pragma application_id").fetchone()
            (version,) = connection.execute("pragma user_version").fetchone()
            (tables,) = connection.execute("select count(*) from sqlite_master").fetchone()
            if not tables and not application:
                create(connection)
            elif (application, version) != (APPLICATION, VERSION):
                raise InputError(
                    f"{path}: a database of another kind or version ({application:#x}, {version}). "
                    "Name another folder in PEERWISE_STORE, or move the file away."
                )
        (told,) = connection.execute("pragma quick_check(1)").fetchone()
        if told != "ok":
            raise sqlite3.DatabaseError(" ".join(told.split()))
    except BaseException:
        connection.close()
        raise
    return connection


def create(connection: sqlite3.Connection) -> None:
    """The tables of an empty file, and the marks by which it is known."""
    for statement in TABLES.split(";"):
        if statement.strip():
            connection.execute(statement)
    connection.execute(f"pragma application_id = {APPLICATION}")
    connection.execute(f"pragma user_version = {VERSION}")


def remembered(
    kind: str,
    same: str,
    items: Sequence[Any],
    compute: Callable[[list[Any]], Sequence[Any]],
    batch: int,
) -> list[Any]:
    """The value of each item (JSON): from the store, or computed now and kept batch by batch.

    same: a digest of all but the item that can change its value. Each distinct item is computed
    once, in sorted order; a value must not depend on the items beside it. Raises ValueError if
    `compute` returns another number of values than it was asked for.
    """
    rows = opened()
    keys = [digest_of(same=same, item=item) for item in items]
    known = rows.find(kind, keys)
    new = {key: item for key, item in zip(keys, items, strict=True) if key not in known}
    order = sorted(new, key=lambda key: json.dumps(new[key]))
    for start in range(0, len(order), batch):
        part = order[start : start + batch]
        fresh = dict(zip(part, compute([new[key] for key in part]), strict=True))
        rows.add(kind, fresh)
        known |= fresh
    return [known[key] for key in keys]
