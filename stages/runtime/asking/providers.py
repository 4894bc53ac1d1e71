"""Which provider is asked, and whether its address may be trusted with a key."""

import ipaddress
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

from schemas.errors import InputError, nearest
from stages.runtime.asking import anthropic_messages, connection, openai_chat
from stages.runtime.asking.anthropic_messages import AnthropicMessages
from stages.runtime.asking.calls import Provider
from stages.runtime.asking.openai_chat import OpenAIChat

KEYS = {  # provider: the environment variable with its key
    "openai": openai_chat.OPENAI_KEY,
    "anthropic": anthropic_messages.KEY,
    "compatible": openai_chat.SERVER_KEY,
}


@contextmanager
def opened(provider: str, model: str, base_url: str | None, seconds: float) -> Iterator[Provider]:
    """A model of `openai`, `anthropic` or of a server that is OpenAI-`compatible`.

    base_url: of a gateway, a region or a server; None = the vendor's own. seconds: for one answer.
    Raises InputError for an unknown provider, an address or a key that is missing or none, and a
    key that would cross a network unencrypted.
    """
    if provider not in KEYS:
        raise InputError(f"provider: '{provider}' is unknown. {nearest(provider, KEYS)}")
    if base_url is None and provider == "compatible":
        raise InputError(
            "base_url: missing. A compatible server is known by its address, e.g. "
            "http://localhost:8000/v1."
        )
    url = None if base_url is None else address(base_url, provider)
    if url and connection.key_in(KEYS[provider]):
        refuse_clear_text(url, KEYS[provider])
    made: Provider
    if provider == "anthropic":
        made = AnthropicMessages(model, url, seconds)
    else:
        made = OpenAIChat(model, url, seconds, key_name=KEYS[provider])
    with closing(made):
        yield made


def address(url: str, provider: str) -> str:
    """The address as the vendor's client takes it: with /v1 for OpenAI's interface, else without.

    Raises InputError for one that is no address, or holds a password.
    """
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # e.g. a port that is no number
        parts, is_address = urlsplit(""), False
    if "@" in url or parts.query or parts.fragment:
        raise InputError(
            f"base_url: the address of {parts.hostname} holds a name, a password or a query, which "
            f"would be logged. Leave them out; the key belongs into {KEYS[provider]}."
        )
    is_plain = all(one.isascii() and one.isprintable() and one not in " \\" for one in url)
    if not is_address or not is_plain:
        raise InputError(
            f"base_url: {url!r} is no address of a server. Write e.g. http://localhost:8000/v1."
        )
    found = url.rstrip("/")
    if provider == "anthropic":
        return found.removesuffix("/v1")
    return found if parts.path.strip("/") else f"{found}/v1"


def refuse_clear_text(url: str, key_name: str) -> None:
    """Raise InputError if a key would cross a network where others can read it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        is_here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_here = host == "localhost"
    if parts.scheme == "http" and not is_here:
        raise InputError(
            f"base_url: {url} is not encrypted, and the key in {key_name} would be sent to it. "
            f"Use https, or unset {key_name} if the server needs no key."
        )
