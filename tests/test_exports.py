"""Both layouts give the same raw rows, as text; a damaged file gives one line and a place."""

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from schemas.errors import InputError
from stages.runtime.exports import parse_entries, read_exports
from stages.runtime.sheets import cell_text, number, read_sheet

COLUMNS_A = (
    "id course_id timestamp user avg_rating total_responses total_ratings top_rating_count "
    "avg_difficulty total_comments deleted answer numAlts question altA altB altC altD altE "
    "explanation"
)
ROW_A = {
    "id": "007", "user": "s1", "avg_rating": "3.6", "total_ratings": "20", "deleted": "0",
    "top_rating_count": "5", "answer": "B", "numAlts": "2", "explanation": "It is.",
    "question": 'Is NA, "sodium",\na metal?', "altA": "no", "altB": "yés",
}  # fmt: skip
COLUMNS_B = "ID Question Num_options OptionA OptionB OptionC OptionD OptionE Answer Explanation"
ROW_B = {
    "ID": "007", "Question": ROW_A["question"], "Num_options": "2", "OptionA": "no",
    "OptionB": "yés", "Answer": "B", "Explanation": "It is.",
}  # fmt: skip


def csv_text(columns: str, *rows: dict[str, str]) -> str:
    names = columns.split()
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def row_a(**changes: str) -> dict[str, str]:
    return ROW_A | changes


def write_xlsx(path: Path, rows: list[list[object]]) -> None:
    from openpyxl import Workbook

    book = Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)


def read_a(folder: Path, name: str = "a.csv", **entry: Any) -> pd.DataFrame:
    exports = parse_entries([{"course": "bio", "layout": "A", "file": name} | entry])
    return read_exports(folder, exports)


def read_b(folder: Path, **entry: Any) -> pd.DataFrame:
    exports = parse_entries([{"course": "bio", "layout": "B", "questions": "q.csv"} | entry])
    return read_exports(folder, exports)


def write_b(folder: Path, columns: str = COLUMNS_B, *rows: dict[str, str]) -> None:
    text = csv_text(columns, *(rows or (ROW_B,)))
    (folder / "q.csv").write_bytes(text.encode("iso-8859-1"))


def test_csv_gz_and_xlsx_of_the_same_rows_are_read_alike(tmp_path: Path):
    text = csv_text(COLUMNS_A, ROW_A, row_a(id="8", avg_rating=""))
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    write_xlsx(tmp_path / "a.xlsx", [[*row] for row in csv.reader(io.StringIO(text))])
    tables = [read_a(tmp_path, name).drop(columns="source_file") for name in
              ("a.csv", "a.csv.gz", "a.xlsx")]  # fmt: skip
    pd.testing.assert_frame_equal(tables[0], tables[1])
    pd.testing.assert_frame_equal(tables[0], tables[2])
    first = tables[0].iloc[0]
    assert first.row_id == "bio/007"  # the zeros stay
    assert first.stem == ROW_A["question"]
    assert first[["rating_mean", "ratings_n", "top_rating_frac"]].tolist() == [3.6, 20, 0.25]
    assert not first.is_deleted
    assert tables[0].rating_mean.isna().tolist() == [False, True]
    assert tables[0].source_row.tolist() == [1, 2]


def test_numbers_and_formulas_of_a_workbook_are_what_was_typed(tmp_path: Path):
    names = COLUMNS_A.split()
    cells: dict[str, object] = {**ROW_A, "id": 12, "numAlts": 2.0, "altA": "=1+1", "altB": 0.5}
    write_xlsx(tmp_path / "a.xlsx", [[*names], [cells.get(name) for name in names], [None]])
    row = read_a(tmp_path, "a.xlsx").iloc[0]
    assert row[["row_id", "options_n", "option_a", "option_b"]].tolist() == [
        "bio/12", "2", "=1+1", "0.5",
    ]  # fmt: skip


def test_a_whole_number_of_a_workbook_has_no_point():
    assert [cell_text(value) for value in (4.0, 4, 4.5, None, "4.0")] == [
        "4",
        "4",
        "4.5",
        "",
        "4.0",
    ]


def test_layout_b_gives_what_layout_a_gives(tmp_path: Path):
    (tmp_path / "a.csv").write_text(csv_text(COLUMNS_A, ROW_A), encoding="utf-8")
    columns = f"{COLUMNS_B} Total_ratings Avg_rating"
    write_b(tmp_path, columns, ROW_B | {"Total_ratings": "20", "Avg_rating": "3.6"})
    found_a, found_b = read_a(tmp_path), read_b(tmp_path)
    other = ["source_file", "top_rating_frac", "user"]
    pd.testing.assert_frame_equal(found_a.drop(columns=other), found_b.drop(columns=other))


def test_ratings_of_single_students_give_mean_number_and_five_star_share(tmp_path: Path):
    write_b(tmp_path, COLUMNS_B, ROW_B, ROW_B | {"ID": "8"})
    ratings = [("007", "5"), ("007", "2"), ("007", "5"), ("007", ""), ("999", "1")]
    rows = [{"Question_ID": q, "Rating": r, "UserID": "s", "Rating_ID": "1"} for q, r in ratings]
    text = csv_text("Rating_ID UserID Question_ID Rating", *rows)
    (tmp_path / "r.csv").write_text(text)
    found = read_b(tmp_path, ratings="r.csv")
    assert found.rating_mean.iloc[0] == 4.0
    assert found.ratings_n.tolist() == [3, 0]  # a question nobody rated has 0, not null
    assert found.top_rating_frac.iloc[0] == pytest.approx(2 / 3)
    assert pd.isna(found.rating_mean.iloc[1])


def test_the_modal_answer_is_null_for_a_tie_and_for_none(tmp_path: Path):
    write_b(tmp_path, COLUMNS_B + " Total_ratings Avg_rating",
            *(ROW_B | {"ID": name} for name in "123"))  # fmt: skip
    given = [("1", "a"), ("1", "A "), ("1", "B"), ("2", "A"), ("2", "B"), ("2", "")]
    rows = [{"Answer_ID": "1", "UserID": "s", "Question_ID": q, "Answer": a} for q, a in given]
    (tmp_path / "s.csv").write_text(csv_text("Answer_ID UserID Question_ID Answer", *rows))
    found = read_b(tmp_path, answers="s.csv").modal_answer
    assert found.iloc[0] == "A"
    assert found.iloc[1:].isna().all()


def test_a_byte_order_mark_and_blank_lines_are_no_content(tmp_path: Path):
    text = csv_text(COLUMNS_A, ROW_A) + "\n\n"
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_a(tmp_path).row_id.tolist() == ["bio/007"]


def test_columns_that_no_stage_needs_may_be_there(tmp_path: Path):
    (tmp_path / "a.csv").write_text(csv_text("licence " + COLUMNS_A, ROW_A), encoding="utf-8")
    assert "licence" not in read_a(tmp_path)


@pytest.mark.parametrize(
    ("text", "value"), [("3", 3.0), (" 3.5 ", 3.5), ("", None), ("NA", None), ("nan", None)]
)
def test_a_number_or_none(text: str, value: float | None):
    assert number(text) == value


def broken(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


GOOD = csv_text(COLUMNS_A, ROW_A, row_a(id="8"))
FAULTS: dict[str, tuple[bytes, str]] = {
    "missing_column": (broken(GOOD, "altE", "alt_E").encode(), "no column 'altE'. Is 'alt_E'"),
    "missing_columns": (
        broken(broken(GOOD, "altE", "alt_E"), "deleted", "gone").encode(),
        "no column 'deleted', 'altE'. Is 'alt_E' meant? Found ['id',",
    ),
    "column_twice": (broken(GOOD, "course_id", "id").encode(), "column 'id' is there twice"),
    "wrong_encoding": (GOOD.encode("iso-8859-1"), f"byte {GOOD.index('é')} (0xe9) is not utf-8"),
    "ragged": ((GOOD + "9,1\n").encode(), "data row 3 has 2 cells, the line of names 20"),
    "unclosed": ((GOOD + '9,"open\n').encode(), "data row 3 cannot be read: unexpected end"),
    "stray_quote": ((GOOD + '9,"a"b,\n').encode(), "data row 3 cannot be read"),
    "open_header": (b'"' + GOOD.encode(), "header cannot be read"),
    "binary": (bytes(range(1, 128)).replace(b'"', b"") * 99, "Found ["),
    "long_names": (b"x" * 9000 + b"\n1\n", "xxx..."),
    "name_of_two_lines": (broken(GOOD, "course_id,", '"a\nb","a\nb",').encode(), "column 'a b'"),
    "id_of_two_lines": (csv_text(COLUMNS_A, *[row_a(id="7\n8")] * 2).encode(), "twice: 7 8."),
    "rating_of_two_lines": (csv_text(COLUMNS_A, row_a(avg_rating="3\n4")).encode(), "'3 4'"),
    "empty_file": (b"", "the file is empty"),
    "only_names": (csv_text(COLUMNS_A).encode(), "column names but no rows"),
    "rating_above_5": (
        csv_text(COLUMNS_A, ROW_A, row_a(id="8", avg_rating="5.1")).encode(),
        "data row 2: avg_rating '5.1' is not a number, 0 to 5",
    ),
    "rating_below_0": (csv_text(COLUMNS_A, row_a(avg_rating="-1")).encode(), "avg_rating '-1'"),
    "rating_a_word": (csv_text(COLUMNS_A, row_a(avg_rating="3,5")).encode(), "avg_rating '3,5'"),
    "half_a_count": (csv_text(COLUMNS_A, row_a(total_ratings="2.5")).encode(), "a whole number"),
    "endless_count": (csv_text(COLUMNS_A, row_a(total_ratings="inf")).encode(), "'inf'"),
    "count_beyond_reason": (
        csv_text(COLUMNS_A, ROW_A, row_a(id="8", total_ratings="1e20")).encode(),
        "data row 2: total_ratings '1e20' is not a whole number, 0 to 1000000000",
    ),
    "endless_flag": (csv_text(COLUMNS_A, row_a(deleted="inf")).encode(), "deleted 'inf'"),
    "flag_of_a_number": (
        csv_text(COLUMNS_A, ROW_A, row_a(id="8", deleted="2")).encode(),
        "data row 2: deleted '2' is not 0, 1, TRUE or FALSE",
    ),
    "flag_of_a_word": (csv_text(COLUMNS_A, row_a(deleted="yes")).encode(), "deleted 'yes'"),
    "too_many_fives": (
        csv_text(COLUMNS_A, row_a(top_rating_count="21")).encode(),
        "data row 1: top_rating_count 21 is more than total_ratings 20",
    ),
    "id_twice": (csv_text(COLUMNS_A, ROW_A, ROW_A).encode(), "id occurs twice: 007"),
    "no_id": (csv_text(COLUMNS_A, row_a(id=" ")).encode(), "data row 1: id is empty"),
}


@pytest.mark.parametrize(
    ("text", "is_deleted"),
    [("0", False), ("1", True), ("", False), ("1.0", True), ("FALSE", False), ("True ", True)],
)
def test_a_flag_is_0_or_1_or_what_a_spreadsheet_makes_of_it(
    tmp_path: Path, text: str, is_deleted: bool
):
    (tmp_path / "a.csv").write_text(csv_text(COLUMNS_A, row_a(deleted=text)), encoding="utf-8")
    assert read_a(tmp_path).is_deleted.tolist() == [is_deleted]
    write_b(tmp_path, f"{COLUMNS_B} Total_ratings Avg_rating Deleted", ROW_B | {"Deleted": text})
    assert read_b(tmp_path).is_deleted.tolist() == [is_deleted]


def test_a_cell_with_a_picture_inside_is_read_whole(tmp_path: Path):
    picture = f'<img src="data:image/png;base64,{"A1b/" * 60_000}">'
    (tmp_path / "a.csv").write_text(csv_text(COLUMNS_A, row_a(question=picture)), encoding="utf-8")
    assert read_a(tmp_path).stem.tolist() == [picture]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_file_is_one_line_with_its_place(tmp_path: Path, fault: str):
    data, said = FAULTS[fault]
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(InputError) as error:
        read_a(tmp_path)
    assert said in str(error.value)
    assert "a.csv" in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500 + len(str(tmp_path))


def test_damaged_archives_and_missing_files_are_named(tmp_path: Path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(GOOD.encode())[:-20])
    (tmp_path / "b.csv.gz").write_bytes(b"no gzip")
    (tmp_path / "a.xlsx").write_bytes(b"no workbook")
    for name, said in (
        ("a.csv.gz", "damaged gzip"),
        ("b.csv.gz", "damaged gzip"),
        ("a.xlsx", "no readable .xlsx"),
        ("c.csv", "does not exist; the folder has ['a.csv.gz', 'a.xlsx', 'b.csv.gz']"),
    ):
        with pytest.raises(InputError, match=name) as error:
            read_a(tmp_path, name)
        assert said in str(error.value)


def test_a_row_of_a_workbook_that_is_too_long_is_named(tmp_path: Path):
    write_xlsx(tmp_path / "a.xlsx", [["id", "text"], ["1", "a"], ["2", "b", "c"]])
    with pytest.raises(InputError, match="data row 2 has 3 cells, the line of names 2"):
        read_sheet(tmp_path / "a.xlsx", "utf-8", ["id"])


def test_tables_of_another_course_and_ratings_out_of_range_are_refused(tmp_path: Path):
    write_b(tmp_path)
    (tmp_path / "other.csv").write_text("Question_ID,Rating,Answer\n99,5,A\n")
    (tmp_path / "six.csv").write_text("Question_ID,Rating\n007,6\n")
    with pytest.raises(InputError, match="no Question_ID is an id of the questions"):
        read_b(tmp_path, ratings="other.csv")
    with pytest.raises(InputError, match="data row 1: Rating '6'"):
        read_b(tmp_path, ratings="six.csv")
    with pytest.raises(InputError, match="no columns Total_ratings and Avg_rating"):
        read_b(tmp_path)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([], "[] is no list"),
        ("a.csv", "'a.csv' is no list"),
        (["a.csv"], "unknown layout None"),
        ([{"course": "x", "layout": "C", "file": "a"}], "unknown layout 'C'. Known: A, B."),
        ([{"course": "x", "layout": "A", "fiel": "a"}], "key 'fiel'. Did you mean 'file'?"),
        ([{"course": "x", "layout": "A", "file": "a", "encodin": "b"}], "mean 'encoding'?"),
        ([{"course": "x", "layout": "A"}], "missing ['file']"),
        ([{"course": "x", "layout": "B", "questions": "q", "rating": "b"}], "mean 'ratings'?"),
        (
            [{"course": 2024, "layout": "A", "file": "a"}],
            "course: Input should be a valid string, got 2024",
        ),
        ([{"course": "x", "layout": "A", "file": None}], "file: Input should be a valid string"),
        ([{"course": "x", "layout": "A", "file": "a", "encoding": None}], "valid string, got None"),
        ([{"course": "a/b", "layout": "A", "file": "a"}], "course 'a/b'"),
        ([{"course": "", "layout": "A", "file": "a"}], "course ''"),
        ([{"course": "all", "layout": "A", "file": "a"}], "course 'all'"),
        ([{"course": "x", "layout": "A", "file": "a"}] * 2, "courses 'x' and 'x' are one name"),
        ([{"course": " x", "layout": "A", "file": "a"}], "course ' x'"),
        ([{"course": "x\ny", "layout": "A", "file": "a"}], "course 'x\\ny'"),
        (
            [{"course": name, "layout": "A", "file": name} for name in ("bio 1", "bio1")],
            "courses 'bio 1' and 'bio1' are one name but for",
        ),
        (
            [
                {"course": "x", "layout": "A", "file": "a"},
                {"course": "y", "layout": "A", "file": "./a"},
            ],
            "courses 'x' and 'y' both read ./a",
        ),
        (
            [{"course": name, "layout": "B", "questions": "a"} for name in "xy"],
            "courses 'x' and 'y' both read a",
        ),
    ],
)
def test_a_wrong_entry_of_params_is_one_line(entries: object, said: str):
    with pytest.raises(InputError) as error:
        parse_entries(entries)
    assert said in str(error.value)
    assert "params.yaml: prepare_questions" in str(error.value)


@pytest.mark.parametrize("encoding", ["utf-9", "punycode", "undefined", "a\0b", "hex", ""])
def test_an_encoding_that_reads_no_text_is_named(tmp_path: Path, encoding: str):
    (tmp_path / "a.csv").write_text(broken(GOOD, "é", "-"), encoding="ascii")
    with pytest.raises(InputError) as error:
        read_a(tmp_path, encoding=encoding)
    assert f"encoding {encoding!r}" in str(error.value)
    assert "\n" not in str(error.value)


def test_half_a_character_is_no_text(tmp_path: Path):
    text = broken(GOOD, "yés", "+2AA-")  # UTF-7 of U+D800
    (tmp_path / "a.csv").write_text(text, encoding="ascii")
    with pytest.raises(InputError, match="encoding 'utf-7'"):
        read_a(tmp_path, encoding="utf-7")


def test_a_wrong_byte_is_counted_from_the_start_of_the_file(tmp_path: Path):
    data = b"\xef\xbb\xbf" + csv_text(COLUMNS_A, row_a(altB="\xff")).encode("iso-8859-1")
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(InputError, match=rf"byte {data.index(0xFF)} \(0xff\) is not utf-8"):
        read_a(tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x" * 300 + ".csv", "cannot be read: File name too long"),
        ("folder.csv", "is a folder, not a file"),
        ("folder.xlsx", "is a folder, not a file"),
        ("a\0.csv", "does not exist"),
        ("a.csv/b.csv", "does not exist"),
    ],
)
def test_a_name_that_is_no_file_is_one_line(tmp_path: Path, name: str, said: str):
    (tmp_path / "a.csv").write_text(GOOD, encoding="utf-8")
    for folder in ("folder.csv", "folder.xlsx"):
        (tmp_path / folder).mkdir()
    with pytest.raises(InputError, match=said) as error:
        read_a(tmp_path, name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.xlsx"])
def test_a_file_that_may_not_be_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    (tmp_path / name).touch()

    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    monkeypatch.setattr("openpyxl.load_workbook", refuse)
    with pytest.raises(InputError, match=rf"{name}.*Permission denied"):
        read_a(tmp_path, name)


def test_a_folder_of_many_files_does_not_flood_the_message(tmp_path: Path):
    for i in range(200):
        (tmp_path / f"export_{i}.csv").touch()
    with pytest.raises(InputError) as error:
        read_a(tmp_path)
    assert len(str(error.value)) < 400 + len(str(tmp_path))
