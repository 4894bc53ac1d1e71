"""What is asked of a provider, what it answers, and how it fails."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

End = Literal["stop", "length", "refusal"]
Kind = Literal["busy", "lost", "rejected", "final"]


@dataclass(frozen=True)
class Ask:
    """One request."""

    name: str  # its key, and custom_id of a batch: 1 to 64 of [A-Za-z0-9_-]
    system: str
    user: str
    schema: dict[str, Any] | None  # JSON schema of the answer; None = free text
    max_tokens: int  # of the answer
    temperature: float | None  # None = the provider's own; Anthropic takes no other


@dataclass(frozen=True)
class Reply:
    """One answer. Its text may be anything: nothing is known of it but that it came."""

    text: str
    end: End
    input_tokens: int  # as the provider counted (and bills) them
    output_tokens: int


class Trouble(Exception):
    """Why there is no answer. The message is one line without the key.

    kind: `busy`: refused before any work (429, 5xx, 529), ask again, nothing is owed;
    `lost`: no answer came back (time-out, 504, broken connection, unreadable body), the work may
    have been done and billed; `rejected`: this request alone is not to the provider's taste (400,
    413, 422); `final`: no request will be answered (key, model, credit, address).
    """

    def __init__(self, kind: Kind, reason: str, wait_seconds: float | None = None):
        super().__init__(reason)
        self.kind, self.reason = kind, reason
        self.wait_seconds = wait_seconds  # as the provider asked for (Retry-After), 0 or more


class BatchFailed(Trouble):
    """Why a batch as a whole was not begun, and never will be: nothing is owed."""


class Provider(Protocol):
    """One model of one vendor or server. `ask` may be called from many threads."""

    def ask(self, ask: Ask) -> Reply:
        """One answer, asked for once: nothing is retried here. Raises Trouble."""

    def parts(self, asks: Sequence[Ask]) -> list[list[Ask]]:
        """The requests in their order, in parts that a batch may hold: vendors limit its size."""

    def submit(self, asks: Sequence[Ask]) -> str:
        """Hand in a batch (half the price); its id. Raises Trouble.

        `lost`: it may have been accepted. `final`: also where there are no batches.
        """

    def is_ended(self, batch: str) -> bool:
        """Whether the provider is done with a batch, wholly or not.

        Raises Trouble, of the kind `rejected` if there is no such batch, or no longer. Never
        `lost`: to look costs nothing.
        """

    def results(self, batch: str) -> Iterator[tuple[str, Reply | Trouble]]:
        """(name, its answer or why there is none) of an ended batch, in any order.

        Requests that expired or were cancelled are `busy` (nothing is owed); names may be
        missing. Raises Trouble as `is_ended` does, and BatchFailed.
        """

    def close(self) -> None:
        """Give connections back."""
