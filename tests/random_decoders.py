"""Small decoders with random weights, of two families and with shared heads."""

from collections.abc import Iterator
from typing import Any

import pytest

VOCABULARY = 300
COMMON: dict[str, Any] = {"vocab_size": VOCABULARY, "num_hidden_layers": 2}
COMMON |= {"initializer_range": 0.1, "max_position_embeddings": 512}
COMMON |= {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
SIZES: dict[str, dict[str, Any]] = {
    "qwen": {"hidden_size": 192, "intermediate_size": 512, "head_dim": 32},
    "llama": {"hidden_size": 96, "intermediate_size": 200},  # no multiples of 64
}
# heads of queries, and of keys
HEADS = {"qwen": (6, 6), "qwen, shared heads": (6, 2), "llama, shared heads": (8, 2)}


def configuration(name: str) -> Any:
    """Of a decoder in HEADS; torch's seed is set, so that its weights are always the same."""
    import torch
    import transformers

    family, (heads, shared) = name.split(",")[0], HEADS[name]
    kinds = {"qwen": transformers.Qwen3Config, "llama": transformers.LlamaConfig}
    given = COMMON | SIZES[family]
    given |= {"num_attention_heads": heads, "num_key_value_heads": shared}
    torch.manual_seed(0)
    return kinds[family](**given)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch computes with one thread, and afterwards with as many as before."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
