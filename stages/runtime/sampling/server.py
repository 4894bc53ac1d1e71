"""Answers from a server with OpenAI's interface: vLLM, `transformers serve`, or another one.

The profile names the server and the model that it serves for each policy. Two ways of asking
are known; the first request finds out which one the server takes:

- token ids, with top_k and repetition_penalty beside OpenAI's own fields (as vLLM);
- the rendered prompt as text, with a `generation_config` (as `transformers serve`). A prompt in
  which a student wrote a special token of the template is refused here, because the server
  would obey it.

Whether the server follows the decodings is tried out first (server_checks.py).
What cannot be checked: that the served model is the policy that the profile means.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.errors import InputError
from stages.runtime.loading.profile import Generation
from stages.runtime.sampling import server_checks, server_client
from stages.runtime.sampling.drawing import Decoding, Request
from stages.runtime.sampling.generation import Generated
from stages.runtime.workers import Workers

ENDS = ("stop", "length")  # finish_reason of an answer; with any other it is none


@dataclass
class Server:
    """One model of a server."""

    url: str  # with the interface's path, e.g. http://localhost:8000/v1
    name: str  # of the served model
    tokenizer: Any
    max_new_tokens: int
    seconds: float = 600.0  # for one answer, waiting included
    is_text: bool | None = None  # how the server is asked; None = not known yet
    checked: set[Decoding] = field(default_factory=set)  # decodings that it was seen to follow

    def run(self, requests: Sequence[Request], rows: int) -> Iterator[list[tuple[int, Generated]]]:
        """See Backend. One answer at a time; `rows` requests are under way at once.

        A request that failed is left out, with a warning. Raises InputError for a server that
        cannot be reached, refuses the key or the model, or ignores part of a decoding.
        """
        failed: list[Exception] = []
        with server_client.opened(self.url, self.seconds) as client:
            self.prepare(client, requests)
            for place, answer in self.ask(client, requests, rows):
                if isinstance(answer, Generated):
                    yield [(place, answer)]
                else:
                    failed.append(answer)
        if len(failed) == len(requests) and all(map(server_client.is_unreachable, failed)):
            raise server_client.unanswered(self.url, self.name, failed[0])
        if failed:
            reason = server_client.reason_of(failed[0])
            logging.warning(f"{self.url}: {len(failed)} request(s) failed, e.g.: {reason}")

    def ask(
        self, client: Any, requests: Sequence[Request], rows: int, tokens: int | None = None
    ) -> Iterator[tuple[int, Generated | Exception]]:
        """(place of the request, its answer or why there is none), as they come."""
        workers = Workers(rows)

        def answer(request: Request) -> Generated | Exception:
            return self.answer(client, request, tokens)

        try:
            under_way = {workers.submit(answer, one): i for i, one in enumerate(requests)}
            for done in as_completed(under_way):
                yield under_way[done], done.result()
        finally:
            workers.close()

    def prepare(self, client: Any, requests: Sequence[Request]) -> None:
        """Find out how the server wants to be asked, and whether it does what it is told."""
        if self.is_text is None:
            self.is_text = self.wants_text(client, requests[0])
        if self.is_text:
            self.check_texts(requests)
        if wanted := {request.decoding for request in requests} - self.checked:

            def said(asked: list[Request], tokens: int) -> list[str]:
                found = dict(self.ask(client, asked, len(asked), tokens))
                return [self.first(found[place]).text for place in range(len(asked))]

            server_checks.check(self.url, requests, wanted, said)
            self.checked |= wanted

    def wants_text(self, client: Any, request: Request) -> bool:
        """Whether the server takes a prompt as text only. Raises InputError if it takes none."""
        self.is_text = False
        answer = self.answer(client, request, 1)
        if isinstance(answer, Exception) and server_client.is_refusal(answer):
            self.is_text = True
            self.check_texts([request])
            answer = self.answer(client, request, 1)
        self.first(answer)
        return self.is_text

    def first(self, answer: Generated | Exception) -> Generated:
        """An answer without which there is no going on. Raises InputError for an error."""
        if isinstance(answer, Exception):
            raise server_client.unanswered(self.url, self.name, answer) from answer
        return answer

    def check_texts(self, requests: Sequence[Request]) -> None:
        """Raise InputError if a prompt as text would be read as another than the one meant."""
        wrong = [one for one in requests if prompt_text(self.tokenizer, one.prompt) is None]
        if wrong:
            raise InputError(
                f"{self.url}: {len(wrong)} of {len(requests)} prompts hold a special token of the "
                f"template in a student's words, first: {wrong[0].text[:60]!r}. This server takes "
                "prompts as text alone and would obey it. Use one that takes token ids, as vLLM."
            )

    def answer(self, client: Any, request: Request, tokens: int | None) -> Generated | Exception:
        """The answer, or why there is none. tokens: at most; None = as the profile says."""
        import openai

        try:
            found = client.completions.create(**self.fields(request, tokens or self.max_new_tokens))
            return self.read(found, request.seed)
        except (openai.OpenAIError, ValueError) as error:  # ValueError: no JSON, or not this one
            server_client.raise_final(self.url, self.name, error)
            return error

    def read(self, found: Any, seed: int) -> Generated:
        """A completion as an answer; an empty one is one. Raises ValueError for another thing."""
        choices = getattr(found, "choices", None)
        if not isinstance(choices, list) or len(choices) != 1:
            raise ValueError(f"expected one choice, got {choices!r}")
        text, end = (getattr(choices[0], name, None) for name in ("text", "finish_reason"))
        if not isinstance(text, str) or end not in ENDS:
            raise ValueError(f"expected a text that ended by one of {ENDS}, got {choices[0]!r}")
        counted = getattr(getattr(found, "usage", None), "completion_tokens", None)
        if isinstance(counted, int):
            tokens = max(0, counted - (end == "stop"))  # both known servers count the end
        else:
            tokens = len(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        return Generated(text.strip(), tokens, end == "stop", seed)

    def fields(self, request: Request, tokens: int) -> dict[str, Any]:
        """A request's fields. Every part of the decoding is named, so that no default enters."""
        how = request.decoding
        plain: dict[str, Any] = {"model": self.name, "max_tokens": tokens, "seed": request.seed}
        if not self.is_text:
            plain |= {"prompt": request.prompt, "top_p": how.top_p}
            plain |= {"temperature": 0.0 if how.temperature is None else how.temperature}
            beside: dict[str, Any] = {
                "top_k": how.top_k or -1,
                "repetition_penalty": how.repetition_penalty,
            }
            return plain | {"extra_body": beside}
        config = {
            "do_sample": how.temperature is not None,
            "temperature": 1.0 if how.temperature is None else how.temperature,
            "top_k": how.top_k,
            "top_p": how.top_p,
            "repetition_penalty": how.repetition_penalty,
            "eos_token_id": self.tokenizer.eos_token_id,
            "pad_token_id": self.tokenizer.pad_token_id,
        }
        beside = {"generation_config": json.dumps(config)}
        prompt = prompt_text(self.tokenizer, request.prompt)
        return plain | {"prompt": prompt, "extra_body": beside}


def prompt_text(tokenizer: Any, prompt: list[int]) -> str | None:
    """The text that a server with this tokenizer reads as `prompt`; None if there is none.

    What counts are the special tokens: the others may be cut in another way where the template
    meets a student's words.
    """
    special = set(tokenizer.get_added_vocab().values())
    text = tokenizer.decode(prompt, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    wanted = [token for token in prompt if token in special]
    for candidate in (text, text.removeprefix(tokenizer.bos_token or "")):  # many add it themselves
        if [one for one in tokenizer(candidate)["input_ids"] if one in special] == wanted:
            return candidate
    return None


def of_policy(size: Generation, adapter: Path, tokenizer: Any) -> Server:
    """The served model of an adapter folder. Raises InputError if the profile names none."""
    name = (size.server_models or {}).get(adapter.name)
    if not name:
        raise InputError(
            f"generation.server_models: {size.server_models!r} names no model for {adapter}. Write "
            f"{{{adapter.name}: NAME}} in the profile, by the name that the server serves."
        )
    return Server(server_client.base_url(size.server_url), name, tokenizer, size.max_new_tokens)
