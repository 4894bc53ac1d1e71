"""Every call that was paid, or may have been: a cap that holds over crashes and processes.

A call reserves its worst case before it is sent and settles what it cost after. What was
reserved and never settled (a killed process, a time-out after the work was done) counts in full:
it may have been billed. The ledger is one SQLite file beside the row store and is never emptied
by us; reserving is one transaction, so that processes at work together share the cap.
"""

import fcntl
import json
import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from schemas.errors import InputError
from stages.runtime import store
from stages.runtime.asking.calls import Reply
from stages.runtime.asking.prices import Model
from stages.runtime.disk import Writing
from stages.runtime.store_file import DAMAGE, WAIT_SECONDS, transaction

FILE = "ledger.sqlite"
VERSION = 1  # SQLite's user_version
OPEN, PAID, FREE, LOST = "open", "paid", "free", "lost"  # states of a call
CALLS = (
    "CREATE TABLE calls (id integer primary key, purpose text not null, "
    "row text not null, provider text not null, model text not null, state text not null, "
    "nano_usd integer not null, input_tokens integer, output_tokens integer, seconds real)"
)
BATCHES = (
    "CREATE TABLE batches (id text not null, purpose text not null, "
    "provider text not null, model text not null, base_url text, calls text not null, "
    "is_done integer not null)"  # an id may come again: a server of one's own counts from 1
)
TYPES = {name: "str" for name in ("purpose", "row", "provider", "model")}  # of `table`
TYPES |= {name: "int64" for name in ("calls_n", "retries_n", "lost_n")}
TYPES |= {
    "input_tokens": "int64",
    "output_tokens": "int64",
    "seconds": "float",
    "cost_usd": "float",
}
TABLES = [CALLS, BATCHES]  # as SQLite keeps them: its words in capitals


@dataclass(frozen=True)
class Batch:
    """A batch that was handed in and not read yet."""

    id: str
    calls: dict[str, int]  # row -> its call in the ledger


class Ledger:
    """The calls of one purpose (a stage), under its cap. Not for use from several threads.

    cap: billionths of a dollar, over all runs that share the store, ever.
    """

    def __init__(self, connection: sqlite3.Connection, purpose: str, cap: int):
        self.connection, self.purpose, self.cap = connection, purpose, cap

    def spent(self) -> int:
        """Billionths of a dollar that are paid, under way or lost."""
        (total,) = self.connection.execute(
            "select coalesce(sum(nano_usd), 0) from calls where purpose = ?", (self.purpose,)
        ).fetchone()
        return int(total)

    def reserve(self, provider: str, model: str, worst: Mapping[str, int]) -> dict[str, int]:
        """Note calls that are about to be sent: row -> id of its call.

        worst: the most that each row may cost, in the order in which they are taken. Those that
        could pass the cap are left out, with all that come after.
        """
        insert = (
            "insert into calls (purpose, row, provider, model, state, nano_usd) "
            "values (?, ?, ?, ?, ?, ?)"
        )
        calls: dict[str, int] = {}
        with transaction(self.connection):
            total = self.spent()
            for row, cost in worst.items():
                total += cost
                if total > self.cap:
                    break
                values = (self.purpose, row, provider, model, OPEN, cost)
                calls[row] = int(self.connection.execute(insert, values).lastrowid or 0)
        return calls

    def settle(self, call: int, reply: Reply, cost: int, seconds: float) -> None:
        """An answer came: it cost this much."""
        self.connection.execute(
            "update calls set state = ?, nano_usd = ?, input_tokens = ?, output_tokens = ?, "
            "seconds = ? where id = ?",
            (PAID, cost, reply.input_tokens, reply.output_tokens, seconds, call),
        )

    def release(self, call: int, seconds: float) -> None:
        """The call was refused before any work: nothing is owed."""
        self.connection.execute(
            "update calls set state = ?, nano_usd = 0, seconds = ? where id = ?",
            (FREE, seconds, call),
        )

    def lose(self, call: int, seconds: float) -> None:
        """No answer came, and it may have been billed: the worst case stays."""
        self.connection.execute(
            "update calls set state = ?, seconds = ? where id = ?", (LOST, seconds, call)
        )

    def add_batch(self, of: Model, batch: Batch) -> None:
        """Note a batch that was handed in."""
        values = (batch.id, self.purpose, of.provider, of.name, of.base_url)
        self.connection.execute(
            "insert into batches values (?, ?, ?, ?, ?, ?, 0)", (*values, json.dumps(batch.calls))
        )

    def end_batch(self, of: Model, batch: Batch) -> None:
        """Note that every answer of a batch was read and kept."""
        self.connection.execute(
            "update batches set is_done = 1 where id = ? and purpose = ? and provider = ? "
            "and model = ? and base_url is ?",
            (batch.id, self.purpose, of.provider, of.name, of.base_url),
        )

    def open_batches(self, of: Model) -> list[Batch]:
        """The batches of this purpose and model that are under way, the oldest first."""
        found = self.connection.execute(
            "select id, calls from batches where not is_done and purpose = ? and provider = ? "
            "and model = ? and base_url is ? order by rowid",
            (self.purpose, of.provider, of.name, of.base_url),
        )
        return [Batch(name, json.loads(calls)) for name, calls in found]


@contextmanager
def opened(purpose: str, cap: int) -> Iterator[Ledger]:
    """The ledger of the store. Raises InputError for a file that is none.

    One process at a time asks for a purpose: two experiments would pay for the same rows.
    """
    path = store.folder() / FILE
    with (path.parent / f"{purpose}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logging.warning(f"{purpose}: waiting for another run that pays from {path}.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        with Writing(path), closing(connect(path)) as connection:
            yield Ledger(connection, purpose, cap)


def connect(path: Path) -> sqlite3.Connection:
    """Open or begin a ledger. A damaged one is refused: a new one would forget what was paid."""
    # one process at a time: SQLite lets no two of them turn a new file to WAL
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        connection = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)
        try:
            if not is_ledger(connection):
                connection.execute("pragma journal_mode = wal")
                with transaction(connection):
                    for statement in TABLES:
                        connection.execute(statement)
                    connection.execute(f"pragma user_version = {VERSION}")
            # full: what was reserved must be known after a power cut, too
            connection.execute("pragma synchronous = full")
        except DAMAGE as error:
            connection.close()
            raise InputError(
                f"{path}: cannot be read as a ledger ({error}): what was spent is not known. Look "
                "at your bills, then move it away to begin at 0."
            ) from error
    return connection


def is_ledger(connection: sqlite3.Connection) -> bool:
    """True for a whole ledger, False for an empty file. Raises sqlite3.Error for anything else.

    Nothing is written.
    """
    (version,) = connection.execute("pragma user_version").fetchone()
    tables = [sql for (sql,) in connection.execute("select sql from sqlite_master order by rowid")]
    if not tables:
        return False
    if (version, tables) != (VERSION, TABLES):
        raise sqlite3.DatabaseError(f"version {version}, not {VERSION}, or other tables")
    (found,) = connection.execute("pragma quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(" ".join(found.split()))
    return True


def table() -> pd.DataFrame:
    """One row per request of the store's ledger: what it cost in all of its calls.

    Columns: purpose, row, provider, model, calls_n, retries_n, lost_n, input_tokens,
    output_tokens, seconds (waiting for the server, all calls), cost_usd.
    """
    path = store.place() / FILE
    columns = (
        "purpose, row, provider, model, count(*) as calls_n, count(*) - 1 as retries_n, "
        f"sum(state in ('{OPEN}', '{LOST}')) as lost_n, "
        "coalesce(sum(input_tokens), 0) as input_tokens, "
        "coalesce(sum(output_tokens), 0) as output_tokens, "
        "coalesce(sum(seconds), 0.0) as seconds, sum(nano_usd) / 1e9 as cost_usd"
    )
    question = f"select {columns} from calls group by 1, 2, 3, 4 order by 1, 2, 3, 4"
    if path.exists():
        with closing(connect(path)) as connection:
            return pd.read_sql_query(question, connection, dtype=TYPES)
    with closing(sqlite3.connect(":memory:")) as empty:
        empty.execute(CALLS)
        return pd.read_sql_query(question, empty, dtype=TYPES)
