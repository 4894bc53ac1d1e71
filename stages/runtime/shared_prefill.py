"""Sampling on a CPU: a prompt is read once for all its answers, which are then decoded together.

What an answer is does not depend on the others (tests/test_shared_prefill.py, bit by bit). The
shape of its attention follows from its own prompt's length and its own step alone: prompts are
padded to a multiple of LENGTH_STEP and grouped by that length, a group starts together, and the
keys and values in use grow by LENGTH_STEP. From LEAST_ROWS rows on, a matrix product gives each
row the same bits whatever stands beside it. Answers that have ended leave the batch.

R = rows (answers in the making), P = prompts, S = tokens of a row, V = vocabulary.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.runtime import processor
from stages.runtime.drawing import Drawer, Request

LENGTH_STEP = 32  # tokens
QUERIES, WIDE = 8, "peerwise_wide"  # see attending_wide
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

    with torch.inference_mode(), processor.usual_products(), attending_wide(model):
        for places in batches(requests, rows):
            yield from Batch(model, requests, places, max_new_tokens, ends).run()


@contextmanager
def attending_wide(model: Any) -> Iterator[None]:
    """Within, a row's one query is attended with as part of QUERIES equal ones.

    torch's attention gives each thread a workspace behind that of the thread before; with
    QUERIES queries, and S a multiple of 16, each begins on a cache line, as the first does.
    Otherwise a row's last bits hang on the thread that computes it.
    """
    from transformers import AttentionInterface

    usual = model.config._attn_implementation
    AttentionInterface.register(WIDE, attention)
    model.config._attn_implementation = WIDE
    try:
        yield
    finally:
        model.config._attn_implementation = usual


def attention(
    module: Any, query: Any, key: Any, value: Any, mask: Any, scaling: float, **given: Any
) -> tuple[Any, None]:
    """`sdpa` of transformers; a single query (R, heads, 1, D) is repeated. See attending_wide."""
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if query.shape[2] > 1:
        found, _ = sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **given)
        return found, None
    rows, heads, _, width = query.shape
    groups = heads // key.shape[1]  # heads that share keys and values
    wide = query.reshape(rows, -1, groups, width)
    wide = wide.repeat(1, 1, -(-QUERIES // groups), 1)
    wide = wide[:, :, : -(-groups // QUERIES) * QUERIES]
    found = torch.nn.functional.scaled_dot_product_attention(
        wide, key, value, attn_mask=mask.expand(-1, -1, wide.shape[2], -1), scale=scaling
    )
    return found[:, :, :groups].reshape(rows, 1, heads, width), None


def room_of(prompt: Sequence[int]) -> int:
    """Tokens that a prompt takes, rounded up; its last one is not read, but fed as first step."""
    return max(1, -(-(len(prompt) - 1) // LENGTH_STEP)) * LENGTH_STEP


def batches(requests: Sequence[Request], rows: int) -> Iterator[list[int]]:
    """Places of requests that are answered together: of one room, whole prompts, longest first."""
    order = sorted(
        range(len(requests)), key=lambda i: (-room_of(requests[i].prompt), requests[i].prompt, i)
    )
    batch: list[int] = []
    for number, place in enumerate(order):
        prompt = requests[place].prompt
        if batch and prompt != requests[batch[-1]].prompt:
            same = [i for i in order[number : number + rows] if requests[i].prompt == prompt]
            is_full = len(batch) + len(same) > rows
            if is_full or room_of(prompt) != room_of(requests[batch[0]].prompt):
                yield batch
                batch = []
        batch.append(place)
    if batch:
        yield batch


class Batch:
    """R rows of one room: their keys and values, what each has said, and how it draws."""

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
        self.room = room_of(own[0].prompt)
        self.answers: dict[int, list[int]] = {place: [] for place in places}
        self.length = self.room + -(-max_new_tokens // LENGTH_STEP) * LENGTH_STEP
        self.cache = empty_cache(model, len(own), self.length)
        self.read(own)
        sizes = torch.tensor([len(request.prompt) - 1 for request in own], device=model.device)
        whole = torch.arange(self.length, device=model.device)
        hidden = (whole >= sizes[:, None]) & (whole < self.room)  # the prompt's padding
        self.mask = torch.zeros(hidden.shape, dtype=model.dtype, device=model.device)
        self.mask = self.mask.masked_fill(hidden, -torch.inf)[:, None, None]
        self.tokens = torch.tensor([[r.prompt[-1]] for r in own], device=model.device)
        self.positions = sizes[:, None]
        self.drawer = Drawer(own, max_new_tokens, model.config.vocab_size, model.device)

    def read(self, requests: list[Request]) -> None:
        """Fill the cache with the prompts, all but their last token; each distinct one once."""
        import torch

        rows_of: dict[tuple[int, ...], list[int]] = {}
        for row, request in enumerate(requests):
            rows_of.setdefault(tuple(request.prompt[:-1]), []).append(row)
        distinct = list(rows_of)
        size = max(1, PREFILL_TOKENS // self.room)
        for start in range(0, len(distinct), size):
            part = distinct[start : start + size]
            ids = np.zeros((len(part), self.room), dtype=np.int64)
            for row, prompt in enumerate(part):
                ids[row, : len(prompt)] = prompt
            self.cache.now.filling = [rows_of[prompt] for prompt in part]
            # no mask: a prompt does not see what stands behind it
            self.model.get_decoder()(
                input_ids=torch.from_numpy(ids).to(self.model.device),
                past_key_values=self.cache,
                use_cache=True,
            )
        self.cache.now.filling = None

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
        at = self.room + number
        used = self.room + (number // LENGTH_STEP + 1) * LENGTH_STEP
        self.cache.now.at, self.cache.now.used = at, used
        mask = self.mask[..., :used].clone()
        mask[..., at + 1 :] = -float("inf")
        logits = self.model(
            input_ids=self.tokens,
            position_ids=self.positions + number,
            attention_mask=mask,
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
        self.places = self.places[kept]
        self.mask, self.tokens = self.mask[index], self.tokens[index]
        self.positions = self.positions[index]
        self.cache.keep(index)
        self.drawer.keep(index)


@dataclass
class Now:
    """What a cache is to do with the keys and values that it is given next."""

    filling: list[list[int]] | None = None  # a prefill: the rows of each prompt
    at: int = 0  # a step: where its one token goes
    used: int = 0  # and how many are handed over


def empty_cache(model: Any, rows: int, length: int) -> Any:
    """Keys and values of all layers, (R, heads, length, D) each.

    A prefill copies a prompt's keys and values to its rows; a step adds a token to each.
    """
    from transformers.cache_utils import Cache, CacheLayerMixin

    config = model.config.get_text_config(decoder=True)
    heads = config.num_key_value_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads

    class Layer(CacheLayerMixin):
        """Keys and values of one layer."""

        is_sliding = False

        def __init__(self, now: Now):
            import torch

            super().__init__()
            self.now, self.is_initialized = now, True
            given = {"dtype": model.dtype, "device": model.device}
            self.keys = torch.zeros((rows, heads, length, width), **given)
            self.values = torch.zeros((rows, heads, length, width), **given)

        def lazy_initialization(self, key_states: Any, value_states: Any) -> None:
            """There is nothing to wait for."""

        def update(self, key_states: Any, value_states: Any, *_: Any, **__: Any) -> Any:
            """Take new keys and values in; those to attend to."""
            at, used, filling = self.now.at, self.now.used, self.now.filling
            if filling is not None:
                for given, own in zip(range(len(key_states)), filling, strict=True):
                    self.keys[own, :, : key_states.shape[2]] = key_states[given]
                    self.values[own, :, : key_states.shape[2]] = value_states[given]
                return key_states, value_states
            self.keys[:, :, at] = key_states[:, :, 0]
            self.values[:, :, at] = value_states[:, :, 0]
            return self.keys[:, :, :used], self.values[:, :, :used]

        def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
            """Only asked at a prefill."""
            return query_length, 0

        def get_seq_length(self) -> int:
            """Positions are given by the caller."""
            return 0

        def get_max_length(self) -> int:
            """Tokens that a row can hold."""
            return length

    class Rows(Cache):
        """The layers."""

        def __init__(self) -> None:
            # layers know `now` and not the cache: a circle would outlive its batch in memory
            self.now = Now()
            super().__init__(layers=[Layer(self.now) for _ in range(config.num_hidden_layers)])

        def keep(self, index: Any) -> None:
            """Only these rows."""
            for layer in self.layers:
                layer.keys, layer.values = layer.keys[index], layer.values[index]

    return Rows()
