"""BERTScore F1 with the packaged encoder, in an order that does not depend on hashing.

The matching is that of bert-score 0.3.13 (Zhang et al. 2020, arXiv:1904.09675, eq. 1 to 3,
no idf weights, not rescaled). Its own batching goes over a Python set, whose order changes
from run to run and with it the last digits, so the batches are formed here.
"""

from collections import defaultdict
from typing import Any

import numpy as np

from stages.runtime import encoder

BATCH = 64  # pairs
MAX_TOKENS = 512  # positions of the encoder


def f1(texts: list[str], references: list[str], threads: int, device: str) -> np.ndarray:
    """F1 of each text against the reference of the same position, shape (n,), at most 1.

    All six layers are used: the library's choice of a layer per model (by correlation with
    human ratings of translations) knows no other encoder of this kind. NaN where one of the
    two has no word, which bert-score 0.3.13 cannot encode with transformers 5.
    """
    import torch

    torch.set_num_threads(threads)
    model, tokenizer = load(device)
    spoken = [i for i, pair in enumerate(zip(texts, references, strict=True)) if has_words(*pair)]
    spoken.sort(key=lambda i: (len(texts[i]) + len(references[i]), i))  # less padding
    result = np.full(len(texts), np.nan)
    for start in range(0, len(spoken), BATCH):
        chunk = spoken[start : start + BATCH]
        pairs = [texts[i] for i in chunk], [references[i] for i in chunk]
        result[chunk] = score_batch(model, tokenizer, *pairs, device)
    return result


def has_words(text: str, reference: str) -> bool:
    """True if neither is blank."""
    return bool(text.strip()) and bool(reference.strip())


def load(device: str) -> tuple[Any, Any]:
    """The packaged encoder without head, and its tokenizer; markers in texts are plain text."""
    from transformers import AutoModel, AutoTokenizer

    folder = encoder.packaged_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder, split_special_tokens=True)
    tokenizer.model_max_length = MAX_TOKENS  # unset, bert-score overflows (its issue 205)
    model = AutoModel.from_pretrained(folder, use_safetensors=True, trust_remote_code=False)
    return model.eval().to(device), tokenizer


def score_batch(
    model: Any, tokenizer: Any, texts: list[str], references: list[str], device: str
) -> np.ndarray:
    """F1 of a batch of pairs, shape (B,)."""
    from bert_score.utils import get_bert_embedding, greedy_cos_idf

    weights: dict[int, float] = defaultdict(lambda: 1.0)
    weights[tokenizer.sep_token_id] = weights[tokenizer.cls_token_id] = 0.0  # match words only
    sides = [
        get_bert_embedding(side, model, tokenizer, weights, device=device)
        for side in (references, texts)
    ]
    return greedy_cos_idf(*sides[0], *sides[1])[2].cpu().numpy().astype(float)
