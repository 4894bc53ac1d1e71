"""Answer coverage: does a text name the key? A rule, no model."""

from pathlib import Path

import pandas as pd

from stages.pure import metrics
from stages.pure.metrics import Value

MODELS: tuple[Path, ...] = ()


def acr(texts: pd.DataFrame) -> list[Value]:
    """Share of the key's terms in each text (n,), whole tokens, 0..1."""
    return [metrics.acr(*row) for row in zip(texts.explanation, texts.key_text, strict=True)]


def acr_upstream(texts: pd.DataFrame) -> list[Value]:
    """Share of the key's long words in each text (n,), as prior code counts it, 0..1."""
    rows = zip(texts.explanation, texts.key_text, strict=True)
    return [metrics.acr_upstream(*row) for row in rows]


def is_evasive(texts: pd.DataFrame) -> list[Value]:
    """1 for each text (n,) that names nothing of the key, else 0."""
    return [metrics.is_evasive(*row) for row in zip(texts.explanation, texts.key_text, strict=True)]


SCORERS = {"acr": acr, "acr_upstream": acr_upstream, "is_evasive": is_evasive}
