"""Student rows -> the tables and bytes of PeerWise exports, in both layouts.

Column names and order are those of the exports that the published work was made from:
layout A of its Cardiff and Sydney files, layout B of its Auckland and medicine files.
"""

import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from stages.pure.sample_course import COURSES, stream

LAYOUT_A_COLUMNS = [
    "id", "course_id", "timestamp", "user", "avg_rating", "total_responses", "total_ratings",
    "top_rating_count", "avg_difficulty", "total_comments", "deleted", "answer", "numAlts",
    "question", "altA", "altB", "altC", "altD", "altE", "explanation",
]  # fmt: skip
COURSE_IDS = {"biology_1": 101, "biology_2": 102}
RIGHT_ANSWER_FRAC = 0.7  # of the students who answer
EXTRA_ANSWERS = 6  # at most so many answer without rating
FIXED_TIME = (2020, 1, 1, 0, 0, 0)  # a zip archive of ours has no other clock


def each(rows: pd.DataFrame) -> Iterator[Any]:
    """The rows as named tuples."""
    yield from rows.itertuples()


def number(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The rows of one course in the order of the export, numbered from 1 in `number`."""
    course = str(rows.course.iloc[0]) if len(rows) else ""
    order = stream(seed, "order", course).permutation(len(rows))
    rows = rows.iloc[order].reset_index(drop=True)
    return rows.assign(number=range(1, len(rows) + 1))


def option_texts(row: Any) -> list[str]:
    """The five options of a row, "" for those that it does not have."""
    texts = [getattr(row, f"option_{c}") for c in "abcde"]
    return ["" if pd.isna(text) else text for text in texts]


def rating_cells(row: Any) -> tuple[Any, Any]:
    """(number of ratings, mean in stars) as the export shows them; "" where it is missing."""
    mean = round(float(np.mean(row.ratings)), 4) if row.ratings else ""
    return ("" if row.hides_ratings_n else len(row.ratings)), mean


def timestamp(day: int, minute: int) -> str:
    """An invented moment of the year 2020."""
    date = pd.Timestamp("2020-02-03") + pd.Timedelta(days=day, minutes=minute)
    return str(date.strftime("%Y-%m-%d %H:%M:%S"))


def letters_given(row: Any, rng: np.random.Generator) -> list[str]:
    """The letters that students answered, one per rater first, then some who did not rate."""
    offered = "ABCDE"[: row.options_n] or "A"  # a faulty row may say that it has none
    total = len(row.ratings) + int(rng.integers(EXTRA_ANSWERS))
    guessed = [offered[int(rng.integers(len(offered)))] for _ in range(total)]
    knows = rng.random(total) < RIGHT_ANSWER_FRAC
    right = row.key if row.key in offered else "A"
    return [right if know else guess for know, guess in zip(knows, guessed, strict=True)]


def layout_a(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """One course in layout A, all LAYOUT_A_COLUMNS; ids are texts with leading zeros."""
    table = []
    for row in each(number(rows, seed)):
        rng = stream(seed, "export", row.course, row.number)
        answers_n = len(letters_given(row, rng))
        ratings_n, mean = rating_cells(row)
        table.append(
            [
                f"{row.number:06d}",
                COURSE_IDS[row.course],
                timestamp(int(rng.integers(80)), int(rng.integers(1440))),
                f"{int(rng.integers(1, 400)):05d}",
                mean,
                answers_n,
                ratings_n,
                "" if ratings_n == "" else row.ratings.count(5),
                round(float(rng.uniform(0, 2)), 4),
                int(rng.integers(5)),
                row.deleted,
                row.key,
                row.options_n,
                row.stem,
                *option_texts(row),
                row.explanation,
            ]
        )
    return pd.DataFrame(table, columns=LAYOUT_A_COLUMNS)


def layout_b(rows: pd.DataFrame, seed: int) -> dict[str, pd.DataFrame]:
    """One course in layout B: tables Questions, Answers and Ratings."""
    questions: list[list[Any]] = []
    answers: list[list[Any]] = []
    ratings: list[list[Any]] = []
    for row in each(number(rows, seed)):
        rng = stream(seed, "export", row.course, row.number)
        name = f"{row.number:05d}"
        start = [name, row.stem, row.options_n, *rating_cells(row)]
        questions.append([*start, *option_texts(row), row.key, row.explanation])
        letters = letters_given(row, rng)
        users = rng.choice(np.arange(1, 600), size=len(letters), replace=False)
        day = int(rng.integers(80))
        for i, (user, letter) in enumerate(zip(users, letters, strict=True)):
            when = timestamp(day + i // 8, int(rng.integers(1440)))
            answers.append([len(answers) + 1, f"{user:05d}", when, name, letter])
        for user, stars in zip(users, row.ratings, strict=False):
            ratings.append([len(ratings) + 1, f"{user:05d}", name, stars])
    columns = ["ID", "Question", "Num_options", "Total_ratings", "Avg_rating"]
    columns += [*(f"Option{c}" for c in "ABCDE"), "Answer", "Explanation"]
    answer_columns = ["Answer_ID", "UserID", "Timestamp", "Question_ID", "Answer"]
    rating_columns = ["Rating_ID", "UserID", "Question_ID", "Rating"]
    return {
        "Questions": pd.DataFrame(questions, columns=columns),
        "Answers": pd.DataFrame(answers, columns=answer_columns),
        "Ratings": pd.DataFrame(ratings, columns=rating_columns),
    }


def csv_bytes(table: pd.DataFrame, encoding: str) -> bytes:
    """`table` as CSV. Raises UnicodeEncodeError for characters that `encoding` lacks."""
    return table.to_csv(index=False, lineterminator="\n").encode(encoding)


def xlsx_bytes(table: pd.DataFrame) -> bytes:
    """`table` as one sheet; the same bytes for the same table, whatever the clock says."""
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    sheet = book.create_sheet("Questions")
    sheet.append([*table.columns])
    for values in table.astype(object).itertuples(index=False):
        sheet.append([None if value == "" else value for value in values])
    raw = io.BytesIO()
    book.save(raw)
    return without_clock(raw.getvalue())


def without_clock(archive: bytes) -> bytes:
    """The zip `archive` of an Office file with FIXED_TIME for every entry and property."""
    fixed = io.BytesIO()
    moment = "{:04d}-{:02d}-{:02d}T{:02d}:{:02d}:{:02d}Z".format(*FIXED_TIME)
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(fixed, "w") as new:
        for name in sorted(old.namelist()):
            content = old.read(name)
            if name == "docProps/core.xml":
                pattern = rb"(<dcterms:(created|modified)[^>]*>)[^<]*"
                content = re.sub(pattern, rb"\g<1>" + moment.encode(), content)
            entry = zipfile.ZipInfo(name, FIXED_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # zipfile writes the platform here otherwise
            new.writestr(entry, content)
    return fixed.getvalue()


def export(rows: pd.DataFrame, seed: int) -> dict[str, bytes]:
    """File name -> bytes of the five courses, as params.yaml: prepare_questions.exports lists."""
    files = {}
    for course in [name for courses in COURSES.values() for name in courses]:
        own = rows[rows.course == course]
        if course == "biology_1":
            files["biology_1.xlsx"] = xlsx_bytes(layout_a(own, seed))
        elif course == "biology_2":
            table = layout_a(own, seed)
            files["biology_2.csv"] = csv_bytes(table, "utf-8")
        else:
            for name, table in layout_b(own, seed).items():
                files[f"{course}_{name}.csv"] = csv_bytes(table, "iso-8859-1")
    return files
