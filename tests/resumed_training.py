"""Trainings of every kind, which tests/test_resume.py starts in processes of their own and kills.

Each is in a copy of the tiny repository, has a checkpoint after every step, and leaves the
weights as they are saved and the log.
"""

import json
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stages.pure.prompts import render_prompt
from stages.runtime import classifiers, lessons, resume
from stages.runtime.loading import checkpoints, processor
from stages.runtime.pretraining import base_model
from stages.runtime.pretraining.packing import Document
from stages.runtime.tuning import training as trainers
from tests import tiny_models
from tests.tiny_models import BASE, MODEL, READING, STUDENT, TRAINING

SEED = 5
WARNINGS = "warnings.txt"
OFTEN = 0.0  # seconds between checkpoints
# 3 epochs of 4 updates; dropout, so that the random state counts; a log line per 5 updates
SETTINGS = replace(TRAINING, batch_size=2, accumulation_steps=2, epochs=3)
DROPPING = replace(MODEL, lora_dropout=0.2)
Log = list[dict[str, float]]


def course_ids(tokenizer: Any) -> list[tuple[list[int], list[int], list[int]]]:
    """Prompt, good and poor text of each of the first eight questions."""
    rows = tiny_models.course().to_dict("records")
    return [
        (
            checkpoints.encode_prompt(tokenizer, render_prompt(good), {}),
            checkpoints.encode_completion(tokenizer, good["explanation"]),
            checkpoints.encode_completion(tokenizer, poor["explanation"]),
        )
        for good, poor in zip(rows[0:32:2], rows[1:32:2], strict=True)
    ]


def sft(target: Path, seconds: float | None) -> Log:
    """Supervised fine-tuning, validated after each epoch."""
    tokenizer = checkpoints.load_tokenizer(DROPPING)
    rows = [
        {"input_ids": asked + good, "completion_mask": [0] * len(asked) + [1] * len(good)}
        for asked, good, _ in course_ids(tokenizer)
    ]
    policy = trainers.fresh_lora(checkpoints.load_base(DROPPING), DROPPING, SEED)
    given = (SETTINGS, DROPPING, SEED, seconds)
    log = trainers.fit_sft(policy, tokenizer, rows, rows[:2], *given)
    checkpoints.save_adapter(policy, target, {})
    return log


def dpo(target: Path, seconds: float | None) -> Log:
    """Preference tuning of models/sft."""
    tokenizer = checkpoints.load_tokenizer(DROPPING)
    rows = [
        {"prompt_ids": asked, "chosen_ids": good, "rejected_ids": bad}
        for asked, good, bad in course_ids(tokenizer)
    ]
    policy = checkpoints.load_policy(MODEL, Path("models/sft"), trainable=True)
    log = trainers.fit_dpo(policy, tokenizer, rows, SETTINGS, MODEL, SEED, seconds, beta=0.1)
    checkpoints.save_adapter(policy, target, {})
    return log


def verifier(target: Path, seconds: float | None) -> Log:
    """A score head with its adapter; one and a half epochs: the end is within one."""
    classifier = classifiers.build(DROPPING, seed=SEED)
    rows = tiny_models.course().to_dict("records")[:16]
    examples = classifiers.Examples(
        [render_prompt(row) for row in rows],
        [row["explanation"] for row in rows],
        np.linspace(1, 5, len(rows)),
        np.ones(len(rows)),
    )
    settings = replace(SETTINGS, epochs=2.5)
    log = classifiers.fit(classifier, examples, settings, SEED, examples, seconds)
    classifiers.save(classifier, target, {})
    return log


def documents(tokenizer: Any) -> list[Document]:
    """Questions with their good texts."""
    return [Document(asked + good, len(asked)) for asked, good, _ in course_ids(tokenizer)]


def base(target: Path, seconds: float | None) -> Log:
    """A base from nothing (its random weights are those of models/base)."""
    processor.prepare(MODEL.threads)
    tokenizer = checkpoints.load_tokenizer(MODEL)
    network, read = checkpoints.load_base(MODEL), documents(tokenizer)
    rng = np.random.default_rng(SEED)
    kept = resume.of(seconds, kind="base", weights=resume.weights_digest(network))
    log = base_model.train(
        network, read, read[:5], lambda: read[int(rng.integers(len(read)))], BASE, SEED, rng, kept
    )
    base_model.save(network, tokenizer, target)
    return log


def student(target: Path, seconds: float | None) -> Log:
    """A student from nothing."""
    tokenizer = checkpoints.load_tokenizer(MODEL)
    read, rng = documents(tokenizer), np.random.default_rng(SEED)
    kept = resume.of(seconds, kind="student")

    def exercise(is_short: bool) -> Document:
        return read[int(rng.integers(3 if is_short else len(read)))]

    network, log = lessons.train(STUDENT, READING, tokenizer, exercise, SEED, rng, kept)
    base_model.save(network, tokenizer, target)
    return log


KINDS: dict[str, Callable[[Path, float | None], Log]] = {
    "sft": sft,
    "dpo": dpo,
    "verifier": verifier,
    "base": base,
    "student": student,
}


def kill_in(step: int) -> None:
    """SIGKILL this process in the update number `step` that it makes, whichever it is."""
    from torch.optim import AdamW

    real, done = AdamW.step, [0]

    def update(self: Any, *given: Any, **named: Any) -> Any:
        done[0] += 1
        if done[0] == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, *given, **named)

    AdamW.step = update


def train(kind: str, target: Path, seconds: float | None = OFTEN) -> None:
    """The training `kind`, its weights and its log in `target`."""
    checkpoints.scratch_outputs(target)
    log = KINDS[kind](target, seconds)
    (target / "log.json").write_text(json.dumps(log))


def in_folder(
    kind: str, target: Path, folder: Path, store: str, step: int | None, seconds: float | None
) -> None:
    """`train` in a new process; with `step` killed in that update. Warnings are in WARNINGS."""
    os.chdir(folder)
    os.environ["PEERWISE_STORE"] = store
    logging.basicConfig(filename=WARNINGS, level=logging.WARNING, format="%(message)s", force=True)
    if step is not None:
        kill_in(step)
    train(kind, target, seconds)
