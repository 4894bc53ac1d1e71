"""The reward verifier: star ratings of explanations by the cross-fitted adapters."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from stages.pure.metrics import Value
from stages.pure.scored.scoring import NOT_TRAINED_ON
from stages.runtime import classifiers, sources, store
from stages.runtime.classifiers import Classifier
from stages.runtime.loading.checkpoints import BASE_DIR
from stages.scorers.asking import ask_said, score_distinct

FOLDER = Path("models/verifier_reward")
MODELS = (BASE_DIR, FOLDER)


def ratings(
    halves: Mapping[int, Classifier],
    prompts: Sequence[str],
    explanations: Sequence[str],
    folds: np.ndarray,
) -> np.ndarray:
    """Stars (n,) of the cross-fitted verifier, 0..5; NaN for a text that is too long to read.

    halves: classifiers.load_folds. Half k was trained on the train questions of the other
    fold, so a train question of fold k is rated by it alone; with fold -1 (no train
    question) the value is the mean of both.

    prompts: stages.pure.prompts.render_prompt of each question; explanations: as
    stages.pure.scored.marks.mark_options gives them, which is how the verifier learned. Raises
    ValueError for folds that do not align or are neither -1 nor one of the halves.
    """
    folds = np.asarray(folds)
    if folds.shape != (len(explanations),) or not np.isin(folds, (NOT_TRAINED_ON, *halves)).all():
        raise ValueError(f"{len(explanations)} folds of -1 or {[*halves]} expected, got {folds!r}")
    by_fold = np.full((len(halves), len(explanations)), np.nan)
    for fold, half in halves.items():
        asked = np.flatnonzero((folds == fold) | (folds == NOT_TRAINED_ON)).tolist()
        if asked:
            columns = [prompts[i] for i in asked], [explanations[i] for i in asked]
            by_fold[fold, asked] = score_distinct(half.ratings, *columns, *kept(half))
    # a mean with a NaN is NaN: half a verifier is not the verifier
    return np.where(folds == 0, by_fold[0], np.where(folds == 1, by_fold[1], by_fold.mean(axis=0)))


def kept(half: Classifier) -> tuple[str, str]:
    """Kind and key of a half's numbers in the row store; of one that is not saved, nothing."""
    if not half.identity:
        return "", ""
    code = sources.code_digest(__name__)
    return "verifier", store.digest_of(half=half.identity, code=code)


def verifier(texts: pd.DataFrame) -> list[Value]:
    """Stars of each text (n,)."""
    halves = classifiers.load_folds(FOLDER)
    return ask_said(
        texts,
        lambda said: ratings(
            halves, said.prompt.tolist(), said.marked.tolist(), said.fold.to_numpy()
        ),
    )


SCORERS = {"verifier": verifier}
