"""What a model makes of several texts after one prompt: the prompt is read once for all of them.

As in shared_prefill, a number does not depend on what is read beside it: prompts and texts are
padded to multiples of a step, only those of one shape share a batch, and the rows of a matrix
product are a multiple of ROWS_STEP: a few kernels add up the rows beyond in another order.

n = pairs of prompt and text, B = batch, T = tokens of a text, S = tokens of prompt and text,
K = outputs of the head.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from stages.runtime.loading import processor

Pair = tuple[tuple[int, ...], tuple[int, ...]]  # token ids of a prompt, of what follows it
PROMPT_STEP, TEXT_STEP = 32, 16  # tokens
ROWS_STEP = 16
PROMPTS_AT_ONCE = 8192  # tokens of prompts whose keys and values are in memory together


def read(
    decoder: Any, head: Callable[[Any], Any], pairs: Sequence[Pair], tokens: int
) -> np.ndarray:
    """head(state of the last token) of each pair, float64 (n, K).

    decoder: a causal decoder of transformers with `sdpa` attention; head: states (B, width) ->
    (B, K). tokens: of texts in a batch; out of memory halves them and goes on. Raises InputError
    where one text alone is too much, ValueError for an empty text.
    """
    import torch

    if any(not text for _, text in pairs):
        raise ValueError("a pair without a text has no last token")
    left, found = sorted(set(pairs)), dict[Pair, np.ndarray]()
    with torch.inference_mode(), processor.usual_products():
        while left:
            try:
                for rows, values in read_all(decoder, head, left, tokens):
                    found |= zip(rows, values, strict=True)
            except (RuntimeError, MemoryError) as error:
                tokens = processor.halved(tokens, error, "tokens of text at once")
            left = [pair for pair in left if pair not in found]
    return np.array([found[pair] for pair in pairs])


def read_all(
    decoder: Any, head: Callable[[Any], Any], pairs: Sequence[Pair], tokens: int
) -> Iterator[tuple[list[Pair], np.ndarray]]:
    """Pairs and what the head says of them (B, K), batch by batch."""
    for prompts, of_prompts in by_room(pairs):
        known = prefill(decoder, prompts)
        for rows in batches(of_prompts, tokens):
            values = head(last_states(decoder, known, prompts, rows))
            yield rows, values[: len(rows)].double().cpu().numpy()


def rounded(size: int, step: int) -> int:
    """The next multiple of `step`, at least one."""
    return max(1, -(-size // step)) * step


def by_room(pairs: Sequence[Pair]) -> Iterator[tuple[list[tuple[int, ...]], list[Pair]]]:
    """Prompts of one padded length, as many as are read at once, and the pairs that have them."""
    rooms: dict[int, dict[tuple[int, ...], list[Pair]]] = {}
    for pair in pairs:
        same = rooms.setdefault(rounded(len(pair[0]), PROMPT_STEP), {})
        same.setdefault(pair[0], []).append(pair)
    for room, of_prompt in sorted(rooms.items(), reverse=True):
        prompts, size = list(of_prompt), max(1, PROMPTS_AT_ONCE // room)
        for start in range(0, len(prompts), size):
            part = prompts[start : start + size]
            yield part, [pair for prompt in part for pair in of_prompt[prompt]]


def batches(pairs: Sequence[Pair], tokens: int) -> Iterator[list[Pair]]:
    """Pairs whose texts have one padded length, at most `tokens` tokens, longest first."""
    lengths: dict[int, list[Pair]] = {}
    for pair in pairs:
        lengths.setdefault(rounded(len(pair[1]), TEXT_STEP), []).append(pair)
    for length, rows in sorted(lengths.items(), reverse=True):
        size = max(1, tokens // length)
        for start in range(0, len(rows), size):
            yield rows[start : start + size]


def padded(rows: Sequence[Sequence[int]], length: int, device: Any) -> Any:
    """Token ids (B, length), zeros behind each row."""
    import torch

    ids = np.zeros((len(rows), length), dtype=np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
    return torch.from_numpy(ids).to(device)


def prefill(decoder: Any, prompts: list[tuple[int, ...]]) -> list[tuple[Any, Any]]:
    """Keys and values (prompts, heads, room, D) of each layer."""
    from transformers import DynamicCache

    room = rounded(len(prompts[0]), PROMPT_STEP)
    cache = DynamicCache()
    # no mask: a prompt does not see what stands behind it
    decoder(input_ids=padded(prompts, room, decoder.device), past_key_values=cache, use_cache=True)
    return [(layer.keys, layer.values) for layer in cache.layers]


def last_states(
    decoder: Any, known: list[tuple[Any, Any]], prompts: list[tuple[int, ...]], rows: list[Pair]
) -> Any:
    """State of each text's last token, (B', width); B' = B, rounded up to ROWS_STEP."""
    import torch
    from transformers import DynamicCache

    device, room = decoder.device, known[0][0].shape[2]
    length = rounded(len(rows[0][1]), TEXT_STEP)
    place = {prompt: number for number, prompt in enumerate(prompts)}
    index = torch.tensor([place[prompt] for prompt, _ in rows], device=device)
    cache = DynamicCache()
    for layer, (keys, values) in enumerate(known):
        cache.update(keys[index], values[index], layer)
    sizes = torch.tensor([len(prompt) for prompt, _ in rows], device=device)[:, None, None, None]
    whole = torch.arange(room + length, device=device)
    own = torch.arange(length, device=device)[:, None]
    sees = (whole < sizes) | ((whole >= room) & (whole - room <= own))  # (B, 1, T, S)
    mask = torch.zeros(sees.shape, dtype=decoder.dtype, device=device)
    states = decoder(
        input_ids=padded([text for _, text in rows], length, device),
        position_ids=sizes[:, :, 0, 0] + torch.arange(length, device=device),
        attention_mask=mask.masked_fill(~sees, -torch.inf),
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    ends = torch.tensor([len(text) - 1 for _, text in rows], device=device)
    last = states[torch.arange(len(rows), device=device), ends]
    missing = -len(rows) % ROWS_STEP
    return torch.nn.functional.pad(last, (0, 0, 0, missing))
