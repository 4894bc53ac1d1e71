"""One exchange with a vendor: what its client returns, as bytes or JSON, or a Trouble."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from stages.runtime.asking.calls import Trouble
from stages.runtime.asking.troubles import Place, of_connection, of_status, read


@dataclass(frozen=True)
class Exchange:
    """A vendor's package and who is asked with it.

    A call returns a response, as it is or from the client's `with_raw_response`: bodies are read
    here, as the clients pass on what is no JSON as text, and guess at what has another shape.
    missing: raised for status 404 instead of what that means of a model.
    """

    sdk: Any  # the openai or the anthropic package
    place: Place

    def content(self, call: Callable[[], Any], missing: Trouble | None = None) -> bytes:
        """The body of the answer to `call`. Raises Trouble.

        The client's error is not its cause: it may hold what a server echoed.
        """
        try:
            answer = call()
        except self.sdk.APIStatusError as error:
            response = error.response
            if missing and response.status_code == 404:
                raise missing from None
            told = read(response.content)
            raise of_status(self.place, response.status_code, told, response.headers) from None
        except self.sdk.APIConnectionError as error:  # a time-out is one too
            raise of_connection(self.place, error.__cause__) from None
        except UnicodeError:
            told = "the text of a request is no valid Unicode"
            raise self.place.trouble("rejected", told) from None
        whole = answer if isinstance(answer, httpx2.Response) else answer.http_response
        return bytes(whole.content)

    def body(self, call: Callable[[], Any], missing: Trouble | None = None) -> Any:
        """As `content`, of JSON. Raises Trouble (lost) for what is none: the work was done."""
        try:
            return json.loads(self.content(call, missing))
        except (ValueError, RecursionError):
            told = "the body of an answer is no JSON, or cut off"
            raise self.place.trouble("lost", told) from None

    def thing(self, call: Callable[[], Any], missing: Trouble | None = None) -> dict[str, Any]:
        """As `body`, of something that has an id: a file, a batch."""
        body = self.body(call, missing)
        if not isinstance(body, dict) or not isinstance(body.get("id"), str) or not body["id"]:
            raise self.place.trouble("lost", "an answer without an id")
        return body

    def tokens(self, usage: Any, *names: str) -> int:
        """The sum of counts in a `usage`; the first must be there. Raises Trouble (lost)."""
        counts = usage if isinstance(usage, dict) else {}
        found: list[Any] = [counts.get(names[0]), *(counts.get(name) or 0 for name in names[1:])]
        if not all(type(one) is int and one >= 0 for one in found):
            raise self.place.trouble("lost", f"an answer without a count of its {names[0]}")
        return int(sum(found))


@contextmanager
def costing_nothing() -> Iterator[None]:
    """What gets lost here was not billed, as nothing is: it may be asked again."""
    try:
        yield
    except Trouble as error:
        if error.kind != "lost":
            raise
        raise Trouble("busy", error.reason) from None


def valid(text: str) -> str:
    """A text that UTF-8 can hold: JSON may carry half of a character."""
    return text.encode("utf-8", "replace").decode("utf-8")
