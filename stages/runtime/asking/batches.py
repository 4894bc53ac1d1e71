"""Many requests as batches: half the price, an answer within a day, nothing asked twice.

What was handed in is noted in the ledger with the call that each row reserved, so that a run that
was ended goes on waiting for it. Answers are joined by name. Rows that expired, or that the
provider lost, are handed in again, and only these. A kill between handing in and noting, a matter
of milliseconds, may pay for a batch that is never read; what it reserved stays in the ledger.
"""

import itertools
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from schemas.errors import InputError
from stages.runtime.asking import asker
from stages.runtime.asking.asker import NO_ANSWER, OVER_BUDGET, REJECTED, Outcome
from stages.runtime.asking.calls import Ask, BatchFailed, Provider, Reply, Trouble
from stages.runtime.asking.ledger import Batch, Ledger
from stages.runtime.asking.prices import Model
from stages.runtime.store_file import transaction

T = TypeVar("T")
ROUNDS = 3  # times that a row is handed in
TRIES, FIRST_WAIT = 8, 1.0  # of a question about a batch; seconds, doubled each time


@dataclass(frozen=True)
class Patience:
    """How batches are waited for, in seconds."""

    poll: float  # between two looks
    most: float  # then the run ends, to be taken up later
    retry: float = FIRST_WAIT  # before a failed look is repeated


class Batcher:
    """The requests of one run that are not in the store."""

    def __init__(self, provider: Provider, model: Model, ledger: Ledger, patience: Patience):
        self.provider, self.model, self.ledger, self.patience = provider, model, ledger, patience
        self.rejected: set[str] = set()  # rows that the provider will not answer
        self.over: set[str] = set()  # rows that the budget did not allow, the last time
        self.times: Counter[str] = Counter()  # that a row was handed in
        self.ends = time.monotonic() + patience.most

    def run(self, asks: Sequence[Ask]) -> dict[str, Outcome]:
        """The outcome of each request. Raises InputError if batches are still under way.

        What batches reserved and did not cost makes room: rows over the budget are tried again.
        """
        self.read_open()
        while self.hand_in(self.missing(asks)):
            self.read_open()
        why = dict.fromkeys((ask.name for ask in asks), NO_ANSWER)
        why |= dict.fromkeys(self.rejected & set(why), REJECTED)
        why |= dict.fromkeys(self.over, OVER_BUDGET)
        found = asker.known(asks)
        return {name: found.get(name, Outcome(None, reason, 0)) for name, reason in why.items()}

    def missing(self, asks: Sequence[Ask]) -> list[Ask]:
        """The requests that may still be answered, each once."""
        settled = self.rejected | set(asker.known(asks))
        distinct = {ask.name: ask for ask in asks if ask.name not in settled}
        return [ask for name, ask in distinct.items() if self.times[name] < ROUNDS]

    def hand_in(self, asks: Sequence[Ask]) -> bool:
        """Submit what the budget allows, from the first on; whether that was anything."""
        try:
            parts = self.provider.parts(asks)
        except Trouble as error:
            raise self.end(error, "Nothing was handed in.") from error
        sent_n = 0
        for part in parts:
            sent = self.submit(part)
            sent_n += len(sent)
            if len(sent) < len(part):
                break
        self.over = {ask.name for ask in asks[sent_n:]}
        return sent_n > 0

    def submit(self, asks: Sequence[Ask]) -> list[Ask]:
        """Hand one batch in and note it: the requests that the budget allowed."""
        worst = {ask.name: self.model.price.worst(ask) for ask in asks}
        calls = self.ledger.reserve(self.model.provider, self.model.name, worst)
        sent = [ask for ask in asks if ask.name in calls]
        if not sent:
            return []
        try:
            name = self.provider.submit(sent)
        except Trouble as error:
            told = f"A batch of {len(sent)} requests was not taken."
            if error.kind == "lost":
                told = f"A batch of {len(sent)} requests may have been taken, and counts."
            else:
                for call in calls.values():
                    self.ledger.release(call, 0.0)
            raise self.end(error, told) from error
        self.ledger.add_batch(self.model, Batch(name, calls))
        self.times.update(calls.keys())
        return sent

    def end(self, error: Trouble, told: str) -> InputError:
        """Why the run ends. told: what became of what was asked."""
        reason = error.reason.rstrip(".")
        after = f" after {error.wait_seconds:.0f} s" if error.wait_seconds else ""
        return InputError(
            f"{self.model.provider}: {reason}. {told} Run the same command again{after}."
        )

    def patiently(self, what: Callable[[], T]) -> T:
        """The result of a question about a batch, asked again while the provider is busy.

        Raises Trouble for a batch that failed or is gone, and InputError where the provider stays
        busy, or for longer than the run waits, or asking again is no use.
        """
        for attempt in itertools.count(1):
            try:
                return what()
            except Trouble as error:
                if error.kind == "rejected" or isinstance(error, BatchFailed):
                    raise
                pause = max(error.wait_seconds or 0.0, self.patience.retry * 2 ** (attempt - 1))
                is_over = attempt == TRIES or time.monotonic() + pause > self.ends
                if error.kind == "final" or is_over:
                    raise self.end(error, "Batches that were handed in are noted.") from error
                time.sleep(pause)
        raise AssertionError("the loop returns or raises")

    def read_open(self) -> None:
        """Wait for every batch that is under way, and keep its answers."""
        waiting = self.ledger.open_batches(self.model)
        while waiting:
            for batch in waiting:
                if self.is_ended(batch):
                    self.read(batch)
            waiting = self.ledger.open_batches(self.model)
            if waiting:
                self.wait(waiting)

    def is_ended(self, batch: Batch) -> bool:
        """Whether a batch can be read. One that is gone counts as paid, and is closed."""
        try:
            return self.patiently(lambda: self.provider.is_ended(batch.id))
        except Trouble as error:
            self.close(batch, {}, error)
            return False

    def wait(self, waiting: Sequence[Batch]) -> None:
        """Until the next look. Raises InputError where patience ends before."""
        if time.monotonic() + self.patience.poll > self.ends:
            raise InputError(
                f"{self.model.provider}: {len(waiting)} batch(es) still under way after "
                f"{self.patience.most:.0f} s, first {waiting[0].id}. They are noted: run the same "
                "command again later, it goes on waiting and pays for nothing twice."
            )
        rows = sum(len(batch.calls) for batch in waiting)
        print(f"{len(waiting)} batch(es), {rows} rows under way.", file=sys.stderr, flush=True)
        time.sleep(self.patience.poll)

    def read(self, batch: Batch) -> None:
        """Keep the answers of an ended batch; what it reserved for others is settled, too."""
        try:
            results = self.patiently(lambda: dict(self.provider.results(batch.id)))
        except BatchFailed as error:  # to ask again at once is no use, to look again neither
            self.close(batch, dict.fromkeys(batch.calls, Trouble("busy", error.reason)))
            told = f"The batch {batch.id} was not begun and costs nothing."
            raise self.end(error, told) from error
        except Trouble as error:
            self.close(batch, {}, error)
        else:
            self.close(batch, results)

    def close(
        self, batch: Batch, results: dict[str, Reply | Trouble], error: Trouble | None = None
    ) -> None:
        """Keep the answers, then enter what came of each row with the end of the batch.

        error: why nothing came. A kill before the end leaves the batch to be read again.
        """
        if error is not None:
            logging.warning(f"batch {batch.id}: {error.reason} What it may have cost counts.")
        for name, result in results.items():
            if name in batch.calls and isinstance(result, Reply):
                asker.keep(name, result, self.model.price.of(result))
        with transaction(self.ledger.connection):
            for name, call in batch.calls.items():
                self.enter(name, call, results.get(name))
            self.ledger.end_batch(self.model, batch)

    def enter(self, name: str, call: int, result: Reply | Trouble | None) -> None:
        """What came of one row, in the books. None = nothing, and it may have been billed."""
        if isinstance(result, Reply):
            self.ledger.settle(call, result, self.model.price.of(result), 0.0)
        elif result is None or result.kind == "lost":
            self.ledger.lose(call, 0.0)
        else:
            self.ledger.release(call, 0.0)
            if result.kind == "rejected":
                logging.warning(f"request {name[:12]}: {result.reason}")
                self.rejected.add(name)


def ask_all(
    asks: Sequence[Ask], model: Model, patience: Patience, provider: Provider, ledger: Ledger
) -> dict[str, Outcome]:
    """As asker.ask_all, by batches. model: with the price of a batch."""
    asker.check_store()
    return Batcher(provider, model, ledger, patience).run(asks)
