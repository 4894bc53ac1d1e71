"""C3 and G3: a decoder as verifier rates several texts of each question.

Naive: it writes its rating as text, one pair at a time, and the text is parsed. Strong: the
logits of the five labels in padded batches. Ours: the same logits, with each question read once
for its texts (stages/runtime/encoding/shared_reading.py).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.benches import sampling, shapes
from stages.benches.measure import Case, Check, How, Phase, Way, faster
from stages.benches.shapes import Size
from stages.runtime.encoding import shared_reading
from stages.runtime.encoding.shared_reading import Pair

LABELS = [5, 6, 7, 8, 9]  # the token ids that stand for one to five stars
BF16_LIMIT = 0.1  # largest difference of a logit; random ones have a spread of about 0.4


@dataclass(frozen=True)
class Plan:
    """How much is rated."""

    size: Size
    questions_n: int
    texts_n: int  # per question
    question_tokens: tuple[int, int]
    text_tokens: tuple[int, int]
    written_tokens: int  # of the naive way's answer
    batch_size: int  # of the strong way
    tokens: int  # of texts that ours reads at once
    naive_every: int
    checked_every: int
    wanted: float  # target: times as fast as the naive way


C3 = Plan(shapes.DECODER_16M, 32, 6, (120, 280), (50, 150), 16, 16, 4096, 4, 1, 3.5)
G3 = Plan(shapes.LLAMA3_8B, 256, 6, (300, 300), (200, 200), 16, 8, 32768, 32, 8, 1.0)
SMALL = Plan(shapes.TINY, 3, 3, (10, 30), (4, 12), 3, 4, 256, 2, 1, 3.5)


def pairs_of(plan: Plan, seed: int) -> list[Pair]:
    """Random questions with random texts."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(plan.questions_n):
        question = tuple(shapes.ids(rng, plan.size, *plan.question_tokens))
        texts = [shapes.ids(rng, plan.size, *plan.text_tokens) for _ in range(plan.texts_n)]
        rows += [(question, tuple(text)) for text in texts]
    return rows


def label_head(model: Any) -> Callable[[Any], Any]:
    """The rows of the language model's head that stand for stars: states (B, D) -> (B, 5)."""
    weight = model.lm_head.weight[LABELS]
    return lambda states: states @ weight.T


def ours(model: Any, pairs: Sequence[Pair], tokens: int) -> np.ndarray:
    """Label logits (n, 5), each question read once."""
    return shared_reading.read(model.get_decoder(), label_head(model), pairs, tokens)


def in_batches(model: Any, tokenizer: Any, pairs: Sequence[Pair], size: int) -> np.ndarray:
    """Label logits (n, 5) of padded batches, sorted by length. size 1: one by one."""
    import torch

    rows = [[*prompt, *text] for prompt, text in pairs]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    found = np.zeros((len(rows), len(LABELS)))
    head = label_head(model)
    with torch.inference_mode():
        for start in range(0, len(order), size):
            chunk = order[start : start + size]
            batch = tokenizer.pad(
                {"input_ids": [rows[i] for i in chunk]}, padding_side="right", return_tensors="pt"
            ).to(model.device)
            states = model.get_decoder()(**batch, use_cache=False).last_hidden_state
            ends = batch["attention_mask"].sum(1) - 1
            last = states[torch.arange(len(chunk), device=model.device), ends]
            found[chunk] = head(last).float().cpu().numpy()
    return found


def written(model: Any, pairs: Sequence[Pair], config: Any) -> np.ndarray:
    """Stars (n,) that the model writes, one pair at a time; NaN where none is found."""
    import torch

    found = []
    with torch.inference_mode():
        for prompt, text in pairs:
            ids = torch.tensor([[*prompt, *text]], device=model.device)
            mask = torch.ones_like(ids)
            output = model.generate(ids, attention_mask=mask, generation_config=config)
            said = [i for i in output[0, ids.shape[1] :].tolist() if i in LABELS]
            found.append(LABELS.index(said[0]) + 1 if said else math.nan)
    return np.array(found)


def ratings(logits: np.ndarray) -> np.ndarray:
    """Expected stars (n,) of label logits (n, 5)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers @ np.arange(1, 6) / powers.sum(axis=1))


def agreement(name: str, found: np.ndarray, wanted: np.ndarray, limit: float) -> list[Check]:
    """Largest difference of a logit, and 1 - Kendall's tau of the ratings (0 = one order)."""
    from scipy.stats import kendalltau

    difference = float(np.abs(found - wanted).max())
    tau = float(kendalltau(ratings(found), ratings(wanted)).statistic)
    checks = [Check(f"{name}: largest logit difference", difference, limit)]
    if limit < BF16_LIMIT:
        checks.append(Check(f"{name}: 1 - Kendall's tau", 1 - tau, 1e-12))
    return checks


def rating_case(plan: Plan, how: How) -> Case:
    """One decoder, asked in three ways; bfloat16 of ours beside them on a CPU."""
    dtype = shapes.dtype_of(how)
    model = shapes.llama(plan.size, how, dtype)
    pairs, tokenizer = pairs_of(plan, how.seed), shapes.tokenizer_of(plan.size)
    body, head = shapes.parameters(model)
    config = sampling.configuration(sampling.GREEDY, plan.written_tokens)
    some = pairs[plan.naive_every // 2 :: plan.naive_every]
    size, tokens = plan.batch_size, plan.tokens
    ways = [
        Way("ours", "ours", lambda _: ours(model, pairs, tokens), dtype=dtype),
        Way(
            "write and parse",
            "naive",
            lambda _: written(model, some, config),
            dtype=dtype,
            scale=len(pairs) / len(some),
        ),
        Way(
            "padded batches",
            "strong",
            lambda _: in_batches(model, tokenizer, pairs, size),
            dtype=dtype,
        ),
    ]
    half = sampling.bfloat16(model) if how.device == "cpu" else None
    if half is not None:
        ways.append(
            Way("ours, bfloat16", "ours", lambda _: ours(half, pairs, tokens), dtype="bfloat16")
        )

    def checks() -> list[Check]:
        asked = pairs[:: plan.checked_every]
        alone = in_batches(model, tokenizer, asked, 1)
        limit = 1e-4 if dtype == "float32" else BF16_LIMIT
        found = agreement("ours", ours(model, asked, tokens), alone, limit)
        if half is not None:
            found += agreement("bfloat16", ours(half, asked, tokens), alone, BF16_LIMIT)
        return found

    distinct = {prompt for prompt, _ in pairs}
    read = sum(map(len, distinct)) + sum(len(text) for _, text in pairs)
    return Case(
        items=len(pairs),
        unit="ratings",
        ways=ways,
        checks=checks,
        work=[Phase(2 * body * read, body)],
        goals=lambda laps: [faster(laps, "ours", "write and parse", plan.wanted)],
        facts={
            "parameters": body + head,
            "tokens_mean": float(np.mean([len(a) + len(b) for a, b in pairs])),
        },
    )
