"""Which texts mean nearly the same, by the cosine of a frozen encoder's vectors.

N, M = texts of two sides, D = width of the encoder.
"""

import base64
import functools
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from stages.runtime import sources, store
from stages.runtime.encoding import buckets, encoder
from stages.runtime.loading import processor
from stages.runtime.loading.profile import Encoder

BLOCK = 1024  # rows of a matrix product
BATCHES = 32  # that are read, and kept, together
DECIMALS = 4  # the last bits of a threaded product vary


@functools.cache
def loaded(how: Encoder) -> tuple[Any, Any]:
    """The encoder of a profile and its tokenizer, loaded once per process."""
    return encoder.load(how)


def embed(how: Encoder, texts: Sequence[str]) -> np.ndarray:
    """Unit vectors (N, D), float32: the mean over all tokens, each distinct text read once.

    A text of more than `how.max_length` tokens is compared by its beginning. Its vector is the
    same bits in any company, and is kept in the store of rows.
    """
    machine = processor.identity(how.dtype, how.device, how.threads)
    code = sources.code_digest(__name__)
    same = store.digest_of(encoder=asdict(how), machine=machine, code=code)
    read = functools.partial(read_texts, how)
    found = store.remembered("vector", same, list(texts), read, how.batch_size * BATCHES)
    rows = [np.frombuffer(base64.b64decode(row), dtype=np.float32) for row in found]
    return np.stack(rows) if rows else np.zeros((0, 0), dtype=np.float32)


def read_texts(how: Encoder, texts: Sequence[str]) -> list[str]:
    """The vector of each text: its bytes in base64, for the store."""
    import torch
    from tqdm import tqdm

    model, tokenizer = loaded(how)
    ids = tokenizer(texts, truncation=True, max_length=how.max_length)["input_ids"]
    found: dict[int, str] = {}
    parts = list(buckets.batches([len(row) for row in ids], how.batch_size))
    with torch.inference_mode():
        for chunk, length in tqdm(parts, desc="read texts", unit="batch", disable=None):
            batch = tokenizer.pad(
                {"input_ids": [ids[i] for i in chunk]},
                padding="max_length",
                max_length=length,
                return_tensors="pt",
            ).to(model.device)
            hidden = model(**batch).last_hidden_state.float()  # (B, T, D)
            total = (hidden * batch["attention_mask"][..., None]).sum(dim=1)
            vectors = torch.nn.functional.normalize(total, dim=1).cpu().numpy()
            found |= {
                i: base64.b64encode(row.tobytes()).decode()
                for i, row in zip(chunk, vectors, strict=True)
            }
    return [found[i] for i in range(len(texts))]


def embed_parts(how: Encoder, parts: Sequence[Sequence[str]]) -> np.ndarray:
    """Unit vectors (N, P D) of texts in P parts, parts[p][n]: a cosine is the mean of theirs."""
    vectors = embed(how, [text for part in parts for text in part])
    side_by_side = np.hstack(np.split(vectors, len(parts)))
    return side_by_side / np.float32(len(parts) ** 0.5)


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Cosines (N, M) of unit vectors (N, D) and (M, D), to four decimals, -1..1."""
    return np.clip(np.round(left @ right.T, DECIMALS), -1.0, 1.0)


def nearest(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each of `left` (N, D) the position of the nearest of `right` (M, D), and the cosine.

    Both (N,); of equally near ones the first. Empty if one of the sides is.
    """
    if not len(left) or not len(right):
        return np.zeros(0, dtype=int), np.zeros(0)
    places, found = [], []
    for start in range(0, len(left), BLOCK):
        block = cosines(left[start : start + BLOCK], right)
        place = block.argmax(axis=1)
        places.append(place)
        found.append(block[np.arange(len(block)), place])
    return np.concatenate(places), np.concatenate(found).astype(float).round(DECIMALS)
