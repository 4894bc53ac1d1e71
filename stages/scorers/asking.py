"""How a model is asked: blank texts are not shown to it, and no pair is shown twice."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import pandas as pd

from stages.pure.metrics import Value
from stages.pure.scoring import is_blank, model_values

Asked = TypeVar("Asked")


def ask_said(texts: pd.DataFrame, ask: Callable[[pd.DataFrame], np.ndarray]) -> list[Value]:
    """`ask` of the rows whose text is not blank (m numbers), as a Value per row of `texts`."""
    blank = is_blank(texts)
    numbers = np.full(len(texts), np.nan)
    if not blank.all():
        numbers[~blank] = ask(texts[~blank])
    return model_values(numbers, blank)


def score_distinct(
    score: Callable[[list[Asked], list[str]], np.ndarray],
    asked: Sequence[Asked],
    explanations: Sequence[str],
) -> np.ndarray:
    """`score` of each pair (n,), asked once per distinct pair, in sorted order.

    So the values do not depend on the order of the rows. Raises ValueError if `score`
    returns another number of values than it was asked for.
    """
    pairs = list(zip(asked, explanations, strict=True))
    if not pairs:
        return np.empty(0)
    distinct = sorted(set(pairs))  # type: ignore[type-var]
    values = score([a for a, _ in distinct], [b for _, b in distinct])
    of_pair = dict(zip(distinct, values, strict=True))
    return np.array([of_pair[pair] for pair in pairs], dtype=float)
