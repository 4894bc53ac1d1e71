"""What may not meet across a split: which texts are compared, and which pairs are too near."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from schemas.errors import InputError
from schemas.questions import SPLITS
from stages.pure.metrics import comparable
from stages.pure.prompts import distinct_questions, key_text

SHOWN_CHARACTERS = 100  # of each text in an error
HELD_OUT = ["judge", "test"]  # whose students' texts no training text may repeat
# On the sample course no two texts below 0.4 have an encoder cosine of 0.90 or more, and none
# below 0.8 one of 0.96.
MIN_SHARED = 0.3
BLOCK = 1024  # texts whose shared words are in memory together
TEXTS = ["source", "text_id", "split", "text"]


def question_texts(rows: pd.DataFrame) -> pd.DataFrame:
    """Questions -> one row per distinct question: source, text_id, split, text, stem, key_text.

    Two questions are compared by stem and by key. Distractors are left out: questions with the
    same options need not ask the same.
    """
    asked = distinct_questions(rows)
    keys = [key_text(row) for row in asked.to_dict("records")]
    found = asked.rename(columns={"question_id": "text_id"}).assign(source="questions")
    found = found.assign(key_text=keys, text=found.stem + " | " + pd.Series(keys, dtype="str"))
    return found[[*TEXTS, "stem", "key_text"]]


def student_texts(rows: pd.DataFrame, min_words: int) -> pd.DataFrame:
    """Explanations of judge and test students with at least `min_words` words, by row_id."""
    own = rows[rows.split.isin(HELD_OUT)].sort_values("row_id")
    found = own.assign(source="questions", text_id=own.row_id, text=own.explanation)
    return long_enough(found[TEXTS], min_words)


def training_texts(table: pd.DataFrame, source: str, min_words: int) -> pd.DataFrame:
    """Candidates or negatives with at least `min_words` words, by key."""
    own = table.sort_values(["question_id", "candidate_index"])
    names = own.question_id + "/" + own.candidate_index.astype(str)
    found = own.assign(source=source, text_id=names, split="train", text=own.explanation)
    return long_enough(found[TEXTS], min_words)


def long_enough(texts: pd.DataFrame, min_words: int) -> pd.DataFrame:
    """The texts of at least `min_words` white-space words, numbered from 0."""
    words = texts.text.map(lambda text: len(text.split()))
    return texts[words >= min_words].reset_index(drop=True)


def shares_words(left: pd.DataFrame, right: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Which texts of each side have one on the other that shares words: bool (N,), (M,).

    Cosine of TF-IDF weights of MIN_SHARED or more. Copies share nearly all their words, so the
    encoder need not read the rest.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    found = np.zeros(len(left), dtype=bool), np.zeros(len(right), dtype=bool)
    if left.empty or right.empty:
        return found
    words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"\w+|[^\w\s]")
    weights = words.fit_transform([*left.text, *right.text])
    others = weights[len(left) :].T.tocsr()
    for start in range(0, len(left), BLOCK):
        own = slice(start, min(start + BLOCK, len(left)))
        shared = (weights[own] @ others).toarray() >= MIN_SHARED
        found[0][own] = shared.any(axis=1)
        found[1][:] |= shared.any(axis=0)
    return found


def combinations(texts: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """The texts of every two splits, each combination once; the index is that of `texts`."""
    for one, other in itertools.combinations(SPLITS, 2):
        yield texts[texts.split == one], texts[texts.split == other]


def pair_up(left: pd.DataFrame, right: pd.DataFrame, places: Any, similarities: Any) -> Any:
    """Each text of `left` beside its nearest of `right`: columns of Leakage, and both texts."""
    own = left.reset_index(drop=True)
    other = right.iloc[places].reset_index(drop=True)
    is_same = own.text.map(comparable) == other.text.map(comparable)
    return own.assign(
        other_id=other.text_id,
        other_split=other.split,
        other_text=other.text,
        similarity=similarities,
        is_same_text=is_same.astype(bool),
    )


def top(pairs: pd.DataFrame, kept: int) -> pd.DataFrame:
    """The `kept` nearest pairs of each (source, split, other_split), nearest first."""
    order = ["similarity", "source", "text_id", "other_id"]
    ranked = pairs.sort_values(order, ascending=[False, True, True, True], kind="stable")
    by = ["source", "split", "other_split"]
    return ranked.groupby(by, sort=False).head(kept).reset_index(drop=True)


def check(pairs: pd.DataFrame, limit: float, parameter: str, advice: str) -> None:
    """Raise InputError naming the nearest pair whose similarity is `limit` or more.

    A pair of equal texts is refused whatever the encoder says of it.
    """
    near = pairs[(pairs.similarity >= limit) | pairs.is_same_text]
    if near.empty:
        return
    worst = near.sort_values(["similarity", "text_id", "other_id"], ascending=[False, True, True])
    row = worst.to_dict("records")[0]
    raise InputError(
        f"{row['source']} {row['text_id']} ({row['split']}): {short(row['text'])!r} is too near to "
        f"{row['other_id']} ({row['other_split']}): {short(row['other_text'])!r}: similarity "
        f"{row['similarity']:.4f}, params.yaml: check_leakage.{parameter} is {limit:g} "
        f"({len(near)} such pairs). {advice}"
    )


def short(text: str) -> str:
    """The start of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 1] + "…"
