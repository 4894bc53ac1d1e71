"""Which train questions does the current policy still fail? (LLM2LLM, arXiv 2403.15042)

LLM2LLM augments only what the student model gets wrong, and never what is synthetic itself: here
only students' questions are asked about. A sample explains its question as far as it names the
key and a solver finds the key in it with the options hidden.
"""

import pandas as pd

from stages.pure import scoring
from stages.scorers import coverage, recoverability

MODELS = recoverability.MODELS


def explained(
    questions: pd.DataFrame, candidates: pd.DataFrame, negatives: pd.DataFrame
) -> "pd.Series[float]":
    """How well the policy's samples explain each question that they are of, 0..1, by question_id.

    The mean over its samples of P(key) by the solver, 0 where the key is not named. A sample
    that cannot be read explains nothing.
    """
    own = candidates[candidates.origin == "sft"]
    texts = scoring.texts_to_score(questions, own, negatives.head(0))
    named = [value.value or 0.0 for value in coverage.acr(texts)]
    found = [value.value or 0.0 for value in recoverability.recoverability(texts)]
    shown = [p if share > 0 else 0.0 for share, p in zip(named, found, strict=True)]
    return texts.assign(shown=shown).groupby("question_id").shown.mean()


def failed(
    questions: pd.DataFrame, candidates: pd.DataFrame, negatives: pd.DataFrame, below: float
) -> pd.DataFrame:
    """The candidates of the questions that the policy explains to less than `below`."""
    share = explained(questions, candidates, negatives)
    return candidates[candidates.question_id.isin(share.index[share < below])]
