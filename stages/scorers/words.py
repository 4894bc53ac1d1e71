"""Length in words: what every scorer must be more than."""

from pathlib import Path

import pandas as pd

from stages.pure import metrics
from stages.pure.metrics import Value

MODELS: tuple[Path, ...] = ()


def words(texts: pd.DataFrame) -> list[Value]:
    """White-space words of each text (n,)."""
    return [metrics.words(text) for text in texts.explanation]


SCORERS = {"words": words}
