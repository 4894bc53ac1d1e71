"""One .csv, .csv.gz or .xlsx file -> a table of text cells, or one line that says what is wrong."""

import codecs
import csv
import difflib
import gzip
import io
import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from schemas.errors import InputError

ENTRIES = "prepare_questions.exports in params.yaml"
NULLS = {"", "nan", "null", "none", "na", "n/a"}  # how exports write a missing number
SHOWN_CHARACTERS = 200  # of what a file holds; a header may be a megabyte of binary
SHOWN_OF_CELL = 40
MAX_CELL = 2**31 - 1  # characters; the csv module's own limit is less than a picture in a cell
# What openpyxl raises depends on the part of the file that is broken: it checks little.
BROKEN_PACKING = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)  # also encrypted
BROKEN_CONTENT = (SyntaxError, LookupError, ValueError, TypeError, AttributeError)  # lxml's: Syntax


def read_sheet(path: Path, encoding: str, needed: list[str]) -> pd.DataFrame:
    """The cells of `path` as text, indexed by their 1-based data row; empty cells are "".

    needed: columns that must be there; others are kept as they are. encoding: of csv files.
    Raises InputError naming path and place for a file that is missing, empty, damaged,
    ragged, in another encoding, or that lacks a column or has one twice.
    """
    check_file(path)
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


def shown(value: object, limit: int = SHOWN_CHARACTERS) -> str:
    """What a message quotes of a file: one line, at most `limit` characters and three dots."""
    text = " ".join(str(value).split())
    return text if len(text) <= limit else f"{text[:limit]}..."


def check_file(path: Path) -> None:
    """Raise InputError unless `path` is a file, with the names that are there."""
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except OSError as error:  # a name that is too long
        raise InputError(
            f"{shown(path)} cannot be read: {error.strerror}. Correct {ENTRIES}."
        ) from error
    if is_folder:
        raise InputError(f"{path} is a folder, not a file. Correct {ENTRIES}.")
    if not is_file:
        there = sorted(p.name for p in path.parent.glob("*")) if path.parent.is_dir() else []
        raise InputError(
            f"{path} does not exist; the folder has {shown(there) if there else 'no files'}. "
            f"Correct {ENTRIES}."
        )


def check_columns(path: Path, header: list[str], needed: list[str]) -> None:
    """Raise InputError for names that are missing or one that is there twice."""
    if missing := [name for name in needed if name not in header]:
        near = [found for name in missing for found in difflib.get_close_matches(name, header, n=1)]
        hint = f" Is {shown(quoted(near))} meant?" if near else ""
        raise InputError(
            f"{path}: no column {quoted(missing)}.{hint} Found {shown(header)}. Rename or add them."
        )
    for name in header:
        if header.count(name) > 1 and name:
            raise InputError(
                f"{path}: column '{shown(name)}' is there twice. Remove or rename one."
            )


def quoted(names: list[str]) -> str:
    """'a', 'b'"""
    return ", ".join(f"'{name}'" for name in dict.fromkeys(names))


def csv_rows(path: Path, encoding: str) -> Iterator[tuple[int, list[str]]]:
    """(number of the record, cells) of a file with commas and double quotes.

    The strict reader refuses an open quote, which a lenient one silently reads to the end.
    """
    csv.field_size_limit(MAX_CELL)
    rows = csv.reader(io.StringIO(csv_text(path, encoding), newline=""), strict=True)
    done = 0
    try:
        for done, row in enumerate(rows, start=1):
            yield done, row
    except csv.Error as error:
        raise InputError(
            f"{path}: {f'data row {done}' if done else 'header'} cannot be read: {error}. "
            "Look for a quote that is not closed or not doubled."
        ) from error


def csv_text(path: Path, encoding: str) -> str:
    """The text of a csv file, packed or not, without a byte order mark."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}. Correct the file.") from error
    if path.suffix.lower() == ".gz":
        try:
            data = gzip.decompress(data)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InputError(f"{path}: damaged gzip file: {error}. Copy it again.") from error
    return decoded(data, path, encoding)


def decoded(data: bytes, path: Path, encoding: str) -> str:
    """The text of `data` without a byte order mark. Raises InputError naming the wrong byte."""
    mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
    try:
        text = data[len(mark) :].decode(encoding)
        text.encode("utf-8")  # utf-7 and others also give halves of characters
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: byte {len(mark) + error.start} (0x{error.object[error.start]:02x}) is not "
            f"{encoding}. Set `encoding` of the export, e.g. to iso-8859-1 or utf-8."
        ) from error
    except (LookupError, ValueError) as error:
        raise InputError(
            f"{path}: encoding {encoding!r} is unknown or reads no text ({shown(error)}). "
            "Set `encoding` of the export, e.g. to utf-8."
        ) from error
    return text


def xlsx_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(number of the row, cells) of the first sheet; formulas as they were typed."""
    rows = [[cell_text(value) for value in row] for row in xlsx_values(path)]
    width = max((i + 1 for i, name in enumerate(rows[0]) if name), default=0) if rows else 0
    for i, row in enumerate(rows, start=1):
        # a sheet says nothing of empty cells at the end of a row
        used = max((j + 1 for j, text in enumerate(row) if text), default=0)
        yield i, (row + [""] * width)[: max(used, width)]


def xlsx_values(path: Path) -> list[tuple[object, ...]]:
    """The rows of the first sheet. Raises InputError for a damaged or protected file."""
    from openpyxl import load_workbook

    try:
        book = load_workbook(path, read_only=True)
        sheets = book.worksheets
        rows = list(sheets[0].iter_rows(values_only=True)) if sheets else []
        book.close()
    except (*BROKEN_PACKING, *BROKEN_CONTENT) as error:
        told = shown(error) or type(error).__name__
        raise InputError(f"{path}: no readable .xlsx file: {told}. Save it again.") from error
    if not sheets:
        raise InputError(f"{path}: no sheet with cells in it. Save the export as the first sheet.")
    return rows


def cell_text(value: object) -> str:
    """A cell as text: whole numbers without ".0", nothing as ""."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).replace("_x000D_", "\n")  # how .xlsx writes a carriage return


def numbers(
    sheet: pd.DataFrame, name: str, path: Path, high: float, is_whole: bool = False
) -> pd.Series:
    """Column `name` as float, 0..high, null where empty. Raises InputError naming the row."""
    found = [number(text) for text in sheet[name]]
    wanted = f"{'a whole number' if is_whole else 'a number'}, 0 to {high:.0f}"
    for row, value in zip(sheet.index, found, strict=True):
        if value is not None and (not 0 <= value <= high or (is_whole and value % 1)):
            raise wrong_cell(sheet, name, path, row, wanted)
    return pd.Series(found, index=sheet.index, dtype=float)


def flags(sheet: pd.DataFrame, name: str, path: Path) -> pd.Series:
    """Column `name` as bool, False where empty. Raises InputError naming the row."""
    words = {"false": 0.0, "true": 1.0}  # what a spreadsheet makes of 0 and 1
    found = [words.get(text.strip().lower(), number(text) or 0.0) for text in sheet[name]]
    for row, value in zip(sheet.index, found, strict=True):
        if value not in (0, 1):
            raise wrong_cell(sheet, name, path, row, "0, 1, TRUE or FALSE")
    return pd.Series(found, index=sheet.index, dtype=float) == 1


def wrong_cell(sheet: pd.DataFrame, name: str, path: Path, row: int, wanted: str) -> InputError:
    """The error for a cell that is not what is wanted of its column."""
    text = shown(sheet[name][row], SHOWN_OF_CELL)
    return InputError(f"{path}: data row {row}: {name} '{text}' is not {wanted}. Correct the row.")


def number(text: str) -> float | None:
    """The number that `text` writes, None if it is empty, NaN if it is something else."""
    if text.strip().lower() in NULLS:
        return None
    try:
        return float(text)
    except ValueError:
        return math.nan  # no comparison holds for it, so no range lets it pass
