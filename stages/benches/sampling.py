"""C1 and G1: several answers to each question.

Naive: one `generate` per answer. Strong: padded batches of prompts of like length with
num_return_sequences. Beside them transformers' continuous batching. Ours: each prompt read once
for its answers, which are decoded together, the adapter merged (runtime/sampling/generation.py).
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.benches import shapes
from stages.benches.measure import Case, Check, How, Way, faster
from stages.benches.shapes import PAD, Size
from stages.runtime.sampling import shared_prefill
from stages.runtime.sampling.drawing import Decoding, Request

SAMPLED = Decoding(temperature=0.7, top_k=20, top_p=1.0, repetition_penalty=1.0)
GREEDY = Decoding(temperature=None, top_k=0, top_p=1.0, repetition_penalty=1.0)


@dataclass(frozen=True)
class Plan:
    """How much is sampled."""

    size: Size
    questions_n: int
    prompt_tokens: tuple[int, int]  # least and most
    answers_n: int  # per question
    new_tokens: int
    rows: int  # answers in the making at once
    batch_prompts: int  # of the strong way
    naive_every: int  # the naive way answers every such question only, its time is multiplied
    checked_tokens: int  # of each greedy answer
    wanted: tuple[float, float]  # targets: times as fast as the naive and the strong way
    limit_wanted: float | None = None  # target: share of the limit


C1 = Plan(shapes.DECODER_26M, 16, (96, 384), 6, 64, 96, 4, 4, 24, (6.0, 2.0))
G1 = Plan(shapes.LLAMA3_8B, 256, (512, 512), 6, 256, 384, 32, 128, 8, (1.0, 1.0), 0.35)
SMALL = Plan(shapes.TINY, 4, (8, 24), 3, 6, 16, 2, 2, 6, (6.0, 2.0))


def prompts_of(plan: Plan, seed: int) -> list[list[int]]:
    """Random prompts, short ones first: then every n-th is a sample of all lengths."""
    rng = np.random.default_rng(seed)
    rows = [shapes.ids(rng, plan.size, *plan.prompt_tokens) for _ in range(plan.questions_n)]
    return sorted(rows, key=len)


def configuration(decoding: Decoding, tokens: int, **given: Any) -> Any:
    """The settings of transformers' generate for answers of exactly so many tokens."""
    from transformers import GenerationConfig

    drawn = {"do_sample": True, "temperature": decoding.temperature, "top_k": decoding.top_k}
    how = {"do_sample": False} if decoding.temperature is None else drawn
    fixed = {"max_new_tokens": tokens, "pad_token_id": PAD, "eos_token_id": None}
    return GenerationConfig(**how, **fixed, **given)


def one_by_one(
    model: Any, prompts: Sequence[list[int]], answers_n: int, config: Any
) -> list[list[int]]:
    """Every answer alone: prior code's loop."""
    import torch

    found = []
    with torch.inference_mode():
        for prompt in prompts:
            ids = torch.tensor([prompt], device=model.device)
            for _ in range(answers_n):
                mask = torch.ones_like(ids)
                output = model.generate(ids, attention_mask=mask, generation_config=config)
                found.append(output[0, len(prompt) :].tolist())
    return found


def in_batches(
    model: Any, tokenizer: Any, prompts: Sequence[list[int]], size: int, config: Any
) -> list[list[int]]:
    """Batches of prompts, sorted by length and padded; each prompt several times in its batch."""
    import torch

    found = []
    with torch.inference_mode():
        for start in range(0, len(prompts), size):
            rows = {"input_ids": list(prompts[start : start + size])}
            batch = tokenizer.pad(rows, padding_side="left", return_tensors="pt")
            output = model.generate(**batch.to(model.device), generation_config=config)
            found += output[:, batch["input_ids"].shape[1] :].tolist()
    return found


def continuously(
    model: Any, prompts: Sequence[list[int]], answers_n: int, config: Any
) -> list[list[int]]:
    """transformers' continuous batching, which also reads a prompt once for its answers.

    Raises RuntimeError where answers are missing: it returns what it has after an error.
    """
    from transformers import ContinuousBatchingConfig

    on_cpu = {"num_blocks": 256, "max_batch_tokens": 1024, "max_requests_per_batch": 96}
    how = ContinuousBatchingConfig(seed=13, **(on_cpu if model.device.type == "cpu" else {}))
    output = model.generate_batch([*prompts], config, how)
    found = [list(one.generated_tokens) for one in output.values()]
    if len(found) != len(prompts) * answers_n:
        raise RuntimeError(f"{len(found)} answers of {len(prompts) * answers_n}")
    return found


def ours(
    model: Any, prompts: Sequence[list[int]], answers_n: int, how: Decoding, rows: int, tokens: int
) -> list[list[int]]:
    """The answers of stages/runtime/sampling/shared_prefill.py, in the order of the prompts."""
    asked = [Request(p, how, 13 + i) for p in prompts for i in range(answers_n)]
    found = dict(
        answer
        for ended in shared_prefill.decode(model, asked, rows, tokens, [])
        for answer in ended
    )
    return [found[i] for i in range(len(asked))]


def greedy_check(plan: Plan, policy: Any, merged: Any, prompts: list[list[int]]) -> list[Check]:
    """Greedy answers of ours, with the adapter merged, beside those one by one: all equal?"""
    tokens = plan.checked_tokens
    some = prompts[:: max(1, len(prompts) // 16)]
    alone = one_by_one(policy, some, 1, configuration(GREEDY, tokens))
    together = ours(merged, some, 1, GREEDY, plan.rows, tokens)
    differing = sum(a != b for a, b in zip(alone, together, strict=True))
    return [Check(f"greedy answers that differ, of {len(some)}", differing, 0)]


def sample_case(plan: Plan, how: How) -> Case:
    """One policy with an adapter, asked in four ways; bfloat16 of ours beside them on a CPU."""
    dtype = shapes.dtype_of(how)
    policy = shapes.with_lora(shapes.llama(plan.size, how, dtype), how.seed)
    policy.eval()
    merged = copy.deepcopy(policy).merge_and_unload()
    body, head = shapes.parameters(merged)
    prompts, tokenizer = prompts_of(plan, how.seed), shapes.tokenizer_of(plan.size)
    config = configuration(SAMPLED, plan.new_tokens)
    several = configuration(SAMPLED, plan.new_tokens, num_return_sequences=plan.answers_n)
    some = prompts[plan.naive_every // 2 :: plan.naive_every]
    answer = plan.answers_n, SAMPLED, plan.rows, plan.new_tokens
    ways = [
        Way("ours", "ours", lambda _: ours(merged, prompts, *answer), dtype=dtype),
        Way(
            "one by one",
            "naive",
            lambda _: one_by_one(policy, some, plan.answers_n, config),
            dtype=dtype,
            scale=sum(map(len, prompts)) / sum(map(len, some)),
        ),
        Way(
            "padded batches",
            "strong",
            lambda _: in_batches(policy, tokenizer, prompts, plan.batch_prompts, several),
            dtype=dtype,
        ),
        Way(
            "generate_batch",
            "other",
            lambda _: continuously(policy, prompts, plan.answers_n, several),
            dtype=dtype,
        ),
    ]
    if how.device == "cpu":
        half = bfloat16(merged)
        ways.append(
            Way("ours, bfloat16", "ours", lambda _: ours(half, prompts, *answer), dtype="bfloat16")
        )
    contexts = [len(p) + plan.new_tokens // 2 for p in prompts for _ in range(plan.answers_n)]
    work = [shapes.reading(body, plan.size, [len(p) for p in prompts])]
    for start in range(0, len(contexts), plan.rows):
        part = contexts[start : start + plan.rows]
        work.append(shapes.decoding(body, head, plan.size, part, plan.new_tokens))
    return Case(
        items=len(contexts) * plan.new_tokens,
        unit="tokens",
        ways=ways,
        checks=lambda: greedy_check(plan, policy, merged, prompts),
        work=work,
        limit_wanted=plan.limit_wanted,
        goals=lambda laps: [
            faster(laps, "ours", "one by one", plan.wanted[0]),
            faster(laps, "ours", "padded batches", plan.wanted[1]),
        ],
        facts={"parameters": body + head, "prompt_tokens": sum(map(len, prompts))},
    )


def bfloat16(model: Any) -> Any:
    """A copy of the model in bfloat16."""
    import torch

    return copy.deepcopy(model).to(torch.bfloat16)
