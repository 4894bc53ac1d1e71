"""Keys and values of prompts, held once for all their answers, and of the answers themselves.

An answer's token attends to its prompt and to its answer apart; the two are put together by the
sums of their weights (Milakov and Gimelshein 2018, arXiv 1805.02867, section 3.1). The shape of
the first is fixed by the prompt, that of the second by the step: neither by neighbours.

R = rows (answers in the making), P = prompts of a group, B = blocks of rows, D = width of a head.
"""

from dataclasses import dataclass, field
from typing import Any

# Queries that attend to the same keys at once, always; fewer are filled up. torch's attention
# gives each thread a workspace behind that of the thread before: with 8 queries, and a multiple
# of 16 keys, each begins on a cache line, as the first does. Otherwise a row's last bits hang on
# the thread that computes it.
QUERIES = 8
HIDDEN = -1e30  # added to what is not to be seen; finite: where nothing is seen there is no NaN


@dataclass
class Group:
    """P prompts of one padded length, `room`, that are read together."""

    rows: list[list[int]]  # of the answers to each; most answers first, so that blocks are slices
    hidden: Any  # HIDDEN at the padding of each prompt, else 0, (P, 1, 1, room)

    def blocks(self, size: int) -> list[list[list[int]]]:
        """Rows in blocks of up to `size`: the first block of each prompt, then each second, ..."""
        starts = range(0, len(self.rows[0]), size)
        return [[own[i : i + size] for own in self.rows if len(own) > i] for i in starts]


@dataclass
class Layer:
    """Keys and values of one layer."""

    prompts: list[tuple[Any, Any]] = field(default_factory=list)  # (P, heads, room, D) per group
    keys: Any = None  # of the answers, (R, heads, T, D)
    values: Any = None


class SharedCache:
    """What a decoder of transformers asks of a cache, and the attention that goes with it.

    heads: (of queries, of keys). length: T, the most tokens of an answer, a multiple of 16.
    Prefills come first, one per group in `groups`; then `begin` before each step.
    """

    def __init__(self, layers: int, heads: tuple[int, int], length: int):
        self.layers = [Layer() for _ in range(layers)]
        self.length = length
        self.sharing = heads[0] // heads[1]  # queries of a row that attend to the same keys
        self.block = max(1, QUERIES // self.sharing)  # rows
        self.groups: list[Group] = []
        self.at = -1  # place of the step's token in its answer; -1 = a prefill
        self.unwritten: Any = None  # HIDDEN behind that, else 0, (1, 1, 1, tokens looked at)
        self.calls: list[tuple[int, int]] = []  # (group, prompts) of each attention to prompts
        self.slots: Any = None  # the rows of each block, call by call, (B, block)
        self.places: Any = None  # where each row is among these, (R,)

    def get_seq_length(self, *_: Any) -> int:
        """Positions are given by the caller."""
        return 0

    def update(self, keys: Any, values: Any, layer: int, *_: Any) -> tuple[Any, Any]:
        """Take new ones in, (., heads, tokens, D); what `attention` is to be called with."""
        import torch

        own = self.layers[layer]
        if self.at < 0:
            own.prompts.append((keys.contiguous(), values.contiguous()))
            return keys, values
        if own.keys is None:
            shape = (2, *keys.shape[:2], self.length, keys.shape[3])
            own.keys, own.values = torch.zeros(shape, dtype=keys.dtype, device=keys.device)
        own.keys[:, :, self.at] = keys[:, :, 0]
        own.values[:, :, self.at] = values[:, :, 0]
        return self, own

    def begin(self, at: int, used: int, like: Any) -> None:
        """The decoder is called next with token `at` of every answer; `used` places are looked at.

        like: a tensor of the keys' type and device.
        """
        import torch

        if self.slots is None:
            self.arrange(like.device)
        self.at = at
        places = torch.arange(used, device=like.device)
        self.unwritten = like.new_zeros(used).masked_fill(places > at, HIDDEN)[None, None, None]

    def arrange(self, device: Any) -> None:
        """Give every row a place in a block of answers to one prompt."""
        import torch

        self.calls, slots = [], list[list[int]]()
        for number, group in enumerate(self.groups):
            for blocks in group.blocks(self.block):
                self.calls.append((number, len(blocks)))
                slots += [rows + rows[:1] * (self.block - len(rows)) for rows in blocks]
        flat = [row for rows in slots for row in rows]
        first = {row: place for place, row in reversed([*enumerate(flat)])}
        self.slots = torch.tensor(slots, device=device)
        self.places = torch.tensor([first[row] for row in sorted(first)], device=device)

    def attend(self, query: Any, layer: Layer, scaling: float) -> Any:
        """What one token of each row sees, (R, 1, heads, D). query: (R, heads, 1, D)."""
        import torch

        rows, heads, _, width = query.shape
        query = query.reshape(rows, -1, self.sharing, width)
        used = self.unwritten.shape[-1]
        keys, values = layer.keys[:, :, :used], layer.values[:, :, :used]
        answer, answer_sum = attended(query, keys, values, self.unwritten, scaling)
        blocks = query[self.slots].transpose(1, 2).flatten(2, 3)  # (B, heads, block * sharing, D)
        parts, start = list[tuple[Any, Any]](), 0
        for number, size in self.calls:
            some, (keys, values) = blocks[start : start + size], layer.prompts[number]
            hidden = self.groups[number].hidden[:size]
            parts.append(attended(some, keys[:size], values[:size], hidden, scaling))
            start += size
        prompt, prompt_sum = (self.by_row(torch.cat(part)) for part in zip(*parts, strict=True))
        share = torch.sigmoid(prompt_sum - answer_sum)[..., None]
        seen = answer + (prompt - answer) * share
        return seen.to(query.dtype).reshape(rows, 1, heads, width)

    def by_row(self, found: Any) -> Any:
        """(B, heads, block * sharing, ...) of blocks as (R, heads, sharing, ...) of rows."""
        apart = found.unflatten(2, (self.block, self.sharing))
        return apart.transpose(1, 2).flatten(0, 1)[self.places]

    def keep(self, rows: Any) -> None:
        """Only these rows, int64 (kept rows,), and the prompts that they answer."""
        import torch

        now = {row: number for number, row in enumerate(rows.tolist())}
        groups, kept = list[Group](), list[tuple[int, Any]]()
        for number, group in enumerate(self.groups):
            left = [[now[row] for row in own if row in now] for own in group.rows]
            order = sorted((i for i, own in enumerate(left) if own), key=lambda i: -len(left[i]))
            if order:
                index = torch.tensor(order, device=rows.device)
                kept.append((number, index))
                groups.append(Group([left[i] for i in order], group.hidden[index]))
        for layer in self.layers:
            pairs = [(layer.prompts[number], index) for number, index in kept]
            layer.prompts = [(keys[index], values[index]) for (keys, values), index in pairs]
            layer.keys, layer.values = layer.keys[rows], layer.values[rows]
        self.groups, self.slots = groups, None


def attended(query: Any, keys: Any, values: Any, hidden: Any, scaling: float) -> tuple[Any, Any]:
    """Attention (., heads, Q, D) and the logarithm of the sum of its weights (., heads, Q).

    query: (., heads, Q, D), keys and values (., heads, S, D); hidden is added to the scores. Both
    results are float32.
    """
    import torch

    number = query.shape[2]
    query = torch.nn.functional.pad(query, (0, 0, 0, -number % QUERIES))
    if query.device.type == "cpu":  # what scaled_dot_product_attention runs there, with the sum
        given = {"attn_mask": hidden.expand(-1, -1, query.shape[2], -1), "scale": scaling}
        ops = torch.ops.aten
        found, total = ops._scaled_dot_product_flash_attention_for_cpu(query, keys, values, **given)
    else:
        scores = (query @ keys.transpose(2, 3)).float() * scaling + hidden
        found, total = scores.softmax(-1).to(values.dtype) @ values, scores.logsumexp(-1)
    return found[:, :, :number].float(), total[:, :, :number]
