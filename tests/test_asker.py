"""Many requests to both vendors' protocols: none lost, none paid twice, within limits."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.errors import InputError
from stages.runtime import store
from stages.runtime.asking import asker, ledger, providers
from stages.runtime.asking.asker import Limits, Outcome
from stages.runtime.asking.calls import Ask
from stages.runtime.asking.prices import Model, Price, nano
from tests.vendors import Fault, Vendors, always, at_first, in_turn, seeded, status, vendors

PROVIDERS = ["openai", "anthropic", "compatible"]
PRICE = Price(input=2_500, output=10_000)  # of gpt-4o: 2.5 and 10 dollars per million tokens
LIMITS = Limits(concurrency=16, requests_per_minute=None, max_wait_seconds=120.0)
SECONDS = 0.5  # for one answer
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "PEERWISE_SERVER_KEY")
each_provider = pytest.mark.parametrize("name", PROVIDERS)


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A store of the test's own, keys, and short pauses."""
    monkeypatch.setenv("PEERWISE_STORE", str(tmp_path / "store"))
    for key in KEYS:
        monkeypatch.setenv(key, "a-key")
    monkeypatch.setattr(asker, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(asker, "LONGEST_WAIT", 0.1)
    yield
    store.opened().close()


def model_of(name: str, server: Vendors) -> Model:
    return Model(name, "some-model", server.url_of(name), PRICE)


def asks(model: Model, n: int) -> list[Ask]:
    fixed = {"system": "Explain.", "schema": None, "max_tokens": 200, "temperature": None}
    return [asker.named(model, 0, user=f"question {i} of them", **fixed) for i in range(n)]


def run(
    name: str, server: Vendors, n: int, limits: Limits = LIMITS, usd: float = 5.0
) -> tuple[dict[str, Outcome], float]:
    """The outcomes of n requests, and what the ledger says of them in dollars."""
    model = model_of(name, server)
    opened = providers.opened(name, model.name, model.base_url, SECONDS)
    with opened as provider, ledger.opened("test", nano(usd)) as book:
        found = asker.ask_all(asks(model, n), model, limits, provider, book)
        return found, book.spent()


def billed(server: Vendors) -> int:
    """What the server would bill, in billionths of a dollar."""
    read, written = server.tokens()
    return read * PRICE.input + written * PRICE.output


STORM = {
    status(429, retry_after="0.05"): 0.06,
    status(500): 0.06,
    status(529): 0.06,
    status(503): 0.04,
    Fault("dropped"): 0.04,
    Fault("truncated"): 0.04,
    Fault("malformed"): 0.04,
    Fault("no_usage"): 0.02,
    Fault("late"): 0.02,
}


@each_provider
def test_in_a_storm_no_row_is_lost_and_every_billed_call_is_counted(name: str):
    with vendors(plan=seeded(1, STORM), latency=0.005) as server:
        found, spent = run(name, server, 300)
        asked = {one.body["messages"][-1]["content"] for one in server.asked()}
        more = [server.times(f"question {i} of them") for i in range(300)]
    assert Counter(outcome.reason for outcome in found.values()) == {None: 300}
    assert len(asked) == 300
    # a call whose answer broke on its way is billed, and asked for again; no other is
    lost = ledger.table().lost_n.sum()
    assert sum(more) == 300 + lost
    assert lost > 20
    assert billed(server) <= spent  # a lost call counts with its worst case


@each_provider
def test_a_second_run_asks_for_nothing(name: str):
    with vendors() as server:
        first, spent = run(name, server, 20)
        again, still = run(name, server, 20)
        assert len(server.asked()) == 20
    assert again == first
    assert still == spent == billed(server)


@each_provider
def test_the_cap_holds_and_what_was_not_asked_for_says_so(name: str):
    with vendors(latency=0.002) as server:
        found, spent = run(name, server, 100, usd=0.02)
        reasons = Counter(outcome.reason for outcome in found.values())
        assert reasons[None] == len(server.bills)
        assert set(reasons) == {None, asker.OVER_BUDGET}
        assert billed(server) == spent <= nano(0.02)
        # what the calls reserved beyond their cost was given back and used
        assert nano(0.02) - spent < PRICE.worst(asks(model_of(name, server), 1)[0])
        more, _ = run(name, server, 100, usd=5.0)
    assert Counter(outcome.reason for outcome in more.values()) == {None: 100}
    assert max(server.times(bill.user) for bill in server.bills) == 1


@each_provider
def test_to_wait_a_day_ends_the_run_and_keeps_what_there_is(name: str):
    plan = in_turn(*[None] * 10, *[status(429, retry_after="86400")] * 50)
    with vendors(plan=plan) as server:
        with pytest.raises(InputError, match=r"wait 86400 s. Run the same command again"):
            run(name, server, 40, replace(LIMITS, concurrency=2))
        kept = len(server.bills)
        assert kept >= 10
        server.plan = lambda user, nth: None
        found, spent = run(name, server, 40)
        assert len(server.bills) == 40  # the ten were not asked for again
    assert all(outcome.reply for outcome in found.values())
    assert spent == billed(server)


@each_provider
@pytest.mark.parametrize("fault", [status(401), Fault("no_credit")], ids=["key", "credit"])
def test_what_asking_again_cannot_mend_ends_the_run_at_once(name: str, fault: Fault):
    with vendors(plan=always(fault)) as server:
        with pytest.raises(InputError, match=r"Mend that and run the same command again"):
            run(name, server, 100, replace(LIMITS, concurrency=4))
        assert len(server.asked()) <= 8
    assert ledger.table().cost_usd.sum() == 0


@each_provider
def test_a_provider_that_is_down_is_left_alone(name: str):
    limits = replace(LIMITS, max_failures=12)
    with vendors(plan=always(status(529))) as server:
        with pytest.raises(InputError, match=r"calls in a row failed. Run the same command again"):
            run(name, server, 100, limits)
        assert len(server.asked()) <= 12 + limits.concurrency


@each_provider
def test_a_row_that_is_not_taken_costs_the_others_nothing(name: str):
    def plan(user: str, nth: int) -> Fault | None:
        return status(400, "too long") if user.startswith("question 7 ") else None

    with vendors(plan=plan) as server:
        found, _ = run(name, server, 20)
        reasons = Counter(outcome.reason for outcome in found.values())
        assert reasons == {None: 19, asker.REJECTED: 1}
        assert server.arrived["question 7 of them"] == 1


@each_provider
def test_a_row_that_never_gets_an_answer_has_a_reason(name: str):
    def plan(user: str, nth: int) -> Fault | None:
        return status(500) if user.startswith("question 7 ") else None

    with vendors(plan=plan) as server:
        found, _ = run(name, server, 20)
        assert server.arrived["question 7 of them"] == LIMITS.max_calls_per_row
    assert Counter(one.reason for one in found.values()) == {None: 19, asker.NO_ANSWER: 1}
    calls = ledger.table().set_index("row")
    row = calls.loc[next(name for name, one in found.items() if one.reason)]
    assert (row.retries_n, row.cost_usd, row.lost_n) == (LIMITS.max_calls_per_row - 1, 0, 0)


def test_a_wait_that_is_asked_for_is_kept():
    with vendors(plan=at_first(status(429, retry_after="0.6"))) as server:
        began = time.monotonic()
        run("openai", server, 1)
        assert time.monotonic() - began >= 0.6
        assert len(server.asked()) == 2


def test_sixteen_calls_at_once_are_eight_times_as_fast_as_one_by_one():
    ratios: list[float] = []
    while len(ratios) < 3 and max(ratios, default=0.0) < 8:  # the machine may be busy
        with vendors(latency=0.2) as server:
            began = time.monotonic()
            run("openai", server, 8, replace(LIMITS, concurrency=1))
            one_by_one = 8 / (time.monotonic() - began)
            began = time.monotonic()
            run("openai", server, 168)
            together = 160 / (time.monotonic() - began)  # eight were known
            assert server.most_together <= 16
        ratios.append(together / one_by_one)
    assert max(ratios) >= 8, ratios


def test_no_more_calls_begin_than_a_minute_may_have():
    with vendors() as server:
        began = time.monotonic()
        run("openai", server, 21, replace(LIMITS, requests_per_minute=1200))
        assert time.monotonic() - began >= 20 * 60 / 1200


def test_equal_requests_are_asked_once_and_samples_of_one_are_not_equal():
    with vendors() as server:
        model = model_of("openai", server)
        fixed = {"system": "", "user": "q", "schema": None, "max_tokens": 9, "temperature": None}
        same = [asker.named(model, 0, **fixed), asker.named(model, 0, **fixed)]
        other = asker.named(model, 1, **fixed)
        opened = providers.opened("openai", "m", server.url_of("openai"), SECONDS)
        with opened as provider, ledger.opened("test", nano(1)) as book:
            found = asker.ask_all([*same, other], model, LIMITS, provider, book)
        assert len(found) == len(server.bills) == 2


def test_answers_that_could_not_be_kept_are_not_paid_for(monkeypatch: pytest.MonkeyPatch):
    (store.folder() / store.FILE).write_bytes(b"no database" * 100)
    with vendors() as server:
        with pytest.raises(InputError, match="answers that are paid must be kept"):
            run("openai", server, 3)
        assert server.asked() == []


def test_the_end_of_a_run_waits_for_no_answer(tmp_path: Path):
    script = tmp_path / "ask.py"
    script.write_text(
        "import sys\nfrom tests.test_asker import LIMITS, asks, ledger, nano, Model, PRICE\n"
        "from stages.runtime.asking import asker, providers\n"
        "model = Model('openai', 'some-model', sys.argv[1], PRICE)\n"
        "opened = providers.opened('openai', model.name, model.base_url, 60.0)\n"
        "with opened as provider, ledger.opened('test', nano(5)) as book:\n"
        "    print('begins', flush=True)\n"
        "    asker.ask_all(asks(model, 50), model, LIMITS, provider, book)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    with vendors(latency=30.0) as server:
        command = [sys.executable, str(script), server.url_of("openai")]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            while not server.together:
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            began = time.monotonic()
            process.wait(timeout=20)
        assert time.monotonic() - began < 10
