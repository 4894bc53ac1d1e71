"""Which benchmarks there are, by id. C: a CPU, minutes. G: the shape of Llama-3-8B on one GPU."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from stages.benches import (
    dpo_steps,
    entailing,
    incremental,
    prefill,
    rating,
    sampling,
    scoring_pairs,
    sft_steps,
    shapes,
    swapping,
    text_pairs,
    training_steps,
)
from stages.benches.measure import Case, Check, How, Phase, Way

Plan = TypeVar("Plan")


@dataclass(frozen=True)
class Bench:
    """One benchmark: what it is, and how its case is made."""

    description: str
    case: Callable[[How], Case]


def sized(case: Callable[[Plan, How], Case], plan: Plan, small: Plan) -> Callable[[How], Case]:
    """`case` with its plan, or with the small one."""
    return lambda how: case(small if how.is_small else plan, how)


def probe_case(how: How) -> Case:
    """The probe alone, and a product whose share of the probed rate must be near 1."""
    import torch

    width = 256 if how.is_small else 8192 if how.device == "cuda" else 2048
    dtype = shapes.dtype_of(how)
    a = torch.randn(width, width, device=how.device).to(getattr(torch, dtype))

    def error() -> list[Check]:
        some = a[:4].double() @ a.double()
        found = (a[:4] @ a).double()
        relative = float((found - some).abs().max() / some.abs().max())
        return [Check("product: relative error", relative, 1e-5 if dtype == "float32" else 0.02)]

    way = Way("product", "ours", lambda _: a @ a, dtype=dtype)
    return Case(1, "products", [way], error, [Phase(2.0 * width**3, 3.0 * width**2)])


BENCHES = {
    "c1": Bench(
        "Sampling: 6 answers of 64 tokens to each of 16 questions, LoRA on",
        sized(sampling.sample_case, sampling.C1, sampling.SMALL),
    ),
    "c2": Bench("Sampling: the gain of reading a prompt once", prefill.prefill_case),
    "c3": Bench(
        "Verifier: ratings of 6 texts to each of 32 questions",
        sized(rating.rating_case, rating.C3, rating.SMALL),
    ),
    "c4": Bench(
        "Entailment: 500 pairs of texts, 40 % of them repeated",
        sized(entailing.entailment_case, entailing.C4, text_pairs.SMALL),
    ),
    "c5": Bench(
        "BERTScore: 240 pairs, 6 candidates per reference",
        sized(scoring_pairs.bertscore_case, scoring_pairs.C5, text_pairs.SMALL),
    ),
    "c6": Bench(
        "DPO: 16 steps of 4 pairs, LoRA",
        sized(dpo_steps.dpo_case, dpo_steps.C6, training_steps.SMALL),
    ),
    "c7": Bench(
        "SFT: 200 rows of very different length, LoRA",
        sized(sft_steps.sft_case, sft_steps.C7, training_steps.SMALL),
    ),
    "c8": Bench(
        "Adapters: swaps of 224 LoRA modules",
        sized(swapping.swap_case, swapping.C8, swapping.SMALL),
    ),
    "c9": Bench(
        "One more question: dvc repro up to the scores",
        sized(incremental.incremental_case, incremental.C9, incremental.SMALL),
    ),
    "g0": Bench("Probe: bandwidth and FLOP rates", probe_case),
    "g1": Bench(
        "Sampling: 6 answers of 256 tokens to each of 256 questions, 8B, LoRA on",
        sized(sampling.sample_case, sampling.G1, sampling.SMALL),
    ),
    "g3": Bench(
        "Verifier: ratings of 6 texts to each of 256 questions, 8B",
        sized(rating.rating_case, rating.G3, rating.SMALL),
    ),
    "g4": Bench(
        "DPO: 20 steps of 8 pairs of 768 tokens, 8B, LoRA",
        sized(dpo_steps.dpo_case, dpo_steps.G4, training_steps.SMALL),
    ),
    "g6": Bench(
        "Adapters: swaps, with the next token, 8B",
        sized(swapping.swap_case, swapping.G6, swapping.SMALL),
    ),
}
