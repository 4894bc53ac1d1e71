"""Sampling on a CPU: a prompt is read once for all its answers, which are then decoded together.

What an answer is does not depend on the others (tests/test_shared_prefill.py, bit by bit). The
shape of its attention follows from its own prompt's length and its own step alone: prompts are
padded to a multiple of LENGTH_STEP and read with those of that length, all answers of a batch
start together, and the keys in use grow by LENGTH_STEP. From LEAST_ROWS rows on, a matrix product
gives each row the same bits whatever stands beside it. Answers that have ended leave the batch.

R = rows (answers in the making).
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from stages.runtime.loading import processor
from stages.runtime.sampling.drawing import Drawer, Request
from stages.runtime.sampling.shared_cache import HIDDEN, Group, SharedCache

LENGTH_STEP = 32  # tokens
APART = "peerwise_apart"  # name of our attention
LEAST_ROWS = 16  # of a matrix product; fewer are added in another order by some kernels
PREFILL_TOKENS = 8192  # tokens of prompts that are read at once
SHRINK_FRAC = 0.8  # share of rows still open from which on the others are taken out

Finished = list[tuple[int, list[int]]]  # place of the request, token ids up to and with the end


def decode(
    model: Any, requests: Sequence[Request], rows: int, max_new_tokens: int, ends: Sequence[int]
) -> Iterator[Finished]:
    """The answers, as they finish: after each step those that ended with it.

    model: a causal language model of transformers with `sdpa` attention and one kind of layer.
    rows: R at most; a prompt's answers stay together, and at least LEAST_ROWS are computed.
    ends: token ids that end an answer; empty = none does. Raises RuntimeError or MemoryError
    where the memory does not suffice; what was yielded stays true.
    """
    import torch

    with torch.inference_mode(), processor.usual_products(), attending_apart(model):
        for places in batches(requests, rows):
            yield from Batch(model, requests, places, max_new_tokens, ends).run()


@contextmanager
def attending_apart(model: Any) -> Iterator[None]:
    """Within, a step attends to prompts and answers apart (shared_cache.py)."""
    from transformers import AttentionInterface

    usual = model.config._attn_implementation
    AttentionInterface.register(APART, attention)
    model.config._attn_implementation = APART
    try:
        yield
    finally:
        model.config._attn_implementation = usual


def attention(
    module: Any, query: Any, key: Any, value: Any, mask: Any, scaling: float, **given: Any
) -> tuple[Any, None]:
    """`sdpa` of transformers for a prefill; for a step what SharedCache.update gave."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if isinstance(key, SharedCache):
        return key.attend(query, value, scaling), None
    found, _ = sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **given)
    return found, None


def room_of(prompt: Sequence[int]) -> int:
    """Tokens that a prompt takes, rounded up; its last one is not read, but fed as first step."""
    return max(1, -(-(len(prompt) - 1) // LENGTH_STEP)) * LENGTH_STEP


def batches(requests: Sequence[Request], rows: int) -> Iterator[list[int]]:
    """Places of requests that are answered together: whole prompts, the longest first."""
    order = sorted(
        range(len(requests)), key=lambda i: (-room_of(requests[i].prompt), requests[i].prompt, i)
    )
    batch: list[int] = []
    for _, same in itertools.groupby(order, key=lambda i: requests[i].prompt):
        of_prompt = list(same)
        if batch and len(batch) + len(of_prompt) > rows:
            yield batch
            batch = []
        batch += of_prompt
    if batch:
        yield batch


class Batch:
    """R rows: their keys and values, what each has said, and how it draws."""

    def __init__(
        self,
        model: Any,
        requests: Sequence[Request],
        places: list[int],
        max_new_tokens: int,
        ends: Sequence[int],
    ):
        import torch

        self.model, self.limit, self.ends = model, max_new_tokens, set(ends)
        # rows beyond the answers repeat the first one and are not looked at
        filled = places + places[:1] * (LEAST_ROWS - len(places))
        self.places = np.array(places + [-1] * (len(filled) - len(places)))
        own = [requests[place] for place in filled]
        self.answers: dict[int, list[int]] = {place: [] for place in places}
        config = model.config.get_text_config(decoder=True)
        heads = config.num_attention_heads, config.num_key_value_heads
        length = -(-max_new_tokens // LENGTH_STEP) * LENGTH_STEP
        self.cache = SharedCache(config.num_hidden_layers, heads, length)
        for rows_of in prefills(own):
            self.read(rows_of)
        self.tokens = torch.tensor([[one.prompt[-1]] for one in own], device=model.device)
        self.positions = torch.tensor([[len(one.prompt) - 1] for one in own], device=model.device)
        self.drawer = Drawer(own, max_new_tokens, config.vocab_size, model.device)

    def read(self, rows_of: dict[tuple[int, ...], list[int]]) -> None:
        """Read prompts of one room, all but their last token, and note whose they are."""
        import torch

        room = max(room_of(prompt) for prompt in rows_of)
        ids = np.zeros((len(rows_of), room), dtype=np.int64)
        for row, prompt in enumerate(rows_of):
            ids[row, : len(prompt) - 1] = prompt[:-1]
        sizes = torch.tensor([[len(prompt) - 1] for prompt in rows_of])
        hidden = torch.zeros(ids.shape).masked_fill(torch.arange(room) >= sizes, HIDDEN)
        hidden = hidden.to(self.model.device, self.model.dtype)[:, None, None]
        self.cache.groups.append(Group([*rows_of.values()], hidden))
        # no mask: a prompt does not see what stands behind it
        self.model.get_decoder()(
            input_ids=torch.from_numpy(ids).to(self.model.device),
            past_key_values=self.cache,
            use_cache=True,
        )

    def run(self) -> Iterator[Finished]:
        """Step by step until every answer has ended."""
        for step in range(self.limit):
            drawn = self.step(step).tolist()
            open_rows, finished = [], []
            for row, (place, (token,)) in enumerate(zip(self.places, drawn, strict=True)):
                if place < 0:
                    continue
                answer = self.answers[place]
                answer.append(token)
                if token in self.ends or step + 1 == self.limit:
                    finished.append((int(place), answer))
                    self.places[row] = -1
                else:
                    open_rows.append(row)
            if finished:
                yield finished
            if not open_rows:
                return
            if len(self.places) * SHRINK_FRAC >= LEAST_ROWS and len(open_rows) <= SHRINK_FRAC * len(
                self.places
            ):
                self.keep(open_rows)

    def step(self, number: int) -> Any:
        """Feed each row's last token; the next ones, int64 (R, 1)."""
        used = (number // LENGTH_STEP + 1) * LENGTH_STEP
        self.cache.begin(number, used, like=self.model.lm_head.weight)
        logits = self.model(
            input_ids=self.tokens,
            position_ids=self.positions + number,
            past_key_values=self.cache,
            use_cache=True,
        ).logits[:, -1]
        self.tokens = self.drawer.draw(logits.float(), number)
        return self.tokens

    def keep(self, rows: list[int]) -> None:
        """Take all other rows out, but not below LEAST_ROWS."""
        import torch

        idle = [row for row in range(len(self.places)) if self.places[row] < 0]
        kept = rows + idle[: max(0, LEAST_ROWS - len(rows))]
        index = torch.tensor(kept, device=self.model.device)
        self.places, self.tokens = self.places[kept], self.tokens[index]
        self.positions = self.positions[index]
        self.cache.keep(index)
        self.drawer.keep(index)


def prefills(requests: Sequence[Request]) -> Iterator[dict[tuple[int, ...], list[int]]]:
    """Rows by distinct prompt, most rows first; of one room, and PREFILL_TOKENS at most."""
    rooms: dict[int, dict[tuple[int, ...], list[int]]] = {}
    for row, request in enumerate(requests):
        same = rooms.setdefault(room_of(request.prompt), {})
        same.setdefault(tuple(request.prompt), []).append(row)
    for room, rows_of in rooms.items():
        order = sorted(rows_of, key=lambda prompt: -len(rows_of[prompt]))
        size = max(1, PREFILL_TOKENS // room)
        for start in range(0, len(order), size):
            yield {prompt: rows_of[prompt] for prompt in order[start : start + size]}
