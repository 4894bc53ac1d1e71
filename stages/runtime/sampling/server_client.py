"""A connection to an OpenAI-compatible server, and its errors in one line.

No other host is contacted: redirects and proxies are off. The key comes from PEERWISE_SERVER_KEY
alone; other variables of the client (OPENAI_...) are not used.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from schemas.errors import InputError

KEY = "PEERWISE_SERVER_KEY"  # environment variable
NO_KEY = "none"  # what a server without keys is told
LEFT_OUT = ("OpenAI-Organization", "OpenAI-Project")  # headers from other variables
CONNECT_SECONDS = 10.0
RETRIES = 2  # of the client, after errors that may pass
REASON_LENGTH = 200  # characters of a server's message


def base_url(url: str | None) -> str:
    """The profile's server_url with the interface's path; /v1 if it has none.

    Raises InputError for one that is missing, no address, or carries a password.
    """
    try:
        parts = urlsplit(url or "")
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # e.g. a port that is no number
        parts, is_address = urlsplit(""), False
    if not is_address or parts.query or parts.fragment:
        raise InputError(
            f"generation.server_url: {url!r} is no address of a server. Write it in the profile, "
            "e.g. http://localhost:8000/v1."
        )
    if parts.username is not None or parts.password is not None:
        raise InputError(
            f"generation.server_url: the address of {parts.hostname} holds a name or password, "
            f"which would be logged. Put the key into {KEY}."
        )
    found = str(url).rstrip("/")
    return found if parts.path.strip("/") else f"{found}/v1"


@contextmanager
def opened(url: str, seconds: float) -> Iterator[Any]:
    """An openai client of this server alone. seconds: for one answer, waiting included."""
    import openai

    client = openai.OpenAI(
        base_url=url,
        api_key=os.environ.get(KEY) or NO_KEY,
        max_retries=RETRIES,
        timeout=openai.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS)),
        default_headers=dict.fromkeys(LEFT_OUT, openai.Omit()),  # type: ignore[arg-type]
        http_client=openai.DefaultHttpxClient(
            trust_env=False,
            follow_redirects=False,
        ),
    )
    with client:
        yield client


def is_unreachable(error: Exception) -> bool:
    """Whether there was no connection at all."""
    import openai

    is_late = isinstance(error, openai.APITimeoutError)
    return isinstance(error, openai.APIConnectionError) and not is_late


def is_refusal(error: Exception) -> bool:
    """Whether the fields of a request are not to the server's taste."""
    import openai

    return isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError)


def raise_final(url: str, name: str, error: Exception) -> None:
    """Raise InputError for what asking again does not change: the key or the model's name."""
    import openai

    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        raise InputError(f"{url}: {reason_of(error)} Put its key into {KEY}.") from error
    if isinstance(error, openai.NotFoundError):
        raise InputError(
            f"{url}: model '{name}': {reason_of(error)} Name what the server serves in "
            "generation.server_models of the profile."
        ) from error


def unanswered(url: str, name: str, error: Exception) -> InputError:
    """The first request of a run got no answer."""
    if is_unreachable(error):
        return InputError(
            f"{url}: no server can be reached ({reason_of(error)}) Start it, or change "
            "generation.server_url of the profile."
        )
    return InputError(f"{url}: model '{name}' does not answer: {reason_of(error)}")


def reason_of(error: Exception) -> str:
    """What went wrong, in one line without the key."""
    told = f"{error} {error.__cause__ or ''}" if is_unreachable(error) else str(error)
    key = os.environ.get(KEY)
    if key:
        told = told.replace(key, "***")
    told = " ".join(told.split())[:REASON_LENGTH].rstrip(".")
    return f"{told or type(error).__name__}."
