"""The comparison finds what differs; the command itself runs under the mark `route`."""

import subprocess
import sys
from pathlib import Path

import pytest

from stages import distributed_smoke as smoke
from stages.distributed_smoke import BATCH, REFERENCE, ROWS, SETTINGS, compare, gap, profile
from tests.imports import ROOT

OTHER = "ZeRO-2, two ranks"
LOSSES = [4.0, 3.0, 2.0, 1.0]


def logs(losses: list[float], weights: list[float]) -> dict[str, dict[str, list[float]]]:
    """The reference, and another setting with these numbers."""
    return {
        REFERENCE: {"sft loss": LOSSES, "sft weights": [0.5, -0.5]},
        OTHER: {"sft loss": losses, "sft weights": weights},
    }


def test_equal_numbers_agree_and_each_update_is_a_line():
    table, differing = compare(logs([4.0, 3.0, 2.0, 1.00001], [0.5, -0.5]))
    assert differing == []
    assert [line.split()[2] for line in table if line.startswith("sft loss  ")][:4] == [
        "1",
        "2",
        "3",
        "4",
    ]
    assert "1.0e-05" in "\n".join(table)


@pytest.mark.parametrize(
    ("losses", "weights", "series"),
    [
        ([4.0, 3.0, 2.0, 1.001], [0.5, -0.5], "sft loss"),
        ([4.0, 3.0, 2.0, float("nan")], [0.5, -0.5], "sft loss"),
        ([4.0, 3.0, 2.0], [0.5, -0.5], "sft loss"),  # an update is missing
        (LOSSES, [0.5, 0.5], "sft weights"),
        (LOSSES, [], "sft weights"),  # an empty adapter
    ],
)
def test_a_number_that_differs_is_named(losses: list[float], weights: list[float], series: str):
    _, differing = compare(logs(losses, weights))
    (line,) = differing
    assert line.startswith(f"{series}: {OTHER} differs by ")


@pytest.mark.parametrize(
    ("own", "wanted", "distance"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.5),
        ([float("nan")], [1.0], float("inf")),
        ([1.0], [float("nan")], float("inf")),
        ([1.0], [1.0, 2.0], float("inf")),
    ],
)
def test_the_gap_is_the_largest_difference(own: list[float], wanted: list[float], distance: float):
    assert gap(own, wanted) == distance


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_takes_the_same_rows_per_update(name: str):
    model, training = profile(name)
    assert training.batch_size * training.accumulation_steps * model.processes == BATCH
    assert ROWS % BATCH == 0


def test_the_settings_of_the_profile_are_among_those_tried():
    files = {Path(file).name for _, file in SETTINGS.values() if file is not None}
    assert files == {path.name for path in (ROOT / "stages/profiles").glob("*.json")}


def test_a_difference_is_exit_code_one_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    found = logs([4.0, 3.0, 2.0, 9.0], [0.5, -0.5])
    found |= {name: found[REFERENCE] for name in SETTINGS if name not in found}
    monkeypatch.setattr(smoke, "run", lambda name, _: found[name])
    with pytest.raises(SystemExit) as left:
        smoke.main()
    assert left.value.code == 1
    printed = capsys.readouterr()
    assert printed.err == f"error: sft loss: {OTHER} differs by 8 from {REFERENCE}.\n"
    assert "9.000000" in printed.out


@pytest.mark.route
def test_two_ranks_under_deepspeed_learn_what_one_process_learns():
    command = [sys.executable, "-m", "stages.distributed_smoke"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "every number agrees" in done.stdout
