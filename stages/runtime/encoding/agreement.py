"""How far an explanation agrees with an option of its question, as numbers.

Texts come as token vectors of a frozen encoder. Each token looks for its nearest token on the
other side (soft alignment: Parikh et al. 2016, arXiv 1606.01933; the mean of the nearest is
BERTScore's recall and precision, Zhang et al. 2020, arXiv 1904.09675, eq. 1 and 2). A token
of the option that is near to nothing in the explanation is a claim that it does not make.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

PER_PART = 7  # numbers of one part of a claim beside one explanation
LENGTHS = 2  # words and characters
FEATURES = 4 * PER_PART + LENGTHS  # before the explanation's own vector
ENTAILMENT = slice(0, 3 * PER_PART)  # claim, option, stem
FEW_RECALL, FEW_PRECISION = 3, 5  # tokens in the mean of the least covered


@dataclass(frozen=True)
class Vectors:
    """A text as the encoder sees it."""

    whole: np.ndarray  # (D,) unit vector of the text
    tokens: np.ndarray  # (T, D) unit vectors of its tokens; T may be 0


def agreement(part: Vectors, explanation: Vectors) -> np.ndarray:
    """Agreement of one part of a claim with an explanation, shape (7,), each -1..1.

    Cosine of the texts; mean, least and mean of the 3 least covered tokens of the part; mean,
    least and mean of the 5 least covered tokens of the explanation. 0 beside no tokens.
    """
    cosine = float(part.whole @ explanation.whole)
    if not len(part.tokens) or not len(explanation.tokens):
        return np.array([cosine, 0, 0, 0, 0, 0, 0])
    similarity = part.tokens @ explanation.tokens.T
    recall, precision = np.sort(similarity.max(axis=1)), np.sort(similarity.max(axis=0))
    return np.array(
        [
            cosine,
            recall.mean(),
            recall[0],
            recall[:FEW_RECALL].mean(),
            precision.mean(),
            precision[0],
            precision[:FEW_PRECISION].mean(),
        ]
    )


def features(claim: tuple[str, ...], explanation: str, read: Mapping[str, Vectors]) -> np.ndarray:
    """Agreement of an explanation with claim, option, stem and the nearest other option; itself.

    Shape (30 + D,): four times 7, log(1 + words), log(1 + characters), and the explanation's
    own vector. claim: sentence, option, stem, then the other options (pure/scored/claims.py).
    read: the vectors of every text. Columns ENTAILMENT are what an entailment scorer may see:
    whether a text entails a claim does not hang on rival claims, on length, nor on how good a
    text is by itself.
    """
    text = read[explanation]
    own = [agreement(read[part], text) for part in claim[:3]]
    rivals = [agreement(read[option], text) for option in claim[3:]]
    nearest = np.max(rivals, axis=0) if rivals else np.zeros(PER_PART)
    lengths = np.log1p([len(explanation.split()), len(explanation)])
    return np.concatenate([*own, nearest, lengths, text.whole])


def bare(rows: np.ndarray) -> np.ndarray:
    """Features (n, F) of the same pairs with the option alone as the claim's sentence."""
    return np.concatenate([rows[:, PER_PART : 2 * PER_PART], rows[:, PER_PART:]], axis=1)
