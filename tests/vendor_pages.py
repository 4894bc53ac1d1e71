"""What every page of the vendors' server does: note the request, look at the key, answer."""

import json
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests import vendor_shapes as shapes
from tests.vendor_books import Seen, Vendors
from tests.vendor_faults import Fault
from tests.vendor_shapes import Vendor


class Pages(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a body must not wait for the head to be acknowledged
    told: Vendors

    def setup(self) -> None:
        super().setup()
        with self.told.lock:
            self.told.connections.add(self.connection)

    def finish(self) -> None:
        with self.told.lock:
            self.told.connections.discard(self.connection)
        super().finish()

    def note(self, content: bytes) -> Any:
        try:
            body = json.loads(content)
        except ValueError:
            body = content
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.told.lock:
            self.told.seen.append(Seen(self.path, headers, body))
        return body

    def is_known(self, vendor: Vendor) -> bool:
        sent = self.headers.get("authorization", "").removeprefix("Bearer ")
        if self.told.key in (None, sent):
            return True
        self.refuse(vendor, 401, "Incorrect API key provided.")
        return False

    def tell(self, told: dict[str, Any]) -> None:
        self.send(200, json.dumps(told).encode())

    def refuse(self, vendor: Vendor, number: int, message: str, fault: Fault | None = None) -> None:
        sent = self.headers.get("authorization", "").removeprefix("Bearer ")
        kind, code = (fault.kind, fault.code) if fault else (None, None)
        told = shapes.error(vendor, number, message.replace("{key}", sent), kind, code)
        headers = dict(fault.headers) if fault else {}
        self.send(number, json.dumps(told).encode(), headers=headers)

    def send(
        self,
        number: int,
        content: bytes,
        kind: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.send_response(number)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            """The client went away, as clients do whose patience ends."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
