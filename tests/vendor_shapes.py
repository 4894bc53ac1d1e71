"""What OpenAI and Anthropic put on the wire: answers, errors, batches, and what they refuse."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Literal

Vendor = Literal["openai", "anthropic"]
Finish = Literal["stop", "length", "refusal", "filtered"]

WORDS = [
    *("acid", "air", "ant", "area", "bark", "base", "bone", "bulb", "cell", "cloud", "coast"),
    *("coil", "current", "depth", "drop", "dust", "earth", "edge", "energy", "field", "fibre"),
    *("film", "fish", "flow", "force", "forest", "fruit", "gas", "glass", "grain", "heat", "hill"),
    *("ice", "insect", "iron", "lake", "leaf", "lens", "light", "liquid", "metal", "mineral"),
    *("moon", "motion", "muscle", "nerve", "ocean", "orbit", "oxygen", "petal", "plant", "rain"),
]
WORDS_PER_TEXT = 14
REFUSED = "I cannot help with that."
TYPES: dict[Vendor, dict[int, str]] = {
    "openai": {
        400: "invalid_request_error",
        401: "invalid_request_error",
        404: "invalid_request_error",
        429: "requests",
    },
    "anthropic": {
        400: "invalid_request_error",
        401: "authentication_error",
        402: "billing_error",
        403: "permission_error",
        404: "not_found_error",
        409: "conflict_error",
        413: "request_too_large",
        429: "rate_limit_error",
        504: "timeout_error",
        529: "overloaded_error",
    },
}
CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
NO_CREDIT: dict[Vendor, tuple[int, str, str]] = {  # status, type and code, message
    "openai": (429, "insufficient_quota", "You exceeded your current quota, check your plan."),
    "anthropic": (
        400,
        "invalid_request_error",
        "Your credit balance is too low to access the Anthropic API. Go to Plans & Billing.",
    ),
}
# limits that Anthropic's structured outputs do not take; minItems is taken as 0 or 1
NO_LIMITS = {"maxItems", "minLength", "maxLength", "minimum", "maximum", "multipleOf"}


def tokens(text: str) -> int:
    """About as many as a tokenizer makes of English."""
    return max(1, len(text) // 4)


def digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def sentence(*parts: object) -> str:
    """WORDS_PER_TEXT words that follow from the parts alone."""
    found = bytes.fromhex(digest(*parts))
    words = [WORDS[one % len(WORDS)] for one in found[:WORDS_PER_TEXT]]
    return f"{' '.join(words).capitalize()}."


def default_answer(system: str, user: str, schema: dict[str, Any] | None) -> str:
    """A valid object of the schema, or text; other texts of the user have other words."""
    if schema is None:
        return sentence(user)
    return json.dumps(_instance(schema, schema, (user,)))


def _instance(schema: dict[str, Any], root: dict[str, Any], path: tuple[object, ...]) -> Any:
    if "$ref" in schema:
        return _instance(root["$defs"][schema["$ref"].split("/")[-1]], root, path)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][int(digest(*path), 16) % len(schema["enum"])]
    if "anyOf" in schema:
        return _instance(schema["anyOf"][0], root, path)
    kind = schema["type"][0] if isinstance(schema["type"], list) else schema["type"]
    if kind == "object":
        fields = schema.get("properties", {})
        return {name: _instance(one, root, (*path, name)) for name, one in fields.items()}
    if kind == "array":
        length = max(schema.get("minItems", 2), min(2, schema.get("maxItems", 2)))
        return [_instance(schema["items"], root, (*path, place)) for place in range(length)]
    plain = {"integer": schema.get("minimum", 1), "number": 0.5, "boolean": True, "null": None}
    return sentence(*path) if kind == "string" else plain[kind]


def asked_of(vendor: Vendor, body: dict[str, Any]) -> tuple[str, str, dict[str, Any] | None]:
    """(system, user, schema) of a request."""
    if vendor == "anthropic":
        form = body.get("output_config", {}).get("format", {})
        return body.get("system", ""), body["messages"][-1]["content"], form.get("schema")
    system = "".join(one["content"] for one in body["messages"] if one["role"] == "system")
    form = body.get("response_format", {}).get("json_schema", {})
    return system, body["messages"][-1]["content"], form.get("schema")


def limit_of(body: dict[str, Any]) -> int | None:
    """max_tokens, under either name."""
    found = body.get("max_completion_tokens", body.get("max_tokens"))
    return None if found is None else int(found)


def objection(vendor: Vendor, body: dict[str, Any]) -> str | None:
    """Why the vendor would not take a request; None if it would."""
    if not isinstance(body.get("model"), str) or not body.get("messages"):
        return "model and messages are required."
    if vendor == "anthropic":
        extra = {"temperature", "top_p", "top_k", "response_format"} & set(body)
        if extra or not body.get("max_tokens"):
            return f"{min(extra, default='max_tokens')}: Extra inputs are not permitted."
    elif "system" in body or "output_config" in body:
        return "Unrecognized request argument supplied."
    return next(_of_schema(vendor, asked_of(vendor, body)[2]), None)


def _of_schema(vendor: Vendor, schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for one in schema:
            yield from _of_schema(vendor, one)
    if not isinstance(schema, dict):
        return
    if "properties" in schema:
        if schema.get("additionalProperties") is not False:
            yield "Invalid schema: 'additionalProperties' is required to be supplied and false."
        if vendor == "openai" and set(schema.get("required", [])) != set(schema["properties"]):
            yield "Invalid schema: 'required' must include every key in properties."
    if vendor == "anthropic" and (NO_LIMITS & set(schema) or schema.get("minItems", 0) > 1):
        yield "output_config.format.schema: a property of it is not supported."
    for one in schema.values():
        yield from _of_schema(vendor, one)


def answer(
    vendor: Vendor, body: dict[str, Any], text: str, finish: Finish, counts: tuple[int, int]
) -> dict[str, Any]:
    """A chat.completion or a message. counts: input and output tokens."""
    name = digest(body, text)[:24]
    read, written = counts
    if vendor == "anthropic":
        ends = {"stop": "end_turn", "length": "max_tokens"}
        return {
            "id": f"msg_{name}",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [{"type": "text", "text": text, "citations": None}] if text else [],
            "stop_reason": ends.get(finish, "refusal"),
            "stop_sequence": None,
            "usage": {
                "input_tokens": read,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": written,
                "service_tier": "standard",
            },
        }
    is_refused = finish == "refusal"
    message: dict[str, Any] = {
        "role": "assistant",
        "content": text,
        "refusal": None,
        "annotations": [],
    }
    if is_refused:
        message |= {"content": None, "refusal": text}
    ends = {"stop": "stop", "length": "length", "refusal": "stop", "filtered": "content_filter"}
    usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    return {
        "id": f"chatcmpl-{name}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": body["model"],
        "choices": [
            {"index": 0, "message": message, "logprobs": None, "finish_reason": ends[finish]}
        ],
        "usage": usage | {"prompt_tokens_details": {"cached_tokens": 0}},
        "service_tier": "default",
        "system_fingerprint": "fp_loopback",
    }


def error(
    vendor: Vendor, status: int, message: str, kind: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """The body of an error. kind: its type; code: of OpenAI's alone."""
    kind = kind or TYPES[vendor].get(status, "server_error" if vendor == "openai" else "api_error")
    if vendor == "anthropic":
        told = {"type": kind, "message": message, "details": None}
        return {"type": "error", "error": told, "request_id": "req_loopback"}
    code = code or CODES.get(status)
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def result_line(
    vendor: Vendor, custom_id: str, outcome: str, body: dict[str, Any] | None
) -> dict[str, Any]:
    """One line of a file of results. body: the answer, where the outcome is `succeeded`."""
    refused = error(vendor, 400, "This request was not to our taste.")
    if vendor == "anthropic":
        results: dict[str, dict[str, Any]] = {
            "succeeded": {"type": "succeeded", "message": body},
            "errored": {"type": "errored", "error": refused},
        }
        return {"custom_id": custom_id, "result": results.get(outcome, {"type": outcome})}
    line = {"id": f"batch_req_{custom_id[:16]}", "custom_id": custom_id, "error": None}
    if outcome in ("succeeded", "errored"):
        status = 200 if outcome == "succeeded" else 400
        told = {"status_code": status, "request_id": "req_1", "body": body or refused}
        return line | {"response": told}
    code = {"expired": "batch_expired", "canceled": "batch_cancelled"}[outcome]
    message = "This request could not be executed before the completion window expired."
    return line | {"response": None, "error": {"code": code, "message": message}}
