"""From what a vendor's client raises, or a vendor answers, to a Trouble: one line, no key."""

import email.utils
import json
import math
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from stages.runtime.asking.calls import Kind, Trouble

READ_LENGTH, REASON_LENGTH = 10_000, 200  # characters of a server's message: looked at, told
KEY_PIECE = 8  # characters of a key that must not be told
# The request was read and refused, or never read: 408 is a server that tired of waiting for the
# request itself. Not 504: there a gateway tired of waiting for a model that may be at work still.
BUSY = (408, 409, 425, 429)
LOST = (499, 504, 524)  # 499, 524: as 504, of nginx and Cloudflare
NO_CREDIT = re.compile("insufficient_quota|billing_.*|.*_?spend_limit_reached|organization_on_hold")
# what Anthropic says without a code
NO_CREDIT_SAID = ("Your credit balance is too low", "You have reached your specified API usage")
NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
NEVER_SENDABLE = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)


@dataclass(frozen=True)
class Place:
    """Who is asked, as messages name it."""

    address: str
    model: str
    key_name: str  # environment variable
    key: str | None = field(repr=False)

    def trouble(self, kind: Kind, told: object, do: str = "", wait: float | None = None) -> Trouble:
        """A Trouble of this place. do: what the user can do about it."""
        reason = f"{self.address}: {self.line(told)}. {do}".rstrip()
        return Trouble(kind, reason, wait)

    def gone(self, what: str) -> Trouble:
        """A batch, or a file of one, is not there: too old, or another key's."""
        return self.trouble("rejected", f"'{what}' is not there, or no longer")

    def line(self, told: object) -> str:
        """Anything that was told, in one line without the key or a piece of it."""
        text = str(told)[:READ_LENGTH]
        if self.key:
            text = text.replace(self.key, "***")
            for start in range(len(self.key) - KEY_PIECE + 1):
                text = text.replace(self.key[start : start + KEY_PIECE], "***")
        text = "".join(one if one.isprintable() else " " for one in text)
        return " ".join(text.split())[:REASON_LENGTH].rstrip(".")


def of_status(
    place: Place, status: int, told: Any, headers: Mapping[str, str] | None = None
) -> Trouble:
    """What a status other than 200 means. told: the body of the answer, as far as it is JSON."""
    message = f"status {status}: {message_of(told)}"
    wait = wait_seconds(headers or {})
    if status == 402 or (400 <= status < 500 and _is_unpaid(told)):
        return place.trouble("final", message, f"See to the credit behind {place.key_name}.")
    if status in (401, 403):
        return place.trouble("final", message, f"Put a key that may do this into {place.key_name}.")
    if status == 404:
        do = f"Name a model that it serves, not '{place.model}', or mend the address."
        return place.trouble("final", message, do)
    if status < 400 or status in (405, 501):
        do = "This is not the interface that was asked for: mend the address."
        return place.trouble("final", message, do)
    if status in LOST:
        return place.trouble("lost", message, wait=wait)
    if status in BUSY or status >= 500:
        return place.trouble("busy", message, wait=wait)
    return place.trouble("rejected", message)


def of_connection(place: Place, cause: BaseException | None) -> Trouble:
    """What a connection that failed means. Sent or not decides whether work may be owed."""
    told = f"{type(cause).__name__} {cause}" if cause else "the connection failed"
    if any(isinstance(one, ssl.SSLCertVerificationError) for one in _chain(cause)):
        return place.trouble("final", told, "Its certificate is not trusted: mend the address.")
    if isinstance(cause, NEVER_SENDABLE):
        return place.trouble("final", told, "Mend the address.")
    if isinstance(cause, NEVER_SENT):
        return place.trouble("busy", f"cannot be reached ({told})", "Is it running?")
    return place.trouble("lost", f"no answer came back ({told})")


def message_of(told: Any) -> str:
    """The sentence in a vendor's error, in whichever of their shapes."""
    while isinstance(told, dict):
        inner = told.get("error") or told.get("message") or told.get("detail")
        told = inner or told.get("code") or told.get("type") or "no reason given"
    return str(told)


def wait_seconds(headers: Mapping[str, str]) -> float | None:
    """How long a server asks to wait, 0 or more; None if it does not say, or not in a way to read.

    retry-after-ms, else Retry-After: seconds or an HTTP date.
    """
    for name, per_second in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) / per_second
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    try:
        when = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
        return max(0.0, when.timestamp() - time.time())
    except (ValueError, OverflowError):  # no date, or one that no calendar has
        return None


def read(content: bytes) -> Any:
    """The body of an error: JSON, or the text that it is."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content.decode("utf-8", "replace") or "no reason given"


def _is_unpaid(told: Any) -> bool:
    """Whether an error, of whatever status, says that nobody pays."""
    error = told.get("error") if isinstance(told, dict) else None
    if not isinstance(error, dict):
        return False
    details = error.get("details")
    codes = [error.get("code"), error.get("type")]
    codes += [details.get("error_code")] if isinstance(details, dict) else []
    is_said = str(error.get("message")).startswith(NO_CREDIT_SAID)
    return is_said or any(NO_CREDIT.fullmatch(str(code)) for code in codes)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or error.__context__
