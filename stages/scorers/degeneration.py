"""Flags of a degenerate text: 1 is bad. Rules, no model.

Prior code counts four failures of its SFT outputs (answer evasion, loops, web addresses, long
without entailing); `is_evasive` is in coverage.py and `is_verbose` in entailment.py, whose
signals they repeat.
"""

from pathlib import Path

import pandas as pd

from stages.pure import metrics
from stages.pure.metrics import Value

MODELS: tuple[Path, ...] = ()


def is_loop(texts: pd.DataFrame) -> list[Value]:
    """1 for each text (n,) in which a 6-gram occurs twice."""
    return [metrics.is_loop(text) for text in texts.explanation]


def has_url(texts: pd.DataFrame) -> list[Value]:
    """1 for each text (n,) with a web address."""
    return [metrics.has_url(text) for text in texts.explanation]


SCORERS = {"is_loop": is_loop, "has_url": has_url}
