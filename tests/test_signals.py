"""A stage that is told to end, or whose DVC is killed, ends in order; one runs at a time.

Real processes: a script of three lines of work, as a stage of a small DVC repository.
"""

import ctypes
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stages.runtime import locks, signals, store
from tests.imports import ROOT

SCRIPT = """
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from stages.runtime import artifacts, tracking
from stages.runtime.run import StageParams, stage_run, start

tracking.record = lambda *_: None  # takes seconds, and is tested elsewhere


@dataclass(frozen=True)
class Params(StageParams):
    lines: int


def main() -> None:
    with stage_run("slow", Params) as run:
        note("begins")
        with artifacts.complete(Path("out.txt")) as partial:
            with partial.open("w") as out:
                for _ in range(int(os.environ.get("LINES", run.params.lines))):
                    print(os.getpid(), file=out, flush=True)
                    time.sleep(0.02)
        run.wrote(Path("out.txt"))
        note("ends")


def note(what: str) -> None:
    with open("log.txt", "a") as log:
        print(os.getpid(), what, file=log)


if __name__ == "__main__":
    start(main)
"""
PIPELINE = """
stages:
  slow:
    cmd: {command}
    params: [slow]
    deps: [slow.py]
    outs: [out.txt]
"""
PR_SET_CHILD_SUBREAPER = 36
Process = subprocess.Popen[str]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC repository of one stage, whose output exists from an earlier run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    for name in ("LOCAL_RANK", "RANK", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    Path("slow.py").write_text(SCRIPT)
    Path("params.yaml").write_text("slow:\n  lines: 5\n")
    Path("dvc.yaml").write_text(PIPELINE.format(command="python slow.py"))
    Path("out.txt").write_text("old\n")
    subprocess.run(["dvc", "init", "--no-scm", "--quiet"], check=True)
    return tmp_path


@pytest.fixture
def started(repository: Path) -> Iterator[Callable[..., Process]]:
    """started("python", "slow.py", LINES=3): a process; what still runs at the end is killed."""
    processes: list[Process] = []
    # where the tests run in the background or under nohup, they and their children ignore these
    numbers = (signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}

    def start(*command: str, **environment: object) -> Process:
        given = os.environ | {name: str(value) for name, value in environment.items()}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes.append(subprocess.Popen(command, env=given, text=True, **pipes))  # type: ignore[call-overload]
        return processes[-1]

    yield start
    for number, handler in before.items():
        signal.signal(number, handler)
    for process in processes:
        process.kill()
        process.communicate()


def until(is_so: Callable[[], object], what: str) -> None:
    """Wait for something that another process does."""
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < 60, f"not within a minute: {what}"
        time.sleep(0.02)


def log() -> list[tuple[int, str]]:
    """Who began and who ended, in order."""
    path = Path("log.txt")
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(number), what) for number, what in map(str.split, lines)]


def is_writing() -> bool:
    """Whether the stage is in the middle of its output."""
    partial = Path("out.txt.partial")
    return partial.exists() and partial.stat().st_size > 0


def owner() -> int:
    """Who wrote the output: one process alone."""
    (number,) = set(Path("out.txt").read_text().split())
    return int(number)


# ---- case 22: signals ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_case_22_a_signal_ends_a_stage_in_one_line_and_leaves_nothing_half(
    started: Callable[..., Process], number: signal.Signals, code: int
):
    stage = started("python", "slow.py", LINES=3000)
    until(is_writing, "the stage writes")
    stage.send_signal(number)
    stage.send_signal(number)  # a second one does not break into the cleaning
    out, err = stage.communicate(timeout=60)
    assert (stage.returncode, out) == (code, "")
    assert err == (
        f"stopped by {number.name}: every output is complete or absent. To resume, run the same "
        f"command again: computed rows and checkpoints are kept in {store.place()}.\n"
    )
    assert Path("out.txt").read_text() == "old\n"
    assert not Path("out.txt.partial").exists()
    again = started("python", "slow.py", LINES=3)
    assert again.communicate(timeout=60) == ("", "")
    assert (again.returncode, owner()) == (0, again.pid)


def test_case_22_ctrl_c_ends_dvc_and_its_stage(started: Callable[..., Process]):
    dvc = started("setsid", "dvc", "repro", LINES=3000)
    until(is_writing, "the stage writes")
    os.killpg(dvc.pid, signal.SIGINT)  # what a terminal does: all of the group
    _, err = dvc.communicate(timeout=60)
    assert dvc.returncode != 0
    assert "stopped by SIGINT: every output is complete or absent" in err
    assert "Traceback" not in err
    assert not any(Path().glob("out.txt*"))  # DVC removes outputs before it runs a stage


def test_a_signal_that_was_ignored_stays_so(started: Callable[..., Process]):
    stage = started("nohup", "python", "slow.py", LINES=60)
    until(is_writing, "the stage writes")
    stage.send_signal(signal.SIGHUP)
    stage.communicate(timeout=60)
    assert (stage.returncode, owner()) == (0, stage.pid)


def test_handlers_are_as_before_after_a_block_that_nothing_stopped():
    before = [signal.getsignal(number) for number in signals.ENDING]
    with signals.handled():
        assert signal.getsignal(signal.SIGTERM) == signals.stop
    assert [signal.getsignal(number) for number in signals.ENDING] == before


def test_after_the_first_signal_no_other_ends_the_process_in_another_way():
    before = {number: signal.signal(number, signal.SIG_DFL) for number in signals.ENDING}
    try:
        with pytest.raises(signals.Stopped) as stopped, signals.handled():
            os.kill(os.getpid(), signal.SIGTERM)
        assert stopped.value.code == 143
        for number in signals.ENDING:
            os.kill(os.getpid(), number)  # late, on the last way out: this would end the tests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ---- case 21: DVC is killed, its stage is not --------------------------------------------------


@pytest.fixture
def adopting() -> Iterator[None]:
    """This process adopts orphans of its children, so that it learns their exit codes."""
    prctl = ctypes.CDLL(None).prctl
    assert prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="an orphan learns it on Linux alone")
@pytest.mark.usefixtures("adopting")
@pytest.mark.parametrize(
    ("shell", "command"),
    [
        ("/bin/sh", "python slow.py"),
        ("/bin/bash", "python slow.py"),
        ("/bin/sh", "python slow.py && true"),
        ("/bin/bash", "sh -c 'sh slow.sh; exit $?'"),
    ],
    ids=["sh", "bash", "a shell between", "three shells between"],
)
def test_case_21_the_orphan_of_a_killed_dvc_ends_and_the_next_run_has_its_own_output(
    started: Callable[..., Process], command: str, shell: str
):
    Path("slow.sh").write_text("python slow.py; exit $?\n")
    Path("dvc.yaml").write_text(PIPELINE.format(command=command))
    first = started("dvc", "repro", LINES=3000, SHELL=shell)
    until(is_writing, "the stage writes")
    ((orphan, _),) = log()
    first.kill()
    first.wait()  # to DVC's own lock a zombie is alive
    second = started("dvc", "repro", LINES=50, SHELL=shell)
    assert ended(orphan) == 143
    out, err = second.communicate(timeout=60)
    assert second.returncode == 0, f"{out}\n{err}"
    new = log()[-1][0]
    assert log() == [(orphan, "begins"), (new, "begins"), (new, "ends")]
    assert owner() == new
    assert len(Path("out.txt").read_text().splitlines()) == 50
    assert not Path("out.txt.partial").exists()


def ended(process: int) -> int:
    """The exit code of an adopted process, or of one whose own shell waits for it (143 then)."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    except ChildProcessError:
        until(lambda: not Path(f"/proc/{process}").exists(), "the orphan ends")
        return 143


# ---- case 29: two runs at once -----------------------------------------------------------------


def test_case_29_a_second_run_waits_says_for_whom_and_goes_on(started: Callable[..., Process]):
    first = started("python", "slow.py", LINES=150)
    until(is_writing, "the first run writes")
    second = started("python", "slow.py", LINES=20)
    _, told = second.communicate(timeout=60)
    assert told == f"slow: waits for process {first.pid}, which runs it here.\n"
    assert first.wait(timeout=60) == second.returncode == 0
    numbers = (first.pid, second.pid)
    assert log() == [(number, what) for number in numbers for what in ("begins", "ends")]
    assert owner() == second.pid


def test_case_29_one_that_waits_can_be_told_to_end(started: Callable[..., Process]):
    with locks.held("slow"):
        waiting = started("python", "slow.py")
        assert waiting.stderr is not None
        assert f"waits for process {os.getpid()}," in waiting.stderr.readline()
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(timeout=60) == 143
    assert log() == []


def test_case_29_a_killed_owner_and_a_zombie_leave_no_lock(started: Callable[..., Process]):
    first = started("python", "slow.py", LINES=3000)
    until(is_writing, "the first run writes")
    first.kill()
    state = Path(f"/proc/{first.pid}/stat")
    until(lambda: re.search(r"\) Z ", state.read_text()), "the first is a zombie")
    second = started("python", "slow.py", LINES=3)
    assert second.communicate(timeout=60) == ("", "")
    assert state.exists(), "it was a zombie all the time"
    first.communicate()  # and now it is dead
    third = started("python", "slow.py", LINES=3)
    assert third.communicate(timeout=60) == ("", "")
    assert owner() == third.pid


def test_other_stages_and_other_workspaces_do_not_wait(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    def is_free(path: Path) -> bool:
        with path.open("a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    with locks.held("slow"):
        mine = locks.folder() / "slow.lock"
        assert mine == Path(".dvc/tmp/stage_locks/slow.lock")
        assert not is_free(mine)
        with locks.held("slow@other"):
            pass
        monkeypatch.chdir(tmp_path_factory.mktemp("plain"))
        with locks.held("slow"):
            assert store.place() in locks.folder().parents  # no DVC here
    monkeypatch.chdir(repository)
    assert is_free(mine)


def test_a_name_from_the_command_line_stays_in_the_folder(repository: Path):
    with locks.held("slow@../../out"):
        assert [path.name for path in locks.folder().iterdir()] == ["slow@.._.._out.lock"]
