"""Threads that wait for a server, and keep no process from ending.

Those of concurrent.futures are joined at the end of a process: Ctrl-C would wait for sixteen
answers, or for their time-outs.
"""

import contextlib
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any


class Workers:
    """n daemon threads that call functions of one argument. expected: what these may raise."""

    def __init__(self, n: int, *expected: type[Exception]):
        self.expected = expected
        self.jobs: SimpleQueue[tuple[Future[Any], Callable[[Any], Any], Any] | None] = SimpleQueue()
        self.threads = [threading.Thread(target=self._work, daemon=True) for _ in range(n)]
        for thread in self.threads:
            thread.start()

    def submit(self, call: Callable[[Any], Any], argument: Any) -> "Future[Any]":
        """What `call(argument)` will return, or raise."""
        future: Future[Any] = Future()
        self.jobs.put((future, call, argument))
        return future

    def close(self) -> None:
        """Let each thread end after what it is at, and begin nothing more. Waits for nothing."""
        with contextlib.suppress(Empty):
            while True:
                self.jobs.get_nowait()
        for _ in self.threads:
            self.jobs.put(None)

    def _work(self) -> None:
        while (job := self.jobs.get()) is not None:
            future, call, argument = job
            try:
                future.set_result(call(argument))
            except self.expected as error:
                future.set_exception(error)
            finally:
                if not future.done():  # a fault of ours ends the thread, and belongs to who asked
                    future.set_exception(sys.exception())
