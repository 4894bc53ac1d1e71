"""Linear heads on agreement features: which columns each sees, how strongly it is penalised.

F = features that a head sees, n = rows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stages.runtime.encoding import agreement

FOLDS = 5  # of the cross-validation that chooses the penalty; whole clusters each
# Penalties to choose from, strongest first: a curve then goes from the constant to the fit.
RIDGE_PENALTIES = [10.0**k for k in (4, 3.5, 3, 2.5, 2, 1.5, 1, 0.5, 0)]
# Scale of the explanation's own vector, when that of every other feature is 1. 0 leaves it out.
VECTOR_SCALES = [0.0, 0.1, 0.2]
LOGISTIC_PENALTIES = [10.0**k for k in (4, 3, 2, 1, 0, -1)]
AGREEMENT, VECTOR = "agreement", "vector"  # blocks of features
SCALES = "columns__transformer_weights"


@dataclass(frozen=True)
class Kind:
    """What tells the two scorers apart."""

    columns: slice  # the features that it sees
    is_regression: bool


KINDS = {
    "rating": Kind(slice(None), is_regression=True),
    "entailment": Kind(agreement.ENTAILMENT, is_regression=False),
}


def fit(
    kind: Kind, rows: np.ndarray, targets: np.ndarray, weights: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, float, pd.DataFrame]:
    """Weights (F,) and intercept that cross-validate best, and the losses along the penalties.

    rows: (n, F) features, those of `kind`. The other arrays are (n,); groups: two at least.
    """
    search = search_of(kind, min(FOLDS, len(set(groups))))
    with one_thread():
        search.fit(rows, targets, groups=groups, head__sample_weight=weights)
    return *linear_of(search), path_of(kind, search)


def linear_of(search: Any) -> tuple[np.ndarray, float]:
    """Weights (F,) and intercept of a fitted linear pipeline, for features as they are.

    Standardising and scaling are linear, too: values at 0 and at the unit vectors say all.
    """
    width = search.n_features_in_
    asked = np.vstack([np.zeros(width), np.eye(width)])
    answer = getattr(search, "decision_function", search.predict)(asked)
    return answer[1:] - answer[0], float(answer[0])


def one_thread() -> Any:
    """A context in which linear algebra has one thread: how sums are split changes them."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


def search_of(kind: Kind, folds: int) -> Any:
    """Cross-validation over the penalties of a ridge or logistic regression.

    Features have mean 0 and standard deviation 1, but the explanation's vector, which only a
    ridge regression sees, has one of VECTOR_SCALES.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    blocks = [(AGREEMENT, StandardScaler(), slice(0, agreement.FEATURES))]
    if kind.is_regression:
        head, scoring = Ridge(), "neg_mean_squared_error"
        blocks.append((VECTOR, StandardScaler(), slice(agreement.FEATURES, None)))
        grid: dict[str, Any] = {"head__alpha": RIDGE_PENALTIES}
        grid[SCALES] = [{AGREEMENT: 1.0, VECTOR: scale} for scale in VECTOR_SCALES]
    else:
        head, scoring = LogisticRegression(max_iter=2000), "neg_log_loss"
        grid = {"head__C": [1 / penalty for penalty in LOGISTIC_PENALTIES]}
    return GridSearchCV(
        Pipeline([("columns", ColumnTransformer(blocks)), ("head", head)]),
        grid,
        scoring=scoring,
        cv=GroupKFold(folds),
        return_train_score=True,
        error_score="raise",
    )


def path_of(kind: Kind, search: Any) -> pd.DataFrame:
    """The losses along the penalties at the chosen scale, strongest penalty first."""
    found, best = search.cv_results_, search.best_params_.get(SCALES, {VECTOR: 0.0})
    scales = [tried.get(SCALES, best)[VECTOR] for tried in found["params"]]
    own = np.flatnonzero(np.array(scales) == best[VECTOR])
    penalties = RIDGE_PENALTIES if kind.is_regression else LOGISTIC_PENALTIES
    return pd.DataFrame(
        {
            "step": np.arange(1, len(penalties) + 1),
            "penalty": penalties,
            "vector_scale": best[VECTOR],
            "loss": -found["mean_train_score"][own],
            "eval_loss": -found["mean_test_score"][own],
        }
    )
