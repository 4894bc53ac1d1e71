"""A stage asks a provider: parameters checked, ledger and connection open for one purpose."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from schemas.errors import InputError
from stages.runtime.asking import asker, batches, ledger, prices, providers
from stages.runtime.asking.asker import Outcome
from stages.runtime.asking.calls import Ask
from stages.runtime.asking.ledger import Ledger
from stages.runtime.asking.prices import Model

NONE = "none"  # the provider that is not asked
BATCH_PRICE_FRAC = 0.5  # of the price of single calls; both vendors
BATCH_POLL_SECONDS = 30.0

Asking = Callable[[Sequence[Ask]], dict[str, Outcome]]  # requests -> outcomes by name


@dataclass(frozen=True)
class Api:
    """params.yaml: api, how every provider may be asked."""

    concurrency: int
    requests_per_minute: int | None
    timeout_seconds: float
    max_wait_seconds: float
    batch_wait_seconds: float
    prices: list[dict[str, Any]]


@dataclass(frozen=True)
class Who:
    """Whom a stage asks. The first three are parameters of the stage."""

    provider: str
    model: str | None
    base_url: str | None
    is_batch: bool = False


def check(api: Api) -> None:
    """Raise InputError for numbers that cannot be meant."""
    for name in ("concurrency", "requests_per_minute", "timeout_seconds"):
        value = getattr(api, name)
        if value is not None and not value > 0:
            raise InputError(f"params.yaml: api.{name}: {value}. Set it above 0.")
    for name in ("max_wait_seconds", "batch_wait_seconds"):
        if not getattr(api, name) >= 0:
            raise InputError(f"params.yaml: api.{name}: {getattr(api, name)}. Set 0 or more.")


def priced(stage: str, who: Who, api: Api) -> Model:
    """The model that `stage` asks, with its price. Raises InputError where one is missing."""
    check(api)
    if not who.model:
        raise InputError(
            f"params.yaml: {stage}.model: {who.model!r} for the provider '{who.provider}'. Name it "
            "as the provider does."
        )
    batch_frac = BATCH_PRICE_FRAC if who.is_batch else None
    price = prices.price_of(api.prices, who.provider, who.model, batch_frac)
    return Model(who.provider, who.model, who.base_url, price)


@contextmanager
def asking(
    purpose: str, model: Model, api: Api, budget_usd: float, is_batch: bool = False
) -> Iterator[tuple[Asking, Ledger]]:
    """A function that asks `model`, and the ledger that it pays from.

    purpose: the stage, whose runs share `budget_usd`. Raises InputError for an address or a key
    that is missing or none.
    """
    limits = asker.Limits(api.concurrency, api.requests_per_minute, api.max_wait_seconds)
    patience = batches.Patience(BATCH_POLL_SECONDS, api.batch_wait_seconds)
    opened = providers.opened(model.provider, model.name, model.base_url, api.timeout_seconds)
    with opened as provider, ledger.opened(purpose, prices.nano(budget_usd)) as book:

        def ask(asks: Sequence[Ask]) -> dict[str, Outcome]:
            if is_batch:
                return batches.ask_all(asks, model, patience, provider, book)
            return asker.ask_all(asks, model, limits, provider, book)

        yield ask, book
