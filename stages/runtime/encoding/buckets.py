"""Batches of one padded length, so that what is read of a text is the same in any company.

On a CPU the padded length of a batch decides in which order attention adds up; the number of
rows and the place among them do not, and a matrix product gives each row the same bits from
LEAST_TOKENS rows on. So a text's padded length follows from its own length alone.
"""

from collections.abc import Iterator, Sequence

STEP = 4  # tokens; short texts are many, and a wider step would be padding for them
LEAST_TOKENS = 16  # of a batch, so of the matrix products; fewer are added in another order


def room(length: int, step: int = STEP) -> int:
    """The padded length of a text: the next multiple of `step`."""
    return max(1, -(-length // step)) * step


def batches(
    lengths: Sequence[int], batch_size: int, step: int = STEP
) -> Iterator[tuple[list[int], int]]:
    """(places of texts that are read together, their padded length), short texts first.

    A batch of too few tokens holds its first place several times: the same is read of each.
    """
    rooms: dict[int, list[int]] = {}
    for place, length in enumerate(lengths):
        rooms.setdefault(room(length, step), []).append(place)
    for length, places in sorted(rooms.items()):
        for start in range(0, len(places), batch_size):
            batch = places[start : start + batch_size]
            missing = max(0, -(-LEAST_TOKENS // length) - len(batch))
            yield batch + batch[:1] * missing, length
