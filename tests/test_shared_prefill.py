"""Answers in batches: each is bit by bit what it is alone; greedy ones are transformers'."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stages.runtime.sampling import shared_prefill
from stages.runtime.sampling.drawing import Decoding, Request
from stages.runtime.sampling.shared_cache import HIDDEN, SharedCache, attended
from stages.runtime.sampling.shared_prefill import LEAST_ROWS, LENGTH_STEP, batches, decode, room_of
from tests.random_decoders import HEADS, VOCABULARY, configuration

pytest_plugins = ["tests.random_decoders"]
pytestmark = pytest.mark.usefixtures("one_thread")

SAMPLED = Decoding(temperature=1.0, top_k=50, top_p=0.95, repetition_penalty=1.1)
GREEDY = replace(SAMPLED, temperature=None)
HOW = [
    SAMPLED,
    GREEDY,
    Decoding(temperature=0.5, top_k=0, top_p=1.0, repetition_penalty=1.0),
    Decoding(temperature=1.5, top_k=20, top_p=1.0, repetition_penalty=1.2),
]
STEPS = 12


def build(name: str, dtype: str = "float32") -> Any:
    """A language model with random weights."""
    import torch
    import transformers

    kind = transformers.AutoModelForCausalLM
    given = {"attn_implementation": "sdpa", "dtype": getattr(torch, dtype)}
    return kind.from_config(configuration(name), **given).eval()


@pytest.fixture(scope="module", params=HEADS)
def model(request: pytest.FixtureRequest) -> Any:
    return build(request.param)


@pytest.fixture(scope="module")
def plain() -> Any:
    return build("qwen")


def prompts(count: int, longest: int = 100, seed: int = 0) -> list[list[int]]:
    """Different prompts of 2 to `longest` tokens."""
    random = np.random.default_rng(seed)
    sizes = random.integers(2, longest + 1, count)
    return [random.integers(3, VOCABULARY, size).tolist() for size in sizes]


def requests_for(asked: list[list[int]]) -> list[Request]:
    """Every prompt in each way of HOW."""
    return [
        Request(prompt, how, 100 * i + j)
        for i, prompt in enumerate(asked)
        for j, how in enumerate(HOW)
    ]


def answers(
    model: Any, requests: list[Request], rows: int = 64, limit: int = STEPS, ends: Any = ()
) -> list[list[int]]:
    """The tokens of each request; each is answered once."""
    found: dict[int, list[int]] = {}
    for ended in decode(model, requests, rows, limit, ends):
        assert not found.keys() & {place for place, _ in ended}
        found |= dict(ended)
    assert sorted(found) == list(range(len(requests)))
    return [found[i] for i in range(len(requests))]


def calls(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(rows, tokens) of each call of the model's body from now on."""
    shapes: list[tuple[int, int]] = []
    forward = model.get_decoder().forward

    def counted(*args: Any, **given: Any) -> Any:
        shapes.append(tuple(given["input_ids"].shape))
        return forward(*args, **given)

    monkeypatch.setattr(model.get_decoder(), "forward", counted)
    return shapes


# ---- what stands beside an answer does not matter ------------------------------------------


def test_an_answer_alone_is_the_answer_among_others_in_any_order_and_number(model: Any):
    asked = requests_for(prompts(60))
    wanted = answers(model, asked, rows=64)
    order = np.random.default_rng(1).permutation(len(asked)).tolist()
    for rows in (16, 48, 400):
        found = answers(model, [asked[i] for i in order], rows)
        assert found == [wanted[i] for i in order]
    for i in range(0, len(asked), 23):
        assert answers(model, [asked[i]], rows=1) == [wanted[i]]
    assert len({tuple(tokens) for tokens in wanted}) > 100  # they are no constants


@pytest.mark.parametrize("threads", [1, 2])
def test_the_logits_of_a_row_are_the_same_bits_beside_other_rows(
    model: Any, monkeypatch: pytest.MonkeyPatch, threads: int
):
    import torch

    torch.set_num_threads(threads)

    class Watched(shared_prefill.Drawer):
        """Remembers the logits by the seed of each row."""

        def __init__(self, rows: Any, *rest: Any):
            super().__init__(rows, *rest)
            self.state["seed"] = torch.tensor([row.seed for row in rows])

        def draw(self, logits: Any, step: int) -> Any:
            for seed, own in zip(self.state["seed"].tolist(), logits, strict=True):
                kept = steps.setdefault((seed, step), own.clone())
                assert torch.equal(kept, own)
            return super().draw(logits, step)

    steps: dict[tuple[int, int], Any] = {}
    monkeypatch.setattr(shared_prefill, "Drawer", Watched)
    asked = [replace(one, seed=i) for i, one in enumerate(requests_for(prompts(30, seed=2)))]
    for rows in (16, 50, 400):
        answers(model, asked, rows, limit=4)
    answers(model, asked[:1], limit=4)
    assert len(steps) == len(asked) * 4


def test_an_answer_does_not_depend_on_how_many_are_still_open(plain: Any):
    asked = requests_for(prompts(30, longest=30))
    wanted = answers(plain, asked, rows=400)
    ends = range(3, 150)  # half of all tokens: rows leave step by step
    found = answers(plain, asked, rows=400, ends=ends)
    for tokens, whole in zip(found, wanted, strict=True):
        stop = next((i for i, token in enumerate(whole) if token in ends), len(whole) - 1)
        assert tokens == whole[: stop + 1]
    assert len({len(tokens) for tokens in found}) > 3


def test_in_bfloat16_an_answer_alone_is_the_answer_among_others():
    model = build("qwen", "bfloat16")
    asked = requests_for(prompts(12))
    wanted = answers(model, asked)
    assert answers(model, asked[::-1], rows=16) == wanted[::-1]
    assert [answers(model, [one])[0] for one in asked[::5]] == wanted[::5]


# ---- the answers are right -----------------------------------------------------------------


@pytest.mark.parametrize("penalty", [1.0, 1.1, 1.3])
def test_case_33_greedy_tokens_are_those_of_transformers_one_by_one(model: Any, penalty: float):
    import torch

    asked = prompts(16, longest=90, seed=3)
    how = replace(GREEDY, repetition_penalty=penalty)
    found = answers(model, [Request(prompt, how, 0) for prompt in asked], limit=40, ends=[1])
    given = {"do_sample": False, "repetition_penalty": penalty, "max_new_tokens": 40}
    for prompt, tokens in zip(asked, found, strict=True):
        whole = model.generate(
            input_ids=torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            eos_token_id=1,
            pad_token_id=2,
            **given,
        )
        assert whole[0, len(prompt) :].tolist() == tokens


def test_an_answer_is_drawn_from_what_the_model_says_after_prompt_and_answer(model: Any):
    """Each token again from one pass over all of it, with the same uniform number."""
    import torch

    from stages.runtime.sampling.drawing import Drawer

    for request in requests_for(prompts(6, longest=70, seed=4)):
        (tokens,) = answers(model, [request], limit=36)  # beyond one LENGTH_STEP
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([request.prompt + tokens])).logits[0]
        drawer = Drawer([request], 36, VOCABULARY, "cpu")
        start = len(request.prompt) - 1
        again = [int(drawer.draw(logits[start + i][None].float(), i)) for i in range(36)]
        assert again == tokens


def test_attention_on_another_device_is_that_on_a_cpu():
    """No GPU is needed for the formula: a tensor that says it lies elsewhere takes that path."""
    import torch

    class Elsewhere(torch.Tensor):
        device = SimpleNamespace(type="cuda")  # type: ignore[assignment]

    torch.manual_seed(0)
    query, keys = torch.randn(3, 2, 5, 16), torch.randn(3, 2, 64, 16)
    values, hidden = torch.randn(3, 2, 64, 16), torch.zeros(3, 1, 1, 64)
    hidden[0, ..., 40:], hidden[1] = HIDDEN, HIDDEN  # the second sees nothing
    here = attended(query, keys, values, hidden, 0.25)
    there = attended(query.as_subclass(Elsewhere), keys, values, hidden, 0.25)
    for one, other in zip(here, there, strict=True):
        assert one.shape == other.shape
        assert torch.equal(one.isfinite(), other.isfinite())
        torch.testing.assert_close(one[[0, 2]], other[[0, 2]].as_subclass(torch.Tensor))
    assert float(there[1][1].max()) < HIDDEN / 2  # its sum of weights counts for nothing


# ---- seeds ---------------------------------------------------------------------------------


def test_the_seed_alone_fixes_a_sampled_answer(plain: Any):
    prompt = prompts(1)[0]
    asked = [Request(prompt, SAMPLED, seed) for seed in (1, 2, 3, 1)]
    found = answers(plain, asked)
    assert found[0] == found[3]
    assert len({tuple(tokens) for tokens in found}) == 3
    greedy = answers(plain, [Request(prompt, GREEDY, seed) for seed in (1, 2)])
    assert greedy[0] == greedy[1]


def test_torchs_own_random_numbers_are_neither_used_nor_moved(plain: Any):
    import torch

    asked = requests_for(prompts(3))
    torch.manual_seed(1)
    first = answers(plain, asked)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)
    assert answers(plain, asked) == first


# ---- where an answer ends ------------------------------------------------------------------


def test_an_answer_ends_with_the_first_end_and_holds_it(plain: Any):
    asked = requests_for(prompts(5))
    whole = answers(plain, asked)
    ends = {whole[0][4], whole[1][2], 299}
    for tokens, free in zip(answers(plain, asked, ends=[*ends]), whole, strict=True):
        stop = next((i for i, token in enumerate(free) if token in ends), STEPS)
        assert tokens == free[: stop + 1]


def test_without_an_end_an_answer_is_as_long_as_may_be(plain: Any):
    for limit in (1, 2, LENGTH_STEP, LENGTH_STEP + 1):
        found = answers(plain, requests_for(prompts(2)), limit=limit)
        assert {len(tokens) for tokens in found} == {limit}


def test_nothing_asked_is_nothing_answered(plain: Any):
    assert answers(plain, []) == []


def test_answers_are_handed_over_as_they_finish(plain: Any):
    asked = requests_for(prompts(8, longest=20))
    whole = answers(plain, asked)
    ends = sorted({tokens[i] for i, tokens in enumerate(whole[:STEPS])})
    sizes: list[int] = []
    for ended in decode(plain, asked, 64, STEPS, ends):
        lengths = {len(tokens) for _, tokens in ended}
        assert len(lengths) == 1  # those that ended with this step
        sizes += lengths
    assert sizes == sorted(sizes)
    assert len(sizes) > 2


# ---- prompts -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, LENGTH_STEP, LENGTH_STEP + 1, LENGTH_STEP + 2, 200])
def test_a_prompt_of_any_length_is_read_whole(plain: Any, size: int):
    import torch

    prompt = np.random.default_rng(size).integers(3, VOCABULARY, size).tolist()
    (tokens,) = answers(plain, [Request(prompt, replace(GREEDY, repetition_penalty=1.0), 0)])
    with torch.inference_mode():
        logits = plain(input_ids=torch.tensor([prompt + tokens])).logits[0, size - 1 : -1]
    assert logits.argmax(1).tolist() == tokens


def test_the_last_token_of_a_prompt_needs_no_room():
    rooms = {1: 32, 2: 32, 33: 32, 34: 64, 65: 64, 66: 96}
    assert {size: room_of([0] * size) for size in rooms} == rooms


def test_equal_prompts_are_read_once_and_answered_each(plain: Any, monkeypatch: pytest.MonkeyPatch):
    first, second = prompts(2, longest=20)
    asked = [Request(prompt, SAMPLED, seed) for seed in range(6) for prompt in (first, second)]
    shapes = calls(plain, monkeypatch)
    found = answers(plain, asked)
    assert shapes[0] == (2, LENGTH_STEP)
    assert {tokens for _, tokens in shapes[1:]} == {1}
    assert len(shapes) == 1 + STEPS
    assert len({tuple(tokens) for tokens in found}) == 12


def test_many_prompts_are_read_in_parts(plain: Any, monkeypatch: pytest.MonkeyPatch):
    asked = [Request(prompt, GREEDY, 0) for prompt in prompts(20, longest=20)]
    whole = answers(plain, asked)
    monkeypatch.setattr(shared_prefill, "PREFILL_TOKENS", 3 * LENGTH_STEP)
    shapes = calls(plain, monkeypatch)
    assert answers(plain, asked) == whole
    assert shapes[:7] == [(3, LENGTH_STEP)] * 6 + [(2, LENGTH_STEP)]


# ---- batches -------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 5, 16, 400])
def test_a_batch_has_whole_prompts_the_longest_first(rows: int):
    asked = requests_for(prompts(50, longest=120, seed=5))
    found = list(batches(asked, rows))
    assert sorted(i for batch in found for i in batch) == list(range(len(asked)))
    rooms = [room_of(asked[i].prompt) for batch in found for i in batch]
    assert rooms == sorted(rooms, reverse=True)  # memory fails early
    of_prompt: dict[tuple[int, ...], set[int]] = {}
    for number, batch in enumerate(found):
        assert len(batch) <= max(rows, len(HOW))
        for i in batch:
            of_prompt.setdefault(tuple(asked[i].prompt), set()).add(number)
    assert {len(numbers) for numbers in of_prompt.values()} == {1}


def test_batches_are_filled():
    asked = requests_for(prompts(40, longest=33))
    assert [len(batch) for batch in batches(asked, 64)] == [64, 64, 32]


def test_few_answers_are_computed_beside_copies(plain: Any, monkeypatch: pytest.MonkeyPatch):
    shapes = calls(plain, monkeypatch)
    assert len(answers(plain, requests_for(prompts(1))[:3])) == 3
    assert {rows for rows, tokens in shapes if tokens == 1} == {LEAST_ROWS}


def test_answers_that_have_ended_are_not_computed_on(plain: Any, monkeypatch: pytest.MonkeyPatch):
    asked = [Request(prompt, SAMPLED, i) for i, prompt in enumerate(prompts(100, longest=30))]
    ends = range(3, 60)
    shapes = calls(plain, monkeypatch)
    found = answers(plain, asked, rows=100, limit=30, ends=ends)
    rows = [count for count, tokens in shapes if tokens == 1]
    still_open = [sum(len(tokens) > step for tokens in found) for step in range(len(rows))]
    assert rows[0] == 100
    assert rows == sorted(rows, reverse=True)
    for count, needed in zip(rows, still_open, strict=True):
        limit = count * shared_prefill.SHRINK_FRAC
        assert limit < LEAST_ROWS or limit < needed <= count
    assert rows[-1] * shared_prefill.SHRINK_FRAC < LEAST_ROWS
    assert len(rows) == max(map(len, found))


def test_a_batch_leaves_memory_when_it_is_done(plain: Any, monkeypatch: pytest.MonkeyPatch):
    import gc
    import weakref

    made: list[weakref.ref[Any]] = []

    class Watched(SharedCache):
        """Sees to it that the one before is gone."""

        def __init__(self, *given: Any):
            assert not any(known() for known in made), "the batch before is still there"
            super().__init__(*given)
            made.append(weakref.ref(self))

    monkeypatch.setattr(shared_prefill, "SharedCache", Watched)
    gc.disable()
    try:
        answers(plain, requests_for(prompts(12)), rows=16)
    finally:
        gc.enable()
    assert len(made) > 2
