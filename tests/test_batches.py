"""Batches: answers are joined by name, only what is missing is handed in again, none paid twice."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from schemas.errors import InputError
from stages.runtime.asking import asker, batches, ledger, providers
from stages.runtime.asking.anthropic_messages import AnthropicMessages
from stages.runtime.asking.asker import NO_ANSWER, OVER_BUDGET, REJECTED, Outcome
from stages.runtime.asking.batches import TRIES, Patience
from stages.runtime.asking.calls import Ask, Provider
from stages.runtime.asking.ledger import Ledger
from stages.runtime.asking.openai_chat import OpenAIChat
from stages.runtime.asking.prices import Model, Price, nano, price_of
from tests import vendor_batches, vendor_shapes, vendors
from tests.test_ledger import KEYS, Runs, runs_in, until
from tests.vendor_faults import status
from tests.vendor_shapes import default_answer
from tests.vendors import Fault, Handler, Vendors

VENDORS = ["openai", "anthropic"]
each_vendor = pytest.mark.parametrize("name", VENDORS)
TABLE = [
    {
        "provider": name,
        "model": "some-model",
        "input_usd_per_million_tokens": 2.5,
        "output_usd_per_million_tokens": 10.0,
    }
    for name in VENDORS
]
# billionths of a dollar per token, by hand: half of 2500 and 10000
READ, WRITTEN = 1_250, 5_000
MAX_TOKENS = 500
# of `Why 0?`: six bytes and the 1000 tokens that a vendor may add, and all that may be written
WORST = 1_006 * READ + MAX_TOKENS * WRITTEN
QUICK = Patience(poll=0.001, most=60.0, retry=0.001)
SHORT = Patience(poll=0.01, most=0.05, retry=0.001)
NEVER = 500  # looks that find a batch unfinished: more than any run here waits for
BATCH, RESULTS = "batch", "results"  # what is looked at


@pytest.fixture(autouse=True)
def _vendors(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in KEYS:
        monkeypatch.setenv(key, "a-key")


@pytest.fixture
def server() -> Iterator[Vendors]:
    with vendors.vendors() as running:
        yield running


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with pytest.MonkeyPatch.context() as patch:
        for key in KEYS:
            patch.setenv(key, "a-key")
        with runs_in(tmp_path_factory.mktemp("runs")) as found:
            yield found


def model_of(name: str, server: Vendors) -> Model:
    price = price_of(TABLE, name, "some-model", 0.5)
    return Model(name, "some-model", server.url_of(name), price)


def asks_of(model: Model, n: int, max_tokens: int = MAX_TOKENS) -> list[Ask]:
    fixed: dict[str, Any] = {"system": "", "schema": None, "temperature": None}
    fixed["max_tokens"] = max_tokens
    return [asker.named(model, 0, user=f"Why {i}?", **fixed) for i in range(n)]


@contextmanager
def opened(
    model: Model, usd: float = 5.0, batch_n: int | None = None
) -> Iterator[tuple[Provider, Ledger]]:
    """The provider, with batches of at most batch_n rows, and the ledger with a cap."""
    connected = providers.opened(model.provider, model.name, model.base_url, 20.0)
    with connected as provider, ledger.opened("stage", nano(usd)) as book:
        if batch_n is not None:
            assert isinstance(provider, OpenAIChat | AnthropicMessages)
            provider.batch_n = batch_n
        yield provider, book


def run(
    asks: Sequence[Ask],
    model: Model,
    patience: Patience = QUICK,
    usd: float = 5.0,
    batch_n: int | None = None,
) -> tuple[dict[str, Outcome], int]:
    """The outcomes, and what the ledger says of them in billionths of a dollar."""
    with opened(model, usd, batch_n) as (provider, book):
        return batches.ask_all(asks, model, patience, provider, book), book.spent()


def spent() -> int:
    """As the ledger says, in billionths of a dollar."""
    return round(ledger.table().cost_usd.sum() * 1e9)


def billed(server: Vendors) -> int:
    """What the server would bill, at half price."""
    read, written = server.tokens()
    return read * READ + written * WRITTEN


def rows_of(server: Vendors) -> list[list[str]]:
    """The names of each batch that was taken, in order."""
    return [[row["custom_id"] for row in batch.rows] for batch in server.batches.values()]


def reasons(found: dict[str, Outcome]) -> Counter[str | None]:
    return Counter(outcome.reason for outcome in found.values())


def check_joined(found: dict[str, Outcome], asks: Sequence[Ask]) -> None:
    """Each answer is the one to its request."""
    for ask in asks:
        reply = found[ask.name].reply
        assert reply
        assert reply.text == default_answer("", ask.user, None)


def end_all(server: Vendors) -> None:
    """Batches that are under way have ended."""
    for batch in server.batches.values():
        batch.polls_left = 0


def of_looks(
    monkeypatch: pytest.MonkeyPatch, fault: Callable[[str, int], Fault | None]
) -> Counter[str]:
    """Let looks fail, by what is looked at (BATCH, RESULTS) and how often that was before.

    What is counted is returned.
    """
    times: Counter[str] = Counter()

    def failing(look: Callable[[Handler, str], None]) -> Any:
        def looked(page: Handler, name: str) -> None:
            kind = RESULTS if page.path.endswith(("/results", "/content")) else BATCH
            times[kind] += 1
            if found := fault(kind, times[kind]):
                page.refuse(vendor_of(page), found.status, found.message, found)
            else:
                look(page, name)

        return looked

    looks = [(pattern, vendor, failing(look)) for pattern, vendor, look in vendors.LOOKS]
    monkeypatch.setattr(vendors, "LOOKS", looks)
    return times


def vendor_of(page: Handler) -> vendor_shapes.Vendor:
    return "anthropic" if "/messages" in page.path else "openai"


# ---- rows ----------------------------------------------------------------------------------


@each_vendor
def test_three_hundred_rows_are_joined_by_name_and_what_is_missing_is_handed_in_again(
    name: str, server: Vendors, monkeypatch: pytest.MonkeyPatch
):
    model = model_of(name, server)
    asks = asks_of(model, 300)
    names = [ask.name for ask in asks]
    late = {row: ("expired", "canceled", "overloaded")[i % 3] for i, row in enumerate(names[:90])}
    first = dict(late)

    def outcome(row: str) -> str:
        return "errored" if row == names[99] else first.pop(row, "succeeded")

    server.outcome, server.polls, server.batch_n = outcome, 3, 100
    monkeypatch.setattr(vendor_shapes, "result_line", overloaded(vendor_shapes.result_line))
    found, cost = run(asks, model, batch_n=100)
    first_rows, again = rows_of(server)[:3], rows_of(server)[3:]
    assert first_rows == [names[:100], names[100:200], names[200:]]
    assert again == [names[:90]]
    results = next(iter(server.batches.values())).results
    assert [line["custom_id"] for _, line in results] != names[:100]  # another order
    assert reasons(found) == {None: 299, REJECTED: 1}
    assert found[names[99]].reason == REJECTED
    check_joined(found, [ask for ask in asks if ask.name != names[99]])
    assert [server.times(row) for row in names] == [1] * 99 + [0] + [1] * 200
    assert cost == spent() == billed(server) == sum(one.cost for one in found.values())
    assert Counter(ledger.table().calls_n) == {1: 210, 2: 90}


def overloaded(line: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Lines of results that know a request that the vendor had no room for."""

    def told(
        vendor: vendor_shapes.Vendor, custom_id: str, outcome: str, body: Any
    ) -> dict[str, Any]:
        if outcome != "overloaded":
            return line(vendor, custom_id, outcome, body)
        error = vendor_shapes.error(vendor, 529, "Overloaded")
        if vendor == "anthropic":
            return {"custom_id": custom_id, "result": {"type": "errored", "error": error}}
        response = {"status_code": 503, "request_id": "req_1", "body": error}
        return {"id": "1", "custom_id": custom_id, "error": None, "response": response}

    return told


@each_vendor
def test_rows_that_are_known_or_equal_are_not_handed_in(name: str, server: Vendors):
    model = model_of(name, server)
    asks = asks_of(model, 6)
    first, cost = run(asks[:4], model)
    second, more = run([*asks, *asks], model)
    again, _ = run(asks, model)
    assert rows_of(server) == [[ask.name for ask in asks[:4]], [ask.name for ask in asks[4:]]]
    assert again == second == first | {ask.name: second[ask.name] for ask in asks[4:]}
    assert 0 < cost < more == billed(server)


@each_vendor
def test_a_row_without_a_result_counts_as_paid_and_is_asked_for_three_times_at_most(
    name: str, server: Vendors, monkeypatch: pytest.MonkeyPatch
):
    model = model_of(name, server)
    asks = asks_of(model, 10)
    once, never = asks[2].name, asks[7].name
    lines = vendor_batches._lines

    def told(rows: list[dict[str, Any]]) -> bytes:
        hidden = {once, never} if len(server.batches) == 1 else {never}
        return lines([row for row in rows if row["custom_id"] not in hidden])

    monkeypatch.setattr(vendor_batches, "_lines", told)
    found, cost = run(asks, model)
    assert rows_of(server) == [[ask.name for ask in asks], [once, never], [never]]
    assert reasons(found) == {None: 9, NO_ANSWER: 1}
    assert found[never].reason == NO_ANSWER
    check_joined(found, [ask for ask in asks if ask.name != never])
    # four results are missing, each of which was billed and counts with its worst case
    answered = sum(one.cost for one in found.values())
    assert cost == answered + 4 * WORST
    assert billed(server) <= cost
    assert dict(zip(ledger.table().row, ledger.table().lost_n, strict=True)) == {
        ask.name: {once: 1, never: 3}.get(ask.name, 0) for ask in asks
    }


# ---- runs that end before their batch -------------------------------------------------------


@each_vendor
def test_a_run_whose_patience_ends_is_taken_up_by_the_next(name: str, server: Vendors):
    model = model_of(name, server)
    asks = asks_of(model, 8)
    server.polls = NEVER
    for _ in range(2):
        with pytest.raises(InputError, match=r"run the same command again") as caught:
            run(asks, model, SHORT)
        assert str(caught.value).startswith(f"{name}: 1 batch(es) still under way after 0 s, first")
        assert next(iter(server.batches)) in str(caught.value)
        assert spent() == 8 * WORST
    end_all(server)
    found, cost = run(asks, model)
    assert rows_of(server) == [[ask.name for ask in asks]]
    check_joined(found, asks)
    assert cost == billed(server)


@each_vendor
def test_a_run_that_was_killed_is_taken_up_by_the_next(name: str, server: Vendors, runs: Runs):
    model = model_of(name, server)
    asks = asks_of(model, 8)
    server.polls = NEVER
    runs.prepare(asks, model, Patience(poll=0.01, most=60.0), nano(5))
    (process,) = runs.begin()
    until(lambda: len(looked_at(server)) >= 2)  # handed in, and noted
    os.kill(process, signal.SIGKILL)
    assert runs.ends() == [signal.SIGKILL]
    end_all(server)
    found, cost = run(asks, model)
    assert rows_of(server) == [[ask.name for ask in asks]]
    check_joined(found, asks)
    assert {server.times(ask.name) for ask in asks} == {1}
    assert cost == billed(server)


def looked_at(server: Vendors) -> list[str]:
    """The looks at batches."""
    return [one.path for one in server.seen if "batch_" in one.path]


@each_vendor
def test_a_run_that_ends_while_it_reads_a_batch_leaves_it_to_be_read_again(
    name: str, server: Vendors, monkeypatch: pytest.MonkeyPatch
):
    model = model_of(name, server)
    asks = asks_of(model, 8)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "end_batch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(asks, model)
    assert spent() == 8 * WORST
    found, cost = run(asks, model)
    assert rows_of(server) == [[ask.name for ask in asks]]
    check_joined(found, asks)
    assert cost == billed(server)


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@each_vendor
def test_batches_of_an_earlier_run_are_read_along_with_new_rows(name: str, server: Vendors):
    model = model_of(name, server)
    asks = asks_of(model, 9)
    server.polls = NEVER
    with pytest.raises(InputError):
        run(asks[:6], model, SHORT, batch_n=3)
    end_all(server)
    server.polls = 0
    found, cost = run(asks[3:], model)
    names = [ask.name for ask in asks]
    assert rows_of(server) == [names[:3], names[3:6], names[6:]]
    assert list(found) == names[3:]
    check_joined(found | asker.known(asks[:3]), asks)
    assert cost == billed(server)


# ---- the cap -------------------------------------------------------------------------------


@each_vendor
def test_what_could_pass_the_cap_is_not_handed_in(name: str, server: Vendors):
    # nine tokens are written at nine billed, and nothing else is: each row costs its worst case
    model = Model(name, "some-model", server.url_of(name), Price(0, 1_000))
    asks = asks_of(model, 300, max_tokens=9)
    names = [ask.name for ask in asks]
    found, cost = run(asks, model, usd=120 * 9_000 / 1e9 + 8e-6, batch_n=50)
    assert rows_of(server) == [names[:50], names[50:100], names[100:120]]
    assert [found[row].reason for row in names] == [None] * 120 + [OVER_BUDGET] * 180
    assert cost == 120 * 9_000 == server.tokens()[1] * 1_000
    found, cost = run(asks, model, usd=300 * 9_000 / 1e9)
    assert reasons(found) == {None: 300}
    assert {server.times(row) for row in names} == {1}
    assert cost == 300 * 9_000


@each_vendor
def test_what_batches_did_not_cost_makes_room_for_others(name: str, server: Vendors):
    model = model_of(name, server)
    asks = asks_of(model, 10)
    found, cost = run(asks, model, usd=(6 * WORST + 5) / 1e9)
    check_joined(found, asks)
    assert [len(rows) for rows in rows_of(server)] == [6, 4]
    assert cost == billed(server) < WORST


@each_vendor
def test_no_row_is_preferred_because_it_is_small(name: str, server: Vendors):
    model = model_of(name, server)
    large, small = asks_of(model, 2), asks_of(model, 1, max_tokens=50)
    names = [ask.name for ask in [*large, *small]]
    found, cost = run([*large, *small], model, usd=(2 * WORST - 1) / 1e9, batch_n=1)
    assert rows_of(server) == [names[:1], names[1:2], names[2:]]
    assert reasons(found) == {None: 3}
    assert cost == billed(server)


@each_vendor
def test_no_batch_is_handed_in_where_no_row_is_within_the_cap(name: str, server: Vendors):
    model = model_of(name, server)
    found, cost = run(asks_of(model, 5), model, usd=(WORST - 1) / 1e9)
    assert reasons(found) == {OVER_BUDGET: 5}
    assert cost == 0
    assert server.seen == []


# ---- troubles of the provider ---------------------------------------------------------------


@each_vendor
def test_looks_are_repeated_while_the_provider_is_busy(
    name: str, server: Vendors, monkeypatch: pytest.MonkeyPatch
):
    turns = [status(529), status(500), status(429, retry_after="0.01")]
    times = of_looks(monkeypatch, lambda _, nth: turns[nth - 1] if nth <= 3 else None)
    model = model_of(name, server)
    asks = asks_of(model, 5)
    found, cost = run(asks, model)
    check_joined(found, asks)
    assert len(rows_of(server)) == 1
    assert times[RESULTS] == 4
    assert cost == billed(server)


@each_vendor
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (status(503), r"are noted\. Run the same command again\.$"),
        (status(401), r"Put a key.* are noted\. Run the same command again\.$"),
        (status(429, retry_after="11"), r"Run the same command again after 11 s\.$"),
    ],
    ids=["busy", "key", "longer than the run waits"],
)
@pytest.mark.parametrize("kind", [BATCH, RESULTS])
def test_a_provider_that_stays_busy_ends_the_run_and_the_batch_is_read_later(
    name: str,
    fault: Fault,
    told: str,
    kind: str,
    server: Vendors,
    monkeypatch: pytest.MonkeyPatch,
):
    model = model_of(name, server)
    asks = asks_of(model, 5)
    with monkeypatch.context() as patch:
        times = of_looks(patch, lambda at, _: fault if at == kind else None)
        with pytest.raises(InputError, match=told):
            run(asks, model, replace(QUICK, most=10.0))
    assert times[kind] == (TRIES if fault.status == 503 else 1)
    assert spent() == 5 * WORST
    found, cost = run(asks, model)
    check_joined(found, asks)
    assert len(rows_of(server)) == 1
    assert cost == billed(server)


@each_vendor
@pytest.mark.parametrize("kind", [BATCH, RESULTS])
def test_a_batch_that_is_gone_counts_as_paid_and_is_handed_in_anew(
    name: str,
    kind: str,
    server: Vendors,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    model = model_of(name, server)
    asks = asks_of(model, 5)
    server.polls = NEVER
    with pytest.raises(InputError):
        run(asks, model, SHORT)
    bill = billed(server)
    server.polls = 0
    if kind == BATCH:
        server.batches.clear()  # and the id of the next one is that of the first
    else:
        end_all(server)
        of_looks(monkeypatch, lambda at, nth: status(404) if (at, nth) == (RESULTS, 1) else None)
    found, cost = run(asks, model)
    check_joined(found, asks)
    assert caplog.text.count("is not there, or no longer. What it may have cost counts.") == 1
    # of two bills the first is counted at its worst
    assert bill * 2 == billed(server)
    assert cost == 5 * WORST + bill
    with opened(model) as (_, book):
        assert book.open_batches(model) == []


@pytest.mark.parametrize(
    "code", ["too_many_tasks", "token_limit_exceeded", "billing_hard_limit_reached"]
)
def test_a_batch_that_was_not_begun_says_so_and_holds_no_later_run_up(
    code: str, server: Vendors, monkeypatch: pytest.MonkeyPatch
):
    model = model_of("openai", server)
    asks = asks_of(model, 5)
    server.batch_n = 4
    tell = Handler.tell

    def failed(page: Handler, told: dict[str, Any]) -> None:
        if told.get("errors"):
            told["errors"]["data"][0]["code"] = code
        tell(page, told)

    monkeypatch.setattr(Handler, "tell", failed)
    with pytest.raises(InputError, match=r"Too many.* batch_1 was not begun and costs nothing\. R"):
        run(asks, model)
    assert len(server.batches) == 1
    assert spent() == 0
    found, cost = run(asks, model, batch_n=4)
    check_joined(found, asks)
    assert [len(rows) for rows in rows_of(server)] == [5, 4, 1]
    assert cost == billed(server)


@each_vendor
@pytest.mark.parametrize("number", [400, 401, 429, 503])
def test_a_batch_that_is_refused_costs_nothing(
    name: str, number: int, server: Vendors, monkeypatch: pytest.MonkeyPatch
):
    model = model_of(name, server)
    asks = asks_of(model, 5)
    with monkeypatch.context() as patch:
        of_handing_in(patch, lambda page: page.refuse(vendor_of(page), number, "Not now."))
        with pytest.raises(InputError, match=r"5 requests was not taken\. Run the same") as caught:
            run(asks, model)
    assert str(caught.value).startswith(f"{name}: ")
    assert str(caught.value).isprintable()
    assert spent() == 0
    found, cost = run(asks, model)
    check_joined(found, asks)
    assert cost == billed(server)


@each_vendor
def test_a_batch_that_may_have_been_taken_keeps_what_it_reserved(
    name: str, server: Vendors, monkeypatch: pytest.MonkeyPatch
):
    model = model_of(name, server)
    asks = asks_of(model, 5)
    with monkeypatch.context() as patch:
        tell = Handler.tell

        def broken(page: Handler, told: dict[str, Any]) -> None:
            if page.path.endswith("/batches"):
                page.send(200, b'{"id": "batch')
            else:
                tell(page, told)

        patch.setattr(Handler, "tell", broken)
        with pytest.raises(InputError, match=r"5 requests may have been taken, and counts\. Run"):
            run(asks, model)
    assert (len(server.batches), len(server.bills)) == (1, 5)
    assert spent() == 5 * WORST
    assert set(ledger.table().lost_n) == {1}
    found, cost = run(asks, model)
    check_joined(found, asks)
    assert cost == 5 * WORST + billed(server) // 2
    assert billed(server) <= cost


@each_vendor
def test_the_second_batch_of_a_run_is_refused_and_the_first_is_not_lost(
    name: str, server: Vendors, monkeypatch: pytest.MonkeyPatch
):
    model = model_of(name, server)
    asks = asks_of(model, 5)
    with monkeypatch.context() as patch:
        begin: Any = {"openai": "begin_openai", "anthropic": "begin_anthropic"}[name]
        first = getattr(Handler, begin)

        def only_first(page: Handler, *given: Any) -> None:
            if server.batches:
                page.refuse(vendor_of(page), 429, "One at a time.")
            else:
                first(page, *given)

        patch.setattr(Handler, begin, only_first)
        with pytest.raises(InputError, match=r"batch of 2 requests was not taken"):
            run(asks, model, batch_n=3)
    assert spent() == 3 * WORST
    found, cost = run(asks, model, batch_n=3)
    check_joined(found, asks)
    names = [ask.name for ask in asks]
    assert rows_of(server) == [names[:3], names[3:]]
    assert cost == billed(server)


def of_handing_in(patch: pytest.MonkeyPatch, instead: Callable[[Handler], None]) -> None:
    """Let something else happen where a batch is begun."""
    for place in ("begin_openai", "begin_anthropic"):
        patch.setattr(Handler, place, lambda page, *_: instead(page))


def test_a_request_that_no_batch_takes_ends_the_run_before_it_costs(server: Vendors):
    model = model_of("anthropic", server)
    warm = Ask("warm", "", "Why?", None, 50, 0.7)
    with pytest.raises(InputError, match=r"temperature.*Nothing was handed in"):
        run([warm], model)
    assert server.seen == []
    assert spent() == 0
