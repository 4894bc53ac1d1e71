"""The verifier by what it is asked: star ratings of explanations, one per distinct text.

Every text is scored once however often it occurs, in sorted order, so that the values do
not depend on the order of the rows. A value is NaN where the verifier cannot read the text
because it is too long; callers leave out empty texts. n = number of texts.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from stages.runtime.classifiers import Classifier

NOT_TRAINED_ON = -1  # the fold of a question that neither half of the verifier has seen
Asked = TypeVar("Asked")


def verifier_ratings(
    halves: Mapping[int, Classifier],
    prompts: Sequence[str],
    explanations: Sequence[str],
    folds: np.ndarray,
) -> np.ndarray:
    """Stars (n,) of the cross-fitted verifier, 0..5.

    halves: classifiers.load_folds. Half k was trained on the train questions of the other
    fold, so a train question of fold k is rated by it alone; with fold -1 (no train
    question) the value is the mean of both.

    prompts: stages.pure.prompts.render_prompt of each question. Raises ValueError for
    folds that do not align or are neither -1 nor one of the halves.
    """
    folds = np.asarray(folds)
    if folds.shape != (len(explanations),) or not np.isin(folds, (NOT_TRAINED_ON, *halves)).all():
        raise ValueError(f"{len(explanations)} folds of -1 or {[*halves]} expected, got {folds!r}")
    by_fold = np.full((len(halves), len(explanations)), np.nan)
    for fold, half in halves.items():
        asked = np.flatnonzero((folds == fold) | (folds == NOT_TRAINED_ON)).tolist()
        if asked:
            columns = [prompts[i] for i in asked], [explanations[i] for i in asked]
            by_fold[fold, asked] = score_distinct(half.ratings, *columns)
    # a mean with a NaN is NaN: half a verifier is not the verifier
    return np.where(folds == 0, by_fold[0], np.where(folds == 1, by_fold[1], by_fold.mean(axis=0)))


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
    distinct = sorted(set(pairs))  # type: ignore[type-var]
    values = score([a for a, _ in distinct], [b for _, b in distinct])
    of_pair = dict(zip(distinct, values, strict=True))
    return np.array([of_pair[pair] for pair in pairs], dtype=float)
