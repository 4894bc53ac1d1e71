"""The dirt of real exports: harmless marks that cleaning removes, and extra rows with a fault.

Harmless dirt leaves the cleaned question what it was. An extra row is a copy of a usable one
with one fault, for which it is rejected; only the text "NA" must survive. So no dirt adds a
question of its own to a cluster.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from stages.pure.sample_course import stream

Row = dict[Any, Any]
FEW_RATERS = 10  # exclusive: the faulty row keeps fewer ratings than this
LAYOUT_A = ("biology_1", "biology_2")  # only layout A says whether a question was deleted


def html_marks(row: Row, rng: np.random.Generator) -> Row:
    """Tags as an editor leaves them, and small raised or lowered characters."""
    first, _, rest = row["stem"].partition(" ")
    explanation = (
        row["explanation"].replace("2nd", "2<sup>nd</sup>").replace("H2O", "H<sub>2</sub>O")
    )
    return {
        **row,
        "stem": f"<p><b>{first}</b> {rest}</p>",
        "explanation": f"<p>{explanation}</p>" if rng.random() < 0.5 else f"{explanation}<br>",
    }


def hard_spaces(row: Row, rng: np.random.Generator) -> Row:
    """Non-breaking spaces, as character or entity, where a space was."""
    space = "\u00a0" if rng.random() < 0.5 else "&nbsp;"
    return {
        **row,
        "stem": row["stem"].replace(" ", space, 2),
        "explanation": row["explanation"].replace(" ", space, 2),
        "option_a": row["option_a"].replace(" ", space),
    }


def loose_spaces(row: Row, rng: np.random.Generator) -> Row:
    """White space around texts, doubled inside."""
    return {
        **row,
        "stem": f" {row['stem']}\n",
        "explanation": row["explanation"].replace(". ", ".  "),
    }


def image(row: Row, rng: np.random.Generator) -> Row:
    """A picture that the export does not hold, in the stem or in the explanation."""
    field = "stem" if rng.random() < 0.7 else "explanation"
    return {**row, field: f'{row[field]} <img src="figure{int(rng.integers(1, 99))}.png">'}


def question_nan(row: Row, rng: np.random.Generator) -> Row:
    """The word that an earlier export left for a missing question."""
    return {**row, "stem": "nan"}


def explanation_nan(row: Row, rng: np.random.Generator) -> Row:
    """The same for a missing explanation."""
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


def key_beyond(row: Row, rng: np.random.Generator) -> Row:
    """An answer letter that no option has."""
    return {**row, "key": "F" if rng.random() < 0.5 else "ABCDEF"[row["options_n"]]}


HARMLESS: dict[str, Callable[[Row, np.random.Generator], Row]] = {
    "html": html_marks,
    "hard_space": hard_spaces,
    "loose_space": loose_spaces,
}
EXTRA: dict[str, Callable[[Row, np.random.Generator], Row]] = {
    "image": image,
    "question_nan": question_nan,
    "explanation_nan": explanation_nan,
    "explanation_empty": explanation_empty,
    "explanation_na": explanation_na,
    "deleted": deleted,
    "few_ratings": few_ratings,
    "key_beyond": key_beyond,
}


def soil(rows: pd.DataFrame, dirt_frac: float, seed: int) -> pd.DataFrame:
    """`rows` with harmless marks on some, and with the extra rows after them.

    Of each kind there are dirt_frac * len(rows) rows, or fewer where fewer can have it. Adds
    `dirt` (kind, or "" for clean rows), `is_usable` and `deleted`; the order is that of
    `rows`, extra rows by kind.
    """
    records: list[Row] = [
        row | {"dirt": "", "is_usable": True, "deleted": 0} for row in rows.to_dict("records")
    ]
    count = round(dirt_frac * len(records))
    marked = stream(seed, "marked").permutation(len(records))
    extra: list[Row] = []
    for k, (kind, spoil) in enumerate(HARMLESS.items()):
        for i in marked[k * count : (k + 1) * count]:
            rng = stream(seed, kind, int(i))
            records[i] = {**spoil(records[i], rng), "dirt": kind}
    clean = [row for row in records if not row["dirt"]]
    for kind, spoil in EXTRA.items():
        chosen = [row for row in clean if can_have(row, kind)]
        rng = stream(seed, kind)
        for i in rng.permutation(len(chosen))[:count]:
            usable = kind == "explanation_na"
            extra.append({**spoil(chosen[i], rng), "dirt": kind, "is_usable": usable})
    return pd.DataFrame(records + extra)


def can_have(row: Row, kind: str) -> bool:
    """May a copy of `row` have this kind of dirt? "NA" needs the ratings of an empty text."""
    if kind == "deleted":
        return row["course"] in LAYOUT_A
    if kind == "explanation_na":
        said = row["names_key"] or row["endorses_wrong"] or row["refutes_distractor"]
        return not said and row["mechanism"] == "none"
    return True


def counts(rows: pd.DataFrame) -> Mapping[str, int]:
    """Rows of each kind of dirt."""
    found = rows.dirt[rows.dirt != ""].value_counts()
    return {str(kind): int(n) for kind, n in sorted(found.items())}
