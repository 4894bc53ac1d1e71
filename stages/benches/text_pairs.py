"""Pairs of texts and an encoder that reads them: its weights are random, its size is MiniLM's."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.benches.measure import Check, How, Phase

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
Texts = tuple[str, str]  # premise and hypothesis, or candidate and reference


@dataclass(frozen=True)
class Plan:
    """How much is read, by what."""

    layers: int
    width: int
    feed_forward: int
    words: int  # of the vocabulary
    pairs_n: int
    sharing: int  # C5: candidates per reference
    repeated_frac: float  # C4: pairs that are asked a second time
    words_n: tuple[int, int]  # of a text
    naive_every: int


SMALL = Plan(2, 32, 64, 300, 12, 3, 0.4, (3, 12), 2)


def encoder_folder(plan: Plan, how: How) -> Path:
    """A BERT with random weights and one word piece per word, in a folder of its own."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = how.scratch / "encoder"
    folder.mkdir()
    words = [f"w{i}" for i in range(plan.words - len(SPECIAL))]
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *words]) + "\n")
    tokenizer = BertTokenizerFast.from_pretrained(str(folder), model_max_length=512)
    config = BertConfig(
        vocab_size=plan.words,
        hidden_size=plan.width,
        num_hidden_layers=plan.layers,
        num_attention_heads=max(2, plan.width // 32),
        intermediate_size=plan.feed_forward,
        initializer_range=0.05,  # so that texts differ
    )
    torch.manual_seed(how.seed)
    BertModel(config).save_pretrained(str(folder), safe_serialization=True)
    tokenizer.save_pretrained(str(folder))
    return folder


def text_of(plan: Plan, rng: np.random.Generator) -> str:
    """A text of random words, some of them often, as words are."""
    count = int(rng.integers(plan.words_n[0], plan.words_n[1] + 1))
    places = (rng.zipf(1.3, count) - 1) % (plan.words - len(SPECIAL))
    return " ".join(f"w{i}" for i in places)


def pairs_of(plan: Plan, how: How) -> list[Texts]:
    """Pairs in random order, `sharing` of them with one second text, some of them twice."""
    rng = np.random.default_rng(how.seed)
    fresh = round(plan.pairs_n * (1 - plan.repeated_frac))
    pairs: list[Texts] = []
    while len(pairs) < fresh:
        second = text_of(plan, rng)
        pairs += [(text_of(plan, rng), second) for _ in range(plan.sharing)]
    pairs = pairs[:fresh]
    pairs += [pairs[i] for i in rng.integers(0, fresh, plan.pairs_n - fresh)]
    return [pairs[i] for i in rng.permutation(len(pairs))]


def least_work(plan: Plan, model: Any, pairs: Sequence[Texts]) -> list[Phase]:
    """Each distinct text through the layers once (two markers around it)."""
    body = sum(weight.numel() for weight in model.encoder.parameters())
    tokens = sum(len(text.split()) + 2 for text in {text for pair in pairs for text in pair})
    return [Phase(2 * body * tokens, body)]


def facts(model: Any, pairs: Sequence[Texts]) -> dict[str, Any]:
    """What is read."""
    texts = [text for pair in pairs for text in pair]
    return {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "distinct_frac": len(set(texts)) / len(texts),
        "words_mean": float(np.mean([len(text.split()) for text in texts])),
    }


def difference(name: str, found: np.ndarray, wanted: np.ndarray, limit: float) -> Check:
    """The largest difference."""
    return Check(f"{name}: largest difference", float(np.abs(found - wanted).max()), limit)
