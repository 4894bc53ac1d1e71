"""The dirt of real exports: harmless marks that cleaning removes, and extra rows with a fault.

Harmless dirt leaves the cleaned question what it was. An extra row is a copy of a usable one
with one fault (stages/pure/sample_faults.py), for which it is rejected; only the text "NA"
and missing ratings must survive. So no dirt adds a question of its own to a cluster.
"""

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from stages.pure.sample_course import stream
from stages.pure.sample_faults import COMMON, RARE, USABLE, Row, Spoil

LAYOUT_A = ("biology_1", "biology_2")  # only layout A says whether a question was deleted
RARE_FRAC = 1 / 8  # rows of a rare kind of fault per row of a common one
EXTRA: dict[str, Spoil] = {**COMMON, **RARE}

# What the facts and phrasings hold of formulas, and how an editor of web pages writes it.
FORMULA = re.compile(r"\b(?:[BCGHNO]|CH|CO)\d+(?:[OS]\d*)?\b")  # H2O, CO2, B12, G1 phase
ORDINAL = re.compile(r"\b(\d+)(st|nd|rd|th)\b")
RAISED = re.compile(r"\^(\d+[+-]?)")  # Ca^2+, 10^3


def with_scripts(text: str) -> str:
    """`text` with its numbers below and above the line as tags; cleaning gives `text` again."""
    text = FORMULA.sub(lambda found: re.sub(r"(\d+)", r"<sub>\1</sub>", found[0]), text)
    text = ORDINAL.sub(r"\1<sup>\2</sup>", text)
    return RAISED.sub(r"<sup>\1</sup>", text)


def in_scripts(row: Row) -> Row:
    """The texts of a row that have something below or above the line, written so."""
    names = ["stem", *(f"option_{c}" for c in "abcde"[: row["options_n"]]), "explanation"]
    written = {name: with_scripts(row[name]) for name in names}
    return {name: text for name, text in written.items() if text != row[name]}


def scripts(row: Row, rng: np.random.Generator) -> Row:
    """Small raised and lowered characters in all texts."""
    return {**row, **in_scripts(row)}


def html_marks(row: Row, rng: np.random.Generator) -> Row:
    """Tags as an editor leaves them, and small raised or lowered characters."""
    first, _, rest = row["stem"].partition(" ")
    explanation = with_scripts(row["explanation"])
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


HARMLESS: dict[str, Spoil] = {
    "html": html_marks,
    "hard_space": hard_spaces,
    "loose_space": loose_spaces,
}
SCRIPTS = "scripts"  # harmless as well, but only some questions can have it


def soil(rows: pd.DataFrame, dirt_frac: float, seed: int) -> pd.DataFrame:
    """`rows` with harmless marks on some, and with the extra rows after them.

    Of each common kind there are dirt_frac * len(rows) rows, of each rare one RARE_FRAC times
    as many and at least one, or fewer where fewer can have it. Adds `dirt` (kind, or "" for
    clean rows), `is_usable`, `deleted` and `hides_ratings_n` (the export does not say how
    many ratings there are); the order is that of `rows`, extra rows by kind.
    """
    start = {"dirt": "", "is_usable": True, "deleted": 0, "hides_ratings_n": False}
    records: list[Row] = [row | start for row in rows.to_dict("records")]
    count = round(dirt_frac * len(records))
    mark(records, count, seed)
    clean = [row for row in records if not row["dirt"]]
    extra: list[Row] = []
    for kind, spoil in EXTRA.items():
        wanted = count if kind in COMMON else min(count, max(1, round(RARE_FRAC * count)))
        chosen = [row for row in clean if can_have(row, kind)]
        rng = stream(seed, kind)
        for i in rng.permutation(len(chosen))[:wanted]:
            extra.append({**spoil(chosen[i], rng), "dirt": kind, "is_usable": kind in USABLE})
    return pd.DataFrame(records + extra)


def mark(records: list[Row], count: int, seed: int) -> None:
    """Put each kind of harmless dirt on `count` of the records, in place; one kind per record.

    Formulas are rare in questions, so raised and lowered characters go to those first.
    """
    marked = stream(seed, "marked").permutation(len(records))
    places = {kind: marked[k * count :][:count] for k, kind in enumerate(HARMLESS)}
    able = [int(i) for i in marked[len(HARMLESS) * count :] if in_scripts(records[i])]
    able.sort(key=lambda i: [*in_scripts(records[i])] == ["explanation"])
    places[SCRIPTS] = np.array(able[:count], dtype=int)
    for kind, spoil in {**HARMLESS, SCRIPTS: scripts}.items():
        for i in places[kind]:
            rng = stream(seed, kind, int(i))
            records[i] = {**spoil(records[i], rng), "dirt": kind}


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
