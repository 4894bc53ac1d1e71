"""A course of twenty questions, and models so small that a test may train them.

Random models say nothing sensible; they are there to see what a stage asks them and what it
does with the answer. The fixtures that use them are in tests/tiny_fixtures.py.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from schemas.questions import TAUGHT, Questions
from schemas.synthetic_questions import SyntheticQuestions
from stages.pure.prompts import render_prompt
from stages.runtime import artifacts, classifiers
from stages.runtime.lessons import Reading
from stages.runtime.loading import checkpoints
from stages.runtime.loading.profile import Encoder, Generation, Model, Student, Training
from stages.runtime.pretraining import base_model
from stages.runtime.pretraining.base_model import Base
from stages.runtime.sampling import generation
from stages.runtime.sampling.drawing import Request
from stages.runtime.sampling.generation import Generated
from stages.runtime.tuning import training
from tests import invented

MODEL = Model(
    name="trained",
    revision=None,
    dtype="float32",
    device="cpu",
    threads=1,
    attention="sdpa",
    max_length=160,
    chat_template_kwargs={},
    lora_targets=["q_proj", "v_proj"],
    lora_rank=2,
    lora_alpha=4,
    lora_dropout=0.0,
    processes=1,
    deepspeed=None,
)
BASE = Base(
    layers=2,
    width=32,
    heads=2,
    feed_forward=64,
    vocabulary=400,
    copy_steps=2,
    copy_every=5,
    copy_batch_size=4,
    steps=10,
    batch_size=4,
    sequence_length=96,
    question_frac=0.5,
    muon_learning_rate=0.02,
    adam_learning_rate=0.003,
)
TRAINING = Training(
    learning_rate=5e-3,
    epochs=1,
    batch_size=8,
    accumulation_steps=1,
    warmup_frac=0.1,
    gradient_checkpointing=False,
)
ENCODER = Encoder(
    name="tiny-encoder",
    revision=None,
    dtype="float32",
    device="cpu",
    threads=1,
    max_length=80,
    batch_size=4,
)
STUDENT = Student(
    name="trained",
    revision=None,
    dtype="float32",
    device="cpu",
    threads=1,
    attention="sdpa",
    max_length=160,
    batch_size=4,
    size={"layers": 2, "width": 32, "heads": 2, "feed_forward": 64},
)
READING = Reading(
    vocabulary=400,
    short_steps=5,
    steps=15,
    batch_size=4,
    muon_learning_rate=0.02,
    adam_learning_rate=0.003,
)
GENERATION = Generation(batch_size=4, max_new_tokens=8)
DECODING: dict[str, Any] = {
    "temperature": 0.7,
    "top_k": 20,
    "top_p": 1.0,
    "repetition_penalty": 1.1,
}

SPLITS = ["train"] * 8 + ["judge"] * 4 + ["validation"] * 2 + ["test"] * 6
NAMES = (
    "ant bear crab deer eel frog goat hare ibis jay kite lynx mole newt owl pig rat seal toad wasp"
)
ANIMALS = NAMES.split()
PLACES = ["the meadow", "a river", "the dry sand", "old trees"]


def course() -> pd.DataFrame:
    """Questions q00..q19 (8 train, 4 judge, 2 validation, 6 test), two students each.

    The first student is rated 4 stars and up and explains well, the second 1.5 and does not;
    both are of the same cluster. The first row of q00 has no rating.
    """
    rows = []
    for n, (animal, split) in enumerate(zip(ANIMALS, SPLITS, strict=True)):
        key = PLACES[n % 4]
        good = f"The {animal} lives in {key} because it finds its food and shelter there."
        poor = f"I think it is {key}."
        for student, (text, stars) in enumerate([(good, 4.0 + n % 3 / 4), (poor, 1.5)]):
            rating = None if (n, student) == (0, 0) else stars
            identity = (f"zoo/{n:02d}{student}", f"q{n:02d}", f"c{n:02d}", split, n % 2, "zoo")
            options = (*PLACES, None, 4, "ABCD"[n % 4])
            rated = (rating, 0 if rating is None else 10 + n, "question", student == 0, True, None)
            stem = f"Where does the {animal} live?"
            rows.append((*identity, stem, *options, text, len(text.split()), *rated))
    return invented.table(Questions, rows)


def write_course(rows: pd.DataFrame) -> None:
    """All rows, and those that models may learn from; no synthetic question."""
    artifacts.write(SyntheticQuestions, artifacts.empty(SyntheticQuestions))
    artifacts.write(Questions, rows)
    artifacts.write(Questions, rows[rows.is_training_row], TAUGHT)


def texts() -> list[str]:
    """All prompts and explanations of the course; what vocabularies are made from."""
    records = course().to_dict("records")
    return [f"{render_prompt(row)} {row['explanation']}" for row in records]


# ---- models ------------------------------------------------------------------------------


def stir(module: Any, seed: int) -> None:
    """Give the adapter random weights: a fresh one is zero and would change nothing."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.5, generator=generator)


def make_base(seed: int = 0) -> None:
    """models/base with random weights."""
    import torch

    torch.manual_seed(seed)
    tokenizer = base_model.train_tokenizer(texts(), BASE.vocabulary, MODEL.max_length)
    network = base_model.build_model(BASE, MODEL, tokenizer)
    base_model.save(network, tokenizer, checkpoints.scratch_outputs(checkpoints.BASE_DIR))


def make_policy(folder: Path, seed: int) -> None:
    """A policy on models/base."""
    tokenizer = checkpoints.load_tokenizer(MODEL)
    policy = training.fresh_lora(checkpoints.load_base(MODEL), MODEL, seed)
    stir(policy, seed)
    manifest = checkpoints.manifest_for(MODEL, tokenizer, None, [Questions.path()], "sft")
    checkpoints.save_adapter(policy, checkpoints.scratch_outputs(folder), manifest)


def make_verifier(folder: Path, seed: int) -> None:
    """One half of a verifier on models/base; its ratings spread around 2.5 stars."""
    classifier = classifiers.build(MODEL, seed=seed)
    stir(classifier.model, seed)
    classifier.center = 2.5
    tokenizer = classifier.tokenizer
    manifest = checkpoints.manifest_for(MODEL, tokenizer, None, [Questions.path()], "verifier")
    classifiers.save(classifier, checkpoints.scratch_outputs(folder), manifest)


def make_encoder(folder: Path) -> None:
    """A BERT with random weights and one word piece per word of the course."""
    import torch
    import transformers

    words = sorted({word for text in texts() for word in text.lower().split()})
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join([*special, *words]) + "\n")
    tokenizer = transformers.BertTokenizerFast.from_pretrained(str(folder))
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.2,  # so that texts differ: the default is for wide layers
    )
    transformers.BertModel(config).save_pretrained(str(folder), safe_serialization=True)
    tokenizer.save_pretrained(str(folder))


def answer_with(
    monkeypatch: pytest.MonkeyPatch, say: Callable[[Request], Generated]
) -> list[Request]:
    """Let every policy of this process answer by `say`; the requests that it gets, in order."""
    asked: list[Request] = []

    def run(_: Any, requests: Any, rows: int) -> Any:
        for place, request in enumerate(requests):
            asked.append(request)
            yield [(place, say(request))]

    monkeypatch.setattr(generation.Local, "run", run)
    return asked


# ---- stages ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recorded:
    """What a stage tells MLflow."""

    stage: str
    inputs: list[Path]
    outputs: list[Path]
    metrics: dict[str, float]
    curve: pd.DataFrame | None


Stage = Callable[..., Recorded]  # the fixture run_stage


def profile(**model: Any) -> dict[str, Any]:
    """The sections of a profile, with `model` changed."""
    trained = {name: asdict(TRAINING) for name in ("sft", "dpo", "verifier")}
    return trained | {
        "seed": 13,
        "model": asdict(replace(MODEL, **model)),
        "base": asdict(BASE),
        "encoder": asdict(ENCODER),
        "generation": asdict(GENERATION),
        "students": {f"student_{i}": asdict(STUDENT) for i in range(2)},
        "reading": asdict(READING),
        "decoding": DECODING,
    }


def reported(name: str) -> dict[str, float]:
    """The metrics of reports/<name>.json."""
    report: dict[str, dict[str, float]] = json.loads(Path(f"reports/{name}.json").read_text())
    return report["metrics"]


def tree_bytes(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, by its relative name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
