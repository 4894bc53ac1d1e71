"""C4: agreement of premise and hypothesis, as the entailment scorer reads them.

Naive: a loop over the pairs. Strong: plain batches. Ours: each distinct text read once, in
batches of one padded length (stages/runtime/encoding/alignment.py).
"""

from collections.abc import Sequence

import numpy as np

from stages.benches.measure import Case, Check, How, Way, faster
from stages.benches.text_pairs import (
    Plan,
    Texts,
    difference,
    encoder_folder,
    facts,
    least_work,
    pairs_of,
)
from stages.runtime.encoding import agreement, alignment, heads
from stages.runtime.loading.profile import Encoder

C4 = Plan(6, 384, 1536, 22000, 500, 1, 0.4, (8, 60), 2)


def distinct_once(reader: alignment.Reader, pairs: Sequence[Texts]) -> np.ndarray:
    """Agreement (n, 7) of each pair, each distinct text read once: ours."""
    read = reader.read(sorted({text for pair in pairs for text in pair}))
    with heads.one_thread():
        return np.array([agreement.agreement(read[b], read[a]) for a, b in pairs])


def vectors(reader: alignment.Reader, texts: list[str]) -> list[agreement.Vectors]:
    """The vectors of a plain batch, padded to its longest text."""
    import torch
    from torch.nn.functional import normalize

    with torch.inference_mode():
        batch = reader.tokenizer(texts, padding=True, return_tensors="pt").to(reader.model.device)
        hidden = reader.model(**batch).last_hidden_state.float().cpu()
    found = []
    for rows, count in zip(hidden, batch["attention_mask"].sum(1).tolist(), strict=True):
        whole = normalize(rows[:count].mean(dim=0), dim=0).numpy()
        found.append(agreement.Vectors(whole, normalize(rows[1 : count - 1], dim=1).numpy()))
    return found


def plainly(reader: alignment.Reader, pairs: Sequence[Texts], size: int) -> np.ndarray:
    """Agreement (n, 7) with batches of pairs in the order given. size 1: a loop."""
    found = []
    for start in range(0, len(pairs), size):
        chunk = pairs[start : start + size]
        premises = vectors(reader, [a for a, _ in chunk])
        hypotheses = vectors(reader, [b for _, b in chunk])
        found += [agreement.agreement(b, a) for a, b in zip(premises, hypotheses, strict=True)]
    return np.array(found)


def entailment_case(plan: Plan, how: How) -> Case:
    """Features of agreement, as the entailment scorer reads them; bfloat16 beside them."""
    folder = encoder_folder(plan, how)
    whole = Encoder(str(folder), "random", "float32", how.device, how.threads, 256, 64)
    half = Encoder(str(folder), "random", "bfloat16", how.device, how.threads, 256, 64)
    reader, rough = alignment.Reader(whole), alignment.Reader(half)
    pairs = pairs_of(plan, how)
    some = pairs[:: plan.naive_every]
    scale = len(pairs) / len(some)
    return Case(
        items=len(pairs),
        unit="pairs",
        ways=[
            Way("ours", "ours", lambda _: distinct_once(reader, pairs)),
            Way("loop", "naive", lambda _: plainly(reader, some, 1), scale=scale),
            Way("plain batches", "strong", lambda _: plainly(reader, pairs, 64)),
            Way("ours, bfloat16", "ours", lambda _: distinct_once(rough, pairs), dtype="bfloat16"),
        ],
        checks=lambda: entailment_checks(reader, rough, pairs, some),
        work=least_work(plan, reader.model, pairs),
        goals=lambda laps: [
            faster(laps, "ours", "loop", 1.0),
            faster(laps, "ours", "plain batches", 1.0),
        ],
        facts=facts(reader.model, pairs),
    )


def entailment_checks(
    reader: alignment.Reader, rough: alignment.Reader, pairs: list[Texts], some: list[Texts]
) -> list[Check]:
    """Ours beside the loop and the batches."""
    alone = plainly(reader, some, 1)
    return [
        difference("loop", distinct_once(reader, some), alone, 1e-5),
        difference("batches", distinct_once(reader, pairs), plainly(reader, pairs, 64), 1e-5),
        difference("bfloat16", distinct_once(rough, some), alone, 0.05),
    ]
