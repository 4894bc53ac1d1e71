"""The explanation-swap test: the same question with another question's explanation."""

import hashlib
from collections.abc import Callable

import numpy as np
import pandas as pd

Rate = Callable[[pd.DataFrame, list[str]], np.ndarray]  # questions, explanations -> stars (n,)


def partners(rows: pd.DataFrame) -> np.ndarray:
    """Position of the row whose explanation each row borrows, (n,) int; -1 = there is none.

    A partner is of the same course and fold, so that a cross-fitted model knows it as little as
    the row itself, and of another cluster. Rows stand in a ring by a digest of their id, and
    each takes the next one of another cluster: nearly every explanation is lent once, so
    own and borrowed texts are alike in quality and length, and a model that does not
    compare text and question prefers its own in one half.
    """
    digests = [hashlib.sha256(row_id.encode()).hexdigest() for row_id in rows.row_id]
    order = np.argsort(digests)
    clusters = rows.cluster_id.to_numpy()
    ring_of = rows.course.astype(str) + "/" + rows.fold.astype(str)
    found = np.full(len(rows), -1)
    for positions in pd.Series(order).groupby(ring_of.to_numpy()[order]):
        ring = positions[1].to_numpy()
        for start, position in enumerate(ring):
            others = np.roll(ring, -start)[1:]
            is_other = clusters[others] != clusters[position]
            if is_other.any():
                found[position] = others[is_other.argmax()]
    return found


def predictions(rows: pd.DataFrame, rate: Rate) -> pd.DataFrame:
    """The rows as schemas.predictions.Predictions, rated with own and with swapped texts."""
    partner = partners(rows)
    has_partner = partner >= 0
    swapped, words = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    lent = rows.iloc[partner[has_partner]]
    swapped[has_partner] = rate(rows[has_partner], lent.explanation.tolist())
    words[has_partner] = lent.explanation_words_n
    return pd.DataFrame(
        {
            "row_id": rows.row_id,
            "question_id": rows.question_id,
            "cluster_id": rows.cluster_id,
            "fold": rows.fold,
            "rating": rows.question_rating_mean,
            "ratings_n": rows.question_ratings_n,
            "words_n": rows.explanation_words_n,
            "predicted": rate(rows, rows.explanation.tolist()),
            "swapped": swapped,
            "swapped_words_n": words,
        }
    )
