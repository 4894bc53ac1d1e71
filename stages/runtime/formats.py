"""How a stage's results become bytes. Every stage depends on this file."""

import json
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import pandas as pd

PARQUET: dict[str, Any] = {"index": False, "compression": "zstd"}  # arguments of to_parquet


def in_order(table: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
    """The rows by their key, so that the order in which they were computed leaves no trace."""
    return table.sort_values(list(key), kind="stable", ignore_index=True) if key else table


def metrics_text(metrics: Mapping[str, float], details: Mapping[str, Any] | None) -> str:
    """The JSON of a stage's report: metrics, and `details` beside them if there are any.

    Raises ValueError for NaN and infinity.
    """
    # NumPy's integers are no JSON numbers
    numbers = {name: int(v) if isinstance(v, Integral) else float(v) for name, v in metrics.items()}
    body: dict[str, Any] = {"metrics": numbers} | ({} if details is None else {"details": details})
    text = json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text + "\n"


def curve_text(curve: pd.DataFrame) -> str:
    """The CSV of a training curve, six significant digits.

    A training shorter than the logging interval has no column, but a CSV needs a header.
    """
    if not len(curve.columns):
        curve = pd.DataFrame({"step": []})
    return str(curve.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
