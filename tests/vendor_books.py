"""How the vendors' server behaves, and the books that it keeps."""

import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests import vendor_shapes as shapes
from tests.vendor_faults import Fault, Plan, faultless
from tests.vendor_shapes import Finish, Vendor

Answer = Callable[[str, str, dict[str, Any] | None], str]  # of system, user, schema
ALTERED: dict[str, Finish] = {"refusal": "refusal", "filtered": "filtered", "length": "length"}
ASKING: dict[str, Vendor] = {"/v1/chat/completions": "openai", "/v1/messages": "anthropic"}


@dataclass(frozen=True)
class Bill:
    """Work that was done, whether or not its answer arrived."""

    vendor: Vendor
    user: str
    custom_id: str | None  # of a batch
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Seen:
    """A request as it arrived. headers: names in lower case; body: JSON, or bytes that are none."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Batch:
    """A batch, or a file that one is read from or written to."""

    vendor: Vendor
    rows: list[dict[str, Any]]  # requests, as they were handed in
    polls_left: int
    results: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # outcome, line


@dataclass
class Vendors:
    """The server, its books and how it behaves; both may be looked at and changed while it runs."""

    origin: str = ""  # http://127.0.0.1:port
    answer: Answer = shapes.default_answer
    plan: Plan = faultless
    latency: float = 0.0  # seconds that an answer takes
    key: str | None = None  # the only one that is taken; None = any, or none
    polls: int = 1  # looks at a batch that find it unfinished
    outcome: Callable[[str], str] = lambda custom_id: "succeeded"  # expired, errored, canceled
    batch_n: int = 100_000
    batch_bytes: int = 256_000_000
    bills: list[Bill] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    most_together: int = 0
    together: int = 0
    arrived: Counter[str] = field(default_factory=Counter)  # requests per text
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, Batch] = field(default_factory=dict)
    connections: set[socket.socket] = field(default_factory=set)
    lock: threading.RLock = field(default_factory=threading.RLock)
    closing: threading.Event = field(default_factory=threading.Event)

    def url_of(self, provider: str) -> str:
        """The base_url of a provider."""
        return self.origin if provider == "anthropic" else f"{self.origin}/v1"

    def times(self, name: str) -> int:
        """How often work was billed on a text, or on a request of a batch by its custom_id."""
        return sum(name in (bill.user, bill.custom_id) for bill in self.bills)

    def tokens(self) -> tuple[int, int]:
        """Input and output tokens that were billed."""
        read = sum(bill.input_tokens for bill in self.bills)
        return read, sum(bill.output_tokens for bill in self.bills)

    def asked(self) -> list[Seen]:
        """The requests for single answers."""
        return [one for one in self.seen if one.path in ASKING]

    def fault(self, user: str) -> Fault | None:
        """What goes wrong with the next request of a text."""
        with self.lock:
            self.arrived[user] += 1
            return self.plan(user, self.arrived[user])

    def work(
        self, vendor: Vendor, body: dict[str, Any], fault: Fault | None, custom_id: str | None
    ) -> dict[str, Any]:
        """Do what is asked, and bill it."""
        system, user, schema = shapes.asked_of(vendor, body)
        text = self.answer(system, user, schema)
        how = fault.how if fault else ""
        finish: Finish = ALTERED.get(how, "stop")
        if finish in ("refusal", "filtered") or how == "empty":
            text = shapes.REFUSED if finish == "refusal" else ""
        limit = shapes.limit_of(body) or len(text)
        if finish == "length" or shapes.tokens(text) > limit:
            finish, text = "length", text[: min(4 * limit, len(text) * 2 // 3)]
        counts = (shapes.tokens(system + user), shapes.tokens(text))
        with self.lock:
            self.bills.append(Bill(vendor, user, custom_id, *counts))
        return shapes.answer(vendor, body, text, finish, counts)
