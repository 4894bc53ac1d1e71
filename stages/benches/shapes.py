"""Models of a stated size with random weights, and random token ids to ask them with."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.benches.measure import How, Phase
from stages.runtime.loading.profile import Model

SPECIAL = 5  # token ids below are special: pad, end
PAD, END = 0, 1
LORA_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True)
class Size:
    """Shape of a Llama decoder."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    feed_forward: int
    vocabulary: int
    is_tied: bool = True


TINY = Size(2, 64, 4, 2, 128, 300)  # for quick runs
DECODER_26M = Size(7, 512, 8, 8, 1408, 8000)
DECODER_16M = Size(6, 384, 6, 6, 1152, 12000)
DECODER_7M = Size(6, 256, 4, 4, 704, 8000)
NARROW_224 = Size(32, 64, 4, 2, 128, 300)  # 32 layers of 7 products, as the 8B has
LLAMA3_8B = Size(32, 4096, 32, 8, 14336, 128256, is_tied=False)


def dtype_of(how: How) -> str:
    """bfloat16 on a GPU, float32 on a CPU."""
    return "bfloat16" if how.device == "cuda" else "float32"


def llama(size: Size, how: How, dtype: str = "float32") -> Any:
    """A causal language model with random weights; its end token is never drawn by chance alone."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.width,
        intermediate_size=size.feed_forward,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
        max_position_embeddings=8192,
        tie_word_embeddings=size.is_tied,
        pad_token_id=PAD,
        bos_token_id=None,
        eos_token_id=END,
        attn_implementation="sdpa",
    )
    torch.manual_seed(how.seed)
    usual = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with torch.device(how.device):
            model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(usual)
    return model.eval()


def with_lora(model: Any, seed: int, rank: int = 16) -> Any:
    """The model with a LoRA adapter on every product; both of its halves are random."""
    import torch
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type="CAUSAL_LM", r=rank, lora_alpha=2 * rank, target_modules=LORA_TARGETS
    )
    torch.manual_seed(seed)
    policy = get_peft_model(model, config)
    stir(policy, seed)
    return policy


def stir(policy: Any, seed: int) -> None:
    """Random weights where a fresh adapter has zeros: else it would change nothing."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in policy.named_parameters():
            if "lora_B" in name:
                fresh = torch.randn(weight.shape, generator=generator) * 0.02
                weight.copy_(fresh.to(weight))


def backbone(how: How, rank: int = 16) -> Model:
    """The profile section that the trainings read."""
    return Model(
        name="random",
        revision=None,
        dtype=dtype_of(how),
        device=how.device,
        threads=how.threads,
        attention="sdpa",
        max_length=8192,
        chat_template_kwargs={},
        lora_targets=LORA_TARGETS,
        lora_rank=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        processes=1,
        deepspeed=None,
    )


def tokenizer_of(size: Size) -> Any:
    """A tokenizer with one word per token id: it pads, and says what ends a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<end>", "<unk>", *(f"w{i}" for i in range(3, size.vocabulary))]
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        eos_token="<end>",
        unk_token="<unk>",
        padding_side="left",
    )


def ids(rng: np.random.Generator, size: Size, low: int, high: int) -> list[int]:
    """A random row of `low` to `high` token ids, no special one among them."""
    length = int(rng.integers(low, high + 1))
    return [int(i) for i in rng.integers(SPECIAL, size.vocabulary, length)]


def parameters(model: Any) -> tuple[int, int]:
    """(of the layers, of the head): a token passes each of them once."""
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    body = sum(weight.numel() for weight in plain.get_decoder().layers.parameters())
    return body, plain.lm_head.weight.numel()


def reading(body: int, size: Size, lengths: list[int]) -> Phase:
    """The least work to read rows of these lengths: products, and attention to what came before."""
    attention = sum(2 * size.layers * size.width * n * n for n in lengths)
    return Phase(2 * body * sum(lengths) + attention, body)


def decoding(body: int, head: int, size: Size, contexts: list[int], steps: int) -> Phase:
    """`steps` steps of rows with these mean contexts in tokens, keys and values read each time."""
    kept = 2 * size.layers * size.kv_heads * (size.width // size.heads)
    flops = sum(2 * (body + head) + 4 * n * size.width * size.layers for n in contexts)
    return Phase(flops, body + head + sum(contexts) * kept, steps)
