"""The SQLite file of the row store: its tables, its marks, how it is opened."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from schemas.errors import InputError

APPLICATION = 0x50574558  # SQLite's application_id: "PWEX"
VERSION = 1  # SQLite's user_version: of the tables below
HEADER = b"SQLite format 3\0"
WAIT_SECONDS = 60.0  # for another process that is writing
# What SQLite raises for a damaged file; its message may quote bytes that are no UTF-8.
DAMAGE = (sqlite3.DatabaseError, UnicodeDecodeError)
TABLES = (
    "create table rows (key text primary key, kind text not null, value blob not null, "
    "digest text not null, used integer not null) without rowid",
    "create table asked (kind text primary key, found integer not null, missed integer not null)",
)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All statements of the block or none; another process that writes is waited for."""
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    finally:
        if connection.in_transaction:  # an error, or Ctrl-C: what was begun is taken back
            connection.execute("rollback")


def connect(path: Path | None) -> sqlite3.Connection:
    """An open connection to the store, made if it is not there; None keeps it in memory.

    Raises InputError for the database of another program or version, which stays as it is, and
    sqlite3.Error for what is no database or cannot be opened.
    """
    if path is not None and path.is_file() and head(path) not in (b"", HEADER):
        raise sqlite3.DatabaseError("file is not a database")  # SQLite overwrites a short one
    connection = sqlite3.connect(path or ":memory:", timeout=WAIT_SECONDS, isolation_level=None)
    with ExitStack() as undo:
        undo.callback(connection.close)
        connection.text_factory = bytes  # damaged text is for the digest to find, not to decode
        if not is_ours(connection, path):
            connection.execute("pragma journal_mode = wal")
            with transaction(connection):
                if not is_ours(connection, path):  # another process may have been first
                    create(connection)
        connection.execute("pragma synchronous = normal")
        connection.execute("pragma cell_size_check = on")
        undo.pop_all()
    return connection


def head(path: Path) -> bytes:
    """The first bytes of a file, as many as SQLite's begin with alike."""
    with path.open("rb") as handle:
        return handle.read(len(HEADER))


def is_ours(connection: sqlite3.Connection, path: Path | None) -> bool:
    """True for a store, False for an empty file. Raises InputError for anything else."""
    (application,) = connection.execute("pragma application_id").fetchone()
    (version,) = connection.execute("pragma user_version").fetchone()
    (tables,) = connection.execute("select count(*) from sqlite_master").fetchone()
    if not tables and not application:
        return False
    if (application, version) != (APPLICATION, VERSION):
        raise InputError(
            f"{path}: a database of another program or version (application_id {application:#x}, "
            f"user_version {version}; ours are {APPLICATION:#x}, {VERSION}). Name another folder "
            "in PEERWISE_STORE, or move the file away."
        )
    return True


def create(connection: sqlite3.Connection) -> None:
    """The tables of an empty file, and the marks by which it is known."""
    for statement in TABLES:
        connection.execute(statement)
    connection.execute(f"pragma application_id = {APPLICATION}")
    connection.execute(f"pragma user_version = {VERSION}")
