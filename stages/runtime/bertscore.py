"""BERTScore F1 with the packaged encoder; a pair's value is the same bits in any company.

The matching is that of bert-score 0.3.13 (Zhang et al. 2020, arXiv:1904.09675, eq. 1 to 3,
no idf weights, not rescaled). Its own batching goes over a Python set, whose order changes
from run to run and with it the last digits. Here each distinct text is read once, in batches
of one padded length, and each pair is matched alone. T = tokens of a text, D = width.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stages.runtime.encoding import buckets, encoder
from stages.runtime.loading import processor

BLOCK = 256  # pairs scored together; each distinct text of a block is encoded once
BATCH = 64  # texts read at once
MAX_TOKENS = 512  # positions of the encoder


def f1(texts: list[str], references: list[str], threads: int, device: str) -> np.ndarray:
    """F1 of each text against the reference of the same position, shape (n,), at most 1.

    All six layers are used: the library's choice of a layer per model (by correlation with
    human ratings of translations) knows no other encoder of this kind. NaN where one of the
    two is blank, which bert-score 0.3.13 cannot encode with transformers 5. Fast where pairs
    that share texts stand together.
    """
    processor.prepare(threads)
    return score(*load(device), texts, references)


def load(device: str) -> tuple[Any, Any]:
    """The packaged encoder without head, and its tokenizer; markers in texts are plain text."""
    from transformers import AutoModel, AutoTokenizer

    folder = encoder.packaged_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder, split_special_tokens=True)
    tokenizer.model_max_length = MAX_TOKENS  # unset, bert-score overflows (its issue 205)
    model = AutoModel.from_pretrained(folder, use_safetensors=True, trust_remote_code=False)
    return model.eval().to(device), tokenizer


def score(
    model: Any, tokenizer: Any, texts: Sequence[str], references: Sequence[str]
) -> np.ndarray:
    """f1 with an encoder that is loaded. bfloat16 weights are matched in float32 as well."""
    from tqdm import tqdm

    pairs = [(a.strip(), b.strip()) for a, b in zip(texts, references, strict=True)]
    spoken = [i for i, pair in enumerate(pairs) if all(pair)]
    result = np.full(len(pairs), np.nan)
    starts = range(0, len(spoken), BLOCK)
    for start in tqdm(starts, desc="BERTScore", unit="block", disable=None):
        block = spoken[start : start + BLOCK]
        read = embed(model, tokenizer, sorted({text for i in block for text in pairs[i]}))
        result[block] = [match(*(read[text] for text in pairs[i])) for i in block]
    return result


def embed(model: Any, tokenizer: Any, texts: list[str]) -> dict[str, Any]:
    """Unit vectors of each text's tokens, float32 (T, D), with the two markers around them."""
    import torch

    if not texts:
        return {}
    ids = tokenizer(texts, truncation=True, max_length=MAX_TOKENS)["input_ids"]
    read: dict[str, Any] = {}
    with torch.inference_mode():
        for places, length in buckets.batches([len(row) for row in ids], BATCH):
            batch = tokenizer.pad(
                {"input_ids": [ids[i] for i in places]},
                padding="max_length",
                max_length=length,
                return_tensors="pt",
            )
            hidden = model(**batch.to(model.device)).last_hidden_state.float()
            unit = torch.nn.functional.normalize(hidden, dim=-1).cpu()
            read |= {texts[i]: rows[: len(ids[i])] for i, rows in zip(places, unit, strict=True)}
    return read


def match(text: Any, reference: Any) -> float:
    """F1 of two texts' token vectors, (T, D) each; 0 for one without a word.

    The markers around a text are matched to, but do not count themselves.
    """
    import torch

    if min(len(text), len(reference)) <= 2:
        return 0.0
    # not a plain product, for which oneDNN would make code for each pair of lengths
    similarity = torch.bmm(text[None], reference.T[None])[0]
    precision = similarity.amax(1)[1:-1].double().mean()
    recall = similarity.amax(0)[1:-1].double().mean()
    total = float(precision + recall)
    return min(2 * float(precision * recall) / total, 1.0) if total else 0.0
