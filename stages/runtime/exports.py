"""PeerWise exports on disk -> one table of raw rows, everything still as students wrote it.

Layout A is one sheet of 20 columns (.xlsx, .csv or .csv.gz). Layout B is a table Questions
(ID, Question, Num_options, OptionA..E, Answer, Explanation) with a table Answers
(Answer_ID, UserID, Question_ID, Answer) and a table Ratings (Rating_ID, UserID,
Question_ID, Rating). Other columns are ignored. Cells are read as text, so that ids keep
leading zeros and "NA" stays a word; only columns of numbers are converted.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import pandas as pd

from schemas.errors import InputError
from stages.runtime import params
from stages.runtime.sheets import flags, numbers, read_sheet, shown

TEXTS = ["stem", "option_a", "option_b", "option_c", "option_d", "option_e"]
TEXTS += ["options_n", "key", "explanation"]
COLUMNS_A = ["question", "altA", "altB", "altC", "altD", "altE", "numAlts", "answer", "explanation"]
COLUMNS_B = ["Question", "OptionA", "OptionB", "OptionC", "OptionD", "OptionE"]
COLUMNS_B += ["Num_options", "Answer", "Explanation"]
MAX_STARS = 5.0
MAX_COUNT = 1e9  # ratings; no question has more, and the tables hold 64-bit integers


@dataclass(frozen=True)
class ExportA:
    """params.yaml: an entry of prepare_questions.exports with layout A."""

    course: str
    layout: str
    file: str
    answers: str | None  # a table Answers; only quality tier C needs it
    encoding: str  # of .csv and .csv.gz


@dataclass(frozen=True)
class ExportB:
    """params.yaml: an entry of prepare_questions.exports with layout B."""

    course: str
    layout: str
    questions: str
    answers: str | None  # only quality tier C needs it
    ratings: str | None  # needed for tier B, or if Questions holds no ratings
    encoding: str  # of all three


Export = ExportA | ExportB
WHERE = "params.yaml: prepare_questions"


def parse_entries(entries: object) -> list[Export]:
    """The `exports` of params.yaml, checked. Raises InputError for the first that is wrong."""
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{WHERE}.exports: {entries!r} is no list of exports. Name at least one.")
    found = [parse_entry(entry, f"exports[{i}]") for i, entry in enumerate(entries)]
    for one, other in combinations(found, 2):
        pair = f"{WHERE}.exports: courses '{one.course}' and '{other.course}'"
        if "".join(one.course.split()) == "".join(other.course.split()):
            raise InputError(f"{pair} are one name but for white space. Rename one.")
        # one course under two names would count twice, and its rows look independent
        if os.path.normpath(main_file(one)) == os.path.normpath(main_file(other)):
            raise InputError(f"{pair} both read {main_file(other)}. Remove one.")
    return found


def main_file(export: Export) -> str:
    """The file that holds the rows of an export."""
    return export.file if isinstance(export, ExportA) else export.questions


def parse_entry(entry: object, name: str) -> Export:
    """One entry as ExportA or ExportB; what may be left out gets its default."""
    layout = entry.get("layout") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or layout not in ("A", "B"):
        raise InputError(f"{WHERE}.{name}: unknown layout {layout!r}. Known: A, B.")
    optional: dict[str, str | None] = {"answers": None}
    export: Export
    if layout == "A":
        export = params.fill(ExportA, name, {**optional, "encoding": "utf-8", **entry}, WHERE)
    else:
        optional |= {"ratings": None, "encoding": "iso-8859-1"}
        export = params.fill(ExportB, name, {**optional, **entry}, WHERE)
    course = export.course
    if "/" in course or course in ("", "all") or course != " ".join(course.split()):
        raise InputError(
            f"{WHERE}.{name}: course {course!r} is empty, 'all', or has a slash or white space "
            "other than single blanks between words. Rename it."
        )
    return export


def read_exports(source: Path, exports: list[Export]) -> pd.DataFrame:
    """All rows of all exports, one row per student row, in the order of the files.

    Columns: row_id (course/id), course, source_file, source_row (1-based data row), the
    texts of TEXTS as they stand in the file, and rating_mean (stars), ratings_n,
    top_rating_frac (share of 5-star ratings), is_deleted, modal_answer (a letter), user;
    null where the export does not say. Raises InputError for whatever is wrong in a file.
    """
    tables = [
        read_layout_a(source, export)
        if isinstance(export, ExportA)
        else read_layout_b(source, export)
        for export in exports
    ]
    return pd.concat(tables, ignore_index=True)


def read_layout_a(source: Path, export: ExportA) -> pd.DataFrame:
    """The rows of one sheet of 20 columns, of which these are used."""
    path = source / export.file
    needed = ["id", "avg_rating", "total_ratings", "top_rating_count", "deleted", *COLUMNS_A]
    sheet = read_sheet(path, export.encoding, needed)
    raw = common(sheet, path, export.course, dict(zip(COLUMNS_A, TEXTS, strict=True)), "id")
    raw["rating_mean"] = numbers(sheet, "avg_rating", path, high=MAX_STARS)
    raw["ratings_n"] = numbers(sheet, "total_ratings", path, MAX_COUNT, is_whole=True)
    top = numbers(sheet, "top_rating_count", path, MAX_COUNT, is_whole=True)
    if (too_many := top > raw.ratings_n).any():
        row = top.index[too_many][0]
        raise InputError(
            f"{path}: data row {row}: top_rating_count {top[row]:g} is more than "
            f"total_ratings {raw.ratings_n[row]:g}. Correct the row."
        )
    raw["top_rating_frac"] = top / raw.ratings_n.where(raw.ratings_n > 0)
    raw["is_deleted"] = flags(sheet, "deleted", path)
    raw["modal_answer"] = modal_answers(source, export, sheet["id"])
    raw["user"] = sheet.get("user")
    return raw


def read_layout_b(source: Path, export: ExportB) -> pd.DataFrame:
    """The rows of the table Questions, with ratings and answers from their tables.

    Total_ratings and Avg_rating of Questions are used where they are columns; otherwise
    both come from the table Ratings, in which a question that does not occur has 0.
    """
    path = source / export.questions
    sheet = read_sheet(path, export.encoding, ["ID", *COLUMNS_B])
    raw = common(sheet, path, export.course, dict(zip(COLUMNS_B, TEXTS, strict=True)), "ID")
    has_ratings = {"Total_ratings", "Avg_rating"} <= set(sheet)
    if not has_ratings and export.ratings is None:
        raise InputError(
            f"{path}: no columns Total_ratings and Avg_rating, found {shown([*sheet])}. "
            f"Name the table of ratings: exports, {export.course}, ratings."
        )
    per_question = ratings(source, export, sheet.ID)
    if has_ratings:
        raw["rating_mean"] = numbers(sheet, "Avg_rating", path, high=MAX_STARS)
        raw["ratings_n"] = numbers(sheet, "Total_ratings", path, MAX_COUNT, is_whole=True)
    else:
        raw[["rating_mean", "ratings_n"]] = per_question[["mean", "count"]]
    raw["top_rating_frac"] = per_question["top_frac"]
    raw["is_deleted"] = "Deleted" in sheet and flags(sheet, "Deleted", path)
    raw["modal_answer"] = modal_answers(source, export, sheet.ID)
    raw["user"] = sheet.get("UserID")
    return raw


def common(
    sheet: pd.DataFrame, path: Path, course: str, names: Mapping[str, str], id_column: str
) -> pd.DataFrame:
    """Origin, row_id and texts of each row. Raises InputError for empty or repeated ids."""
    ids = sheet[id_column].str.strip()
    if (empty := ids == "").any():
        raise InputError(f"{path}: data row {ids.index[empty][0]}: {id_column} is empty. Add it.")
    if repeated := sorted(set(ids[ids.duplicated()])):
        raise InputError(
            f"{path}: {id_column} occurs twice: {shown(', '.join(repeated[:5]))}. "
            "Remove one row of each."
        )
    origin = pd.DataFrame({"row_id": course + "/" + ids, "course": course}, index=sheet.index)
    origin["source_file"] = path.name
    origin["source_row"] = sheet.index
    return origin.join(sheet[[*names]].rename(columns=dict(names)))


def ratings(source: Path, export: ExportB, ids: pd.Series) -> pd.DataFrame:
    """(mean, count, top_frac) of the table Ratings for each of `ids`; null without a table."""
    if export.ratings is None:
        return pd.DataFrame(index=ids.index, columns=["mean", "count", "top_frac"], dtype=float)
    path = source / export.ratings
    sheet = read_sheet(path, export.encoding, ["Question_ID", "Rating"])
    known = answers_of(sheet, path, ids)
    stars = numbers(sheet, "Rating", path, high=MAX_STARS)
    groups = stars[known].dropna().groupby(sheet.Question_ID.str.strip())
    table = groups.agg(mean="mean", count="count", top_frac=lambda s: (s == MAX_STARS).mean())
    found = table.reindex(ids.str.strip()).set_axis(ids.index)
    return found.assign(count=found["count"].fillna(0))


def modal_answers(source: Path, export: Export, ids: pd.Series) -> pd.Series:
    """The letter that most students chose, for each of `ids`; null for none or a tie."""
    if export.answers is None:
        return pd.Series(None, index=ids.index, dtype=object)
    path = source / export.answers
    sheet = read_sheet(path, export.encoding, ["Question_ID", "Answer"])
    known = answers_of(sheet, path, ids)
    given = sheet[known].assign(Answer=sheet.Answer.str.strip().str.upper())
    given = given[given.Answer != ""]
    counts = given.groupby([given.Question_ID.str.strip(), "Answer"]).size()
    is_top = counts == counts.groupby(level=0).transform("max")
    top = counts[is_top].reset_index("Answer").Answer
    return top[~top.index.duplicated(keep=False)].reindex(ids.str.strip()).set_axis(ids.index)


def answers_of(sheet: pd.DataFrame, path: Path, ids: pd.Series) -> pd.Series:
    """Which rows of a table belong to one of `ids`; none at all is another course's table."""
    known = sheet.Question_ID.str.strip().isin(ids.str.strip())
    if not known.any():
        raise InputError(
            f"{path}: no Question_ID is an id of the questions, e.g. "
            f"'{shown(sheet.Question_ID.iloc[0])}'. Name the tables of one course."
        )
    return known
