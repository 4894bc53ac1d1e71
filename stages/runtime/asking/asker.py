"""Many requests to a provider: bounded, within a budget, each answer kept before it is used.

One thread decides and keeps the books; the others wait for the provider, one call each. Nothing
else retries: the clients do not. A request is a row of the store under a digest of all that can
change its answer, so a second run asks for what is missing, and a kill loses what was under way.
"""

import heapq
import itertools
import logging
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import asdict, dataclass, field
from typing import Any

from schemas.errors import InputError
from stages.runtime import store
from stages.runtime.asking.calls import Ask, Provider, Reply, Trouble
from stages.runtime.asking.ledger import Ledger
from stages.runtime.asking.prices import Model, dollars
from stages.runtime.workers import Workers

KIND = "api"  # of rows in the store
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds before asking again, doubled each time
OVER_BUDGET, NO_ANSWER = "over_budget", "no_answer"  # why a request has no answer
REJECTED = "rejected"


@dataclass(frozen=True)
class Limits:
    """How a provider may be asked. params.yaml: synthesize."""

    concurrency: int  # calls under way
    requests_per_minute: int | None  # calls begun; None = as many as come back
    max_wait_seconds: float  # a longer Retry-After ends the run, to be taken up later
    max_calls_per_row: int = 6
    max_failures: int = 40  # in a row, over all requests: the provider is down


@dataclass(frozen=True)
class Outcome:
    """An answer, or why there is none."""

    reply: Reply | None
    reason: str | None
    cost: int  # billionths of a dollar, of the call that answered


def named(model: Model, sample: int, **fields: Any) -> Ask:
    """A request under its key. fields: of Ask, without name; sample: which of several equal ones.

    The address is part of the key: another server may have another model of that name.
    """
    who = [model.provider, model.name, model.base_url]
    return Ask(name=store.digest_of(asked=who, sample=sample, **fields), **fields)


def known(asks: Sequence[Ask]) -> dict[str, Outcome]:
    """The answers that are in the store, by name."""
    rows = store.opened().find(KIND, [ask.name for ask in asks])
    return {name: outcome_of(row) for name, row in rows.items()}


def outcome_of(row: dict[str, Any]) -> Outcome:
    """A row of the store as an answer."""
    return Outcome(Reply(**row["reply"]), None, row["cost"])


def keep(name: str, reply: Reply, cost: int) -> Outcome:
    """Put an answer into the store."""
    store.opened().add(KIND, {name: {"reply": asdict(reply), "cost": cost}})
    return Outcome(reply, None, cost)


@dataclass
class Asker:
    """The requests of one run that are not in the store."""

    provider: Provider
    model: Model
    ledger: Ledger
    limits: Limits
    show: Callable[[int, int], None]  # called with requests done and billionths spent
    ready: deque[tuple[Ask, int]] = field(default_factory=deque)  # request, calls so far
    later: list[tuple[float, int, Ask, int]] = field(default_factory=list)  # a heap by time
    order: Iterator[int] = field(default_factory=itertools.count)  # of what is due together
    under_way: dict[Future[Any], tuple[Ask, int, int, float]] = field(default_factory=dict)
    done: dict[str, Outcome] = field(default_factory=dict)
    failures: int = 0  # in a row
    not_before: float = 0.0  # monotonic seconds: the next call of all
    stop: InputError | None = None

    def run(self, asks: Sequence[Ask]) -> dict[str, Outcome]:
        """The outcome of each request, by name. Raises InputError where going on is no use.

        What was answered until then is in the store.
        """
        self.ready.extend((ask, 0) for ask in asks)
        workers = Workers(self.limits.concurrency, Trouble)
        try:
            while self.under_way or (not self.stop and (self.ready or self.later)):
                self.begin(workers)
                self.collect()
        finally:
            workers.close()
        if self.stop:
            raise self.stop
        return self.done

    def begin(self, workers: Workers) -> None:
        """Send what may be sent now."""
        now = time.monotonic()
        while self.later and self.later[0][0] <= now:
            _, _, ask, calls = heapq.heappop(self.later)
            self.ready.appendleft((ask, calls))
        while self.ready and not self.stop and len(self.under_way) < self.limits.concurrency:
            if time.monotonic() < self.not_before:
                return
            ask, calls = self.ready[0]
            worst = self.model.price.worst(ask)
            reserved = self.ledger.reserve(self.model.provider, self.model.name, {ask.name: worst})
            if not reserved:
                if not self.under_way:  # nothing will be settled that could make room
                    self.give_up(OVER_BUDGET)
                return
            self.ready.popleft()
            self.under_way[workers.submit(self.provider.ask, ask)] = (
                ask,
                calls + 1,
                reserved[ask.name],
                time.monotonic(),
            )
            if self.limits.requests_per_minute:
                self.not_before = max(self.not_before, time.monotonic()) + (
                    60 / self.limits.requests_per_minute
                )

    def give_up(self, reason: str) -> None:
        """No further request is sent; those that wait have no answer."""
        waiting = [ask for ask, _ in self.ready] + [ask for _, _, ask, _ in self.later]
        self.done |= {ask.name: Outcome(None, reason, 0) for ask in waiting}
        self.ready.clear()
        self.later.clear()

    def collect(self) -> None:
        """Wait for something to happen, and note what did."""
        if not self.under_way:
            time.sleep(min(self.pause() or 0.0, 1.0))
            return
        ended, _ = wait(self.under_way, timeout=self.pause(), return_when=FIRST_COMPLETED)
        for future in ended:
            ask, calls, call, began = self.under_way.pop(future)
            seconds = time.monotonic() - began
            error = future.exception()
            if error is None:
                self.answered(ask, call, future.result(), seconds)
            elif isinstance(error, Trouble):
                self.failed(ask, calls, call, error, seconds)
            else:
                raise error
            self.show(len(self.done), self.ledger.spent())

    def pause(self) -> float | None:
        """Seconds until another call may begin; None = only an answer changes anything."""
        now = time.monotonic()
        room = len(self.under_way) < self.limits.concurrency
        times = [self.later[0][0]] if self.later else []
        if self.ready and room and not self.stop and self.not_before > now:
            times.append(self.not_before)
        return max(0.0, min(times) - now) if times else None if self.under_way else 0.0

    def answered(self, ask: Ask, call: int, reply: Reply, seconds: float) -> None:
        """Keep the answer, then settle: a kill between the two counts too much, not too little."""
        cost = self.model.price.of(reply)
        self.done[ask.name] = keep(ask.name, reply, cost)
        self.ledger.settle(call, reply, cost, seconds)
        self.failures = 0

    def failed(self, ask: Ask, calls: int, call: int, error: Trouble, seconds: float) -> None:
        """Ask again, leave the request out, or end the run."""
        if error.kind == "lost":
            self.ledger.lose(call, seconds)
        else:
            self.ledger.release(call, seconds)
        if error.kind == "rejected":
            logging.warning(f"request {ask.name[:12]}: {error.reason}")
            self.done[ask.name] = Outcome(None, REJECTED, 0)
            return
        self.failures += 1
        wanted = error.wait_seconds or 0.0
        is_down = self.failures >= self.limits.max_failures
        if error.kind == "final" or is_down or wanted > self.limits.max_wait_seconds:
            self.end(error, wanted)
        elif calls >= self.limits.max_calls_per_row:
            self.done[ask.name] = Outcome(None, NO_ANSWER, 0)
        else:
            self.again(ask, calls, wanted)

    def again(self, ask: Ask, calls: int, wanted: float) -> None:
        """Put a request back. A wait that the provider asks for holds all requests."""
        own = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (calls - 1)) * random.uniform(0.5, 1.0)
        if wanted:
            own = wanted * random.uniform(1.0, 1.1)
            self.not_before = max(self.not_before, time.monotonic() + wanted)
        heapq.heappush(self.later, (time.monotonic() + own, next(self.order), ask, calls))

    def end(self, error: Trouble, wanted: float) -> None:
        """Send nothing more; what is under way is still waited for and kept."""
        kept = f"{dollars(self.ledger.spent()):.4f} dollars spent; all answers are kept."
        if wanted > self.limits.max_wait_seconds:
            what = f"it asks to wait {wanted:.0f} s. Run the same command again after that time."
        elif error.kind == "final":
            what = "Mend that and run the same command again."
        else:
            what = f"{self.failures} calls in a row failed. Run the same command again later."
        told = error.reason.rstrip(".")
        self.stop = self.stop or InputError(f"{self.model.provider}: {told}; {what} {kept}")


def check_store() -> None:
    """Raise InputError where answers could not be kept."""
    if not store.opened().is_kept():
        raise InputError(
            f"{store.place()}: the store of rows cannot be used, and answers that are paid must be "
            "kept. Mend it (python -m stages.store), or name another folder in PEERWISE_STORE."
        )


def ask_all(
    asks: Sequence[Ask], model: Model, limits: Limits, provider: Provider, ledger: Ledger
) -> dict[str, Outcome]:
    """The outcome of each request by name: from the store, or asked for now.

    Equal requests are asked once. Raises InputError where going on is no use.
    """
    from tqdm import tqdm

    check_store()
    found = known(asks)
    missing = list({ask.name: ask for ask in asks if ask.name not in found}.values())
    if not missing:
        return found
    total, before = len(missing), ledger.spent()
    is_hidden = not sys.stderr.isatty()
    with tqdm(total=total, desc=f"ask {model.name}", unit="row", disable=is_hidden) as bar:

        def show(done: int, spent: int) -> None:
            bar.update(done - bar.n)
            projected = before + (spent - before) * total / max(done, 1)
            cost = f"${dollars(spent):.4f} of {dollars(ledger.cap):.2f}"
            bar.set_postfix_str(f"{cost}, about ${dollars(int(projected)):.4f} in the end")

        return found | Asker(provider, model, ledger, limits, show).run(missing)
