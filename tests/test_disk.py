"""A full disk: one line, exit code 74, and everything that was there is as it was.

RLIMIT_FSIZE makes a write fail where a file grows too large; a small tmpfs is really full.
"""

import contextlib
import errno
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.runtime import artifacts, disk
from tests.imports import ROOT

# Each writes far more than LIMIT into the current folder, where an old output of its kind is.
LIMIT = 300_000
WRITERS = {
    "text": """
from stages.runtime import artifacts
def main():
    artifacts.write_text(Path("out.txt"), "x" * 2_000_000)
""",
    "table": """
import numpy as np
import pandas as pd
from stages.runtime import artifacts
def main():
    table = pd.DataFrame({"a": np.random.default_rng(0).random(300_000)})
    with artifacts.complete(Path("out.parquet")) as partial:
        table.to_parquet(partial)
""",
    "model": """
import numpy as np
from safetensors.numpy import save_file
from stages.runtime import artifacts
def main():
    with artifacts.complete_folder(Path("model")) as folder:
        (folder / "config.json").write_text("{}")
        save_file({"w": np.ones(500_000, dtype="float32")}, str(folder / "w.safetensors"))
""",
    "checkpoint": """
import torch
from stages.runtime import artifacts
def main():
    with artifacts.complete_folder(Path("model")) as folder:
        torch.save({"state": torch.ones(500_000)}, folder / "optimizer.pt")
""",
    "store": """
from stages.runtime import store
def main():
    kept = store.opened()
    assert kept.find("texts", ["old"]) == {"old": 1}
    kept.add("texts", {str(i): "x" * 10_000 for i in range(200)})
""",
}
NAMED = {"text": "out.txt", "table": "out.parquet", "store": "rows.sqlite"}
FRAME = """
import os
from pathlib import Path
from stages.runtime.run import start
{body}
if __name__ == "__main__":
    start(main)
"""


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with an old output of each kind."""
    return furnish(tmp_path, monkeypatch)


def furnish(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PEERWISE_STORE", str(folder / "store"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("out.txt", "out.parquet", "model/w.safetensors", "model/manifest.json"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("old")
    code = "from stages.runtime import store; store.opened().add('texts', {'old': 1})"
    subprocess.run([sys.executable, "-c", code], check=True)
    return folder


def outputs(folder: Path) -> dict[str, bytes]:
    """Every file but those of the store."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in files
        if path.parent.name != "store"
    }


def write(what: str, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run a writer as a command, with a limit on the size of a file."""

    def small() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    code = FRAME.format(body=WRITERS[what])
    command = [sys.executable, "-B", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, preexec_fn=small)


def check_refused(done: subprocess.CompletedProcess[str], what: str) -> None:
    assert done.returncode == 74, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert f"{NAMED.get(what, 'model')}: cannot be written: " in line
    assert "MiB" in line
    assert "Make room" in line


@pytest.mark.parametrize("what", WRITERS)
def test_case_25_a_file_that_may_not_grow_is_one_line_and_leaves_the_old_output(
    old: Path, what: str
):
    before = outputs(old)
    check_refused(write(what, LIMIT), what)
    assert outputs(old) == before
    assert write(what).returncode == 0, "the same command again, with room"
    if what != "store":
        assert outputs(old) != before


@pytest.fixture
def full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file system of 1 MB with the old outputs, as current folder."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mounted = shutil.which("mount") and subprocess.run(mount, capture_output=True, text=True)
    if not mounted or mounted.returncode:
        told = f"case 25 on a really full disk was NOT tested: no tmpfs ({mounted})"
        warnings.warn(told, stacklevel=1)
        pytest.skip(told)
    yield furnish(folder, monkeypatch)
    monkeypatch.chdir(tmp_path)
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("what", WRITERS)
def test_case_25_a_full_disk_is_one_line_and_leaves_the_old_output(full: Path, what: str):
    before = outputs(full)
    done = write(what)
    check_refused(done, what)
    assert outputs(full) == before
    code = "from stages.runtime import store; print(store.opened().find('texts', ['old', '3']))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout == "{'old': 1}\n"
    assert found.stderr == ""


# ---- folders are complete or as they were ----------------------------------------------------


def test_a_folder_takes_the_place_of_the_old_one_only_when_it_is_complete(old: Path):
    with artifacts.complete_folder(Path("model")) as folder:
        assert Path("model/w.safetensors").read_text() == "old"
        (folder / "part").mkdir()
        (folder / "part/new").write_text("new")
        assert not Path("model/part").exists()
    assert [p.name for p in Path("model").rglob("*")] == ["part", "new"]
    assert [p.name for p in old.glob("model*")] == ["model"]


def half_write(error: BaseException) -> None:
    """Begin a new model folder, and fail."""
    with artifacts.complete_folder(Path("model")) as folder:
        assert list(folder.iterdir()) == []
        (folder / "half").write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt(), SystemExit()])
def test_an_error_in_the_block_leaves_the_old_folder(old: Path, error: BaseException):
    before = outputs(old)
    with pytest.raises(type(error)):
        half_write(error)
    assert outputs(old) == before


def test_what_a_killed_run_left_is_gone_and_what_it_moved_away_is_back(old: Path):
    before = outputs(old)
    Path("model").rename("model.old.partial")  # killed between the two renames
    Path("model.new.partial").mkdir()
    Path("model.new.partial/left").write_text("half")
    with pytest.raises(ValueError, match="again"):
        half_write(ValueError("again"))
    assert outputs(old) == before


# ---- what counts as a full disk ----------------------------------------------------------------


def fail(error: BaseException, *paths: str, cause: BaseException | None = None) -> None:
    """Raise `error` while `paths` are written, the last innermost."""
    with contextlib.ExitStack() as writing:
        for path in paths:
            writing.enter_context(disk.Writing(Path(path)))
        raise error from cause


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_an_error_that_was_raised_because_of_a_full_disk_is_one(number: int):
    cause = OSError(number, os.strerror(number))
    with pytest.raises(disk.DiskFull, match=r"^a/b: cannot be written: .*MiB"):
        fail(RuntimeError("cannot save"), "a/b", cause=cause)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EACCES, "Permission denied"),
        FileNotFoundError(2, "No such file"),
        sqlite3.OperationalError("database is locked"),
        RuntimeError("shape mismatch"),
        KeyboardInterrupt(),
    ],
)
def test_any_other_error_is_left_as_it_is(error: BaseException):
    with pytest.raises(type(error)) as raised:
        fail(error, "x")
    assert raised.value is error


def test_the_innermost_path_is_named():
    with pytest.raises(disk.DiskFull, match=r"^inner: "):
        fail(OSError(errno.ENOSPC, "No space left on device"), "outer", "inner")
