"""One run of a stage at a time in a workspace: the second waits for the first.

The lock is the kernel's (flock) and goes with the process that holds it: a dead owner leaves
none behind. The file only names the owner, for the one who waits.
"""

import fcntl
import hashlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.runtime import store
from stages.runtime.disk import Writing


def folder() -> Path:
    """Where the locks of this workspace are: beside DVC's own, else in the store's folder."""
    if Path(".dvc").is_dir():
        return Path(".dvc/tmp/stage_locks")
    key = hashlib.sha256(os.fsencode(Path().resolve())).hexdigest()
    return store.folder() / "stage_locks" / key


@contextmanager
def held(stage: str) -> Iterator[None]:
    """Hold the lock of `stage` for the block; wait, and say for whom, while another has it."""
    name = re.sub(r"[^-@.\w]", "_", stage)  # an item comes from the command line
    path = folder() / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            owner = handle.read().strip() or "unknown"
            print(f"{stage}: waits for process {owner}, which runs it here.", file=sys.stderr)
            fcntl.flock(handle, fcntl.LOCK_EX)
        with Writing(path):
            handle.truncate(0)
            handle.write(f"{os.getpid()}\n")
            handle.flush()
        yield
