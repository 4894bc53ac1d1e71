"""SIGTERM, Ctrl-C and the death of DVC end a stage in order: its outputs complete or absent."""

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SHELLS = {"sh", "bash", "dash", "zsh", "ash", "ksh", "fish", "busybox"}
GRACE_SECONDS = 30.0  # for an orphan to end in order


class Stopped(SystemExit):
    """A signal ended this process. Its `code` is what a shell reports: 128 and the signal."""

    def __init__(self, number: int):
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


def stop(number: int, _: FrameType | None) -> None:
    """Raise Stopped, and let no second signal break into what cleans up after it."""
    for ending in ENDING:
        signal.signal(ending, signal.SIG_IGN)
    raise Stopped(number)


@contextmanager
def handled() -> Iterator[None]:
    """Signals that end a process raise Stopped in the block; one that was ignored stays so.

    After Stopped they stay ignored: a second one must not end the process in another way than the
    first, on its last way out.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python hands signals to the main thread alone
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, stop)
    is_ending = False
    try:
        yield
    except Stopped:
        is_ending = True
        raise
    finally:
        for number, handler in before.items() if not is_ending else ():
            signal.signal(number, handler)


def end_with_dvc() -> None:
    """In a stage that DVC runs: end as by SIGTERM when DVC, or a shell between, is gone.

    Who kills DVC alone leaves the stage behind; DVC's next run would start it a second time.
    Linux only: elsewhere the orphan goes on, and the next run waits for its lock.
    """
    if "DVC_STAGE" not in os.environ or not hasattr(os, "pidfd_open"):
        return
    parents = [os.getppid()]
    while status(parents[-1])[0] in SHELLS:
        parents.append(status(parents[-1])[1])
    if is_orphan(parents[-1]):
        stop(signal.SIGTERM, None)
    try:
        watched = [os.pidfd_open(parent) for parent in parents]
    except ProcessLookupError:
        stop(signal.SIGTERM, None)
    except OSError:  # a sandbox that forbids it
        return
    threading.Thread(target=end_after, args=(watched,), daemon=True).start()


def status(process: int) -> tuple[str, int]:
    """Name and parent of a process; ("", 0) if there is none."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(errors="replace")
    except OSError:
        return "", 0
    before, _, after = text.rpartition(")")  # a name may hold brackets and blanks
    return before.partition("(")[2], int(after.split()[1])


def is_orphan(parent: int) -> bool:
    """Whether `parent` is what adopts orphans (and not DVC itself, first in a container)."""
    try:
        return parent <= 1 and b"dvc" not in Path(f"/proc/{parent}/cmdline").read_bytes()
    except OSError:
        return parent <= 1


def end_after(watched: list[int]) -> None:
    """Wait for the end of one of several processes (pidfds), then end this one."""
    poll = select.poll()
    for process in watched:
        poll.register(process, select.POLLIN)
    poll.poll()
    print("DVC is gone: this stage ends, too.", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(128 + signal.SIGTERM)
