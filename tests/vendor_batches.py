"""The vendors' pages of batches: files of requests, looks at what is not done, files of results."""

import json
import re
from collections import Counter
from typing import Any

from tests import vendor_shapes as shapes
from tests.vendor_books import Batch
from tests.vendor_pages import Pages
from tests.vendor_shapes import Vendor


class BatchPages(Pages):
    """As Pages, for batches."""

    def upload(self, content: bytes) -> None:
        boundary = self.headers["content-type"].split("boundary=")[1].encode()
        parts = dict(_part(one) for one in content.split(b"--" + boundary)[1:-1])
        if len(parts["file"]) > self.told.batch_bytes:
            self.refuse("openai", 413, "The file is too large.")
            return
        assert parts["purpose"] == b"batch"
        name = self.store(parts["file"])
        size = len(parts["file"])
        told = {"id": name, "object": "file", "bytes": size, "created_at": 1_700_000_000}
        self.tell(told | {"filename": "requests.jsonl", "purpose": "batch", "status": "processed"})

    def store(self, content: bytes) -> str:
        with self.told.lock:
            name = f"file-{len(self.told.files) + 1}"
            self.told.files[name] = content
        return name

    def begin_openai(self, body: dict[str, Any]) -> None:
        assert body["endpoint"] == "/v1/chat/completions"
        assert body["completion_window"] == "24h"
        content = self.told.files[body["input_file_id"]]
        rows = [json.loads(one) for one in content.splitlines()]
        assert all(one["method"] == "POST" and one["url"] == body["endpoint"] for one in rows)
        self.tell(self.openai_batch(self.begin("openai", rows, "body")))

    def begin_anthropic(self, body: dict[str, Any], size: int) -> None:
        rows = body["requests"]
        names = {row["custom_id"] for row in rows}
        if size > self.told.batch_bytes or len(rows) > self.told.batch_n:
            self.refuse("anthropic", 413, "Request exceeds the maximum size.")
        elif len(names) < len(rows):
            self.refuse("anthropic", 400, "requests: custom_id must be unique.")
        else:
            self.tell(self.anthropic_batch(self.begin("anthropic", rows, "params")))

    def begin(self, vendor: Vendor, rows: list[dict[str, Any]], field_: str) -> str:
        batch = Batch(vendor, rows, self.told.polls)
        is_taken = len(rows) <= self.told.batch_n
        for row in rows if is_taken else ():
            name, request = row["custom_id"], row[field_]
            outcome = self.told.outcome(name)
            if shapes.objection(vendor, request):
                outcome = "errored"
            done = outcome == "succeeded"
            fault = self.told.fault(shapes.asked_of(vendor, request)[1])
            body = self.told.work(vendor, request, fault, name) if done else None
            batch.results.append((outcome, shapes.result_line(vendor, name, outcome, body)))
        batch.results.sort(key=lambda one: shapes.digest(one[1]["custom_id"]))  # another order
        with self.told.lock:
            name = f"{'batch' if vendor == 'openai' else 'msgbatch'}_{len(self.told.batches) + 1}"
            self.told.batches[name] = batch
        return name

    def openai_batch(self, name: str) -> dict[str, Any]:
        batch = self.told.batches[name]
        told: dict[str, Any] = {"id": name, "object": "batch", "endpoint": "/v1/chat/completions"}
        told |= {"errors": None, "input_file_id": "file-1", "completion_window": "24h"}
        told |= {"created_at": 1_700_000_000, "output_file_id": None, "error_file_id": None}
        if len(batch.rows) > self.told.batch_n:
            data = [{"code": "too_many_tasks", "message": "Too many requests.", "line": None}]
            return told | {"status": "failed", "errors": {"object": "list", "data": data}}
        if batch.polls_left > 0:
            return told | {"status": "in_progress"}
        for place, is_good in (("output_file_id", True), ("error_file_id", False)):
            lines = [line for how, line in batch.results if (how == "succeeded") is is_good]
            if lines:
                told[place] = self.store(_lines(lines))
        is_late = any(how == "expired" for how, _ in batch.results)
        return told | {"status": "expired" if is_late else "completed"}

    def anthropic_batch(self, name: str) -> dict[str, Any]:
        batch = self.told.batches[name]
        is_ended = batch.polls_left <= 0
        counts = Counter(how for how, _ in batch.results if is_ended)
        kinds = ("succeeded", "errored", "canceled", "expired")
        url = f"{self.told.origin}/v1/messages/batches/{name}/results" if is_ended else None
        return {
            "id": name,
            "type": "message_batch",
            "processing_status": "ended" if is_ended else "in_progress",
            "request_counts": {kind: counts[kind] for kind in kinds}
            | {"processing": 0 if is_ended else len(batch.rows)},
            "created_at": "2030-01-01T00:00:00Z",
            "expires_at": "2030-01-02T00:00:00Z",
            "ended_at": "2030-01-01T01:00:00Z" if is_ended else None,
            "archived_at": None,
            "cancel_initiated_at": None,
            "results_url": url,
        }

    def look_at_batch(self, name: str) -> None:
        vendor: Vendor = "anthropic" if name.startswith("msgbatch") else "openai"
        if name not in self.told.batches:
            self.refuse(vendor, 404, f"No batch found with id '{name}'.")
            return
        with self.told.lock:
            told = self.anthropic_batch(name) if vendor == "anthropic" else self.openai_batch(name)
            self.told.batches[name].polls_left -= 1
        self.tell(told)

    def look_at_file(self, name: str) -> None:
        if name in self.told.files:
            self.send(200, self.told.files[name], "application/octet-stream")
        else:
            self.refuse("openai", 404, f"No such File object: {name}")

    def look_at_results(self, name: str) -> None:
        lines = [line for _, line in self.told.batches[name].results]
        self.send(200, _lines(lines), "application/x-jsonl")


def _part(part: bytes) -> tuple[str, bytes]:
    """A field of a form: its name and content."""
    head, _, content = part.partition(b"\r\n\r\n")
    found = re.search(rb'name="([^"]+)"', head)
    assert found
    return found[1].decode(), content.removesuffix(b"\r\n")


def _lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
