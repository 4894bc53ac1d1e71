"""What can be predicted of a rating without reading an explanation against its question.

Three baselines that a verifier must be compared with: the question alone, the word count, and
the words of the explanation without their order. They learn from the rows that the
verifier learned from and predict the same rows.
"""

import numpy as np
import pandas as pd

from stages.pure.prompts import render_prompt

PENALTIES = [0.1, 1.0, 10.0, 100.0, 1000.0]  # of the ridge; cross-validation chooses
FOLDS = 5  # of that cross-validation, whole clusters each
TOKEN = r"\w+|[^\w\s]+"  # every visible text has one, so no vocabulary is empty


def predict(known: pd.DataFrame, asked: pd.DataFrame) -> pd.DataFrame:
    """`asked` with the columns question_only and bag_of_words (stars), fitted on `known`.

    Both are rows of schemas.questions.Questions. Null where `known` has fewer than two clusters.
    """
    texts = {"question_only": questions, "bag_of_words": explanations}
    made = {name: ridge(text(known), known, text(asked)) for name, text in texts.items()}
    return asked.assign(**made)


def questions(rows: pd.DataFrame) -> list[str]:
    """Stem, options and key as text, without the explanation."""
    return [render_prompt(row) for row in rows.to_dict("records")]


def explanations(rows: pd.DataFrame) -> list[str]:
    """The explanations as they are."""
    return [str(text) for text in rows.explanation]


def ridge(texts: list[str], known: pd.DataFrame, asked: list[str]) -> np.ndarray:
    """Stars (n,) of `asked` by a ridge regression on TF-IDF, each row weighted by its ratings.

    The penalty is the one that cross-validates best over clusters. NaN with fewer than two
    clusters to learn from.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.pipeline import Pipeline

    clusters = known.cluster_id.nunique()
    if clusters < 2 or not asked:
        return np.full(len(asked), np.nan)
    steps = [
        ("words", TfidfVectorizer(token_pattern=TOKEN, sublinear_tf=True)),
        ("head", Ridge(solver="sparse_cg", tol=1e-6)),
    ]
    search = GridSearchCV(
        Pipeline(steps),
        {"head__alpha": PENALTIES},
        scoring="neg_mean_squared_error",
        cv=GroupKFold(min(FOLDS, clusters)),
        error_score="raise",
    )
    weights = known.question_ratings_n.clip(lower=1).to_numpy(float)
    target = known.question_rating_mean.to_numpy(float)
    search.fit(texts, target, groups=known.cluster_id.to_numpy(), head__sample_weight=weights)
    return np.clip(search.predict(asked), 0.0, 5.0)
