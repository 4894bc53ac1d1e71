"""Case 20: a stage that is killed at any moment and started again ends in the same bytes.

Each stage is killed by SIGKILL, with all its children, at moments drawn over its run: once in
`make test`, twenty times in `make faults`. Before each start its outputs are removed, as DVC
does. Checked at each kill: what is there is complete, and equal to that of a run that was never
disturbed and began with an empty store. Checked at each start: no row that was kept is computed
again, so the work that is lost is that of the batch in the making. Of a training that had written
a checkpoint, the work of the last interval is lost, and no more.
"""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stages.benches.workspace import set_values
from stages.runtime.loading.digests import dvc_md5
from tests.micro_route import environment
from tests.pipeline import stages

pytest_plugins = ["tests.micro_route"]
pytestmark = pytest.mark.route

# What `make faults` kills often. The others are killed once.
OFTEN = ["sample_candidates", "score_candidates", "train_sft", "train_dpo"]
TRAININGS = ["train_sft", "train_dpo"]
ONCE = ["prepare_base", "train_verifier@reward", "train_students", "explain_test@dpo"]
ONCE += ["explain_test_ilearner", "validate", "repeat_training", "evaluate"]
LIMIT = 300.0  # seconds of one run; none takes nearly as long
INTERVAL = 0.5  # seconds between checkpoints: these trainings are too short for the usual 20
SLACK = 5.0  # seconds of an update, and of writing a checkpoint, on a busy machine
# Larger than the micro route, so that most moments fall into the work and not before it.
LONGER: dict[str, dict[str, Any]] = {
    "params.yaml": {
        "sample_candidates.max_questions": 40,
        "sample_candidates.temperatures": [0.3, 0.5, 0.7, 0.9, 1.1, 1.3],
    },
    "stages/profiles/tiny.yaml": {
        "generation.batch_size": 32,
        "generation.max_new_tokens": 48,
        "sft.epochs": 6,
        "dpo.epochs": 12,
        "sft.batch_size": 4,
        "dpo.batch_size": 4,
    },
}


@dataclass(frozen=True)
class Victim:
    """A stage in a copy of the repository, with a store of its own."""

    copy: Path
    stage: str
    store: Path

    @property
    def outs(self) -> list[Path]:
        """What it writes."""
        return sorted(self.copy / out for out in stages()[self.stage].outs)

    def digests(self) -> dict[str, str]:
        """Of the outputs that are there."""
        return {out.name: dvc_md5(out) for out in self.outs if out.exists()}

    def remove_outs(self) -> None:
        """As DVC does before a stage."""
        for out in self.outs:
            shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)

    def start(self) -> subprocess.Popen[str]:
        """The stage's own command, in a process group of its own."""
        self.remove_outs()
        command = [sys.executable, *stages()[self.stage].cmd.split()[1:]]
        return subprocess.Popen(
            command,
            cwd=self.copy,
            env=environment(PEERWISE_STORE=str(self.store)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self) -> tuple[dict[str, str], float]:
        """Run to the end: digests of the outputs, and seconds."""
        began = time.monotonic()
        process = self.start()
        _, told = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, told[-3000:]
        return self.digests(), time.monotonic() - began

    def kill_after(self, seconds: float) -> bool:
        """Start, and kill the group after `seconds`; False if it had ended by itself."""
        process = self.start()
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return True
        assert process.returncode == 0
        return False

    def kept_since(self, moment: float) -> float | None:
        """When the newest checkpoint after `moment` was complete (seconds of the epoch).

        None if there is none, or if it is of a training that was done.
        """
        manifests = (self.store / "checkpoints").glob("*/checkpoint-*/manifest.json")
        later = [path for path in manifests if path.stat().st_mtime > moment]
        if not later:
            return None
        newest = max(later, key=lambda path: path.stat().st_mtime)
        state = json.loads((newest.parent / "trainer_state.json").read_text(encoding="utf-8"))
        is_done = state["global_step"] >= state["max_steps"]
        return None if is_done else newest.stat().st_mtime

    def rows(self) -> dict[str, tuple[int, int]]:
        """By kind: rows that are kept, and rows that were asked for and not there."""
        file = self.store / "rows.sqlite"
        if not file.exists():
            return {}
        connection = sqlite3.connect(file, timeout=30)
        try:
            kept = dict(connection.execute("select kind, count(*) from rows group by kind"))
            missed = dict(connection.execute("select kind, missed from asked"))
        except sqlite3.OperationalError:  # killed before it had tables
            return {}
        finally:
            connection.close()
        return {kind: (kept.get(kind, 0), missed[kind]) for kind in missed}


@pytest.fixture(scope="module")
def copy(micro_route: Path) -> Path:
    """The route, whose stages then take longer."""
    for file, changes in LONGER.items():
        set_values(micro_route / file, changes)
    code = micro_route / "stages/runtime/resume.py"
    usual, often = "\nSECONDS = 20.0 ", f"\nSECONDS = {INTERVAL} "
    text = code.read_text(encoding="utf-8")
    assert usual in text
    code.write_text(text.replace(usual, often), encoding="utf-8")
    return micro_route


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Path]:
    """Empty folders for stores."""

    def numbered() -> Iterator[Path]:
        for number in range(1000):
            yield tmp_path / f"store_{number}"

    return numbered()  # type: ignore[return-value]


def check_remains(victim: Victim, whole: dict[str, str]) -> None:
    """What a killed stage left is what an undisturbed one writes, or nothing."""
    found = victim.digests()
    assert found.items() <= whole.items(), f"{victim.stage} left something half"


def check_nothing_twice(
    before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]], whole: dict[str, int]
) -> None:
    """A run asked the backend for no more rows than were missing when it began."""
    for kind, (_, missed) in after.items():
        kept_before, missed_before = before.get(kind, (0, 0))
        assert missed - missed_before <= whole[kind] - kept_before, kind


def kill_often(copy: Path, stage: str, stores: Iterator[Path], kills: int) -> None:
    """Kill a stage `kills` times at random moments, then let it end; see this file's beginning."""
    undisturbed = Victim(copy, stage, next(stores))
    whole, seconds = undisturbed.finish()
    assert len(whole) == len(undisturbed.outs)
    rows = {kind: kept for kind, (kept, _) in undisturbed.rows().items()}
    moments = random.Random(stage)
    victim, done = Victim(copy, stage, next(stores)), 0
    lost: list[float] = []  # seconds since the newest checkpoint, of trainings that had one
    while done < kills:
        before, began = victim.rows(), time.time()
        if victim.kill_after(moments.uniform(0.2, 0.95) * seconds):
            done += 1
            if stage in TRAININGS and (kept := victim.kept_since(began)):
                lost.append(time.time() - kept)
            check_remains(victim, whole)
            check_nothing_twice(before, victim.rows(), rows)
        else:  # so much was kept that it ended before: begin anew
            assert victim.digests() == whole
            victim = Victim(copy, stage, next(stores))
    before = victim.rows()
    assert victim.finish()[0] == whole
    check_nothing_twice(before, victim.rows(), rows)
    assert {kind: kept for kind, (kept, _) in victim.rows().items()} == rows
    assert max(lost, default=0.0) <= INTERVAL + SLACK
    assert lost or kills < 10 or stage not in TRAININGS, "no kill met a training with a checkpoint"


@pytest.mark.parametrize("stage", OFTEN)
def test_case_20_a_stage_that_was_killed_ends_in_the_same_bytes(
    copy: Path, stage: str, stores: Iterator[Path], kills: int
):
    kill_often(copy, stage, stores, kills)


@pytest.mark.parametrize("stage", ONCE)
def test_case_20_every_other_stage_that_computes_survives_a_kill(
    copy: Path, stage: str, stores: Iterator[Path]
):
    kill_often(copy, stage, stores, 1)
