"""Checkpoints of a running training, so that a killed one goes on where it was.

They lie beside the row store, under a digest of everything that can change the training, because
DVC deletes the outputs of a stage before it runs. A checkpoint is a folder whose manifest names
size and sha256 of each of its files and is written last. One that is not exactly what its
manifest says is never read: the one before it is. When a stage is done, those it used go.
"""

import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from stages.runtime import store

SECONDS = 20.0  # of training that a kill may cost
KEPT = 2  # checkpoints of a training: the newest, and one in case it is damaged
MANIFEST = "manifest.json"
STATE, TENSORS = "state.json", "state.safetensors"  # of trainings that are not transformers'
PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "numpy")

_in_use: dict[Path, IO[str]] = {}  # folders of this process, each with its lock


@dataclass
class Checkpoints:
    """The checkpoints of one training.

    One is written when `seconds` have passed since the last (or the start), at the end of a
    step: where it falls changes no result. 0 means after every step. `latest` is the one to
    resume from.
    """

    folder: Path
    seconds: float
    latest: Path | None = None
    written: float = field(default_factory=time.monotonic)

    def is_due(self) -> bool:
        """Whether it is time for another checkpoint."""
        return time.monotonic() - self.written >= self.seconds

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step is. The name is transformers' own."""
        return self.folder / f"checkpoint-{step}"

    def write(self, step: int, tensors: dict[str, Any], state: dict[str, Any]) -> None:
        """A checkpoint of tensors and JSON values."""
        from safetensors.torch import save_file

        folder = self.path(step)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        save_file(tensors, str(folder / TENSORS))
        (folder / STATE).write_text(json.dumps(state), encoding="utf-8")
        self.complete(step)

    def read(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """What `write` was given last, or None at the start of a training."""
        from safetensors.torch import load_file

        if self.latest is None:
            return None
        state = json.loads((self.latest / STATE).read_text(encoding="utf-8"))
        return load_file(str(self.latest / TENSORS)), state

    def complete(self, step: int) -> None:
        """Write the manifest of a step's folder, then remove what is older than the last two."""
        folder = self.path(step)
        files = {name: seal(file) for name, file in files_of(folder).items()}
        partial = folder / f"{MANIFEST}.partial"
        with partial.open("w", encoding="utf-8") as handle:
            json.dump({"files": files}, handle, indent=1, sort_keys=True)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(partial, folder / MANIFEST)
        for old in in_order(self.folder)[KEPT:]:
            shutil.rmtree(old)
        self.written = time.monotonic()


def of(seconds: float | None, **parts: Any) -> Checkpoints | None:
    """The checkpoints of the training that `parts` (JSON values) describe; None for none.

    parts: everything that can change its result; versions of the packages are added. While
    another process trains the same, this one does without, and says so.
    """
    if seconds is None:
        return None
    key = store.digest_of(**parts, versions={name: version(name) for name in PACKAGES})
    folder = store.folder() / "checkpoints" / key
    folder.mkdir(parents=True, exist_ok=True)
    if folder not in _in_use:
        lock = (folder / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            logging.warning(f"{folder}: another process trains the same. This one keeps nothing.")
            return None
        _in_use[folder] = lock
    return Checkpoints(folder, seconds, newest(folder))


@contextmanager
def until_done() -> Iterator[None]:
    """Keep the checkpoints of every training of the block until all of it is done.

    After a kill, or an error, those of finished trainings are there as well: they are not
    trained again.
    """
    try:
        yield
        for folder in _in_use:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        for lock in _in_use.values():
            lock.close()
        _in_use.clear()


def in_order(folder: Path) -> list[Path]:
    """Everything named like a checkpoint, the latest step first."""
    found = [(re.fullmatch(r"checkpoint-(\d+)", path.name), path) for path in folder.iterdir()]
    steps = [(int(match[1]), path) for match, path in found if match]
    return [path for _, path in sorted(steps, reverse=True)]


def newest(folder: Path) -> Path | None:
    """The last checkpoint that is whole. Damaged later ones are removed, with a warning each."""
    for path in in_order(folder):
        reason = damage(path)
        if reason is None:
            return path
        logging.warning(f"{path}: damaged checkpoint ({reason}), an older one is used if any.")
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return None


def damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None.

    A file that its manifest does not name counts: a library might load it.
    """
    try:
        wanted = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return "no manifest: it was not finished"
    if not isinstance(wanted, dict):
        return "its manifest is none"
    found = files_of(folder)
    for name in sorted({*wanted} ^ {*found}):
        return f"{name} is {'missing' if name in wanted else 'not of it'}"
    for name, file in found.items():
        if file.is_symlink() or seal(file) != wanted[name]:
            return f"{name} is not what was written"
    return None


def files_of(folder: Path) -> dict[str, Path]:
    """Every file below a checkpoint but its manifest, by relative name."""
    files = (path for path in folder.rglob("*") if path.is_symlink() or path.is_file())
    named = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: named[name] for name in sorted(named) if not name.startswith(MANIFEST)}


def seal(file: Path) -> dict[str, Any]:
    """Size in bytes and sha256 of a file."""
    with file.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return {"size": file.stat().st_size, "sha256": digest}


def weights_digest(network: Any, trainable_only: bool = False) -> str:
    """sha256 of the names, types, shapes and bytes of a network's weights."""
    import torch

    total = hashlib.sha256()
    for name, weight in sorted(network.named_parameters()):
        if weight.requires_grad or not trainable_only:
            plain = weight.detach().cpu().contiguous()
            total.update(f"{name} {plain.dtype} {tuple(plain.shape)}\0".encode())
            total.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def rows_digest(rows: Any) -> str:
    """sha256 of rows as JSON (dicts of numbers, texts and lists), in their order."""
    return hashlib.sha256(json.dumps(rows, sort_keys=True, default=str).encode()).hexdigest()
