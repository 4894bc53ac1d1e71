"""The door of a stage: one line for bad input, whatever stands in the message."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from schemas.errors import InputError
from stages.runtime.params import StageParams
from stages.runtime.reports import read_curve, read_report
from stages.runtime.run import Run, start


@dataclass(frozen=True)
class NoParams(StageParams):
    """A stage that has nothing to set."""


def run(**given: object) -> Run[NoParams]:
    return Run("report", None, NoParams(), dict(given))


def test_bad_input_is_one_line_and_code_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def main() -> None:
        raise InputError("a.csv: rating '3\r\n\t4' \x1b[31m\x9b\u202e of é. Correct\u2028 it.")

    monkeypatch.setattr("sys.argv", ["x"])
    with pytest.raises(SystemExit) as ended:
        start(main)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said == "error: a.csv: rating '3 4' \\x1b[31m\\x9b\\u202e of é. Correct it.\n"


def test_a_seed_that_is_not_there_names_both_files():
    with pytest.raises(InputError, match=r"^params.yaml: no 'seed' for stage 'report'.*dvc.yaml"):
        _ = run().seed
    assert run(seed=7).seed == 7


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty folder of reports in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports/curves").mkdir(parents=True)
    return tmp_path / "reports"


@pytest.mark.parametrize(
    "data",
    [b"{", b"\xff", b"[]", b"{}", b'{"metrics": 1}', b'{"metrics": {"a": "b"}}', b"[" * 100_000],
)
def test_a_broken_report_is_one_line(reports: Path, data: bytes):
    (reports / "x.json").write_bytes(data)
    with pytest.raises(InputError, match=r"x.json.*dvc repro") as error:
        read_report(run(), "x")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe\n", b'a\n"b\n', b"a,b\n1,2,3\n1,2,3,4\n"])
def test_a_broken_training_log_is_one_line(reports: Path, data: bytes):
    (reports / "curves/x.csv").write_bytes(data)
    with pytest.raises(InputError, match=r"x.csv.*dvc repro") as error:
        read_curve(run(), "x")
    assert "\n" not in str(error.value)


def test_a_folder_in_place_of_a_report_is_one_line(reports: Path):
    (reports / "x.json").mkdir()
    (reports / "curves/x.csv").mkdir()
    for read in (read_report, read_curve):
        with pytest.raises(InputError, match="dvc repro"):
            read(run(), "x")


def test_a_report_and_a_log_are_what_was_written_or_why_not(reports: Path):
    body = {"metrics": {"a": 1, "b": 0.5}, "details": {"c": "d"}}
    (reports / "x.json").write_text(json.dumps(body))
    (reports / "curves/x.csv").write_text("step,loss\n1,2.5\n")
    assert read_report(run(), "x") == body
    assert read_curve(run(), "x").to_dict("list") == {"step": [1], "loss": [2.5]}  # type: ignore[union-attr]
    assert read_report(run(), "y") == "reports/y.json does not exist"
