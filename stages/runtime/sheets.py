"""One .csv, .csv.gz or .xlsx file -> a table of text cells, or one line that says what is wrong."""

import csv
import difflib
import gzip
import io
import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import ParseError

import pandas as pd

from schemas.errors import InputError

NULLS = {"", "nan", "null", "none", "na", "n/a"}  # how exports write a missing number
SHOWN_CHARACTERS = 40


def read_sheet(path: Path, encoding: str, needed: list[str]) -> pd.DataFrame:
    """The cells of `path` as text, indexed by their 1-based data row; empty cells are "".

    needed: columns that must be there; others are kept as they are. encoding: of csv files.
    Raises InputError naming path and place for a file that is missing, empty, damaged,
    ragged, in another encoding, or that lacks a column or has one twice.
    """
    if not path.is_file():
        there = sorted(p.name for p in path.parent.glob("*")) if path.parent.is_dir() else []
        raise InputError(
            f"{path} does not exist; the folder has {there or 'no files'}. "
            "Correct prepare_questions.exports in params.yaml."
        )
    rows = xlsx_rows(path) if path.suffix.lower() == ".xlsx" else csv_rows(path, encoding)
    number, header = next(rows, (0, []))
    header = [name.strip() for name in header]
    if not any(header):
        raise InputError(f"{path}: no line of column names, the file is empty. Export it again.")
    check_columns(path, header, needed)
    index, cells = [], []
    for row_number, row in rows:
        if not any(row):
            continue
        if len(row) != len(header):
            raise InputError(
                f"{path}: data row {row_number - number} has {len(row)} cells, the "
                f"line of names {len(header)}. Look for a missing or extra comma."
            )
        index.append(row_number - number)
        cells.append(row)
    if not cells:
        raise InputError(f"{path}: column names but no rows. Export it again.")
    return pd.DataFrame(cells, columns=header, index=index, dtype=str)


def check_columns(path: Path, header: list[str], needed: list[str]) -> None:
    """Raise InputError for a name that is missing or twice."""
    for name in needed:
        if name not in header:
            near = difflib.get_close_matches(name, header, n=1)
            hint = f" Is '{near[0]}' meant?" if near else ""
            raise InputError(f"{path}: no column '{name}'.{hint} Found {header}, needed {needed}.")
    for name in header:
        if header.count(name) > 1 and name:
            raise InputError(f"{path}: column '{name}' is there twice. Remove or rename one.")


def csv_rows(path: Path, encoding: str) -> Iterator[tuple[int, list[str]]]:
    """(number of the record, cells) of a file with commas and double quotes.

    The strict reader refuses an open quote, which a lenient one silently reads to the end.
    """
    rows = csv.reader(io.StringIO(csv_text(path, encoding), newline=""), strict=True)
    done = 0
    try:
        for done, row in enumerate(rows, start=1):
            yield done, row
    except csv.Error as error:
        raise InputError(
            f"{path}: data row {done} cannot be read: {error}. "
            "Look for a quote that is not closed or not doubled."
        ) from error


def csv_text(path: Path, encoding: str) -> str:
    """The text of a csv file, packed or not, without a byte order mark."""
    data = path.read_bytes()
    if path.suffix.lower() == ".gz":
        try:
            data = gzip.decompress(data)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InputError(f"{path}: damaged gzip file: {error}. Copy it again.") from error
    try:
        return data.removeprefix(b"\xef\xbb\xbf").decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: byte {error.start} (0x{data[error.start]:02x}) is not {encoding}. "
            "Set `encoding` of the export, e.g. to iso-8859-1 or utf-8."
        ) from error
    except LookupError as error:
        raise InputError(f"{path}: unknown encoding '{encoding}'. Use utf-8 or another.") from error


def xlsx_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(number of the row, cells) of the first sheet; formulas as they were typed."""
    from openpyxl import load_workbook

    try:
        book = load_workbook(path, read_only=True)
        rows = [
            [cell_text(v) for v in row] for row in book.worksheets[0].iter_rows(values_only=True)
        ]
        book.close()
    except (zipfile.BadZipFile, zlib.error, KeyError, IndexError, ValueError, ParseError) as error:
        raise InputError(f"{path}: no readable .xlsx file: {error}. Save it again.") from error
    width = max((i + 1 for i, name in enumerate(rows[0]) if name), default=0) if rows else 0
    for i, row in enumerate(rows, start=1):
        # a sheet says nothing of empty cells at the end of a row
        used = max((j + 1 for j, text in enumerate(row) if text), default=0)
        yield i, (row + [""] * width)[: max(used, width)]


def cell_text(value: object) -> str:
    """A cell as text: whole numbers without ".0", nothing as ""."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).replace("_x000D_", "\n")  # how .xlsx writes a carriage return


def numbers(
    sheet: pd.DataFrame, name: str, path: Path, high: float = math.inf, is_whole: bool = False
) -> pd.Series:
    """Column `name` as float, 0..high, null where empty. Raises InputError naming the row."""
    found = [number(text) for text in sheet[name]]
    for row, value in zip(sheet.index, found, strict=True):
        if value is None or (
            0 <= value <= high and value < math.inf and not (is_whole and value % 1)
        ):
            continue
        limit = "0 or more" if high == math.inf else f"0 to {high:g}"
        raise InputError(
            f"{path}: data row {row}: {name} '{sheet[name][row][:SHOWN_CHARACTERS]}' is not "
            f"{'a whole number' if is_whole else 'a number'}, {limit}. Correct the row."
        )
    return pd.Series(found, index=sheet.index, dtype=float)


def number(text: str) -> float | None:
    """The number that `text` writes, None if it is empty, NaN if it is something else."""
    if text.strip().lower() in NULLS:
        return None
    try:
        return float(text)
    except ValueError:
        return math.nan  # no comparison holds for it, so no range lets it pass
