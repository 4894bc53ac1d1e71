"""Train the tiny base: byte-pair vocabulary and a Qwen3-shaped model, from nothing, on CPU.

Only for the profile `tiny`, where no hub is needed. V = vocabulary, B = batch, T = tokens.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import InputError
from stages.runtime.profile import Model

PAD, EOS, USER, ASSISTANT = "<|pad|>", "<|eos|>", "<|user|>", "<|assistant|>"
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<|user|>{{ m['content'] }}<|assistant|>"
    "{% else %}{{ m['content'] }}<|eos|>{% endif %}{% endfor %}"
)


@dataclass(frozen=True)
class Base:
    """Profile section `base`: size of the model and length of its training."""

    layers: int
    width: int
    heads: int
    feed_forward: int
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


def build_model(base: Base, model: Model, tokenizer: Any) -> Any:
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


@dataclass(frozen=True)
class Document:
    """Token ids, and from which of them on the loss counts (0 = all)."""

    ids: list[int]
    loss_from: int


def pack(documents: list[Document], length: int, pad: int, rng: np.random.Generator) -> np.ndarray:
    """Whole documents in random order, as many per row as fit: int64 (rows, 2, length).

    [:, 0] are token ids, [:, 1] labels: the id where the loss counts, else -100.
    """
    rows: list[tuple[list[int], list[int]]] = []
    ids: list[int] = []
    labels: list[int] = []
    for index in rng.permutation(len(documents)):
        document = documents[index]
        if len(document.ids) > length:
            continue
        if len(ids) + len(document.ids) > length:
            rows.append((ids, labels))
            ids, labels = [], []
        ids = ids + document.ids
        labels = labels + [-100] * document.loss_from + document.ids[document.loss_from :]
    rows.append((ids, labels))
    filled = [(i + [pad] * (length - len(i)), c + [-100] * (length - len(c))) for i, c in rows]
    return np.array(filled, dtype=np.int64)


def one_per_row(documents: list[Document], pad: int) -> np.ndarray:
    """Each document alone in a row as long as the longest: int64 (rows, 2, longest)."""
    longest = max(len(document.ids) for document in documents)
    return np.concatenate([pack([d], longest, pad, np.random.default_rng(0)) for d in documents])


class Stream:
    """Endless packed rows of one kind of document; packed anew for each pass.

    Raises InputError if no document fits into a row.
    """

    def __init__(self, documents: list[Document], length: int, pad: int, seed: int):
        if not any(len(document.ids) <= length for document in documents):
            raise InputError(
                f"stages/profiles: base.sequence_length {length} is shorter than each of "
                f"{len(documents)} texts to read. Raise it."
            )
        self.documents, self.length, self.pad = documents, length, pad
        self.rng = np.random.default_rng(seed)
        self.rows = np.empty((0, 2, length), dtype=np.int64)

    def take(self, count: int) -> np.ndarray:
        """The next `count` rows."""
        while len(self.rows) < count:
            more = pack(self.documents, self.length, self.pad, self.rng)
            self.rows = np.concatenate([self.rows, more])
        taken, self.rows = self.rows[:count], self.rows[count:]
        return taken


def orthogonalize(gradient: Any) -> Any:
    """Newton-Schulz iteration towards the nearest orthogonal matrix, in float32.

    Coefficients of Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon).
    torch.optim.Muon does the same in bfloat16, which is some 70 times slower on
    processors without it.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = gradient / (gradient.norm() + 1e-7)
    transposed = x.size(0) > x.size(1)
    x = x.T if transposed else x
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if transposed else x


def muon_step(matrices: list[Any], momenta: list[Any], rate: float, momentum: float = 0.95) -> None:
    """One Muon update with Nesterov momentum; rate is scaled by the matrix's shape."""
    for matrix, velocity in zip(matrices, momenta, strict=True):
        velocity.mul_(momentum).add_(matrix.grad)
        update = orthogonalize(matrix.grad + momentum * velocity)
        matrix.data.add_(update, alpha=-rate * max(1.0, matrix.size(0) / matrix.size(1)) ** 0.5)


def schedule(step: int, steps: int) -> float:
    """Factor of the learning rate: 1 in the first half, then linear down to 5 %."""
    return 1.0 if step < steps / 2 else 1.0 - 0.95 * (step - steps / 2) / (steps / 2)


class Optimizer:
    """Muon for the matrices of the layers, AdamW for embeddings and norms."""

    def __init__(self, network: Any, base: Base):
        import torch

        self.base = base
        self.matrices = [p for p in network.model.layers.parameters() if p.ndim == 2]
        chosen = {id(p) for p in self.matrices}
        others = [p for p in network.parameters() if id(p) not in chosen]
        self.momenta = [torch.zeros_like(p) for p in self.matrices]
        self.adam = torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0)

    def step(self, factor: float) -> None:
        """One update at `factor` times the learning rates of the profile."""
        muon_step(self.matrices, self.momenta, self.base.muon_learning_rate * factor)
        for group in self.adam.param_groups:
            group["lr"] = self.base.adam_learning_rate * factor
        self.adam.step()


def batch_loss(network: Any, rows: np.ndarray) -> Any:
    """Mean cross-entropy over the counted tokens of `rows` (B, 2, T); a scalar tensor."""
    import torch
    from torch.nn.functional import cross_entropy

    ids, labels = torch.from_numpy(rows).unbind(1)  # (B, T) each
    hidden = network.model(input_ids=ids).last_hidden_state[:, :-1]  # (B, T - 1, width)
    counted = labels[:, 1:] != -100  # the head is dear: only where the loss counts
    return cross_entropy(network.lm_head(hidden[counted]), labels[:, 1:][counted])


def train(
    network: Any,
    questions: list[Document],
    statements: list[Document],
    exercise: Callable[[], Document],
    base: Base,
    seed: int,
) -> list[dict[str, float]]:
    """Train in place; returns the log, one dict per 10 steps.

    First `copy_steps` batches of copying exercises alone, then `steps` batches of packed
    questions and statements, where each `copy_every`-th is one of exercises again. Each
    exercise is new, so none can be learnt by heart, and stands alone in its row: a second
    question beside it would be a second place to copy from.
    """
    from tqdm import tqdm

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

    optimizer = Optimizer(network, base)
    log = []
    total = base.copy_steps + base.steps
    network.train()
    for step in tqdm(range(total), desc="train base", unit="batch", disable=None):
        loss = batch_loss(network, rows_of(step))
        network.zero_grad()
        loss.backward()
        factor = schedule(step - base.copy_steps, base.steps)
        optimizer.step(factor)
        if step % 10 == 9 or step == total - 1:
            log.append({"step": step + 1, "loss": loss.item(), "learning_rate": factor})
    if not math.isfinite(log[-1]["loss"]):
        raise InputError(f"base: loss is {log[-1]['loss']} after {total} steps. Lower the rates.")
    return log


def save(network: Any, tokenizer: Any, folder: Path) -> None:
    """Safetensors and tokenizer; no paths and no times inside."""
    network.save_pretrained(str(folder), safe_serialization=True)
    tokenizer.save_pretrained(str(folder))
