"""C5: BERTScore of candidates and references.

Naive: the library called once per pair, which loads its model each time. Strong: one call.
Ours: stages/runtime/bertscore.py, its model loaded once as in a stage.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from stages.benches.measure import Case, How, Way, faster
from stages.benches.text_pairs import (
    Plan,
    Texts,
    difference,
    encoder_folder,
    facts,
    least_work,
    pairs_of,
)
from stages.runtime import bertscore
from stages.runtime.loading import processor

C5 = Plan(6, 384, 1536, 22000, 240, 6, 0.0, (30, 90), 2)


def per_row(library: Any, pairs: Sequence[Texts]) -> np.ndarray:
    """The library asked once per pair: it loads the model every time."""
    return np.concatenate([library(cands=[a], refs=[b])[2].numpy() for a, b in pairs])


def one_call(library: Any, pairs: Sequence[Texts]) -> np.ndarray:
    """The library asked once."""
    found: np.ndarray = library(cands=[a for a, _ in pairs], refs=[b for _, b in pairs])[2].numpy()
    return found


def ours(model: Any, tokenizer: Any, pairs: Sequence[Texts]) -> np.ndarray:
    """F1 (n,) by stages/runtime/bertscore.py."""
    return bertscore.score(model, tokenizer, [a for a, _ in pairs], [b for _, b in pairs])


def bertscore_case(plan: Plan, how: How) -> Case:
    """F1 of candidates and references; bfloat16 beside it."""
    import bert_score
    import torch
    from transformers import AutoModel, AutoTokenizer

    processor.prepare(how.threads)  # for every way: oneDNN's products
    folder = encoder_folder(plan, how)
    library = partial(
        bert_score.score, model_type=str(folder), num_layers=plan.layers, device=how.device
    )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval().to(how.device)
    half = AutoModel.from_pretrained(folder, dtype=torch.bfloat16).eval().to(how.device)
    pairs = pairs_of(plan, how)
    some = pairs[:: plan.naive_every]
    return Case(
        items=len(pairs),
        unit="pairs",
        ways=[
            Way("ours", "ours", lambda _: ours(model, tokenizer, pairs)),
            Way(
                "score per row",
                "naive",
                lambda _: per_row(library, some),
                scale=len(pairs) / len(some),
            ),
            Way("score, one call", "strong", lambda _: one_call(library, pairs)),
            Way("ours, bfloat16", "ours", lambda _: ours(half, tokenizer, pairs), dtype="bfloat16"),
        ],
        checks=lambda: [
            difference("per row", ours(model, tokenizer, some), per_row(library, some), 1e-6),
            difference("one call", ours(model, tokenizer, pairs), one_call(library, pairs), 1e-6),
            difference("bfloat16", ours(half, tokenizer, some), per_row(library, some), 1e-3),
        ],
        work=least_work(plan, model, pairs),
        goals=lambda laps: [
            faster(laps, "ours", "score per row", 2.0),
            faster(laps, "ours, bfloat16", "score per row", 5.0),
        ],
        facts=facts(model, pairs),
    )
