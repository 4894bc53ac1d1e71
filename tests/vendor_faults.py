"""What goes wrong at a vendor: with one request, and by which plan with many."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

How = Literal[
    "status",  # refused before any work
    "no_credit",
    # the work is done and billed, and
    "late",  # no answer until the client goes away
    "drip",  # byte by byte, for 5 seconds
    "dropped",  # the connection breaks within the body
    "malformed",
    "truncated",  # the JSON ends early
    "no_content",
    "no_usage",
    # an answer, but
    "refusal",
    "filtered",
    "empty",
    "length",
]


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request. status, message, headers: of the ways `status`.

    {key} in the message stands for the key that was sent: some servers echo it.
    """

    how: How
    status: int = 0
    message: str = "Try again later."
    headers: tuple[tuple[str, str], ...] = ()
    kind: str | None = None  # type of the error
    code: str | None = None


Plan = Callable[[str, int], Fault | None]


def status(number: int, message: str = "Try again later.", **headers: str) -> Fault:
    """A refusal. headers: names with underscores for hyphens."""
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Fault("status", number, message, named)


def faultless(user: str, nth: int) -> Fault | None:
    """Nothing goes wrong."""
    return None


def always(fault: Fault) -> Plan:
    """Every request has this fault."""
    return lambda user, nth: fault


def at_first(fault: Fault, n: int = 1) -> Plan:
    """The first n requests of each text have this fault."""
    return lambda user, nth: fault if nth <= n else None


def in_turn(*faults: Fault | None) -> Plan:
    """The requests that arrive, whatever their text, have these faults in turn, then none."""
    left = iter(faults)
    return lambda user, nth: next(left, None)


def seeded(seed: int, shares: Mapping[Fault, float], most: int = 3) -> Plan:
    """Each fault with its share (0..1, together at most 1); a text's request after `most` has none.

    It depends on text and number alone, so that threads in another order meet the same faults.
    """

    def plan(user: str, nth: int) -> Fault | None:
        drawn = random.Random(f"{seed} {user} {nth}").random()
        for fault, share in shares.items() if nth <= most else ():
            drawn -= share
            if drawn < 0:
                return fault
        return None

    return plan
