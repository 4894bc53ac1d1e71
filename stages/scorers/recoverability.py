"""Recoverability: does an explanation still point to the key when no option is named?

The letters and texts of all options are hidden, and a solver that has not seen the question
says how likely the key is, 0..1 (upstream's recoverability without its price per word, which
belongs to the reward). 1/options for a text that speaks for no option.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from stages.pure import prompts
from stages.pure.metrics import Value
from stages.pure.scored import masking, solving
from stages.pure.scored.scoring import rows_of
from stages.runtime import solver, store
from stages.scorers.asking import BATCH, ask_said, kept_by

FOLDER = Path("models/solver")
MODELS = (FOLDER,)


def recoverability(texts: pd.DataFrame) -> list[Value]:
    """P(key | masked explanation) of the solver, one per row."""
    reader = solver.load(FOLDER)
    same = kept_by(__name__, FOLDER, reader.encoder)

    def compute(asked: list[tuple[tuple[str, ...], str]]) -> list[list[float]]:
        found = reader.probabilities([options for options, _ in asked], [text for _, text in asked])
        return [likely.tolist() for likely in found]

    def ask(said: pd.DataFrame) -> np.ndarray:
        rows = rows_of(said)
        asked = [
            (tuple(prompts.options(row)), masking.mask(row["explanation"], masking.options_of(row)))
            for row in rows
        ]
        likely = store.remembered("recoverability", same, asked, compute, BATCH)
        keys = (solving.place_of_key(row) for row in rows)
        return np.array([of[key] for of, key in zip(likely, keys, strict=True)])

    return ask_said(texts, ask)


SCORERS = {"recoverability": recoverability}
