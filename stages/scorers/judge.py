"""The judge: star ratings by a model that never met a train question.

Long texts are read in windows (stages/runtime/encoding/alignment.py), so none is too long.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from stages.pure.metrics import Value
from stages.runtime.encoding import alignment
from stages.scorers.asking import ask_said, kept_by, score_distinct

FOLDER = Path("models/verifier_judge")
MODELS = (FOLDER,)


def judge(texts: pd.DataFrame) -> list[Value]:
    """Stars of each text (n,), 0..5."""
    scorer = alignment.load(FOLDER)
    same = kept_by(__name__, FOLDER, scorer.encoder)

    def ask(said: pd.DataFrame) -> np.ndarray:
        asked = said.claim.tolist(), said.explanation.tolist()
        return score_distinct(scorer.ratings, *asked, "judge", same)

    return ask_said(texts, ask)


SCORERS = {"judge": judge}
