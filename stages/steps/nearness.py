"""Which questions and texts are near to held-out ones, by the vectors of a frozen encoder.

Clusters are found by shared words. An encoder also says which questions ask the same in other
words, and which text repeats another.
"""

from dataclasses import dataclass

import pandas as pd

from schemas.errors import InputError
from stages.pure import leakage
from stages.runtime.encoding import similarity
from stages.runtime.loading.profile import Encoder


@dataclass(frozen=True)
class Settings:
    """params.yaml: check_leakage. Units and calibration are commented there."""

    max_question_similarity: float
    max_text_similarity: float
    min_text_words: int


def check(given: Settings) -> None:
    """Raise InputError for a limit that nothing could be below, and for texts of no word."""
    for name in ("max_question_similarity", "max_text_similarity", "min_text_words"):
        if not getattr(given, name) > 0:
            raise InputError(
                f"params.yaml: check_leakage.{name}: {getattr(given, name)} is not above 0. "
                "A similarity above 1 switches its check off."
            )


def pairs_of_questions(rows: pd.DataFrame, encoder: Encoder) -> pd.DataFrame:
    """Each question beside the nearest of every later split (leakage.pair_up)."""
    texts = leakage.question_texts(rows)
    vectors = similarity.embed_parts(encoder, [texts.stem.tolist(), texts.key_text.tolist()])
    found = []
    for left, right in leakage.combinations(texts):
        places, near = similarity.nearest(vectors[left.index], vectors[right.index])
        if len(near):
            found.append(leakage.pair_up(left, right, places, near))
    if not found:
        raise InputError(
            "data/questions.parquet: all questions are in one split. Change "
            "prepare_questions.split_percent."
        )
    return pd.concat(found, ignore_index=True)


def held_out_pairs(questions: pd.DataFrame, added: pd.DataFrame, encoder: Encoder) -> pd.DataFrame:
    """Each question of `added` beside the nearest of every other split (leakage.pair_up).

    questions: Questions; added: further rows of its train split.
    """
    held_out = questions[questions.split != "train"]
    if added.empty or held_out.empty:
        return no_pairs()
    found = pairs_of_questions(pd.concat([added[questions.columns], held_out]), encoder)
    return found[found.split == "train"]


def no_pairs() -> pd.DataFrame:
    """The columns of leakage.pair_up without a row."""
    columns = [*leakage.TEXTS, "other_id", "other_split", "other_text", "similarity"]
    empty = pd.DataFrame(columns=[*columns, "is_same_text"])
    return empty.astype({"similarity": float, "is_same_text": bool})


def pairs_of_texts(
    rows: pd.DataFrame, tables: dict[str, pd.DataFrame], min_words: int, encoder: Encoder
) -> pd.DataFrame:
    """Each training text beside the nearest judge and test student's explanation.

    Only texts that share words with one of the other side.
    """
    held_out = leakage.student_texts(rows, min_words)
    trained = [leakage.training_texts(table, name, min_words) for name, table in tables.items()]
    left = pd.concat(trained, ignore_index=True)
    is_left, is_right = leakage.shares_words(left, held_out)
    left, held_out = left[is_left], held_out[is_right]
    vectors = similarity.embed(encoder, [*left.text, *held_out.text])
    own, others = vectors[: len(left)], vectors[len(left) :]
    found = []
    for split in leakage.HELD_OUT:
        is_split = (held_out.split == split).to_numpy()
        places, near = similarity.nearest(own, others[is_split])
        if len(near):
            found.append(leakage.pair_up(left, held_out[is_split], places, near))
    return pd.concat(found, ignore_index=True) if found else no_pairs()
