"""A file of judged texts that is no export -> its rows, or one line that says what is wrong."""

from pathlib import Path

import pandas as pd
import pyarrow

from schemas.errors import InputError
from schemas.questions import LETTERS
from stages.runtime.sheets import cell_text, check_columns, numbers, read_sheet

MAX_RATING, MAX_COUNT = 5.0, 1e9
TEXTS = ["question", "altA", "altB", "answer", "explanation"]  # altC to altE may be missing


def read(path: Path, needed: list[str], only: str | None = None) -> pd.DataFrame:
    """The cells of a .csv, .csv.gz, .xlsx or .parquet file as text, by their 1-based data row.

    needed: columns that must be there. only: COLUMN=VALUE keeps the rows that have it. Raises
    InputError for a file that is not there or damaged, and for columns and values that are
    not in it.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file. Name one that holds {needed}.")
    is_parquet = path.suffix.lower() == ".parquet"
    sheet = parquet_cells(path) if is_parquet else read_sheet(path, "utf-8", needed)
    check_columns(path, [*sheet], needed)
    return sheet if only is None else chosen(sheet, only, path)


def parquet_cells(path: Path) -> pd.DataFrame:
    """The cells of a Parquet file as text, null as ""."""
    try:
        table = pd.read_parquet(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path} is no readable Parquet file. Write it again.") from error
    if table.empty:
        raise InputError(f"{path}: column names but no rows. Write it again.")
    table = table.astype(object).where(table.notna(), None)
    return table.map(cell_text).set_axis(range(1, len(table) + 1))


def chosen(sheet: pd.DataFrame, only: str | None, path: Path) -> pd.DataFrame:
    """The rows whose column has the value of `COLUMN=VALUE`; all rows without it."""
    if only is None:
        return sheet
    column, sign, value = only.partition("=")
    if not sign or column not in sheet:
        raise InputError(f"--only {only}: no COLUMN=VALUE with a column of {path}: {[*sheet]}.")
    if not (is_chosen := sheet[column] == value).any():
        raise InputError(f"--only {only}: no row of {path} has it. See the values of {column}.")
    return sheet[is_chosen]


def rated_rows(
    sheet: pd.DataFrame, path: Path, rating: str, count: str | None, group: str | None
) -> pd.DataFrame:
    """Rows as the judge reads them, with rating, weight and group; unrated ones are left out.

    One text of a question beside another makes a pair, so a question is its text, options and
    key. Raises InputError for a key that is no option, and for ratings outside 0 to 5.
    """
    rows = pd.DataFrame({"stem": sheet.question, "key": sheet.answer.str.strip().str.upper()})
    for letter in LETTERS:
        rows[f"option_{letter.lower()}"] = sheet.get(f"alt{letter}", "")
    options = rows[[f"option_{letter.lower()}" for letter in LETTERS]]
    rows["options_n"] = (options.map(str.strip) != "").cumprod(axis=1).sum(axis=1)
    for row, key, options_n in zip(rows.index, rows.key, rows.options_n, strict=True):
        if key not in list(LETTERS[:options_n]):
            raise InputError(
                f"{path}: data row {row}: answer '{key}' is none of its {options_n} options. "
                "Correct the row."
            )
    rows["explanation"] = sheet.explanation
    rows["rating"] = numbers(sheet, rating, path, MAX_RATING)
    rows["ratings_n"] = 1.0 if count is None else numbers(sheet, count, path, MAX_COUNT).fillna(0)
    rows["question_id"] = rows[["stem", *options, "key"]].agg("\n".join, axis=1)
    rows["group"] = rows.question_id if group is None else sheet[group]
    rows["words"] = [len(text.split()) for text in rows.explanation]
    return rows[rows.rating.notna() & (rows.words > 0)].reset_index(drop=True)
