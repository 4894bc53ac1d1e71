"""A broken workbook gives one line, whatever part of it is broken."""

import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.errors import InputError
from stages.runtime.sheets import read_sheet

Parts = dict[str, bytes]


def book(sheets: int = 1, chart: bool = False) -> bytes:
    """A small workbook as bytes: two columns, two rows."""
    from openpyxl import Workbook

    made = Workbook()
    for row in (["id", "text"], [1, "a"], [2.5, True]):
        made.active.append(row)
    if chart:
        made.create_chartsheet("chart", 0)
    data = io.BytesIO()
    made.save(data)
    return data.getvalue()


def packed(data: bytes, change: Callable[[Parts], object]) -> bytes:
    """The workbook with its parts changed by `change`."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    change(parts)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return out.getvalue()


def flagged(data: bytes, offset: int, value: int) -> bytes:
    """The workbook with a 16-bit field of every entry of the central directory set."""
    found, at = bytearray(data), data.find(b"PK\x01\x02")
    while at >= 0:
        found[at + offset : at + offset + 2] = value.to_bytes(2, "little")
        at = data.find(b"PK\x01\x02", at + 4)
    return bytes(found)


def replaced(name: str, old: bytes, new: bytes) -> Callable[[Parts], object]:
    """A change of one part's text."""

    def change(parts: Parts) -> None:
        assert old in parts[name]
        parts[name] = parts[name].replace(old, new)

    return change


SHEET = "xl/worksheets/sheet1.xml"
BOMB = b"<!DOCTYPE x [" + b"".join(
    b'<!ENTITY e%d "%s">' % (i, b"&e%d;" % (i - 1) * 10 if i else b"ten letter") for i in range(9)
) + b"]><worksheet>&e8;</worksheet>"  # fmt: skip
BROKEN = {
    "encrypted": flagged(book(), 8, 1),
    "unknown_compression": flagged(book(), 10, 99),
    "content_types": packed(book(), lambda parts: parts.update({"[Content_Types].xml": b"<Types"})),
    "no_content_types": packed(book(), lambda parts: parts.pop("[Content_Types].xml")),
    "no_workbook_part": packed(book(), lambda parts: parts.pop("xl/workbook.xml")),
    "no_workbook_type": packed(book(), replaced("[Content_Types].xml", b"sheet.main", b"none")),
    "no_sheet": packed(book(), lambda parts: parts.pop(SHEET)),
    "entity_bomb": packed(book(), lambda parts: parts.update({SHEET: BOMB})),
    "unclosed_sheet": packed(book(), replaced(SHEET, b"</sheetData>", b"")),
    "chart_without_drawing": packed(
        book(chart=True),
        lambda parts: parts.update({"xl/chartsheets/sheet1.xml": b"<chartsheet/>"}),
    ),
    "cut_off": book()[:-300],
    "no_zip": b"\xd0\xcf\x11\xe0" + b"\0" * 600,
    "empty": b"",
    "cell_index": packed(
        book(), replaced(SHEET, b'inlineStr"><is><t>id</t></is>', b's"><v>77</v>')
    ),
}


def told(path: Path) -> str:
    """The one line for a workbook that cannot be read; nothing for one that can."""
    try:
        read_sheet(path, "utf-8", ["id"])
    except InputError as error:
        return str(error)
    return ""


def is_one_line(text: str) -> bool:
    return "a.xlsx" in text and "\n" not in text and len(text) < 600


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_workbook_is_one_line(tmp_path: Path, fault: str):
    path = tmp_path / "a.xlsx"
    path.write_bytes(BROKEN[fault])
    assert is_one_line(told(path))


def test_a_workbook_without_a_sheet_of_cells_says_so(tmp_path: Path):
    from openpyxl import Workbook
    from openpyxl.chart import BarChart

    made = Workbook()
    made.create_chartsheet("chart").add_chart(BarChart())
    made.remove(made.active)
    made.save(tmp_path / "a.xlsx")
    assert "no sheet with cells" in told(tmp_path / "a.xlsx")


def test_truth_values_and_numbers_of_a_workbook_are_text(tmp_path: Path):
    (tmp_path / "a.xlsx").write_bytes(book())
    found = read_sheet(tmp_path / "a.xlsx", "utf-8", ["id"])
    assert found.to_numpy().tolist() == [["1", "a"], ["2.5", "True"]]


@pytest.mark.filterwarnings("ignore::UserWarning")  # openpyxl's, of what it leaves out
def test_bytes_changed_at_random_give_a_table_or_one_line(tmp_path: Path):
    drawn, path = random.Random(7), tmp_path / "a.xlsx"
    parts = sorted(zipfile.ZipFile(io.BytesIO(book())).namelist())
    for _ in range(150):
        name = drawn.choice(parts)

        def damage(found: Parts, name: str = name) -> None:
            data = bytearray(found[name])
            for _ in range(drawn.randint(1, 3)):
                at = drawn.randrange(len(data))
                data[at : at + drawn.choice([1, 1, 9])] = drawn.choice(
                    [b"", b"<", b"9", b"\xff", b"x"]
                )
            found[name] = bytes(data)

        path.write_bytes(packed(book(), damage))
        found = told(path)
        assert not found or is_one_line(found)
