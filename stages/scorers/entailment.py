"""P(an explanation entails that an option is right): the key, its bare text, its rivals.

Long texts are read in windows (stages/runtime/encoding/alignment.py), so none is too long.
"""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from stages.pure import metrics
from stages.pure.metrics import Value
from stages.pure.scored import scoring
from stages.runtime.encoding import alignment
from stages.scorers.asking import ask_said, kept_by, score_distinct

FOLDER = Path("models/entailment")
MODELS = (FOLDER,)


def probabilities(claims: list, explanations: list[str], is_bare: bool = False) -> np.ndarray:
    """P(explanation entails claim) (n,), 0..1. is_bare: the claim is the option alone."""
    scorer = alignment.load(FOLDER)
    entailed = partial(scorer.probabilities, is_bare=is_bare)
    same = kept_by(__name__, FOLDER, scorer.encoder, is_bare=is_bare)
    return score_distinct(entailed, claims, explanations, "entailment", same)


def entailment(texts: pd.DataFrame, is_bare: bool = False) -> list[Value]:
    """P(entails "the correct answer to <stem> is <key>") of each text (n,), 0..1."""
    return ask_said(
        texts,
        lambda said: probabilities(said.claim.tolist(), said.explanation.tolist(), is_bare),
    )


def entailment_upstream(texts: pd.DataFrame) -> list[Value]:
    """P(entails the key's bare text) of each text (n,), 0..1: prior code's hypothesis."""
    return entailment(texts, is_bare=True)


def entailment_margin(texts: pd.DataFrame) -> list[Value]:
    """P(entails the key) minus that of the best wrong option, of each text (n,), -1..1."""
    rivals = scoring.rival_claims(texts)
    of_rivals = probabilities(rivals.claim.tolist(), rivals.explanation.tolist())
    return scoring.margins(texts, entailment(texts), rivals, of_rivals)


def is_verbose(texts: pd.DataFrame) -> list[Value]:
    """Prior code's fourth failure detector (n,): long, and does not entail the bare option."""
    entailed = entailment_upstream(texts)
    return [
        value if value.value is None else metrics.is_verbose(text, value.value)
        for text, value in zip(texts.explanation, entailed, strict=True)
    ]


SCORERS = {
    "entailment": entailment,
    "entailment_upstream": entailment_upstream,
    "entailment_margin": entailment_margin,
    "is_verbose": is_verbose,
}
