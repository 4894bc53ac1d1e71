"""Documents -> rows of equal length: token ids, and where the loss counts."""

from dataclasses import dataclass

import numpy as np

from schemas.errors import InputError

LENGTH_STEP = 8  # tokens


@dataclass(frozen=True)
class Document:
    """Token ids, and from which of them on the loss counts (0 = all)."""

    ids: list[int]
    loss_from: int


def pack(documents: list[Document], length: int, pad: int, rng: np.random.Generator) -> np.ndarray:
    """Whole documents in random order, as many per row as fit: int64 (rows, 2, length).

    [:, 0] are token ids, [:, 1] labels: the id where the loss counts, else -100.
    """
    rows: list[tuple[list[int], list[int]]] = []
    ids: list[int] = []
    labels: list[int] = []
    for index in rng.permutation(len(documents)):
        document = documents[index]
        if len(document.ids) > length:
            continue
        if len(ids) + len(document.ids) > length:
            rows.append((ids, labels))
            ids, labels = [], []
        ids = ids + document.ids
        labels = labels + [-100] * document.loss_from + document.ids[document.loss_from :]
    rows.append((ids, labels))
    filled = [(i + [pad] * (length - len(i)), c + [-100] * (length - len(c))) for i, c in rows]
    return np.array(filled, dtype=np.int64)


def one_per_row(documents: list[Document], pad: int) -> np.ndarray:
    """Each document alone in a row as long as the longest: int64 (rows, 2, length).

    The length is rounded up to a multiple of LENGTH_STEP, so that batches have few shapes.
    """
    longest = max(len(document.ids) for document in documents)
    length = longest + -longest % LENGTH_STEP
    return np.concatenate([pack([d], length, pad, np.random.default_rng(0)) for d in documents])


class Stream:
    """Endless packed rows of one kind of document; packed anew for each pass.

    Raises InputError if no document fits into a row.
    """

    def __init__(self, documents: list[Document], length: int, pad: int, seed: int):
        if not any(len(document.ids) <= length for document in documents):
            raise InputError(
                f"stages/profiles: base.sequence_length {length} is shorter than each of "
                f"{len(documents)} texts to read. Raise it."
            )
        self.documents, self.length, self.pad = documents, length, pad
        self.rng = np.random.default_rng(seed)
        self.rows = np.empty((0, 2, length), dtype=np.int64)

    def take(self, count: int) -> np.ndarray:
        """The next `count` rows."""
        while len(self.rows) < count:
            more = pack(self.documents, self.length, self.pad, self.rng)
            self.rows = np.concatenate([self.rows, more])
        taken, self.rows = self.rows[:count], self.rows[count:]
        return taken
