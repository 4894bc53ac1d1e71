"""Train the tiny base: byte-pair vocabulary and a Qwen3-shaped model, from nothing, on CPU.

Only for the profile `tiny`, where no hub is needed. V = vocabulary, B = batch, T = tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.runtime.loading.profile import Model, Student
from stages.runtime.pretraining import loop
from stages.runtime.pretraining.loop import Course
from stages.runtime.pretraining.muon import Optimizer
from stages.runtime.pretraining.packing import Document, Stream, one_per_row
from stages.runtime.resume import Checkpoints

PAD, EOS, USER, ASSISTANT = "<|pad|>", "<|eos|>", "<|user|>", "<|assistant|>"
HEAD_BLOCK = 512  # tokens whose logits are in memory together
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<|user|>{{ m['content'] }}<|assistant|>"
    "{% else %}{{ m['content'] }}<|eos|>{% endif %}{% endfor %}"
)


@dataclass(frozen=True)
class Size:
    """Shape of a model that is trained from nothing."""

    layers: int
    width: int
    heads: int
    feed_forward: int


@dataclass(frozen=True)
class Base(Size):
    """Profile section `base`: size of the model and length of its training."""

    vocabulary: int
    copy_steps: int
    copy_every: int
    copy_batch_size: int
    steps: int
    batch_size: int
    sequence_length: int
    question_frac: float
    muon_learning_rate: float
    adam_learning_rate: float


def train_tokenizer(texts: list[str], vocabulary: int, max_length: int) -> Any:
    """Byte-level BPE over `texts` with a chat template of two special tokens."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        texts,
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=[PAD, EOS, USER, ASSISTANT],
        show_progress=False,
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=TEMPLATE,
        padding_side="left",
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )


def build_model(base: Size, model: Model | Student, tokenizer: Any) -> Any:
    """A Qwen3 language model with random weights (torch's global seed)."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=base.width,
        intermediate_size=base.feed_forward,
        num_hidden_layers=base.layers,
        num_attention_heads=base.heads,
        num_key_value_heads=base.heads,
        head_dim=base.width // base.heads,
        max_position_embeddings=max(1024, model.max_length),
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        attn_implementation=model.attention,
    )
    return Qwen3ForCausalLM(config)


def schedule(step: int, steps: int) -> float:
    """Factor of the learning rate: 1 in the first half, then linear down to 5 %."""
    return 1.0 if step < steps / 2 else 1.0 - 0.95 * (step - steps / 2) / (steps / 2)


def learn(network: Any, rows: np.ndarray) -> float:
    """Add the gradients of a batch (B, 2, T) and return its mean cross-entropy, in nats.

    The head is dear, so it reads only the tokens that count, and a block of them at a time:
    the logits of a block stay in the processor's cache, those of a batch would not. The last
    block is filled up with nothing: products of one shape are fast (runtime/processor.py).
    """
    import torch
    from torch.nn.functional import cross_entropy, pad

    ids, labels = torch.from_numpy(rows).unbind(1)  # (B, T) each
    hidden = network.model(input_ids=ids).last_hidden_state[:, :-1]  # (B, T - 1, width)
    counted = labels[:, 1:] != -100
    states, wanted = hidden[counted], labels[:, 1:][counted]
    count, missing = len(wanted), -len(wanted) % HEAD_BLOCK
    states, wanted = pad(states, (0, 0, 0, missing)), pad(wanted, (0, missing), value=-100)
    known = states.detach().requires_grad_()  # the network's own gradient comes last, once
    total = 0.0
    for start in range(0, len(wanted), HEAD_BLOCK):
        block = slice(start, start + HEAD_BLOCK)
        summed = cross_entropy(network.lm_head(known[block]), wanted[block], reduction="sum")
        loss = summed / count
        loss.backward()
        total += loss.item()
    states.backward(known.grad)
    return total


def train(
    network: Any,
    questions: list[Document],
    statements: list[Document],
    exercise: Callable[[], Document],
    base: Base,
    seed: int,
    rng: np.random.Generator | None = None,
    kept: Checkpoints | None = None,
) -> list[dict[str, float]]:
    """Train in place; returns the log, one dict per 10 steps.

    rng: what `exercise` draws from; with `kept` its state is saved and set again.

    First `copy_steps` batches of copying exercises alone, then `steps` batches of packed
    questions and statements, where each `copy_every`-th is one of exercises again. Each
    exercise is new, so none can be learnt by heart, and stands alone in its row: a second
    question beside it would be a second place to copy from.
    """
    pad = network.config.pad_token_id
    from_questions = Stream(questions, base.sequence_length, pad, seed)
    from_statements = Stream(statements or questions, base.sequence_length, pad, seed + 1)
    question_rows = round(base.batch_size * base.question_frac)

    def rows_of(step: int) -> np.ndarray:
        if step < base.copy_steps or step % base.copy_every == 0:
            return one_per_row([exercise() for _ in range(base.copy_batch_size)], pad)
        statement_rows = base.batch_size - question_rows
        parts = [from_questions.take(question_rows), from_statements.take(statement_rows)]
        return np.concatenate(parts)

    streams = [from_questions, from_statements]
    course = Course(
        "base",
        network,
        Optimizer(network, base.muon_learning_rate, base.adam_learning_rate),
        teach=lambda step: learn(network, rows_of(step)),
        factor=lambda step: schedule(step - base.copy_steps, base.steps),
        total=base.copy_steps + base.steps,
        generators=[*([] if rng is None else [rng]), *(stream.rng for stream in streams)],
        streams=streams,
    )
    return loop.run(course, kept)


def save(network: Any, tokenizer: Any, folder: Path) -> None:
    """Safetensors and tokenizer; no paths and no times inside."""
    network.save_pretrained(str(folder), safe_serialization=True)
    tokenizer.save_pretrained(str(folder))
