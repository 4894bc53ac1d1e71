"""How a model is asked: blank texts are not shown to it, and no pair is shown twice."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from stages.pure.metrics import Value
from stages.pure.scored.scoring import is_blank, model_values
from stages.runtime import sources, store
from stages.runtime.loading import checkpoints, processor
from stages.runtime.loading.profile import Encoder, Model, Student

Asked = TypeVar("Asked")
BATCH = 512  # texts that are scored, and kept, together


def ask_said(texts: pd.DataFrame, ask: Callable[[pd.DataFrame], np.ndarray]) -> list[Value]:
    """`ask` of the rows whose text is not blank (m numbers), as a Value per row of `texts`."""
    blank = is_blank(texts)
    numbers = np.full(len(texts), np.nan)
    if not blank.all():
        numbers[~blank] = ask(texts[~blank])
    return model_values(numbers, blank)


def kept_by(module: str, folder: Path, how: Encoder | Student | Model, **parts: Any) -> str:
    """A digest of all but the text that can change what a scorer says: for the store of rows.

    module: of the scorer, with all that it imports; folder: of its model; how: what reads.
    """
    return store.digest_of(
        code=sources.code_digest(module),
        folder=checkpoints.model_digest(folder),
        machine=processor.identity(how.dtype, how.device, how.threads),
        **parts,
    )


def score_distinct(
    score: Callable[[list[Asked], list[str]], np.ndarray],
    asked: Sequence[Asked],
    explanations: Sequence[str],
    kind: str = "",
    same: str = "",
) -> np.ndarray:
    """`score` of each pair (n,), NaN where it has none; each distinct pair is asked once.

    kind, same: of the row store (kept_by); nothing is kept without them. The values must not
    depend on the order of the rows, nor on which are asked together. Raises ValueError if `score`
    returns another number of values than it was asked for.
    """

    def compute(pairs: list[tuple[Asked, str]]) -> list[float | str | None]:
        return [as_json(value) for value in score([a for a, _ in pairs], [b for _, b in pairs])]

    pairs = list(zip(asked, explanations, strict=True))
    if kind:
        values = store.remembered(kind, same, pairs, compute, BATCH)
    else:
        distinct = sorted(set(pairs))  # type: ignore[type-var]
        of_pair = dict(zip(distinct, compute(distinct) if distinct else [], strict=True))
        values = [of_pair[pair] for pair in pairs]
    return np.array(values, dtype=float)


def as_json(value: float) -> float | str | None:
    """A number as JSON holds it, for `float` to read: NaN is null, an infinity a text."""
    if np.isnan(value):
        return None
    return float(value) if np.isfinite(value) else str(float(value))
