"""Bring the base model: train the tiny one here, or pin the hub model of the profile.

    data/questions_taught.parquet, background statements -> models/base
                                                     reports/prepare_base.json, curves/

The tiny base reads the train split's questions with every student's explanation (loss on
the explanation), the background statements, and copying exercises made of random words.
It sees no question and no explanation of the judge, validation and test splits. A profile
that names a hub model gets a folder that pins name and revision; nothing is downloaded.

    dvc repro prepare_base
    python -m stages.prepare_base
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from schemas.errors import InputError
from schemas.leakage import Leakage
from schemas.questions import TAUGHT, Questions
from stages.pure import exercises
from stages.pure.prompts import render_prompt
from stages.runtime import artifacts, resume
from stages.runtime.loading import checkpoints, processor
from stages.runtime.loading.profile import Model
from stages.runtime.pretraining import base_model
from stages.runtime.pretraining.base_model import Base
from stages.runtime.pretraining.packing import Document
from stages.runtime.run import Run, StageParams, stage_run, start
from stages.runtime.sources import code_digest


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: prepare_base."""

    background: str | None


def read_background(source: Path, name: str | None) -> list[str]:
    """The statements to read, one per line; an empty list where none are named."""
    if name is None:
        return []
    path = source / name
    if not path.exists():
        raise InputError(f"{path} (prepare_base.background) does not exist. Name a file or null.")
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def train_texts(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """(prompt, explanation) of every row of the train split."""
    train = rows[rows.split == "train"].sort_values("row_id")
    return [(render_prompt(row), row["explanation"]) for row in train.to_dict("records")]


def document(tokenizer: Any, prompt: str, answer: str) -> Document:
    """One question with its answer; the loss counts on the answer and its EOS."""
    ids = checkpoints.encode_prompt(tokenizer, prompt, {})
    return Document(ids + checkpoints.encode_completion(tokenizer, answer), len(ids))


def train_tiny(run: Run[Params], base: Base, model: Model, rows: pd.DataFrame) -> None:
    """Train tokenizer and network, save both, report sizes and losses."""
    import torch

    source = Path(run.given["prepare_questions"]["source"])
    statements = read_background(source, run.params.background)
    texts = train_texts(rows)
    if not texts:
        raise InputError("data/questions.parquet: no row in the split 'train'. Add exports.")
    plain = [f"{prompt} {answer}" for prompt, answer in texts] + statements
    tokenizer = base_model.train_tokenizer(plain, base.vocabulary, model.max_length)
    words, lines = exercises.words_of(plain), statements or [answer for _, answer in texts]
    rng = np.random.default_rng(run.seed)

    def exercise() -> Document:
        return document(tokenizer, *exercises.copying(words, lines, rng))

    torch.manual_seed(run.seed)
    processor.prepare(model.threads)
    network = base_model.build_model(base, model, tokenizer)
    kept = resume.of(
        resume.SECONDS,
        kind="base",
        texts=resume.rows_digest([texts, statements]),
        base=asdict(base),
        model=asdict(model),
        weights=resume.weights_digest(network),
        seed=run.seed,
        code=code_digest("stages.prepare_base"),
    )
    log = base_model.train(
        network,
        [document(tokenizer, *text) for text in texts],
        [Document(checkpoints.encode_completion(tokenizer, line), 0) for line in statements],
        exercise,
        base,
        run.seed,
        rng,
        kept,
    )
    with artifacts.complete_folder(checkpoints.BASE_DIR) as folder:
        base_model.save(network, tokenizer, folder)
    run.write_curve(pd.DataFrame(log))
    metrics = {
        "parameters_n": sum(p.numel() for p in network.parameters()),
        "vocabulary_tokens": len(tokenizer),
        "question_texts_n": len(texts),
        "statements_n": len(statements),
        "loss_last_nats": log[-1]["loss"],
    }
    run.report(metrics)


def pin_hub_model(run: Run[Params], model: Model) -> None:
    """Write models/base/reference.json; an unpinned revision is refused."""
    import json

    if model.revision is None:
        raise InputError(
            f"stages/profiles: model.revision of {model.name} is null. Run `python -m stages.pin`."
        )
    reference = {"name": model.name, "revision": model.revision}
    with artifacts.complete_folder(checkpoints.BASE_DIR) as folder:
        (folder / checkpoints.REFERENCE).write_text(json.dumps(reference, indent=2) + "\n")
    run.write_curve(pd.DataFrame({"step": [], "loss": []}))
    run.report({"parameters_n": 0})


def main() -> None:
    """Train the tiny base, or pin the hub model of the profile."""
    with stage_run("prepare_base", Params) as run:
        rows = run.read(Questions, TAUGHT)
        run.reads(Leakage.path("questions"))
        model = run.section(Model, "model")
        if model.name == "trained":
            train_tiny(run, run.section(Base, "base"), model, rows)
        else:
            pin_hub_model(run, model)
        run.wrote(checkpoints.BASE_DIR)


if __name__ == "__main__":
    start(main)
