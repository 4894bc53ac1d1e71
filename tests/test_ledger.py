"""What was paid, or may have been, is known after every kill, and the cap holds over all runs."""

import os
import pickle
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InputError
from stages.runtime import store, store_file
from stages.runtime.asking import asker, ledger
from stages.runtime.asking.asker import Limits
from stages.runtime.asking.batches import Patience
from stages.runtime.asking.calls import Ask, Reply
from stages.runtime.asking.ledger import FILE, Batch, Ledger
from stages.runtime.asking.prices import Model, Price, nano
from tests.imports import ROOT
from tests.vendors import Vendors, vendors

VENDORS = ["openai", "anthropic"]
each_vendor = pytest.mark.parametrize("name", VENDORS)
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")
# An answer of the tests' server has more than nine tokens, and is cut off there: each call costs
# its worst case, and a cap of n calls is one of n bills.
MAX_TOKENS = 9
PRICE = Price(input=0, output=1_000)
COST = 9_000
LIMITS = Limits(concurrency=8, requests_per_minute=None, max_wait_seconds=120.0)
KILLS = 20
REPLY = Reply("text", "stop", 30, 7)


@pytest.fixture(autouse=True)
def _vendors(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in KEYS:
        monkeypatch.setenv(key, "a-key")


@pytest.fixture
def book() -> Iterator[Ledger]:
    with ledger.opened("stage", nano(1)) as found:
        yield found


def model_of(name: str, url: str | None = None) -> Model:
    return Model(name, "some-model", url, PRICE)


def asks_of(model: Model, n: int) -> list[Ask]:
    fixed: dict[str, Any] = {"system": "", "schema": None, "temperature": None}
    fixed["max_tokens"] = MAX_TOKENS
    return [asker.named(model, 0, user=f"Why {i}?", **fixed) for i in range(n)]


# ---- one ledger ----------------------------------------------------------------------------

COSTS = st.lists(st.integers(0, 50), max_size=8)
ENDS = st.sampled_from(["settle", "release", "lose", "leave"])


def in_memory(cap: int) -> Ledger:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for statement in ledger.TABLES:
        connection.execute(statement)
    return Ledger(connection, "stage", cap)


@given(cap=st.integers(0, 200), rounds=st.lists(st.tuples(COSTS, ENDS), max_size=6))
def test_what_is_reserved_is_in_order_and_within_the_cap(
    cap: int, rounds: list[tuple[list[int], str]]
):
    books, spent = in_memory(cap), 0
    with closing(books.connection):
        for costs, end in rounds:
            worst = {f"row {place}": cost for place, cost in enumerate(costs)}
            calls = books.reserve("openai", "m", worst)
            taken = costs[: len(calls)]
            assert list(calls) == list(worst)[: len(calls)]
            assert books.spent() == spent + sum(taken)
            if taken:
                assert spent + sum(taken) <= cap
            if len(calls) < len(costs):  # the next one could have passed it
                assert spent + sum(costs[: len(calls) + 1]) > cap
            for call, cost in zip(calls.values(), taken, strict=True):
                spent += end_of(books, call, cost, end)
            assert books.spent() == spent


def end_of(books: Ledger, call: int, cost: int, end: str) -> int:
    """End a call in a way; what it counts from then on: half of its worst case if answered."""
    if end == "settle":
        books.settle(call, REPLY, cost // 2, 0.1)
        return cost // 2
    if end == "release":
        books.release(call, 0.1)
        return 0
    if end == "lose":
        books.lose(call, 0.1)
    return cost


def test_what_one_run_left_open_counts_for_the_next_and_for_no_other_purpose():
    with ledger.opened("stage", 100) as first:
        first.settle(first.reserve("openai", "m", {"a": 60})["a"], REPLY, 25, 0.5)
        first.reserve("openai", "m", {"b": 40})
    with ledger.opened("stage", 100) as second:
        assert second.spent() == 25 + 40
        assert list(second.reserve("anthropic", "m", {"c": 35, "d": 1})) == ["c"]
    with ledger.opened("other", 100) as other:
        assert other.spent() == 0
        assert list(other.reserve("openai", "m", {"a": 100})) == ["a"]


def test_the_table_has_a_row_per_request_with_all_of_its_calls(book: Ledger):
    for how in ("lose", "release", "settle"):
        (call,) = book.reserve("openai", "m", {"a": nano(0.1)}).values()
        if how == "settle":
            book.settle(call, REPLY, nano(0.04), 2.0)
        else:
            getattr(book, how)(call, 0.5)
    book.reserve("openai", "m", {"b": nano(0.2)})  # under way, or killed
    (call,) = book.reserve("openai", "other", {"a": nano(0.3)}).values()
    book.settle(call, REPLY, nano(0.01), 1.0)
    found = ledger.table()
    assert list(found.columns) == [
        *("purpose", "row", "provider", "model", "calls_n", "retries_n", "lost_n"),
        *("input_tokens", "output_tokens", "seconds", "cost_usd"),
    ]
    rows = [[*row[:7], *map(float, row[7:])] for row in found.to_numpy().tolist()]
    assert rows == [
        ["stage", "a", "openai", "m", 3, 2, 1, 30, 7, 3.0, pytest.approx(0.14)],
        ["stage", "a", "openai", "other", 1, 0, 0, 30, 7, 1.0, pytest.approx(0.01)],
        ["stage", "b", "openai", "m", 1, 0, 1, 0, 0, 0.0, pytest.approx(0.2)],
    ]
    assert found.cost_usd.sum() == pytest.approx(book.spent() / 1e9)


def test_the_table_without_a_file_is_empty_and_begins_none():
    found = ledger.table()
    assert len(found) == 0
    assert {"row", "calls_n", "lost_n", "cost_usd"} <= set(found.columns)
    assert not (store.place() / FILE).exists()


def test_batches_are_those_of_a_purpose_a_model_and_an_address_the_oldest_first(book: Ledger):
    here, there = model_of("openai", "http://localhost:1/v1"), model_of("openai")
    for name in ("b2", "b1", "b3"):
        book.add_batch(here, Batch(name, {"row": 1}))
    book.add_batch(there, Batch("b1", {"row": 2}))
    other = Ledger(book.connection, "other", nano(1))
    other.add_batch(here, Batch("b1", {"row": 3}))
    book.end_batch(here, Batch("b1", {"row": 1}))
    assert book.open_batches(here) == [Batch("b2", {"row": 1}), Batch("b3", {"row": 1})]
    assert book.open_batches(there) == [Batch("b1", {"row": 2})]
    assert other.open_batches(here) == [Batch("b1", {"row": 3})]
    assert book.open_batches(model_of("anthropic")) == []


def test_an_id_may_come_again(book: Ledger):
    model = model_of("compatible", "http://localhost:1/v1")
    for call in (1, 2):  # the server began anew, and counts from 1
        book.add_batch(model, Batch("batch_1", {"row": call}))
        assert book.open_batches(model) == [Batch("batch_1", {"row": call})]
        book.end_batch(model, Batch("batch_1", {"row": call}))
    assert book.open_batches(model) == []


# ---- a file that is none -------------------------------------------------------------------


def filled() -> bytearray:
    """A ledger of 400 calls: ten pages of 4096 bytes, of which most hold calls."""
    path = store.folder() / FILE
    with ledger.opened("stage", nano(1)) as books:
        books.reserve("openai", "m", {f"row {i}".ljust(64): 5 for i in range(400)})
    content = bytearray(path.read_bytes())
    assert len(content) >= 10 * 4096
    return content


def of_another_program(version: int) -> bytes:
    """A database that has a table and a version, as ours has."""
    with closing(sqlite3.connect(":memory:")) as other:
        other.execute("create table calls (a)")
        other.execute(f"pragma user_version = {version}")
        return other.serialize()


def of_the_store() -> bytes:
    path = store.folder() / "another.sqlite"
    store_file.connect(path).close()
    return path.read_bytes()


def of_a_later_version() -> bytes:
    path = store.folder() / FILE
    filled()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"pragma user_version = {ledger.VERSION + 1}")
    return path.read_bytes()


def with_noise(start: int, length: int) -> bytes:
    content = filled()
    content[start : start + length] = random.Random(5).randbytes(length)
    return bytes(content)


NO_LEDGERS: dict[str, Callable[[], bytes]] = {
    "a text": lambda: b"no database\n" * 100,
    "a short text": lambda: b"none",
    "the store": of_the_store,
    "another program's": lambda: of_another_program(7),
    "another program's of that version": lambda: of_another_program(ledger.VERSION),
    "a later version's": of_a_later_version,
    "cut off in the first page": lambda: bytes(filled()[:2000]),
    "cut off": lambda: bytes(filled()[: 5 * 4096]),
    "a damaged header": lambda: with_noise(0, 64),
    "renamed tables": lambda: bytes(filled()).replace(b"calls", b"calks"),
    "damaged tables": lambda: bytes(filled()).replace(b"CREATE", b"CR\xffATE"),
    "a damaged page": lambda: with_noise(6 * 4096, 4096),
}


def opened_and_closed() -> None:
    with ledger.opened("stage", nano(1)):
        pass


@pytest.mark.parametrize("kind", NO_LEDGERS)
@pytest.mark.parametrize("look", [opened_and_closed, ledger.table])
def test_what_is_no_whole_ledger_is_refused_in_one_line_and_stays(
    kind: str, look: Callable[[], Any]
):
    content = NO_LEDGERS[kind]()
    path = store.folder() / FILE
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"cannot be read as a ledger .*move it away") as caught:
        look()
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).isprintable()
    assert path.read_bytes() == content


# ---- processes -----------------------------------------------------------------------------

# One process pays for the imports. Each line that it reads begins so many runs of a plan, each in
# a process of its own; it prints their ids, and what waitpid says of each when they have ended.
RUNS = """
import os, pickle, sys, traceback
from pathlib import Path
import anthropic, openai
from stages.runtime.asking import asker, batches, ledger, providers

def run(plan):
    asks, model, how, cap, kept = pickle.loads(plan.read_bytes())
    os.environ["PEERWISE_STORE"] = kept
    os.dup2(os.open(plan.with_suffix(".told"), os.O_CREAT | os.O_APPEND | os.O_WRONLY), 2)
    by = asker if isinstance(how, asker.Limits) else batches
    opened = providers.opened(model.provider, model.name, model.base_url, 20.0)
    with opened as provider, ledger.opened("stage", cap) as book:
        by.ask_all(asks, model, how, provider, book)

def begin(plan):
    if child := os.fork():
        return child
    try:
        run(plan)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)

for line in sys.stdin:
    n, plan = line.split()
    children = [begin(Path(plan)) for _ in range(int(n))]
    print(*children, flush=True)
    print(*[os.waitpid(child, 0)[1] for child in children], flush=True)
"""


class Runs:
    """Processes that ask."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path):
        self.process, self.folder = process, folder
        self.plan = folder / "plan"

    def prepare(self, asks: Sequence[Ask], model: Model, how: Limits | Patience, cap: int) -> None:
        """What those that begin from now on ask for, from the store of this test."""
        self.plan = self.folder / f"{len(list(self.folder.iterdir()))}.plan"
        self.plan.write_bytes(pickle.dumps((asks, model, how, cap, str(store.place()))))

    def begin(self, n: int = 1) -> list[int]:
        """Their process ids. Call `ends` before more begin."""
        assert self.process.stdin
        self.process.stdin.write(f"{n} {self.plan}\n")
        self.process.stdin.flush()
        return self.numbers()

    def ends(self) -> list[int]:
        """How those that were begun ended: 0 = well, 9 = SIGKILL."""
        return self.numbers()

    def told(self) -> str:
        """What they told the user."""
        return self.plan.with_suffix(".told").read_text()

    def numbers(self) -> list[int]:
        assert self.process.stdout
        return [int(word) for word in self.process.stdout.readline().split()]


@contextmanager
def runs_in(folder: Path) -> Iterator[Runs]:
    """A process that begins others."""
    script = folder / "runs.py"
    script.write_text(RUNS)
    with subprocess.Popen(
        [sys.executable, str(script)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Runs(process, folder)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with pytest.MonkeyPatch.context() as patch:
        for key in KEYS:
            patch.setenv(key, "a-key")
        with runs_in(tmp_path_factory.mktemp("runs")) as found:
            yield found


def until(is_so: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something that will come."""
    ends = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < ends
        time.sleep(0.001)


def is_at_rest(server: Vendors) -> bool:
    """Whether the server has done all that was sent to it before a kill."""
    before = len(server.seen)
    time.sleep(0.03)
    return len(server.seen) == before and not server.together


def kill_at(server: Vendors, process: int, drawn: random.Random) -> None:
    """SIGKILL after some more requests and a while that is shorter than an answer takes."""
    wanted = len(server.seen) + drawn.randint(1, 16)
    until(lambda: len(server.seen) >= wanted)
    time.sleep(drawn.uniform(0.0, 0.02))
    os.kill(process, signal.SIGKILL)


@each_vendor
def test_twenty_kills_pass_no_cap_and_pay_twice_for_what_was_under_way_alone(name: str, runs: Runs):
    drawn, cap_n, n = random.Random(name), 400, 450
    with vendors(latency=0.02) as server:
        model = model_of(name, server.url_of(name))
        asks = asks_of(model, n)
        user_of = {ask.name: ask.user for ask in asks}
        runs.prepare(asks, model, LIMITS, cap_n * COST + COST - 1)
        bills: dict[str, int] = {}  # user -> its bills when its answer was first found
        for kill in range(1, KILLS + 1):
            kill_at(server, runs.begin()[0], drawn)
            assert runs.ends() == [signal.SIGKILL]
            until(lambda: is_at_rest(server))
            assert {bill.output_tokens for bill in server.bills} == {MAX_TOKENS}
            assert len(server.bills) <= cap_n
            for found in asker.known(asks):
                bills.setdefault(user_of[found], server.times(user_of[found]))
            assert ledger.table().lost_n.sum() <= kill * LIMITS.concurrency
        runs.begin()
        assert runs.ends() == [0]
    answered = {user_of[found] for found in asker.known(asks)}
    # what was answered is found again, and was never asked for again
    assert answered >= set(bills)
    assert {user: server.times(user) for user in bills} == bills
    calls = ledger.table().set_index("row")
    lost = calls.lost_n.reindex(list(user_of), fill_value=0)
    assert 0 < lost.sum() <= KILLS * LIMITS.concurrency
    for row, user in user_of.items():
        assert server.times(user) <= lost[row] + (user in answered)
    # the cap was reached, and no call that could have been paid was left out
    assert len(server.bills) <= cap_n
    assert round(calls.cost_usd.sum() * 1e9) == cap_n * COST
    assert len(answered) + lost.sum() >= cap_n  # more: a kill between keeping and settling


@each_vendor
def test_two_runs_at_once_pay_once_and_the_second_says_that_it_waits(name: str, runs: Runs):
    with vendors(latency=0.02) as server:
        model = model_of(name, server.url_of(name))
        asks = asks_of(model, 100)
        runs.prepare(asks, model, LIMITS, nano(1))
        runs.begin(2)
        assert runs.ends() == [0, 0]
    assert runs.told().count("stage: waiting for another run that pays from ") == 1
    assert {server.times(ask.user) for ask in asks} == {1}
    assert server.most_together <= LIMITS.concurrency
    assert len(asker.known(asks)) == 100
    assert round(ledger.table().cost_usd.sum() * 1e9) == 100 * COST


def test_runs_for_two_purposes_do_not_wait(caplog: pytest.LogCaptureFixture):
    with ledger.opened("one", 10) as one, ledger.opened("two", 10) as two:
        assert one.reserve("openai", "m", {"a": 10})
        assert two.reserve("openai", "m", {"a": 10})
    assert caplog.text == ""


def test_many_processes_begin_one_ledger_at_once():
    for turn in range(15):
        path = store.folder() / f"ledger_{turn}.sqlite"
        at = time.time() + 0.01
        children = [begin_at(at, path) for _ in range(4)]
        assert {os.waitpid(child, 0)[1] for child in children} == {0}
        with closing(ledger.connect(path)) as connection:
            assert Ledger(connection, "stage", 1).spent() == 0


def begin_at(at: float, path: Path) -> int:
    """The id of a process that opens the ledger at that time, and ends with 1 if it cannot."""
    child = os.fork()
    if child:
        return child
    try:
        while time.time() < at:
            """So that all of them open it together."""
        ledger.connect(path).close()
        os._exit(0)
    finally:
        os._exit(1)
