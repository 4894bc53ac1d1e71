"""What a request may cost, and what it did cost: whole billionths of a dollar, never floats."""

import json
from dataclasses import dataclass
from typing import Any

from schemas.errors import InputError
from stages.runtime.asking.calls import Ask, Reply

NANO = 10**9  # of a dollar
PER_TOKEN = 1000  # billionths of a dollar per token, at one dollar per million tokens
BYTES_PER_TOKEN = 4  # of English, roughly
OVERHEAD_TOKENS = 1000  # what a vendor may add to a request: roles, the schema's instructions


@dataclass(frozen=True)
class Price:
    """Of one model, in billionths of a dollar per token."""

    input: int
    output: int

    def worst(self, ask: Ask) -> int:
        """At most this is billed for a request: a token has at least one byte of UTF-8."""
        texts = [ask.system, ask.user, json.dumps(ask.schema) if ask.schema else ""]
        read = sum(len(text.encode("utf-8", "replace")) for text in texts) + OVERHEAD_TOKENS
        return read * self.input + ask.max_tokens * self.output

    def likely(self, ask: Ask) -> int:
        """What a request may cost, for an estimate: four bytes a token, half of the answer used."""
        read = (self.worst(ask) - ask.max_tokens * self.output) // BYTES_PER_TOKEN
        return read + ask.max_tokens * self.output // 2

    def of(self, reply: Reply) -> int:
        """What an answer cost, by the tokens that the vendor counted."""
        return reply.input_tokens * self.input + reply.output_tokens * self.output


FREE = Price(0, 0)


@dataclass(frozen=True)
class Model:
    """Who is asked, and for how much."""

    provider: str
    name: str
    base_url: str | None
    price: Price


def price_of(
    table: list[dict[str, Any]], provider: str, model: str, batch_frac: float | None
) -> Price:
    """The price of a model by `table` (params.yaml: api.prices), free for an own server.

    batch_frac: share of the price that a batch costs; None = no batch. Raises InputError for a
    vendor's model without a price: what it costs must be known before it is asked.
    """
    for entry in table:
        if (entry["provider"], entry["model"]) == (provider, model):
            share = 1.0 if batch_frac is None else batch_frac
            usd = (entry["input_usd_per_million_tokens"], entry["output_usd_per_million_tokens"])
            if min(usd) < 0:
                raise InputError(
                    f"params.yaml: api.prices: {provider} {model}: {min(usd)} is below 0. Write "
                    "dollars per million tokens."
                )
            # up: a rounded price must not let the sum pass the cap
            return Price(*(-int(-one * PER_TOKEN * share // 1) for one in usd))
    if provider == "compatible":
        return FREE
    known = ", ".join(f"{one['provider']} {one['model']}" for one in table) or "none"
    raise InputError(
        f"params.yaml: api.prices has no price of {provider} '{model}' (known: {known}). Add a "
        "line with the vendor's price and its date."
    )


def nano(usd: float) -> int:
    """Dollars as billionths, rounded down."""
    return int(usd * NANO)


def dollars(amount: int) -> float:
    """Billionths as dollars, for messages and tables."""
    return amount / NANO
