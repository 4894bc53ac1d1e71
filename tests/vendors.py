"""A server on this machine that speaks OpenAI's and Anthropic's interfaces, and keeps books.

    with vendors() as server:
        with opened("openai", "model", server.url_of("openai"), 5.0) as provider: ...
        assert server.times(ask.user) == 1

It counts what it billed, how many requests were at work together, and keeps every request.
What goes wrong is a plan: a function of the user's text and the number of this text's request.
"""

import json
import re
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import ThreadingHTTPServer
from typing import Any

from tests import vendor_shapes as shapes
from tests.vendor_batches import BatchPages
from tests.vendor_books import ASKING, Bill, Vendors
from tests.vendor_faults import Fault, Plan, always, at_first, in_turn, seeded, status
from tests.vendor_shapes import Vendor

__all__ = [
    "Bill",
    "Fault",
    "Plan",
    "Vendors",
    "always",
    "at_first",
    "in_turn",
    "seeded",
    "status",
    "vendors",
]

STEP_SECONDS = 0.02  # between two looks whether a client has gone, and two drips
MOST_DRIPS = 250  # 5 seconds


class Handler(BatchPages):
    """One connection."""

    def do_GET(self) -> None:
        self.note(b"")
        for pattern, vendor, look in LOOKS:
            if found := re.fullmatch(pattern, self.path):
                if self.is_known(vendor):
                    look(self, found[1])
                return
        self.refuse("openai", 404, f"Invalid URL (GET {self.path})")

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"]))
        body = self.note(content)
        vendor: Vendor = "anthropic" if "/messages" in self.path else "openai"
        if not self.is_known(vendor):
            return
        if self.path in ASKING:
            with self.counted():
                self.ask(vendor, body)
        elif self.path == "/v1/files":
            self.upload(content)
        elif self.path == "/v1/batches":
            self.begin_openai(body)
        elif self.path == "/v1/messages/batches":
            self.begin_anthropic(body, len(content))
        else:
            self.refuse(vendor, 404, f"Invalid URL (POST {self.path})")

    @contextmanager
    def counted(self) -> Iterator[None]:
        told = self.told
        with told.lock:
            told.together += 1
            told.most_together = max(told.most_together, told.together)
        try:
            yield
        finally:
            with told.lock:
                told.together -= 1

    def ask(self, vendor: Vendor, body: dict[str, Any]) -> None:
        if objection := shapes.objection(vendor, body):
            self.refuse(vendor, 400, objection)
            return
        fault = self.told.fault(shapes.asked_of(vendor, body)[1])
        how = fault.how if fault else ""
        if fault and how in ("status", "no_credit"):
            self.fail(vendor, fault)
            return
        self.told.closing.wait(self.told.latency)
        answer = self.told.work(vendor, body, fault, None)
        for name in {"no_content": ("choices", "content"), "no_usage": ("usage",)}.get(how, ()):
            answer.pop(name, None)
        content = json.dumps(answer).encode()
        if how in ("late", "drip", "dropped"):
            self.break_off(how, content)
        elif how == "malformed":
            self.send(200, b"<html>Bad gateway</html>")
        else:
            self.send(200, content[: len(content) // 2] if how == "truncated" else content)

    def fail(self, vendor: Vendor, fault: Fault) -> None:
        if fault.how == "no_credit":
            number, kind, message = shapes.NO_CREDIT[vendor]
            self.refuse(vendor, number, message, replace(fault, kind=kind, code=kind))
        else:
            self.refuse(vendor, fault.status, fault.message, fault)

    def break_off(self, how: str, content: bytes) -> None:
        """Send too little, and hold the connection until the client goes, if it is to wait."""
        self.close_connection = True
        if how != "late":
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(2**20 if how == "drip" else len(content)))
            self.end_headers()
        if how == "dropped":
            self.wfile.write(content[: len(content) // 2])
            return
        drips = 0
        while not self.told.closing.is_set() and drips < MOST_DRIPS:
            if select.select([self.connection], [], [], STEP_SECONDS)[0]:
                return  # the client has gone
            if how == "drip":
                self.wfile.write(b" ")
                drips += 1


LOOKS: list[tuple[str, Vendor, Callable[[Handler, str], None]]] = [
    (r"/v1/batches/([^/]+)", "openai", Handler.look_at_batch),
    (r"/v1/files/([^/]+)/content", "openai", Handler.look_at_file),
    (r"/v1/messages/batches/([^/]+)", "anthropic", Handler.look_at_batch),
    (r"/v1/messages/batches/([^/]+)/results", "anthropic", Handler.look_at_results),
]


class Listener(ThreadingHTTPServer):
    """Many clients may knock at once: one that is not let in tries again a second later."""

    request_queue_size = 1024


@contextmanager
def vendors(port: int = 0, **behaviour: Any) -> Iterator[Vendors]:
    """A running server. behaviour: fields of Vendors. port: 0 = any that is free."""
    told = Vendors(**behaviour)
    handler = type("HandlerOfOne", (Handler,), {"told": told})
    with Listener(("127.0.0.1", port), handler) as server:
        told.origin = f"http://127.0.0.1:{server.server_port}"
        # a short look for the end: stopping a server must not take half a second
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield told
        finally:
            told.closing.set()
            server.shutdown()
            thread.join()
            for connection in set(told.connections):  # a server that ends has no old friends
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
