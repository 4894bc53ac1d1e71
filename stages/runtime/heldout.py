"""Judge and entailment scorer by what they are asked. They select nothing (role heldout).

n = number of texts. Long texts are read in windows (stages/runtime/alignment.py), so none is
too long. Callers leave out empty texts.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from stages.runtime import alignment
from stages.runtime.alignment import Claim
from stages.runtime.scorers import score_distinct


def judge_ratings(folder: Path, claims: Sequence[Claim], explanations: Sequence[str]) -> np.ndarray:
    """Stars (n,) of the judge, 0..5. claims: the key of each question."""
    return score_distinct(alignment.load(folder).ratings, claims, explanations)


def entailment_probabilities(
    folder: Path, claims: Sequence[Claim], explanations: Sequence[str], is_bare: bool = False
) -> np.ndarray:
    """P(explanation entails claim) (n,), 0..1. is_bare: the claim is the option alone."""
    entailed = partial(alignment.load(folder).probabilities, is_bare=is_bare)
    return score_distinct(entailed, claims, explanations)
