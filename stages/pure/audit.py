"""Can a classifier that cannot judge an explanation tell chosen from rejected?

If word counts, single words, the origin or whole texts decide nearly all pairs, DPO learns
them and nothing else. Each classifier is fitted on some clusters and asked about the others.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from stages.pure import stats
from stages.pure.metrics import comparable

FOLDS = 5  # of the cross-validation; whole clusters each
DECIMALS = 9  # of a classifier's score; nearer scores are a tie
LEVEL = 0.95
GAP_BIN_STARS = 0.25
ORIGINS = ("sft", "student", "negative")
Features = Callable[[pd.DataFrame], Any]  # of texts: columns explanation, origin


def texts_of(pairs: pd.DataFrame) -> pd.DataFrame:
    """Preferences (P rows) -> 2 P texts, all chosen ones first: explanation, origin, is_chosen."""
    sides = [
        pd.DataFrame({"explanation": pairs[side], "origin": pairs[f"{side}_origin"]})
        for side in ("chosen", "rejected")
    ]
    both = pd.concat(sides, ignore_index=True)
    return both.assign(is_chosen=np.repeat([1, 0], len(pairs)))


def words_n(texts: pd.Series) -> np.ndarray:
    """White-space words of each text, (n,) float."""
    return np.array([len(text.split()) for text in texts], dtype=float)


def length_features(texts: pd.DataFrame) -> np.ndarray:
    """Words and their logarithm, (n, 2), so that neither too short nor too long can be best."""
    words = words_n(texts.explanation)
    return np.column_stack([words, np.log1p(words)])


def origin_features(texts: pd.DataFrame) -> np.ndarray:
    """One column per origin, (n, 3), 0 or 1."""
    return np.column_stack([texts.origin == name for name in ORIGINS]).astype(float)


def word_model() -> Any:
    """Logistic regression on TF-IDF weights of single words and marks, scikit-learn's defaults."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"\w+|[^\w\s]")
    return make_pipeline(words, LogisticRegression(max_iter=2000))


def number_model() -> Any:
    """Logistic regression on standardised numbers."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))


class Memory:
    """How often this very text was chosen elsewhere, less how often it was rejected."""

    def fit(self, texts: np.ndarray, is_chosen: np.ndarray) -> "Memory":
        """Count; texts (n,) of str, is_chosen (n,) of 0 and 1."""
        self.balance: dict[str, int] = {}
        for text, chosen in zip(texts, is_chosen, strict=True):
            self.balance[text] = self.balance.get(text, 0) + (1 if chosen else -1)
        return self

    def decision_function(self, texts: np.ndarray) -> np.ndarray:
        """Chosen minus rejected, (n,); 0 for a text never seen."""
        return np.array([self.balance.get(text, 0) for text in texts], dtype=float)


# measure: what the classifier sees of a text, and the classifier
CLASSIFIERS: dict[str, tuple[Features, Callable[[], Any]]] = {
    "length": (length_features, number_model),
    "bag_of_words": (lambda texts: texts.explanation.to_numpy(object), word_model),
    "origin": (origin_features, number_model),
    "repeated_text": (lambda texts: np.array([*map(comparable, texts.explanation)]), Memory),
}


def out_of_fold(pairs: pd.DataFrame, measure: str) -> np.ndarray:
    """Per pair 1 if the classifier scores the chosen text higher, 0.5 for a tie, else 0, (P,).

    The classifier is fitted on the texts of the other folds' clusters. The mean of the result
    is the area under the ROC curve within pairs: P(score of chosen > score of rejected) + half
    of P(equal) (Hanley and McNeil 1982, Radiology 143, 29-36), over the pairs that DPO sees
    instead of all combinations. pairs: at least two clusters.
    """
    from sklearn.model_selection import GroupKFold

    features, model = CLASSIFIERS[measure]
    texts = texts_of(pairs)
    inputs, labels = features(texts), texts.is_chosen.to_numpy()
    groups = np.tile(pairs.cluster_id.to_numpy(object), 2)
    scores = np.zeros(len(texts))
    folds = GroupKFold(min(FOLDS, pairs.cluster_id.nunique()))
    for fitted, asked in folds.split(labels, labels, groups):
        scores[asked] = model().fit(inputs[fitted], labels[fitted]).decision_function(inputs[asked])
    return credit(*np.round(scores, DECIMALS).reshape(2, -1))


def credit(chosen: np.ndarray, rejected: np.ndarray) -> np.ndarray:
    """1 where chosen > rejected, 0.5 where equal, else 0; all (P,)."""
    return (chosen > rejected) + 0.5 * (chosen == rejected)


def share_interval(values: np.ndarray, clusters: np.ndarray) -> stats.Interval:
    """Mean of credits (P,) with a Wilson interval that treats each cluster as one observation.

    The effective number of pairs is p (1 - p) / se^2 with the clustered standard error, and
    the number of clusters where all credits are equal (Korn and Graubard 1998, Survey
    Methodology 24, 193-201; Wilson 1927, JASA 22, 209-212). So 8 of 8 is not certainty. NaN
    limits with fewer than 2 clusters.
    """
    from statsmodels.stats.proportion import proportion_confint

    plain = stats.clustered_mean(values, clusters, LEVEL)
    clusters_n = len(set(clusters))
    if clusters_n < 2:
        return plain
    mean, error = plain.mean, plain.standard_error
    effective = mean * (1 - mean) / error**2 if error and 0 < mean < 1 else clusters_n
    low, high = proportion_confint(mean * effective, effective, 1 - LEVEL, method="wilson")
    return stats.Interval(mean, float(low), float(high), error)


def groups_of(pairs: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """(name, pairs): all, each rejected_origin, each kind of negative that occurs."""
    yield "all", pairs
    for origin, own in pairs.groupby("rejected_origin"):
        yield str(origin), own
    for kind, own in pairs[pairs.negative_kind.notna()].groupby("negative_kind"):
        yield f"negative {kind}", own


def why_not(group: str, measure: str, pairs: pd.DataFrame, min_pairs: int) -> str | None:
    """Why a measure has no value in a group, or None if it has."""
    if len(pairs) < min_pairs:
        return f"{len(pairs)} pairs, min_pairs is {min_pairs}"
    if pairs.cluster_id.nunique() < 2:
        return "one cluster"
    if measure == "origin" and group != "all":
        return "the group fixes the rejected origin"
    return None


def audit(pairs: pd.DataFrame, limits: Mapping[str, float], min_pairs: int) -> pd.DataFrame:
    """Preferences -> PairAudit. limits: measure -> share of pairs, 0..1."""
    rows = []
    for group, own in groups_of(pairs):
        for measure in (*CLASSIFIERS, "chosen_longer"):
            row: dict[str, Any] = {"group": group, "measure": measure, "pairs_n": len(own)}
            row |= {"clusters_n": own.cluster_id.nunique(), "limit": limits.get(measure)}
            row |= dict.fromkeys(("value", "low", "high", "is_met"))
            row["reason"] = why_not(group, measure, own, min_pairs)
            if row["reason"] is None:
                found = share_interval(measured(own, measure), own.cluster_id.to_numpy())
                row |= {"value": found.mean, "low": found.low, "high": found.high}
                if measure in limits:
                    row["is_met"] = bool(found.low <= limits[measure])
            rows.append(row)
    numbers = dict.fromkeys(("value", "low", "high", "limit"), float)
    return pd.DataFrame(rows).astype(numbers | {"is_met": "boolean"})


def measured(pairs: pd.DataFrame, measure: str) -> np.ndarray:
    """The credits (P,) of one measure."""
    if measure == "chosen_longer":
        return credit(words_n(pairs.chosen), words_n(pairs.rejected))
    return out_of_fold(pairs, measure)


def histogram(pairs: pd.DataFrame) -> list[dict[Any, Any]]:
    """Pairs per rejected_origin and bin [low_stars, low_stars + 0.25) of the score gap."""
    # a gap of 0.75 may be a little less in binary
    low = np.floor(pairs.score_gap / GAP_BIN_STARS + 1e-9) * GAP_BIN_STARS
    counted = pairs.assign(low_stars=low).groupby(["rejected_origin", "low_stars"]).size()
    return counted.rename("n").reset_index().to_dict("records")
