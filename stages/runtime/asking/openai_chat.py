"""OpenAI's chat interface: of OpenAI, vLLM, Ollama, `transformers serve` and others."""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from stages.runtime.asking import batch_files, connection
from stages.runtime.asking.calls import Ask, BatchFailed, End, Reply, Trouble
from stages.runtime.asking.exchange import Exchange, costing_nothing, valid
from stages.runtime.asking.troubles import Place, message_of, of_status

OPENAI_KEY = "OPENAI_API_KEY"  # environment variable
SERVER_KEY = "PEERWISE_SERVER_KEY"  # environment variable, of any other server
OWN_HOST = "api.openai.com"
OWN_URL = f"https://{OWN_HOST}/v1"
NO_KEY = "none"  # the client insists on one; it is not sent
BATCH_N, BATCH_BYTES = 50_000, 200_000_000  # of OpenAI's batches
ENDPOINT = "/v1/chat/completions"
ENDED = ("completed", "failed", "expired", "cancelled")
NO_ROOM = "token_limit_exceeded"  # of a batch: others must end first
ENDS: dict[str, End] = {"stop": "stop", "length": "length", "content_filter": "refusal"}


class OpenAIChat:
    """One model. May be used from many threads.

    base_url: None = OpenAI's. seconds: for one answer. key_name: the environment variable with
    the key; OpenAI's must be set, other servers may do without. Raises InputError for a key that
    is missing or none. batch_n, batch_bytes: the most that one batch may hold.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None,
        seconds: float,
        *,
        key_name: str = OPENAI_KEY,
        batch_n: int = BATCH_N,
        batch_bytes: int = BATCH_BYTES,
    ):
        import openai

        is_own = key_name == OPENAI_KEY
        key = connection.required_key(key_name) if is_own else connection.key_in(key_name)
        url = base_url or OWN_URL
        self.model, self.batch_n, self.batch_bytes = model, batch_n, batch_bytes
        self.exchange = Exchange(openai, Place(url, model, key_name, key))
        # OpenAI's newer models refuse max_tokens; other servers may not know its successor
        is_own = is_own or (urlsplit(url).hostname or "").endswith(OWN_HOST)
        self.limit_name = "max_completion_tokens" if is_own else "max_tokens"
        self.client: Any = openai.OpenAI(
            base_url=url,
            api_key=key or NO_KEY,
            max_retries=0,  # whoever calls asks again, and counts it
            timeout=connection.timeout(seconds),
            http_client=connection.http_client(key, seconds),
        )
        self.patience = connection.timeout(max(seconds, connection.BATCH_SECONDS))

    def ask(self, ask: Ask) -> Reply:
        """One answer, asked for once. Raises Trouble."""
        create = self.client.chat.completions.with_raw_response.create
        return self._reply(self.exchange.body(lambda: create(**self._request(ask))))

    def parts(self, asks: Sequence[Ask]) -> list[list[Ask]]:
        """The requests in their order, in parts that a batch may hold."""
        return batch_files.in_parts(
            asks, lambda ask: len(self._line(ask)), self.batch_n, self.batch_bytes
        )

    def submit(self, asks: Sequence[Ask]) -> str:
        """Hand in a batch; its id. Raises Trouble: final where there are no batches."""
        do = "Ask without batches."
        none = self.exchange.place.trouble("final", "has no batches", do)
        file = ("requests.jsonl", b"".join(self._line(ask) for ask in asks))
        upload = {"file": file, "purpose": "batch", "timeout": self.patience}
        create = self.client.files.with_raw_response.create
        with costing_nothing():  # until there is a batch
            name = self.exchange.thing(lambda: create(**upload), none)["id"]
        batch = {"input_file_id": name, "endpoint": ENDPOINT, "completion_window": "24h"}
        begin = self.client.batches.with_raw_response.create
        return str(self.exchange.thing(lambda: begin(**batch), none)["id"])

    def is_ended(self, batch: str) -> bool:
        """Whether the batch is done, wholly or not. Raises Trouble; rejected: it is not there."""
        return self._state(batch).get("status") in ENDED

    def results(self, batch: str) -> Iterator[tuple[str, Reply | Trouble]]:
        """(name, answer or why there is none), in the vendor's order. Raises Trouble."""
        state = self._state(batch)
        if state.get("status") not in ENDED:
            raise self.exchange.place.trouble("busy", f"batch '{batch}' has not ended")
        if state["status"] == "failed":
            raise self._failure(batch, state)
        for name in (state.get("output_file_id"), state.get("error_file_id")):
            for row in batch_files.rows(self._file(str(name))) if name else ():
                yield row["custom_id"], self._result(row)

    def close(self) -> None:
        """Give connections back."""
        self.client.close()

    def _request(self, ask: Ask) -> dict[str, Any]:
        system = [{"role": "system", "content": ask.system}] if ask.system else []
        request: dict[str, Any] = {
            "model": self.model,
            "messages": [*system, {"role": "user", "content": ask.user}],
            self.limit_name: ask.max_tokens,
        }
        if ask.temperature is not None:
            request["temperature"] = ask.temperature
        if ask.schema is not None:
            named = {"name": "answer", "strict": True, "schema": ask.schema}
            request["response_format"] = {"type": "json_schema", "json_schema": named}
        return request

    def _line(self, ask: Ask) -> bytes:
        row = {"custom_id": ask.name, "method": "POST", "url": ENDPOINT, "body": self._request(ask)}
        return batch_files.line(row)

    def _reply(self, body: Any) -> Reply:
        """A chat.completion as an answer. Raises Trouble (lost) for anything else."""
        place = self.exchange.place
        try:
            (choice,) = body["choices"]
            message, finish = choice["message"], choice.get("finish_reason")
            refusal, content = message.get("refusal"), message.get("content")
            usage = body.get("usage")
        except (TypeError, KeyError, ValueError, AttributeError):
            raise place.trouble("lost", "an answer without the one choice asked for") from None
        end = "refusal" if refusal else ENDS.get(str(finish))
        text = refusal or content or ""
        if end is None or not isinstance(text, str):
            raise place.trouble("lost", f"an answer that ended with {finish!r}")
        read = self.exchange.tokens(usage, "prompt_tokens")
        return Reply(valid(text), end, read, self.exchange.tokens(usage, "completion_tokens"))

    def _state(self, batch: str) -> dict[str, Any]:
        retrieve = self.client.batches.with_raw_response.retrieve
        with costing_nothing():
            return self.exchange.thing(lambda: retrieve(batch), self.exchange.place.gone(batch))

    def _file(self, name: str) -> bytes:
        fetch = self.client.files.with_raw_response.content
        gone = self.exchange.place.gone(name)
        with costing_nothing():
            return self.exchange.content(lambda: fetch(name, timeout=self.patience), gone)

    def _result(self, row: dict[str, Any]) -> Reply | Trouble:
        """One line of a file of results."""
        place, response = self.exchange.place, row.get("response")
        if not isinstance(response, dict):  # expired, cancelled, or an error of OpenAI's own
            return place.trouble("busy", f"in a batch: {message_of(row)}")
        status, body = response.get("status_code"), response.get("body")
        if isinstance(status, int) and status != 200:
            return of_status(place, status, body)
        try:
            return self._reply(body)
        except Trouble as error:
            return error

    def _failure(self, batch: str, state: dict[str, Any]) -> BatchFailed:
        """Why a whole batch was not begun."""
        errors = state.get("errors")
        told = errors.get("data") if isinstance(errors, dict) else None
        first = told[0] if isinstance(told, list) and told else {}
        if isinstance(first, dict) and first.get("code") == NO_ROOM:
            why = self.exchange.place.trouble("busy", f"batch '{batch}': {message_of(first)}")
        else:
            why = of_status(self.exchange.place, 400, {"error": first})
        return BatchFailed(why.kind, why.reason)
