"""Batches as vendors take and give them: parts that are not too large, and one JSON per line."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from stages.runtime.asking.calls import Ask


def in_parts(
    asks: Sequence[Ask], size: Callable[[Ask], int], most_n: int, most_bytes: int
) -> list[list[Ask]]:
    """The requests in their order, in parts of at most most_n requests and most_bytes bytes.

    size: bytes of one request. One that is larger by itself gets a part of its own, to be refused
    by the vendor alone.
    """
    parts: list[list[Ask]] = []
    filled = 0
    for ask in asks:
        bytes_n = size(ask)
        if not parts or len(parts[-1]) == most_n or filled + bytes_n > most_bytes:
            parts.append([])
            filled = 0
        parts[-1].append(ask)
        filled += bytes_n
    return parts


def line(row: dict[str, Any]) -> bytes:
    """One line of a file of requests."""
    return json.dumps(row).encode() + b"\n"


def rows(content: bytes) -> Iterator[dict[str, Any]]:
    """The lines of a file of results that can be read and carry a name.

    Split at line feeds alone: JSON may hold the other characters that Python takes for line ends.
    """
    for one in content.split(b"\n"):
        try:
            row = json.loads(one)
        except (ValueError, RecursionError):
            continue  # its name is missing then, and is asked again
        if isinstance(row, dict) and isinstance(row.get("custom_id"), str):
            yield row
