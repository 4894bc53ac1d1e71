"""What is in the store of rows and checkpoints, and how some or all of it is removed."""

import fcntl
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import InputError
from stages.runtime import store_file
from stages.runtime.store import FRESH_SECONDS
from stages.runtime.store_file import DAMAGE, transaction

DAY = 86400
CHECKPOINTS = "checkpoints"  # of unfinished trainings: a folder each, with a lock while in use


@dataclass(frozen=True)
class Kind:
    """What the store holds of one kind of row, and how often it was asked for it."""

    name: str
    rows_n: int
    value_bytes: int
    found_n: int
    missed_n: int


@dataclass(frozen=True)
class Training:
    """The checkpoints of one unfinished training."""

    folder: Path
    size_bytes: int
    age_days: float  # of the newest file
    is_in_use: bool


def size_of(file: Path) -> int:
    """Bytes of a store with what SQLite keeps beside it."""
    beside = [file, *(file.with_name(file.name + end) for end in ("-wal", "-shm"))]
    return sum(path.stat().st_size for path in beside if path.exists())


@contextmanager
def reading(file: Path) -> Iterator[sqlite3.Connection]:
    """The store, open. Raises InputError for one that cannot be read or is another program's."""
    try:
        with closing(store_file.connect(file)) as connection:
            yield connection
    except DAMAGE as error:
        raise InputError(
            f"{file}: cannot be read as a store of rows ({error}). Begin a new one: "
            "`python -m stages.store --clear`."
        ) from error


def kinds(connection: sqlite3.Connection) -> list[Kind]:
    """Every kind of row that is kept, or was ever asked for, by name."""
    held = {
        str(name, "utf-8", "replace"): (count, size)
        for name, count, size in connection.execute(
            "select kind, count(*), sum(length(value)) from rows group by kind"
        )
    }
    asked = {
        str(name, "utf-8", "replace"): (found, missed)
        for name, found, missed in connection.execute("select kind, found, missed from asked")
    }
    names = sorted({*held, *asked})
    return [Kind(name, *held.get(name, (0, 0)), *asked.get(name, (0, 0))) for name in names]


def prune(connection: sqlite3.Connection, days: int) -> int:
    """Remove rows that were not used for `days`; their number. Use is noted once a day."""
    with transaction(connection):
        before = int(time.time()) - days * DAY - FRESH_SECONDS
        removed = connection.execute("delete from rows where used < ?", (before,)).rowcount
    connection.execute("vacuum")
    return int(removed)


def clear(file: Path) -> None:
    """Remove all rows. A damaged store is deleted; raises InputError for another program's."""
    try:
        with closing(store_file.connect(file)) as connection:
            with transaction(connection):
                connection.execute("delete from rows")
                connection.execute("delete from asked")
            connection.execute("vacuum")
    except DAMAGE as error:
        if not file.is_file():
            raise InputError(f"{file}: is no file ({error}). Move it away.") from error
        for end in ("", "-wal", "-shm"):
            file.with_name(file.name + end).unlink(missing_ok=True)


def trainings(store: Path) -> list[Training]:
    """The checkpoints of unfinished trainings, the newest first."""
    folders = [path for path in (store / CHECKPOINTS).glob("*") if path.is_dir()]
    return sorted(map(training, folders), key=lambda found: found.age_days)


def training(folder: Path) -> Training:
    """Size, age and use of one folder of checkpoints."""
    status = [path.stat() for path in [folder, *folder.rglob("*")] if path.exists()]
    newest = max((entry.st_mtime for entry in status), default=time.time())
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Training(folder, size, (time.time() - newest) / DAY, is_locked(folder / "lock"))


def is_locked(lock: Path) -> bool:
    """Whether a running training holds the lock."""
    if not lock.exists():
        return False
    with lock.open("r") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def remove_trainings(store: Path, older_than_days: float) -> int:
    """Remove the checkpoints that are as old and not in use; their number."""
    old = [t for t in trainings(store) if t.age_days >= older_than_days and not t.is_in_use]
    for found in old:
        shutil.rmtree(found.folder)
    return len(old)
