"""Connections that reach one host with one key, and take nothing else from the environment.

Both vendors' clients read variables (addresses, organisations, headers, proxies, other keys).
What is sent is decided here instead: a request leaves with the headers below and no others.
"""

import os
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx2

from schemas.errors import InputError

CONNECT_SECONDS = 10.0
BATCH_SECONDS = 600.0  # to send or fetch a file of 200 MB
USER_AGENT = "peerwise-explanations"
SENT = {
    *("accept", "accept-encoding", "connection", "content-length", "content-type"),
    *("transfer-encoding", "anthropic-version"),
    "x-stainless-raw-response",  # the clients look there whether to hand over the answer unread
}


def key_in(name: str) -> str | None:
    """The key in an environment variable; None if there is none.

    Raises InputError for one that cannot be sent, e.g. with a line break: the client would show
    it in its error.
    """
    key = os.environ.get(name) or None
    if key and not re.fullmatch(r"[!-~]+", key):
        raise InputError(
            f"{name}: the key holds a space, a line break or a letter that no key has. Set the "
            "variable to the key alone."
        )
    return key


def required_key(name: str) -> str:
    """The key in an environment variable. Raises InputError if there is none."""
    key = key_in(name)
    if not key:
        raise InputError(f"{name}: this environment variable is not set. Put the key into it.")
    return key


def timeout(seconds: float) -> httpx2.Timeout:
    """seconds: from the request to the end of its answer, with CONNECT_SECONDS at most before."""
    return httpx2.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))


def http_client(key: str | None, seconds: float) -> httpx2.Client:
    """What a vendor's client sends its requests with: no proxy, no redirect, `key` alone."""

    def before(request: httpx2.Request) -> None:
        for name in set(request.headers) - SENT:
            del request.headers[name]
        request.headers["host"] = request.url.netloc.decode("ascii")
        request.headers["user-agent"] = USER_AGENT
        if key:
            request.headers["authorization"] = f"Bearer {key}"
        allowed = request.extensions["timeout"]["read"]
        request.extensions["ends"] = time.monotonic() + allowed

    def after(response: httpx2.Response) -> None:
        response.stream = Timed(response)

    return httpx2.Client(
        trust_env=False,
        follow_redirects=False,
        timeout=timeout(seconds),
        limits=httpx2.Limits(max_connections=1000, max_keepalive_connections=100),
        event_hooks={"request": [before], "response": [after]},
    )


class Timed(httpx2.SyncByteStream):
    """The body of an answer. One that comes in drips is late too: a time-out is per drip."""

    def __init__(self, response: httpx2.Response):
        self.stream: Any = response.stream
        self.request = response.request

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.stream:
            if time.monotonic() > self.request.extensions["ends"]:
                raise httpx2.ReadTimeout("The answer took too long.", request=self.request)
            yield piece

    def close(self) -> None:
        """Give the connection back."""
        self.stream.close()
