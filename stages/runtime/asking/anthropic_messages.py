"""Anthropic's messages interface."""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

import httpx2

from stages.runtime.asking import batch_files, connection
from stages.runtime.asking.calls import Ask, End, Reply, Trouble
from stages.runtime.asking.exchange import Exchange, costing_nothing, valid
from stages.runtime.asking.troubles import Place, message_of, of_status

KEY = "ANTHROPIC_API_KEY"  # environment variable
OWN_URL = "https://api.anthropic.com"
BATCH_N, BATCH_BYTES = 100_000, 256_000_000  # of one batch
ENDS: dict[str, End] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}
STATUS = {  # of the types of error in a batch, where no status is told
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
}
NOT_BILLED = 503  # of any other type: whatever errs in a batch is not billed
CACHED = ("cache_creation_input_tokens", "cache_read_input_tokens")


class AnthropicMessages:
    """One model. May be used from many threads.

    base_url: None = Anthropic's. seconds: for one answer. Raises InputError for a key that is
    missing or none. batch_n, batch_bytes: the most that one batch may hold.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None,
        seconds: float,
        *,
        batch_n: int = BATCH_N,
        batch_bytes: int = BATCH_BYTES,
    ):
        import anthropic

        key = connection.required_key(KEY)
        url = base_url or OWN_URL
        self.model, self.batch_n, self.batch_bytes = model, batch_n, batch_bytes
        self.exchange = Exchange(anthropic, Place(url, model, KEY, key))
        self.client: Any = anthropic.Anthropic(
            base_url=url,
            api_key=key,
            max_retries=0,  # whoever calls asks again, and counts it
            timeout=connection.timeout(seconds),
            http_client=connection.http_client(key, seconds),
            open_telemetry=False,  # another package may have set a tracer up
        )
        self.patience = connection.timeout(max(seconds, connection.BATCH_SECONDS))

    def ask(self, ask: Ask) -> Reply:
        """One answer, asked for once. Raises Trouble: final for a temperature."""
        request, create = self._request(ask), self.client.messages.with_raw_response.create
        return self._reply(self.exchange.body(lambda: create(**request)))

    def parts(self, asks: Sequence[Ask]) -> list[list[Ask]]:
        """The requests in their order, in parts that a batch may hold."""
        return batch_files.in_parts(
            asks,
            lambda ask: len(batch_files.line(self._row(ask))),
            self.batch_n,
            self.batch_bytes,
        )

    def submit(self, asks: Sequence[Ask]) -> str:
        """Hand in a batch; its id. Raises Trouble: final where there are no batches."""
        none = self.exchange.place.trouble("final", "has no batches", "Ask without batches.")
        create = self.client.messages.batches.with_raw_response.create
        batch = {"requests": [self._row(ask) for ask in asks], "timeout": self.patience}
        return str(self.exchange.thing(lambda: create(**batch), none)["id"])

    def is_ended(self, batch: str) -> bool:
        """Whether the batch is done, wholly or not. Raises Trouble; rejected: it is not there."""
        return self._state(batch).get("processing_status") == "ended"

    def results(self, batch: str) -> Iterator[tuple[str, Reply | Trouble]]:
        """(name, answer or why there is none), in the vendor's order. Raises Trouble."""
        place, state = self.exchange.place, self._state(batch)
        if state.get("processing_status") != "ended":
            raise place.trouble("busy", f"batch '{batch}' has not ended")
        if not state.get("results_url"):
            raise place.gone(batch)
        # not messages.batches.results: that sends the key to whichever host results_url names
        path = f"/v1/messages/batches/{quote(batch, safe='')}/results"
        options = {"timeout": self.patience}
        with costing_nothing():
            content = self.exchange.content(
                lambda: self.client.get(path, cast_to=httpx2.Response, options=options),
                place.gone(batch),
            )
        for row in batch_files.rows(content):
            yield row["custom_id"], self._result(row.get("result"))

    def close(self) -> None:
        """Give connections back."""
        self.client.close()

    def _request(self, ask: Ask) -> dict[str, Any]:
        import anthropic

        if ask.temperature is not None:
            told = f"the interface of today takes no temperature, and {ask.temperature} was asked"
            raise self.exchange.place.trouble("final", told, "Leave the temperature out (null).")
        request: dict[str, Any] = {
            "model": self.model,
            "max_tokens": ask.max_tokens,
            "messages": [{"role": "user", "content": ask.user}],
        }
        if ask.system:
            request["system"] = ask.system
        if ask.schema is not None:
            # limits that the vendor refuses in a schema are told the model in words
            schema = anthropic.transform_schema(ask.schema)
            request["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        return request

    def _row(self, ask: Ask) -> dict[str, Any]:
        return {"custom_id": ask.name, "params": self._request(ask)}

    def _reply(self, body: Any) -> Reply:
        """A message as an answer. Raises Trouble (lost) for anything else."""
        place = self.exchange.place
        try:
            blocks, usage, reason = body["content"], body.get("usage"), body.get("stop_reason")
            text = "".join(block["text"] for block in blocks if block["type"] == "text")
        except (TypeError, KeyError, AttributeError):
            raise place.trouble("lost", "an answer without content") from None
        end = ENDS.get(str(reason))
        if end is None:
            raise place.trouble("lost", f"an answer that ended with {reason!r}")
        read = self.exchange.tokens(usage, "input_tokens", *CACHED)
        return Reply(valid(text), end, read, self.exchange.tokens(usage, "output_tokens"))

    def _state(self, batch: str) -> dict[str, Any]:
        retrieve = self.client.messages.batches.with_raw_response.retrieve
        with costing_nothing():
            return self.exchange.thing(lambda: retrieve(batch), self.exchange.place.gone(batch))

    def _result(self, result: Any) -> Reply | Trouble:
        """One line of a file of results."""
        place, found = self.exchange.place, result if isinstance(result, dict) else {}
        kind = found.get("type")
        if kind == "errored":
            told = found.get("error")
            error = told.get("error") if isinstance(told, dict) else None
            name = error.get("type") if isinstance(error, dict) else None
            return of_status(place, STATUS.get(str(name), NOT_BILLED), told)
        if kind != "succeeded":  # expired, canceled
            return place.trouble("busy", f"in a batch: {message_of({'type': kind})}")
        try:
            return self._reply(found.get("message"))
        except Trouble as error:
            return error
