"""Faults of the extra rows: each function takes a copy of a usable row and spoils it."""

from collections.abc import Callable
from typing import Any

import numpy as np

Row = dict[Any, Any]
Spoil = Callable[[Row, np.random.Generator], Row]
FEW_RATERS = 10  # exclusive: the faulty row keeps fewer ratings than this


def other_option(row: Row, rng: np.random.Generator) -> str:
    """The column of an offered option that is not the key."""
    letters = "abcde"[: row["options_n"]].replace(row["key"].lower(), "")
    return f"option_{letters[int(rng.integers(len(letters)))]}"


def image(row: Row, rng: np.random.Generator) -> Row:
    """A picture that the export does not hold, in the stem or in the explanation."""
    field = "stem" if rng.random() < 0.7 else "explanation"
    return {**row, field: f'{row[field]} <img src="figure{int(rng.integers(1, 99))}.png">'}


def image_capitals(row: Row, rng: np.random.Generator) -> Row:
    """The same as another editor writes it, also in an option."""
    field = "stem" if rng.random() < 0.5 else other_option(row, rng)
    return {**row, field: f'{row[field]}<IMG SRC="figure{int(rng.integers(1, 99))}.PNG">'}


def question_nan(row: Row, rng: np.random.Generator) -> Row:
    """The word that an earlier export left for a missing question."""
    return {**row, "stem": "nan"}


def question_na(row: Row, rng: np.random.Generator) -> Row:
    """A stem of two letters that is no missing one: the row's fault is its key."""
    return {**key_beyond(row, rng), "stem": "NA"}


def question_empty(row: Row, rng: np.random.Generator) -> Row:
    """No question, or tags around none."""
    return {**row, "stem": "" if rng.random() < 0.5 else "<p>&nbsp;</p>"}


def explanation_nan(row: Row, rng: np.random.Generator) -> Row:
    """The word that an earlier export left for a missing explanation."""
    return {**row, "explanation": "nan"}


def explanation_empty(row: Row, rng: np.random.Generator) -> Row:
    """Nothing, or tags around nothing."""
    return {**row, "explanation": "" if rng.random() < 0.5 else "<p><br></p>"}


def explanation_na(row: Row, rng: np.random.Generator) -> Row:
    """Two letters that careless readers of CSV take for a missing value; they are a text."""
    return {**row, "explanation": "NA", "words_n": 1}


def deleted(row: Row, rng: np.random.Generator) -> Row:
    """Withdrawn by its author, but still in the export."""
    return {**row, "deleted": 1}


def few_ratings(row: Row, rng: np.random.Generator) -> Row:
    """Rated by fewer than ten."""
    return {**row, "ratings": row["ratings"][: int(rng.integers(1, FEW_RATERS))]}


def ratings_n_missing(row: Row, rng: np.random.Generator) -> Row:
    """The export shows the mean, but not of how many ratings. Not few, so the row is used."""
    return {**row, "hides_ratings_n": True}


def unrated(row: Row, rng: np.random.Generator) -> Row:
    """Neither mean nor number, as nobody rated it. Used as well."""
    return {**row, "hides_ratings_n": True, "ratings": []}


def options_count(row: Row, rng: np.random.Generator) -> Row:
    """A number of options that the five columns cannot hold, or none."""
    return {**row, "options_n": (0, 6, 7)[int(rng.integers(3))]}


def option_empty(row: Row, rng: np.random.Generator) -> Row:
    """A wrong option without text: nothing, tags around nothing, or the word for a missing one."""
    return {**row, other_option(row, rng): ("", "<p></p>", "nan")[int(rng.integers(3))]}


def option_twice(row: Row, rng: np.random.Generator) -> Row:
    """Two equal wrong options; told apart by tags, or both the two letters that are a text."""
    first = second = other_option(row, rng)
    while second == first:
        second = other_option(row, rng)
    if rng.random() < 0.5:
        return {**row, first: "NA", second: "NA"}
    return {**row, second: f"<b>{row[first]}</b>"}


def key_beyond(row: Row, rng: np.random.Generator) -> Row:
    """An answer letter that no option has."""
    return {**row, "key": "F" if rng.random() < 0.5 else "ABCDEF"[row["options_n"]]}


COMMON: dict[str, Spoil] = {
    "image": image,
    "question_nan": question_nan,
    "explanation_nan": explanation_nan,
    "explanation_empty": explanation_empty,
    "explanation_na": explanation_na,
    "deleted": deleted,
    "few_ratings": few_ratings,
    "key_beyond": key_beyond,
}
RARE: dict[str, Spoil] = {
    "image_capitals": image_capitals,
    "question_na": question_na,
    "question_empty": question_empty,
    "ratings_n_missing": ratings_n_missing,
    "unrated": unrated,
    "options_count": options_count,
    "option_empty": option_empty,
    "option_twice": option_twice,
}
USABLE = frozenset({"explanation_na", "ratings_n_missing", "unrated"})
