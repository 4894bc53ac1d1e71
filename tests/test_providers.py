"""Vendors' models: what is sent, how each failure is told, and that no key leaves its header."""

import contextlib
import email.utils
import json
import socket
import ssl
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from schemas.errors import InputError
from stages.runtime.asking import batch_files, providers, troubles
from stages.runtime.asking.anthropic_messages import AnthropicMessages
from stages.runtime.asking.calls import Ask, Provider, Reply, Trouble
from stages.runtime.asking.openai_chat import OpenAIChat
from tests.vendor_shapes import REFUSED, default_answer, objection
from tests.vendors import Fault, Vendors, always, at_first, in_turn, seeded, status, vendors

NAMES = ("openai", "anthropic", "compatible")
OWN = ("openai", "anthropic")  # who have batches
KEYS = {
    "openai": ("OPENAI_API_KEY", "key-of-openai-0123456789"),
    "anthropic": ("ANTHROPIC_API_KEY", "key-of-anthropic-0123456789"),
    "compatible": ("PEERWISE_SERVER_KEY", "key-of-a-server-0123456789"),
}
FIELDS = ["explanation", "items"]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "explanation": {"type": "string"},
        "items": {"type": "array", "items": {"type": "string"}},
    },
    "required": FIELDS,
    "additionalProperties": False,
}
ASK = Ask("a1", "Be brief.", "Why is the sky blue?", SCHEMA, 500, None)
SECONDS = 20.0  # for an answer, where the test is not about time
WITH_PASSWORD = "@".join(["https://name:secret", "host/v1"])


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, key in KEYS.values():
        monkeypatch.setenv(name, key)


@pytest.fixture
def server() -> Iterator[Vendors]:
    with vendors() as running:
        yield running


@contextlib.contextmanager
def opened(server: Vendors, name: str, seconds: float = SECONDS) -> Iterator[Provider]:
    with providers.opened(name, "model-1", server.url_of(name), seconds) as provider:
        yield provider


def trouble_of(server: Vendors, name: str, ask: Ask = ASK, seconds: float = SECONDS) -> Trouble:
    """Why a request has no answer: asked once, told in one line without the key."""
    before = len(server.seen)
    with opened(server, name, seconds) as provider, pytest.raises(Trouble) as caught:
        provider.ask(ask)
    assert len(server.seen) <= before + 1
    check_told(caught.value)
    return caught.value


def check_told(error: Trouble) -> None:
    """One line, short, and no key in it or in the traceback."""
    assert str(error) == error.reason
    assert error.reason.isprintable()
    assert len(error.reason) < 400
    shown = "".join(traceback.format_exception(error))
    assert not [key for _, key in KEYS.values() if key[:12] in shown]


# ---- answers -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_comes_with_the_tokens_that_are_billed(server: Vendors, name: str):
    with opened(server, name) as provider:
        reply = provider.ask(ASK)
    assert reply == Reply(default_answer(ASK.system, ASK.user, SCHEMA), "stop", *server.tokens())
    assert sorted(json.loads(reply.text)) == FIELDS
    assert server.times(ASK.user) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_request_names_what_was_asked_and_nothing_else(server: Vendors, name: str):
    plain = Ask("a2", "", "Say why.", None, 60, None)
    with opened(server, name) as provider:
        provider.ask(ASK)
        reply = provider.ask(plain)
    assert reply.text == default_answer("", plain.user, None)
    users = [[{"role": "user", "content": ask.user}] for ask in (ASK, plain)]
    if name == "anthropic":
        form: dict[str, Any] = {"type": "json_schema", "schema": SCHEMA}
        first: dict[str, Any] = {"system": ASK.system, "output_config": {"format": form}}
        first |= {"messages": users[0]}
    else:
        form = {"name": "answer", "strict": True, "schema": SCHEMA}
        system = {"role": "system", "content": ASK.system}
        first = {"response_format": {"type": "json_schema", "json_schema": form}}
        first |= {"messages": [system, *users[0]]}
    limit = "max_completion_tokens" if name == "openai" else "max_tokens"
    assert [one.body for one in server.asked()] == [
        first | {"model": "model-1", limit: 500},
        {"model": "model-1", limit: 60, "messages": users[1]},
    ]


def test_openais_own_host_gets_the_limit_that_it_knows_whatever_the_provider_is_called():
    for url, limit in [
        ("https://eu.api.openai.com/v1", "max_completion_tokens"),
        ("https://host/v1", "max_tokens"),
    ]:
        with providers.opened("compatible", "m", url, SECONDS) as provider:
            assert isinstance(provider, OpenAIChat)
            assert provider.limit_name == limit


def test_without_a_base_url_the_vendors_are_asked(monkeypatch: pytest.MonkeyPatch):
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/elsewhere")
    with providers.opened("openai", "m", None, SECONDS) as provider:
        assert isinstance(provider, OpenAIChat)
        assert str(provider.client.base_url) == "https://api.openai.com/v1/"
    with providers.opened("anthropic", "m", None, SECONDS) as provider:
        assert isinstance(provider, AnthropicMessages)
        assert str(provider.client.base_url) == "https://api.anthropic.com"


def test_a_temperature_is_sent_where_there_is_one(server: Vendors):
    warm = Ask("a1", "", "Why?", None, 50, 0.7)
    with opened(server, "openai") as provider:
        provider.ask(warm)
    assert server.asked()[0].body["temperature"] == 0.7
    error = trouble_of(server, "anthropic", warm)
    assert error.kind == "final"
    assert "temperature" in error.reason
    assert len(server.asked()) == 1


def test_limits_that_anthropic_refuses_in_a_schema_are_told_in_words(server: Vendors):
    texts = {"type": "array", "items": {"type": "string"}, "minItems": 3, "maxItems": 3}
    schema = SCHEMA | {"properties": {"explanation": {"type": "string"}, "items": texts}}
    with opened(server, "anthropic") as provider:
        provider.ask(Ask("a1", "", "Why?", schema, 500, None))
    sent = server.asked()[0].body["output_config"]["format"]["schema"]["properties"]["items"]
    assert sent == {
        "type": "array",
        "items": {"type": "string"},
        "description": "{maxItems: 3, minItems: 3}",
    }
    assert texts["maxItems"] == 3  # the caller's schema is as it was


ENDS = [  # fault, end, text; None = whatever came
    ("openai", "refusal", "refusal", REFUSED),
    ("openai", "filtered", "refusal", ""),
    ("anthropic", "refusal", "refusal", REFUSED),
    ("anthropic", "filtered", "refusal", ""),
    ("openai", "empty", "stop", ""),
    ("anthropic", "empty", "stop", ""),
    ("openai", "length", "length", None),
    ("anthropic", "length", "length", None),
]


@pytest.mark.parametrize(("name", "how", "end", "text"), ENDS)
def test_an_answer_that_is_refused_empty_or_cut_off_is_an_answer(
    server: Vendors, name: str, how: Any, end: str, text: str | None
):
    server.plan = always(Fault(how))
    with opened(server, name) as provider:
        reply = provider.ask(ASK)
    assert reply.end == end
    whole = default_answer(ASK.system, ASK.user, SCHEMA)
    assert reply.text == text if text is not None else 0 < len(reply.text) < len(whole)
    assert (reply.input_tokens, reply.output_tokens) == server.tokens()


@pytest.mark.parametrize("name", NAMES)
def test_half_a_character_in_an_answer_is_replaced(server: Vendors, name: str):
    server.answer = lambda system, user, schema: "a\ud83db\u2028c"
    with opened(server, name) as provider:
        assert provider.ask(ASK).text == "a?b\u2028c"


@pytest.mark.parametrize("name", OWN)
def test_many_threads_ask_at_once(server: Vendors, name: str):
    server.latency = 0.2
    asks = [Ask(f"a{n}", "", f"Why {n}?", None, 60, None) for n in range(12)]
    with opened(server, name) as provider, ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(provider.ask, asks))
    assert [reply.text for reply in replies] == [default_answer("", a.user, None) for a in asks]
    assert server.most_together > 6


# ---- failures ------------------------------------------------------------------------------

SAYS_NAME = {name: key for name, (key, _) in KEYS.items()}
STATUSES = [  # status, kind, a word of the message
    (429, "busy", "Try again later"),
    (500, "busy", "status 500"),
    (502, "busy", ""),
    (503, "busy", ""),
    (529, "busy", ""),
    (408, "busy", ""),
    (409, "busy", ""),
    (504, "lost", ""),
    (524, "lost", ""),
    (400, "rejected", "Try again later"),
    (413, "rejected", ""),
    (422, "rejected", ""),
    (401, "final", "{key}"),
    (403, "final", "{key}"),
    (402, "final", "{key}"),
    (404, "final", "'model-1'"),
    (405, "final", "address"),
    (307, "final", "address"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_status_is_told_by_what_can_be_done_about_it(server: Vendors, name: str):
    for number, kind, word in STATUSES:
        server.plan = always(status(number, location=f"{server.origin}/elsewhere"))
        error = trouble_of(server, name)
        assert (number, error.kind) == (number, kind)
        assert word.format(key=SAYS_NAME[name]) in error.reason
        assert server.url_of(name) in error.reason
        assert error.wait_seconds is None
    assert len(server.asked()) == len(STATUSES) == len(server.seen)  # nothing asked again
    assert server.bills == []


@pytest.mark.parametrize("name", NAMES)
def test_no_credit_is_final_whichever_status_says_so(server: Vendors, name: str):
    vendor = "anthropic" if name == "anthropic" else "openai"
    faults = {
        "openai": [
            Fault("no_credit"),
            Fault("status", 429, code="billing_hard_limit_reached"),
            Fault("status", 403, kind="billing_not_active"),
        ],
        "anthropic": [Fault("no_credit"), Fault("status", 402), Fault("status", 429, kind="x")],
    }[vendor]
    for fault in faults:
        server.plan = always(fault)
        error = trouble_of(server, name)
        is_other = fault.kind == "x"
        assert error.kind == ("busy" if is_other else "final")
        assert is_other or f"the credit behind {SAYS_NAME[name]}" in error.reason


def test_a_spend_limit_of_anthropics_has_a_code():
    told = {"error": {"type": "rate_limit_error", "message": "Wait.", "details": None}}
    place = troubles.Place("https://host", "m", "KEY", None)
    assert troubles.of_status(place, 429, told).kind == "busy"
    told["error"]["details"] = {"error_code": "enforced_spend_limit_reached"}  # type: ignore[assignment]
    assert troubles.of_status(place, 429, told).kind == "final"


@pytest.mark.parametrize("name", NAMES)
def test_a_server_says_how_long_to_wait(server: Vendors, name: str):
    date = email.utils.formatdate(time.time() + 100, usegmt=True)
    server.plan = in_turn(
        status(429, retry_after="2"),
        status(529, retry_after="9", retry_after_ms="1500"),
        status(503, retry_after=date),
    )
    waits = [trouble_of(server, name).wait_seconds for _ in range(3)]
    assert waits[:2] == [2.0, 1.5]
    assert waits[2] == pytest.approx(100, abs=5)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("86400", 86400.0),
        ("Thu, 01 Jan 1970 00:00:10 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("Mon, 99 Jan 2030 00:00:00 GMT", None),
        ("Mon, 01 Jan 999999999999 00:00:00 GMT", None),
    ],
)
def test_a_wait_that_cannot_be_read_is_none(header: str, seconds: float | None):
    assert troubles.wait_seconds({"retry-after": header}) == seconds


LATE = ("late", "drip")
LOST = (*LATE, "dropped", "malformed", "truncated", "no_content", "no_usage")


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("how", LOST)
def test_work_without_its_answer_is_lost_and_asked_for_once(server: Vendors, name: str, how: Any):
    server.plan = always(Fault(how))
    began = time.monotonic()
    error = trouble_of(server, name, seconds=0.3 if how in LATE else SECONDS)
    assert time.monotonic() - began < 3
    assert error.kind == "lost"
    assert server.times(ASK.user) == 1
    assert len(server.asked()) == 1


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize(
    "body", [b"[]", b"3", b'"x"', b"null", b"{}", b"[" * 100_000, b"\xff", b""], ids=repr
)
def test_a_body_of_another_shape_is_lost(
    server: Vendors, name: str, body: bytes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tests.vendors.Handler.ask", lambda self, *_: self.send(200, body))
    assert trouble_of(server, name).kind == "lost"


def changed(name: str, change: dict[str, Any]) -> Any:
    """The body of an answer with parts of another shape."""
    if name == "anthropic":
        usage = {"input_tokens": 3, "output_tokens": 4}
        text = [{"type": "text", "text": "x"}]
        return {"content": text, "stop_reason": "end_turn", "usage": usage} | change
    choice = {"message": {"content": "x"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    return {"choices": [choice | change], "usage": change.get("usage", usage)}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("openai", {"finish_reason": None}),
        ("openai", {"finish_reason": "tool_calls"}),
        ("openai", {"message": None}),
        ("openai", {"message": {"content": ["x"]}}),
        ("openai", {"usage": {"prompt_tokens": -1, "completion_tokens": 4}}),
        ("openai", {"usage": {"prompt_tokens": True, "completion_tokens": 4}}),
        ("openai", {"usage": {"prompt_tokens": 3}}),
        ("anthropic", {"stop_reason": "tool_use"}),
        ("anthropic", {"stop_reason": None}),
        ("anthropic", {"content": None}),
        ("anthropic", {"content": ["x"]}),
        ("anthropic", {"content": [{"type": "text", "text": None}]}),
        ("anthropic", {"usage": {"input_tokens": "3", "output_tokens": 4}}),
        ("anthropic", {"usage": None}),
    ],
    ids=str,
)
def test_an_answer_with_a_part_of_another_shape_is_lost(
    server: Vendors, name: str, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        "tests.vendors.Handler.ask", lambda self, *_: self.tell(changed(name, change))
    )
    assert trouble_of(server, name).kind == "lost"


def test_tokens_of_a_cache_and_blocks_of_thought_are_counted_and_left_out(
    server: Vendors, monkeypatch: pytest.MonkeyPatch
):
    usage = {"input_tokens": 3, "cache_read_input_tokens": 10, "output_tokens": 4}
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b"},
    ]
    told = changed("anthropic", {"usage": usage, "content": blocks})
    monkeypatch.setattr("tests.vendors.Handler.ask", lambda self, *_: self.tell(told))
    with opened(server, "anthropic") as provider:
        assert provider.ask(ASK) == Reply("ab", "stop", 13, 4)


@pytest.mark.parametrize("name", NAMES)
def test_a_server_that_is_restarted_is_found_again(name: str):
    with contextlib.ExitStack() as stack:
        with vendors() as server:
            provider = stack.enter_context(opened(server, name))
            provider.ask(ASK)
        with pytest.raises(Trouble, match="cannot be reached") as caught:
            provider.ask(ASK)
        assert caught.value.kind == "busy"
        check_told(caught.value)
        with vendors(port=int(server.origin.rsplit(":", 1)[1])):
            assert provider.ask(ASK).end == "stop"


@pytest.mark.parametrize("name", OWN)
def test_a_host_without_an_address_was_never_asked(name: str, monkeypatch: pytest.MonkeyPatch):
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with (
        providers.opened(name, "m", "https://nowhere.invalid", SECONDS) as provider,
        pytest.raises(Trouble, match="cannot be reached") as caught,
    ):
        provider.ask(ASK)
    assert caught.value.kind == "busy"


def test_a_certificate_that_is_not_trusted_does_not_mend_itself():
    place = troubles.Place("https://host", "m", "KEY", None)
    error = httpx2.ConnectError("certificate verify failed")
    assert troubles.of_connection(place, error).kind == "busy"
    error.__cause__ = ssl.SSLCertVerificationError("certificate verify failed")
    assert troubles.of_connection(place, error).kind == "final"
    assert troubles.of_connection(place, None).kind == "lost"


@pytest.mark.parametrize("name", OWN)
def test_half_a_character_in_a_question_is_the_questions_fault(server: Vendors, name: str):
    error = trouble_of(server, name, Ask("a1", "", "why \ud83d?", None, 50, None))
    assert error.kind == "rejected"
    assert server.bills == []


# ---- keys ----------------------------------------------------------------------------------

ELSEWHERE = "http://127.0.0.1:1"
OTHERS = {
    "OPENAI_BASE_URL": ELSEWHERE,
    "OPENAI_ORG_ID": "org-of-somebody",
    "OPENAI_PROJECT_ID": "project-of-somebody",
    "OPENAI_ADMIN_KEY": "admin-of-somebody",
    "OPENAI_CUSTOM_HEADERS": "Authorization: Bearer somebody\nX-Of: somebody\nHost: somebody",
    "ANTHROPIC_BASE_URL": ELSEWHERE,
    "ANTHROPIC_AUTH_TOKEN": "token-of-somebody",
    "ANTHROPIC_CUSTOM_HEADERS": "X-Api-Key: somebody\nauthorization: Bearer somebody",
    "ANTHROPIC_PROFILE": "somebody",
    **{name: ELSEWHERE for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY")},
}
SENT = {  # names of headers, whatever the vendor
    *("host", "accept", "accept-encoding", "connection", "user-agent", "authorization"),
    *("content-type", "content-length", "x-stainless-raw-response"),
}


@pytest.mark.parametrize("name", NAMES)
def test_the_key_is_in_one_header_and_other_variables_have_no_effect(
    server: Vendors,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level("DEBUG")
    for variable, value in OTHERS.items():
        monkeypatch.setenv(variable, value)
    for other in set(NAMES) - {name}:
        monkeypatch.setenv(KEYS[other][0], "key-of-somebody")
    with opened(server, name) as provider:
        provider.ask(ASK)
        if name in OWN:
            batch = provider.submit([ASK])
            assert not provider.is_ended(batch)
            assert len(list(provider.results(batch))) == 1
    (variable, key) = KEYS[name]
    for one in server.seen:
        headers = dict(one.headers)
        if name == "anthropic":
            assert headers.pop("anthropic-version")
        assert headers["authorization"] == f"Bearer {key}"
        assert set(headers) <= SENT
        assert "somebody" not in str(headers)
        assert headers["host"] == server.origin.removeprefix("http://")
        assert key not in one.path + str(one.body)
    assert key not in caplog.text


@pytest.mark.parametrize("name", NAMES)
def test_a_key_that_a_server_echoes_is_not_told(
    server: Vendors, name: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("DEBUG")
    key = KEYS[name][1]
    for number in (401, 429, 400, 500, 404, 504):
        server.plan = always(status(number, f"Key {{key}} or\n{key[:15]}... or {key[-9:]}?"))
        assert "Key *** or ***" in trouble_of(server, name).reason
    assert key not in caplog.text


def test_a_server_without_keys_is_told_none(server: Vendors, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PEERWISE_SERVER_KEY")
    with opened(server, "compatible") as provider:
        assert provider.ask(ASK).end == "stop"
    assert "authorization" not in server.seen[0].headers


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_key_is_named_by_its_variable(server: Vendors, name: str):
    server.key = "another"
    error = trouble_of(server, name)
    assert error.kind == "final"
    assert KEYS[name][0] in error.reason


@pytest.mark.parametrize("name", OWN)
def test_a_vendor_is_not_asked_without_a_key(name: str, monkeypatch: pytest.MonkeyPatch):
    variable = KEYS[name][0]
    for value in (None, ""):
        monkeypatch.setenv(variable, value or "")
        if value is None:
            monkeypatch.delenv(variable)
        with (
            pytest.raises(InputError, match=f"^{variable}: .*not set"),
            providers.opened(name, "m", None, SECONDS),
        ):
            pass


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", ["secret-key\n", "secret key", "secret-kéy", "\tsecret-key"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_told(
    name: str, key: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(KEYS[name][0], key)
    with (
        pytest.raises(InputError, match=f"^{KEYS[name][0]}: ") as caught,
        providers.opened(name, "m", "http://localhost:1", SECONDS),
    ):
        pass
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "url", "words"),
    [
        ("opnai", None, r"^provider: 'opnai' is unknown\. Did you mean 'openai'\?"),
        ("", None, r"^provider: '' is unknown\. Known: "),
        ("compatible", None, r"^base_url: missing"),
        ("compatible", "", r"^base_url: '' is no address"),
        ("openai", "localhost:8000", r"^base_url: 'localhost:8000' is no address"),
        ("openai", "ftp://host/v1", "is no address"),
        ("openai", "http://", "is no address"),
        ("anthropic", "https://host:port", "is no address"),
        ("openai", "https://ho st/v1", "is no address"),
        ("openai", "https://host/v1\n", "is no address"),
        ("openai", "https://host\\v1", "is no address"),
        ("openai", "https://höst/v1", "is no address"),
        ("openai", WITH_PASSWORD, r"host holds a name, a password .*OPENAI_API_KEY"),
        ("openai", "https:secret@host", "holds a name, a password"),
        ("compatible", "https://host/v1?key=secret", "holds a name, a password or a query"),
        ("anthropic", "https://host/#secret", "holds a name, a password or a query"),
        ("openai", "http://host/v1", r"not encrypted.*OPENAI_API_KEY"),
        ("anthropic", "http://10.0.0.1", r"not encrypted.*ANTHROPIC_API_KEY"),
        ("compatible", "http://host/v1", r"not encrypted.*PEERWISE_SERVER_KEY"),
        ("compatible", "http://127.0.0.1.host/v1", "not encrypted"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(name: str, url: str | None, words: str):
    with (
        pytest.raises(InputError, match=words) as caught,
        providers.opened(name, "m", url, SECONDS),
    ):
        pass
    assert str(caught.value).isprintable()
    assert "secret" not in str(caught.value)


def test_a_key_may_go_to_this_machine_or_encrypted_and_none_anywhere(
    monkeypatch: pytest.MonkeyPatch,
):
    for url in ("http://localhost:1", "http://127.9.9.9:1/v1", "http://[::1]:1", "https://host"):
        with providers.opened("compatible", "m", url, SECONDS):
            pass
    monkeypatch.delenv("PEERWISE_SERVER_KEY")
    with providers.opened("compatible", "m", "http://host:8000/v1", SECONDS):
        pass


def test_an_address_is_taken_with_or_without_its_path():
    for url in ("http://localhost:1", "http://localhost:1/", "http://localhost:1/v1/"):
        assert providers.address(url, "compatible") == "http://localhost:1/v1"
        assert providers.address(url, "anthropic") == "http://localhost:1"
    assert providers.address("https://host/of/ours", "openai") == "https://host/of/ours"


# ---- batches -------------------------------------------------------------------------------

ASKS = [Ask(f"n{n}", "", f"Why {n}?", SCHEMA, 500, None) for n in range(8)]
OUTCOMES = {"n1": "expired", "n3": "errored", "n5": "canceled"}


@pytest.mark.parametrize("name", OWN)
def test_a_batch_is_handed_in_looked_at_and_read_by_name(server: Vendors, name: str):
    server.outcome = lambda custom_id: OUTCOMES.get(custom_id, "succeeded")
    server.plan = lambda user, nth: Fault("refusal") if user == ASKS[2].user else None
    server.polls = 3
    with opened(server, name) as provider:
        batch = provider.submit(ASKS)
        assert [provider.is_ended(batch) for _ in range(3)] == [False] * 3
        assert provider.is_ended(batch)
        results = list(provider.results(batch))
    assert [found for found, _ in results] != [ask.name for ask in ASKS]  # another order
    found = dict(results)
    assert set(found) == {ask.name for ask in ASKS}
    kinds = {key: one.kind for key, one in found.items() if isinstance(one, Trouble)}
    assert kinds == {"n1": "busy", "n3": "rejected", "n5": "busy"}
    for ask in ASKS:
        reply = found[ask.name]
        if isinstance(reply, Trouble):
            check_told(reply)
            assert server.times(ask.name) == 0
        elif ask.name == "n2":
            assert (reply.text, reply.end) == (REFUSED, "refusal")
        else:
            assert reply.text == default_answer("", ask.user, SCHEMA)
            assert server.times(ask.name) == 1
    assert sum(bill.output_tokens for bill in server.bills) == sum(
        reply.output_tokens for reply in found.values() if isinstance(reply, Reply)
    )


@pytest.mark.parametrize("name", OWN)
def test_requests_of_a_batch_are_those_of_single_answers(server: Vendors, name: str):
    with opened(server, name) as provider:
        provider.ask(ASKS[0])
        provider.submit(ASKS[:1])
    (alone,) = server.asked()
    if name == "anthropic":
        (batch,) = [one.body for one in server.seen if one.path == "/v1/messages/batches"]
        assert batch == {"requests": [{"custom_id": "n0", "params": alone.body}]}
    else:
        (content,) = server.files.values()
        row = {"custom_id": "n0", "method": "POST", "url": "/v1/chat/completions"}
        assert json.loads(content) == row | {"body": alone.body}


@pytest.mark.parametrize("name", OWN)
def test_a_batch_that_has_not_ended_or_is_not_there(server: Vendors, name: str):
    with opened(server, name) as provider:
        batch = provider.submit(ASKS[:1])
        with pytest.raises(Trouble, match="has not ended") as caught:
            list(provider.results(batch))
        assert caught.value.kind == "busy"
        for other in ("msgbatch_99" if name == "anthropic" else "batch_99", "../files"):
            with pytest.raises(Trouble, match="is not there, or no longer") as caught:
                provider.is_ended(other)
            assert caught.value.kind == "rejected"
    assert all("/../" not in one.path for one in server.seen)


def test_results_are_read_from_the_host_that_was_named(server: Vendors):
    with opened(server, "anthropic") as provider:
        server.polls, server.origin = 0, ELSEWHERE  # the origin of results_url
        batch = provider.submit(ASKS[:1])
        assert [name for name, _ in provider.results(batch)] == ["n0"]


@pytest.mark.parametrize("name", OWN)
def test_a_batch_that_is_too_large_is_divided(server: Vendors, name: str):
    server.batch_n, server.polls = 3, 0
    with opened(server, name) as provider:
        assert provider.parts(ASKS) == [ASKS]
        with pytest.raises(Trouble) as caught:
            list(provider.results(provider.submit(ASKS)))
        assert caught.value.kind == "rejected"
        assert isinstance(provider, OpenAIChat | AnthropicMessages)
        provider.batch_n = 3
        parts = provider.parts(ASKS)
        assert [len(part) for part in parts] == [3, 3, 2]
        found = {n for part in parts for n, _ in provider.results(provider.submit(part))}
    assert found == {ask.name for ask in ASKS}
    assert server.tokens()[1] > 0


@pytest.mark.parametrize("name", OWN)
def test_bytes_of_a_part_are_those_that_are_sent(server: Vendors, name: str):
    with opened(server, name) as provider:
        assert isinstance(provider, OpenAIChat | AnthropicMessages)
        provider.batch_bytes = 1500
        parts = provider.parts(ASKS)
        assert len(parts) > 1
        assert [ask for part in parts for ask in part] == ASKS
        provider.submit(parts[0])
    if name == "openai":
        assert len(server.files["file-1"]) <= 1500
    else:
        assert int(server.seen[0].headers["content-length"]) <= 1500


def test_one_request_that_is_too_large_is_alone():
    sizes = {"n0": 5, "n1": 99, "n2": 5, "n3": 5}
    parts = batch_files.in_parts(ASKS[:4], lambda ask: sizes[ask.name], 10, 10)
    assert [[ask.name for ask in part] for part in parts] == [["n0"], ["n1"], ["n2", "n3"]]
    assert batch_files.in_parts([], lambda ask: 1, 10, 10) == []


def test_lines_of_results_that_cannot_be_read_are_left_out():
    good = json.dumps({"custom_id": "a", "text": "x\u2028y"}, ensure_ascii=False)
    rows = [good, "", "{", "[]", '{"custom_id": 3}', '{"id": "b"}', good[:-4]]
    assert list(batch_files.rows("\n".join(rows).encode())) == [json.loads(good)]


@pytest.mark.parametrize("name", OWN)
def test_what_gets_lost_around_a_batch_costs_nothing_but_handing_it_in(
    server: Vendors, name: str, monkeypatch: pytest.MonkeyPatch
):
    with opened(server, name) as provider:
        batch = provider.submit(ASKS[:1])
        broken = "tests.vendors.Handler.tell"
        monkeypatch.setattr(broken, lambda self, told: self.send(200, b'{"id": "x'))
        with pytest.raises(Trouble, match="no JSON, or cut off") as caught:
            provider.is_ended(batch)
        assert caught.value.kind == "busy"
        with pytest.raises(Trouble) as caught:
            provider.submit(ASKS[:1])
        # OpenAI's file comes before its batch
        assert caught.value.kind == ("lost" if name == "anthropic" else "busy")


@pytest.mark.parametrize("name", NAMES)
def test_a_server_without_batches_says_so(
    server: Vendors, name: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        "tests.vendors.Handler.do_POST",
        lambda self: (
            self.rfile.read(int(self.headers["content-length"])),
            self.refuse("openai", 404, "Not Found"),
        ),
    )
    with opened(server, name) as provider, pytest.raises(Trouble, match="no batches") as caught:
        provider.submit(ASKS[:1])
    assert caught.value.kind == "final"


def failed(code: str) -> dict[str, Any]:
    data = [{"code": code, "message": "No.", "line": None, "param": None}]
    return {"id": "batch_1", "status": "failed", "errors": {"object": "list", "data": data}}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("token_limit_exceeded", "busy"),
        ("billing_hard_limit_reached", "final"),
        ("invalid_json_line", "rejected"),
    ],
)
def test_a_batch_that_was_not_begun_says_why(
    server: Vendors, code: str, kind: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        "tests.vendors.Handler.look_at_batch", lambda self, name: self.tell(failed(code))
    )
    monkeypatch.setattr(
        "tests.vendors.LOOKS",
        [(r"/v1/batches/(.+)", "openai", lambda self, name: self.tell(failed(code)))],
    )
    with opened(server, "openai") as provider:
        assert provider.is_ended("batch_1")
        with pytest.raises(Trouble) as caught:
            list(provider.results("batch_1"))
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("overloaded_error", "busy"),
        ("api_error", "busy"),
        ("timeout_error", "busy"),
        ("invalid_request_error", "rejected"),
        ("authentication_error", "final"),
        ("not_found_error", "final"),
        ("billing_error", "final"),
    ],
)
def test_an_error_in_a_batch_of_anthropics_is_told_by_its_type(error: str, kind: str):
    told = {"type": "error", "error": {"type": error, "message": "No."}}
    provider = AnthropicMessages("m", "http://localhost:1", SECONDS)
    found = provider._result({"type": "errored", "error": told})
    assert isinstance(found, Trouble)
    assert found.kind == kind
    for odd in (None, {}, {"type": "errored"}, {"type": "succeeded"}):
        assert isinstance(provider._result(odd), Trouble)
    provider.close()


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"response": None, "error": {"code": "batch_expired", "message": "Late."}}, "busy"),
        ({"response": {"status_code": 500, "body": {}}}, "busy"),
        ({"response": {"status_code": 400, "body": {"error": {"message": "No."}}}}, "rejected"),
        ({"response": {"status_code": 404, "body": None}}, "final"),
        ({"response": {"status_code": 200, "body": None}}, "lost"),
        ({"response": {}}, "lost"),
        ({}, "busy"),
    ],
    ids=str,
)
def test_a_line_of_openais_results_is_told_by_its_status(row: dict[str, Any], kind: str):
    provider = OpenAIChat("m", "http://localhost:1", SECONDS)
    found = provider._result(row)
    assert isinstance(found, Trouble)
    assert found.kind == kind
    provider.close()


# ---- the server of these tests -------------------------------------------------------------


def test_a_seeded_plan_depends_on_text_and_number_alone():
    faults = {status(529): 0.3, Fault("late"): 0.2}
    keys = [(f"text {n}", nth) for n in range(200) for nth in (1, 2)]
    one, two = seeded(7, faults), seeded(7, faults)
    found = [one(*key) for key in keys]
    assert found == [two(*key) for key in reversed(keys)][::-1]
    assert found != [seeded(8, faults)(*key) for key in keys]
    assert 0.2 < sum(fault == status(529) for fault in found) / len(found) < 0.4
    assert seeded(7, {status(500): 1.0}, most=2)("text", 3) is None


def test_first_requests_of_a_text_may_fail_alone(server: Vendors):
    server.plan = at_first(status(500), 2)
    with opened(server, "openai") as provider:
        for _ in range(2):
            with pytest.raises(Trouble):
                provider.ask(ASK)
        assert provider.ask(ASK).end == "stop"


def test_what_a_vendor_would_refuse_is_refused(server: Vendors):
    loose = {"type": "object", "properties": {"a": {"type": "string"}}, "required": []}
    error = trouble_of(server, "openai", Ask("a1", "", "Why?", loose, 50, None))
    assert "Invalid schema" in error.reason
    assert server.bills == []
    message = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
    assert objection("anthropic", message) is None
    assert objection("anthropic", message | {"temperature": 1.0}) is not None


def test_answers_have_words_of_their_own_and_enough_of_them():
    texts = [json.loads(default_answer("", f"Why {n}?", SCHEMA)) for n in range(50)]
    explanations = {one["explanation"] for one in texts}
    assert len(explanations) == 50
    assert all(len(text.split()) > 12 for text in explanations)
