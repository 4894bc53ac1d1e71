"""BERTScore F1 with the packaged encoder, in an order that does not depend on hashing.

The matching is that of bert-score 0.3.13 (Zhang et al. 2020, arXiv:1904.09675, eq. 1 to 3,
no idf weights, not rescaled). Its own batching goes over a Python set, whose order changes
from run to run and with it the last digits, so the batches are formed here.
"""

from collections import defaultdict
from typing import Any

import numpy as np

from stages.runtime import encoder, processor

BLOCK = 256  # pairs scored together; each distinct text of a block is encoded once
MAX_TOKENS = 512  # positions of the encoder


def f1(texts: list[str], references: list[str], threads: int, device: str) -> np.ndarray:
    """F1 of each text against the reference of the same position, shape (n,), at most 1.

    All six layers are used: the library's choice of a layer per model (by correlation with
    human ratings of translations) knows no other encoder of this kind. NaN where one of the
    two is blank, which bert-score 0.3.13 cannot encode with transformers 5. Fast where pairs
    that share texts stand together.
    """
    from tqdm import tqdm

    processor.prepare(threads)
    model, tokenizer = load(device)
    pairs = zip(texts, references, strict=True)
    spoken = [i for i, (text, other) in enumerate(pairs) if text.strip() and other.strip()]
    result = np.full(len(texts), np.nan)
    starts = range(0, len(spoken), BLOCK)
    for start in tqdm(starts, desc="BERTScore", unit="block", disable=None):
        block = spoken[start : start + BLOCK]
        sides = [texts[i] for i in block], [references[i] for i in block]
        result[block] = score_block(model, tokenizer, *sides, device)
    return result


def load(device: str) -> tuple[Any, Any]:
    """The packaged encoder without head, and its tokenizer; markers in texts are plain text."""
    from transformers import AutoModel, AutoTokenizer

    folder = encoder.packaged_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder, split_special_tokens=True)
    tokenizer.model_max_length = MAX_TOKENS  # unset, bert-score overflows (its issue 205)
    model = AutoModel.from_pretrained(folder, use_safetensors=True, trust_remote_code=False)
    return model.eval().to(device), tokenizer


def score_block(
    model: Any, tokenizer: Any, texts: list[str], references: list[str], device: str
) -> np.ndarray:
    """F1 of a block of pairs, shape (n,)."""
    from bert_score.utils import get_bert_embedding, greedy_cos_idf

    weights: dict[int, float] = defaultdict(lambda: 1.0)
    weights[tokenizer.sep_token_id] = weights[tokenizer.cls_token_id] = 0.0  # match words only
    distinct = sorted({*texts, *references})
    place = {text: i for i, text in enumerate(distinct)}
    encoded = get_bert_embedding(distinct, model, tokenizer, weights, 64, device)
    rows = [[place[text] for text in side] for side in (references, texts)]
    # an index copies, and the matching needs that: it scales its arguments in place
    sides = [[part[index] for part in (encoded[0], encoded[1], encoded[2])] for index in rows]
    return greedy_cos_idf(*sides[0], *sides[1])[2].cpu().numpy().astype(float)
