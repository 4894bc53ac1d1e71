"""The trained scorers by what they are asked: star ratings and entailment.

Every text is scored once however often it occurs, in sorted order, so that the values do
not depend on the order of the rows. A value is NaN where a scorer cannot read the text
because it is too long; callers leave out empty texts. n = number of texts.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from stages.runtime import alignment, classifiers
from stages.runtime.alignment import Claim

NOT_TRAINED_ON = -1  # the fold of a question that neither half of the verifier has seen
FOLDS = (0, 1)
Asked = TypeVar("Asked", str, Claim)


def verifier_ratings(
    folder: Path, prompts: Sequence[str], explanations: Sequence[str], folds: np.ndarray
) -> np.ndarray:
    """Stars (n,) of the cross-fitted verifier, 0..5.

    folder / "fold_k" was trained on the train questions of the other fold, so a train
    question of fold k is rated by it alone; with fold -1 (no train question) the value is
    the mean of both. One of them is in memory at a time.

    prompts: stages.pure.prompts.render_prompt of each question. Raises ValueError for
    folds that do not align or are not -1, 0 or 1.
    """
    folds = np.asarray(folds)
    if folds.shape != (len(explanations),) or not np.isin(folds, (NOT_TRAINED_ON, *FOLDS)).all():
        raise ValueError(f"{len(explanations)} folds of -1, 0 or 1 expected, got {folds!r}")
    by_fold = np.full((len(FOLDS), len(explanations)), np.nan)
    for fold in FOLDS:
        asked = np.flatnonzero((folds == fold) | (folds == NOT_TRAINED_ON)).tolist()
        if asked:
            rate = classifiers.load(folder / f"fold_{fold}").ratings
            columns = [prompts[i] for i in asked], [explanations[i] for i in asked]
            by_fold[fold, asked] = score_distinct(rate, *columns)
    # a mean with a NaN is NaN: half a verifier is not the verifier
    return np.where(folds == 0, by_fold[0], np.where(folds == 1, by_fold[1], by_fold.mean(axis=0)))


def judge_ratings(folder: Path, claims: Sequence[Claim], explanations: Sequence[str]) -> np.ndarray:
    """Stars (n,) of the judge, 0..5. claims: the key of each question."""
    return score_distinct(alignment.load(folder).ratings, claims, explanations)


def entailment_probabilities(
    folder: Path, claims: Sequence[Claim], explanations: Sequence[str], is_bare: bool = False
) -> np.ndarray:
    """P(explanation entails claim) (n,), 0..1. is_bare: the claim is the option alone."""
    entailed = partial(alignment.load(folder).probabilities, is_bare=is_bare)
    return score_distinct(entailed, claims, explanations)


def score_distinct(
    score: Callable[[list[Asked], list[str]], np.ndarray],
    asked: Sequence[Asked],
    explanations: Sequence[str],
) -> np.ndarray:
    """`score` of each pair (n,), asked once per distinct pair.

    Raises ValueError if `score` returns another number of values than it was asked for.
    """
    pairs = list(zip(asked, explanations, strict=True))
    if not pairs:
        return np.empty(0)
    distinct = sorted(set(pairs))
    values = score([a for a, _ in distinct], [b for _, b in distinct])
    of_pair = dict(zip(distinct, values, strict=True))
    return np.array([of_pair[pair] for pair in pairs], dtype=float)
