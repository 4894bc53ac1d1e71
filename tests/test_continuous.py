"""Continuous batching gives the answers of the shared prefill, and says when it gives fewer."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import InputError
from stages.pure.prompts import render_prompt
from stages.runtime.loading import checkpoints
from stages.runtime.sampling import generation
from stages.runtime.sampling.continuous import Continuous, sharing_order
from stages.runtime.sampling.drawing import Decoding, Request
from stages.runtime.sampling.generation import Generated, Local, all_answers, load_writer
from tests.tiny_models import GENERATION, MODEL, course

pytest_plugins = ["tests.tiny_fixtures"]

SAMPLED = Decoding(temperature=0.9, top_k=0, top_p=1.0, repetition_penalty=1.0)
STRICT = Decoding(temperature=0.7, top_k=20, top_p=0.9, repetition_penalty=1.3)
GREEDY = replace(SAMPLED, temperature=None)
WAYS = [SAMPLED, GREEDY, STRICT, replace(GREEDY, repetition_penalty=1.5), SAMPLED]
TOKENS = 8


@pytest.fixture(params=["merged", "unmerged", "peft"])
def network(request: pytest.FixtureRequest, policy: Any) -> Any:
    """The policy in each way in which it may be handed over."""
    if request.param == "merged":
        return policy.merge_and_unload()
    return policy if request.param == "peft" else policy.get_base_model()


@pytest.fixture
def policy(checkout: Path) -> Any:
    return checkpoints.load_policy(MODEL, Path("models/sft"))


@pytest.fixture
def tokenizer(checkout: Path) -> Any:
    return checkpoints.load_tokenizer(MODEL)


@pytest.fixture
def requests(tokenizer: Any) -> list[Request]:
    """Five answers to each of seven prompts of different lengths."""
    rows = course().drop_duplicates("question_id").head(7).to_dict("records")
    texts = [render_prompt(row)[: 40 + 9 * i] for i, row in enumerate(rows)]
    prompts = [checkpoints.encode_prompt(tokenizer, text, {}) for text in texts]
    return [
        Request(prompt, how, generation.row_seed(1, i, j))
        for i, prompt in enumerate(prompts)
        for j, how in enumerate(WAYS)
    ]


def answers(backend: Any, requests: list[Request], rows: int = 4) -> list[Generated]:
    found: dict[int, Generated] = {}
    for ended in all_answers(backend, requests, rows):
        assert not set(found) & {place for place, _ in ended}
        found |= dict(ended)
    return [found[place] for place in range(len(requests))]


# ---- the answers ---------------------------------------------------------------------------


def test_answers_of_all_decodings_are_those_of_the_shared_prefill(
    network: Any, tokenizer: Any, requests: list[Request]
):
    own = answers(Continuous(network, tokenizer, TOKENS), requests)
    base = network.get_base_model() if hasattr(network, "get_base_model") else network
    assert own == answers(Local(base, tokenizer, TOKENS), requests)
    assert len({one.text for one in own}) > len(requests) / 2


def test_an_answer_does_not_depend_on_how_many_are_made_at_once(
    policy: Any, tokenizer: Any, requests: list[Request]
):
    backend = Continuous(policy, tokenizer, TOKENS)
    wanted = answers(backend, requests, rows=32)
    assert answers(backend, requests[3:9], rows=1) == wanted[3:9]
    assert answers(backend, requests[::-1], rows=5) == wanted[::-1]


def test_attention_and_weights_are_afterwards_as_before(
    policy: Any, tokenizer: Any, requests: list[Request]
):
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    answers(Continuous(policy, tokenizer, TOKENS), requests)
    assert policy.config._attn_implementation == MODEL.attention
    assert all(value.equal(before[name]) for name, value in policy.state_dict().items())


def test_answers_come_as_they_finish(policy: Any, tokenizer: Any, requests: list[Request]):
    groups = list(Continuous(policy, tokenizer, TOKENS).run(requests, rows=4))
    assert len(groups) > len(requests) / 8
    assert sorted(place for ended in groups for place, _ in ended) == [*range(len(requests))]


def test_a_prompt_is_read_before_its_second_answer_starts():
    prompts = [[1], [1], [2, 2], [3], [3], [3], [2, 2]]
    requests = [Request(prompt, GREEDY, 0) for prompt in prompts]
    assert sharing_order(requests, rows=3) == [2, 0, 3, 6, 1, 4, 5]
    assert sharing_order(requests, rows=1) == [2, 6, 0, 1, 3, 4, 5]


def test_no_requests_have_no_answers(policy: Any, tokenizer: Any):
    assert list(Continuous(policy, tokenizer, TOKENS).run([], rows=4)) == []


@pytest.mark.usefixtures("checkout")
def test_the_profile_chooses_it_and_the_texts_are_the_same():
    size = replace(GENERATION, backend="continuous")
    texts = [render_prompt(row) for row in course().head(5).to_dict("records")]
    own = load_writer(MODEL, size, Path("models/sft"))
    assert isinstance(own.backend, Continuous)
    usual = load_writer(MODEL, GENERATION, Path("models/sft"))
    assert own.answer(texts, STRICT, 1, "x") == usual.answer(texts, STRICT, 1, "x")
    policy, tokenizer = checkpoints.load_policy(MODEL, Path("models/sft")), usual.tokenizer
    with generation.writing(policy, tokenizer, MODEL, size) as writer:
        assert isinstance(writer.backend, Continuous)
        assert writer.keys([Request([1], GREEDY, 0)]) == own.keys([Request([1], GREEDY, 0)])
        assert writer.answer(texts, GREEDY, 1, "x") == usual.answer(texts, GREEDY, 1, "x")


@pytest.mark.usefixtures("checkout")
def test_a_backend_that_is_none_is_named_with_the_nearest_one():
    with pytest.raises(InputError, match=r"unknown 'continous'. Did you mean 'continuous'\?"):
        load_writer(MODEL, replace(GENERATION, backend="continous"), Path("models/sft"))


# ---- fewer answers than asked ----------------------------------------------------------------


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """refusing(places, times): the loop itself gives up on these requests, so many times."""
    from transformers.generation.continuous_batching import cb_logits_processors

    cls = cb_logits_processors.ContinuousBatchingLogitsProcessorList

    def install(places: set[int], times: int) -> list[int]:
        asked: list[int] = []  # requests of each session, in the order of the queue

        def check(self: Any, kwargs: Any) -> None:
            session = self.__dict__.setdefault("session", [])
            session.append(0)
            if len(session) == 1:
                asked.append(0)
            asked[-1] += 1
            if len(asked) <= times and len(session) - 1 in places:
                raise ValueError("this request is refused")

        monkeypatch.setattr(cls, "check_kwargs", check)
        return asked

    return install


def test_requests_that_the_loop_gave_up_on_are_asked_again(
    policy: Any,
    tokenizer: Any,
    requests: list[Request],
    refusing: Any,
    caplog: pytest.LogCaptureFixture,
):
    backend = Continuous(policy, tokenizer, TOKENS)
    wanted = answers(backend, requests)
    asked = refusing({0, 5}, times=1)
    assert answers(backend, requests) == wanted
    assert asked == [len(requests), 2]
    assert f"2 of {len(requests)} answers did not come: asked again." in caplog.messages


def test_a_loop_that_keeps_giving_up_ends_the_run_and_the_others_are_kept(
    policy: Any, tokenizer: Any, requests: list[Request], refusing: Any
):
    asked = refusing({0}, times=9)
    kept: dict[int, Generated] = {}
    running = all_answers(Continuous(policy, tokenizer, TOKENS), requests, 4)
    with pytest.raises(InputError, match=f"1 of {len(requests)} answers are missing after 3 tries"):
        kept.update(one for ended in running for one in ended)
    assert len(kept) == len(requests) - 1
    assert asked == [len(requests), 1, 1]


# ---- errors of the loop ------------------------------------------------------------------------


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """failing(error, rows): each session fails at its fifth step while more rows are decoded."""
    from transformers.generation.continuous_batching.continuous_api import (
        ContinuousBatchProcessor,
    )

    step = ContinuousBatchProcessor._generation_step

    def install(error: Exception, above: int) -> None:
        def fail(self: Any, model: Any) -> None:
            count = self.__dict__["count"] = self.__dict__.get("count", 0) + 1
            if count == 5 and self.cb_config.max_requests_per_batch > above:
                raise error
            step(self, model)

        monkeypatch.setattr(ContinuousBatchProcessor, "_generation_step", fail)

    return install


def out_of_memory() -> list[Exception]:
    import torch

    return [torch.OutOfMemoryError("CUDA out of memory. Tried"), MemoryError("no more")]


@pytest.mark.parametrize("kind", [0, 1])
def test_out_of_memory_inside_the_loop_halves_the_rows(
    policy: Any,
    tokenizer: Any,
    requests: list[Request],
    failing: Any,
    kind: int,
    caplog: pytest.LogCaptureFixture,
):
    backend = Continuous(policy, tokenizer, TOKENS)
    wanted = answers(backend, requests[:12], rows=8)
    failing(out_of_memory()[kind], above=2)
    assert answers(backend, requests[:12], rows=8) == wanted
    halvings = [text for text in caplog.messages if text.startswith("out of memory")]
    assert halvings == [
        f"out of memory with {n} answers at once: going on with {n // 2}." for n in (8, 4)
    ]


def test_out_of_memory_with_one_row_is_said_in_one_line(
    policy: Any, tokenizer: Any, requests: list[Request], failing: Any
):
    failing(out_of_memory()[0], above=0)
    with pytest.raises(InputError, match="out of memory with 1 answers at once"):
        answers(Continuous(policy, tokenizer, TOKENS), requests, rows=2)


def test_an_error_of_another_kind_is_not_swallowed(
    policy: Any, tokenizer: Any, requests: list[Request], failing: Any
):
    failing(RuntimeError("index out of range"), above=0)
    with pytest.raises(RuntimeError, match="index out of range"):
        answers(Continuous(policy, tokenizer, TOKENS), requests)


def test_a_loop_that_is_no_longer_wanted_ends(
    policy: Any, tokenizer: Any, requests: list[Request], caplog: pytest.LogCaptureFixture
):
    import threading

    before = threading.active_count()
    running: Any = Continuous(policy, tokenizer, TOKENS).run(requests, rows=2)
    next(running)
    assert threading.active_count() > before
    running.close()
    assert threading.active_count() == before
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]
