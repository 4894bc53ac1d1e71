"""C2: what reading a prompt once for all its answers is worth.

Answers that share their prompt beside as many answers to distinct prompts of that length, by
the same sampler: the work differs in the reading alone.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from stages.benches import shapes
from stages.benches.measure import Case, Check, Goal, How, Laps, Way, median
from stages.benches.sampling import SAMPLED, ours
from stages.runtime.sampling import shared_prefill
from stages.runtime.sampling.drawing import Request

QUESTIONS = 4
GRID = [(p, n) for p in (32, 128, 512) for n in (1, 6, 12)]  # prompt tokens, answers
SMALL_GRID = [(8, 1), (16, 3)]


def prefill_case(how: How) -> Case:
    """Answers that share their prompt beside as many answers to distinct prompts."""
    size = shapes.TINY if how.is_small else shapes.DECODER_26M
    grid, tokens = (SMALL_GRID, 4) if how.is_small else (GRID, 32)
    dtype = shapes.dtype_of(how)
    model = shapes.llama(size, how, dtype)
    body, head = shapes.parameters(model)
    rng = np.random.default_rng(how.seed)
    ways: list[Way] = []
    for p, n in grid:
        prompts = [shapes.ids(rng, size, p, p) for _ in range(QUESTIONS * n)]
        count = len(prompts) * tokens
        shared = prompts[:QUESTIONS], n, SAMPLED, len(prompts), tokens
        repeated = prompts, 1, SAMPLED, len(prompts), tokens
        ways += [
            Way(f"shared {p}/{n}", "ours", asking(model, *shared), dtype=dtype, items=count),
            Way(f"repeated {p}/{n}", "other", asking(model, *repeated), dtype=dtype, items=count),
        ]
    prompts = [shapes.ids(rng, size, *grid[-1][:1], grid[-1][0]) for _ in range(2)]
    return Case(
        items=QUESTIONS * tokens * sum(n for _, n in grid),
        unit="tokens",
        ways=ways,
        checks=lambda: shared_check(model, prompts, tokens),
        work=[],
        goals=lambda laps: [Goal(f"gain at {p}/{n}", gain(laps, p, n), 1.0) for p, n in grid[-1:]],
        details=lambda laps: {"gains": [gains_row(laps, p, n, tokens) for p, n in grid]},
        facts={"parameters": body + head, "questions": QUESTIONS, "new_tokens": tokens},
    )


def asking(model: Any, *given: Any) -> Callable[[Any], list[list[int]]]:
    """`ours` with its arguments bound."""
    return lambda _: ours(model, *given)


def gain(laps: Laps, p: int, n: int) -> float:
    """How many times as fast answers are that share their prompt."""
    return median(laps[f"repeated {p}/{n}"]) / median(laps[f"shared {p}/{n}"])


def gains_row(laps: Laps, p: int, n: int, t: int) -> dict[str, float]:
    """The measured gain beside that of the tokens alone, (N p + N t) / (p + N t)."""
    formula = (n * p + n * t) / (p + n * t)
    measured = gain(laps, p, n)
    return {
        "prompt_tokens": p,
        "answers_n": n,
        "gain": measured,
        "formula": formula,
        "gain_frac": measured / formula,
    }


def shared_check(model: Any, prompts: list[list[int]], tokens: int) -> list[Check]:
    """Sampled answers that share a prompt beside each of them alone."""
    together = ours(model, prompts, 3, SAMPLED, 16, tokens)
    asked = [Request(p, SAMPLED, 13 + i) for p in prompts for i in range(3)]
    alone = [
        dict(a for ended in shared_prefill.decode(model, [one], 1, tokens, []) for a in ended)[0]
        for one in asked
    ]
    differing = sum(a != b for a, b in zip(alone, together, strict=True))
    return [Check(f"answers that differ, of {len(asked)}", differing, 0)]
