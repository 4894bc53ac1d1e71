"""What a full disk says: one line with the path, the space that is left, and what to do."""

import errno
import re
import shutil
import sqlite3
from pathlib import Path
from types import TracebackType

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# The libraries that write models keep no error number; the last two are what torch.save says.
TOLD = re.compile(
    r"No space left|File too large|quota exceeded|PytorchStreamWriter failed|iostream error"
    r"|unexpected pos \d+ vs \d+",
    re.IGNORECASE,
)
SQLITE = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_SHMSIZE,
}
MIB = 2**20


class DiskFull(Exception):
    """A file system had no room. The message is one line and says where and what to do."""


class Writing:
    """A block that writes `path`: a full disk, by whichever library, leaves it as DiskFull."""

    def __init__(self, path: Path | None = None):
        self.path = path

    def __enter__(self) -> None:
        """Nothing to do before."""

    def __exit__(self, _: object, error: BaseException | None, trace: TracebackType | None) -> None:
        """Raise DiskFull for what a full disk caused; let everything else pass."""
        reason = reason_of(error)
        if reason is not None and not isinstance(error, DiskFull):
            raise DiskFull(explain(self.path or named_in(error), reason)) from error


def reason_of(error: BaseException | None) -> str | None:
    """What a full disk said in `error` or in what caused it; None if it was something else."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        text = " ".join(str(error).split())
        if isinstance(error, OSError) and error.errno in FULL:
            return error.strerror or text
        if isinstance(error, sqlite3.Error):
            code = getattr(error, "sqlite_errorcode", None)
            return text if code in SQLITE else None
        if isinstance(error, Exception) and (found := TOLD.search(text)):
            return found[0]
        error = error.__cause__ or error.__context__
    return None


def named_in(error: BaseException | None) -> Path:
    """The file that an error names, else the current folder."""
    name = getattr(error, "filename", None)
    return Path(name) if isinstance(name, str) else Path()


def explain(path: Path, reason: str) -> str:
    """The line for a `path` that could not be written."""
    there = path.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free / MIB
    return (
        f"{path}: cannot be written: {reason}. Free on its file system: {free:.1f} MiB. What was "
        "there is as it was. Make room (or raise the quota or `ulimit -f`), then run the same "
        "command again."
    )
