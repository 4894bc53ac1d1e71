"""Recoverability: does an explanation still point to the key when no option is named?

The letters and texts of all options are hidden, and a solver that has not seen the question
says how likely the key is, 0..1 (upstream's recoverability without its price per word, which
belongs to the reward). 1/options for a text that speaks for no option.
"""

from pathlib import Path

import pandas as pd

from stages.pure import masking, prompts, solving
from stages.pure.metrics import Value
from stages.runtime import solver

FOLDER = Path("models/solver")
MODELS = (FOLDER,)


def recoverability(texts: pd.DataFrame) -> list[Value]:
    """P(key | masked explanation) of the solver, one per row."""
    rows = texts.to_dict("records")
    said = [row for row in rows if row["explanation"].strip()]
    masked = [masking.mask(row["explanation"], masking.options_of(row)) for row in said]
    options = [tuple(prompts.options(row)) for row in said]
    likely = solver.load(FOLDER).probabilities(options, masked)
    values = (
        Value(float(found[solving.place_of_key(row)]))
        for found, row in zip(likely, said, strict=True)
    )
    empty = Value(None, "empty_text")
    return [next(values) if row["explanation"].strip() else empty for row in rows]


SCORERS = {"recoverability": recoverability}
