"""Rows that were computed once: a content-addressed store beside the pipeline.

DVC decides which stage runs; the store decides which rows are computed. It is one SQLite file
outside the workspace, so that `dvc repro`, `dvc exp run --temp` and `--queue` share it: in
PEERWISE_STORE, else in the user's cache folder. A key is a digest of everything that can change
the row, and a row carries a digest of its value: one that does not fit is computed again. So a
damaged file can lose rows, never change one. It is not searched for damage when it is opened (a
large one takes seconds): where SQLite meets damage, the run goes on without the file, and says
so. Nothing is deleted but by `python -m stages.store`.
"""

import hashlib
import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from schemas.errors import InputError
from stages.runtime import store_file
from stages.runtime.disk import Writing
from stages.runtime.store_file import DAMAGE, transaction

FILE = "rows.sqlite"
CHUNK = 500  # keys of one SELECT
FRESH_SECONDS = 86400  # a row used that recently is not noted again: reading should not write

is_forgetful = False  # see forgetful
_opened: dict[tuple[int, Path], "Store"] = {}


def place() -> Path:
    """Where rows and the checkpoints of trainings are kept, whether it is there or not."""
    import platformdirs

    named = os.environ.get("PEERWISE_STORE")
    found = Path(named) if named else platformdirs.user_cache_path("peerwise-explanations")
    return found.absolute()


def folder() -> Path:
    """`place()`, created if it is not there. Raises InputError if that is not possible."""
    found = place()
    try:
        with Writing(found):
            found.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"PEERWISE_STORE: {found}: {error.strerror}. Name a folder that can be written."
        ) from error
    return found


def opened() -> "Store":
    """The store of this process, open; a process that was forked opens its own."""
    if is_forgetful:
        return Forgetful()
    path = folder() / FILE
    known = _opened.get((os.getpid(), path))
    if known is None:
        # that of a parent stays in the dict: closing it here would drop the parent's file locks
        known = _opened[os.getpid(), path] = Store(path)
    return known


def digest_of(**parts: Any) -> str:
    """sha256 of named values as canonical JSON: the order of names does not matter."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def check_digest(key: str, value: bytes) -> str:
    """What a row's `digest` must be: it also ties the value to its key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass") + b"\0" + value).hexdigest()


class Store:
    """Rows by key. One transaction per call of `add`: a kill loses at most that batch."""

    def __init__(self, path: Path):
        self.path = path
        self.connection = self._open()

    def find(self, kind: str, keys: Iterable[str]) -> dict[str, Any]:
        """The values of those `keys` that are there; counted for the hit rate of `kind`."""
        wanted = sorted(set(keys))
        found: dict[str, Any] = {}
        with self._or_without():
            damaged, stale = self._look_up(wanted, found)
            self._count(kind, len(found), len(wanted) - len(found), stale)
            if damaged:
                logging.warning(
                    f"{self.path}: {damaged} damaged row(s) of kind '{kind}', computed again."
                )
        return found

    def add(self, kind: str, rows: Mapping[str, Any]) -> None:
        """Keep values (JSON) by key, all or none; a value that is there already is replaced."""
        now = int(time.time())
        written = []
        for key, value in rows.items():
            text = json.dumps(value, ensure_ascii=False, allow_nan=False)
            data = text.encode("utf-8", "surrogatepass")
            written.append((key, kind, data, check_digest(key, data), now))
        with self._or_without(), transaction(self.connection):
            insert = "insert or replace into rows values (?, ?, ?, ?, ?)"
            self.connection.executemany(insert, written)

    def is_kept(self) -> bool:
        """Whether rows go to a file; not where it is damaged, or when nothing is to be kept."""
        return bool(self.connection.execute("pragma database_list").fetchone()[2])

    def close(self) -> None:
        """Give the file back."""
        self.connection.close()
        _opened.pop((os.getpid(), self.path), None)

    def _look_up(self, wanted: list[str], found: dict[str, Any]) -> tuple[int, list[str]]:
        """Fill `found`; the number of damaged rows, and the keys not noted as used of late."""
        damaged, stale, asked = 0, [], set(wanted)
        since = int(time.time()) - FRESH_SECONDS
        for start in range(0, len(wanted), CHUNK):
            part = wanted[start : start + CHUNK]
            marks = ", ".join("?" * len(part))
            question = f"select key, value, digest, used < ? from rows where key in ({marks})"
            for name, value, digest, is_stale in self.connection.execute(question, [since, *part]):
                key, data = bytes_of(name).decode(errors="replace"), bytes_of(value)
                if key not in asked or digest != check_digest(key, data).encode():
                    damaged += 1
                    continue
                found[key] = json.loads(data.decode("utf-8", "surrogatepass"))
                stale += [key] if is_stale else []
        return damaged, stale

    def _count(self, kind: str, found: int, missed: int, stale: list[str]) -> None:
        """Note hits and misses, and when rows were last of use."""
        now = int(time.time())
        with transaction(self.connection):
            self.connection.execute(
                "insert into asked values (?, ?, ?) on conflict (kind) do update set "
                "found = found + excluded.found, missed = missed + excluded.missed",
                (kind, found, missed),
            )
            update = "update rows set used = ? where key = ?"
            self.connection.executemany(update, [(now, key) for key in stale])

    def _open(self) -> sqlite3.Connection:
        """The file; or, with a warning, rows in memory if it cannot be used."""
        try:
            with Writing(self.path):
                return store_file.connect(self.path)
        except DAMAGE as error:
            return self._without(error)

    @contextmanager
    def _or_without(self) -> Iterator[None]:
        """Let no damage of the file end a run: what it hits in the block is computed again."""
        try:
            with Writing(self.path):
                yield
        except sqlite3.ProgrammingError:
            raise  # ours: a closed store, another thread
        except DAMAGE as error:
            self.connection.close()
            self.connection = self._without(error)

    def _without(self, error: Exception) -> sqlite3.Connection:
        """Rows of this run alone, in memory, and one line that says so."""
        logging.warning(
            f"{self.path}: cannot be used as a store of rows ({error}). Rows are computed and not "
            "kept; move the file away to begin a new one."
        )
        return store_file.connect(None)


def bytes_of(value: object) -> bytes:
    """A cell as bytes: damage may have given it another type, which no digest then fits."""
    return value if isinstance(value, bytes) else b""


class Forgetful(Store):
    """A store that keeps nothing and finds nothing."""

    def __init__(self) -> None:
        """Without a file."""

    def find(self, kind: str, keys: Iterable[str]) -> dict[str, Any]:
        """Nothing."""
        return {}

    def add(self, kind: str, rows: Mapping[str, Any]) -> None:
        """Forget them."""

    def is_kept(self) -> bool:
        """No."""
        return False


@contextmanager
def forgetful() -> Iterator[None]:
    """For the length of the block every row is computed, and none kept: to measure time."""
    global is_forgetful
    is_forgetful = True
    try:
        yield
    finally:
        is_forgetful = False


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
