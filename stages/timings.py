"""Measure how long each policy takes for one question; gather what each stage took.

    data/questions.parquet (test), models/ -> reports/timings.json, reports/timings.md (not in git)
    .dvc/tmp/stage_timings

Wall-clock seconds for one question alone (batch size 1), with the models loaded and two
questions answered beforehand. ILearner's time holds all its rounds and, in each, the
verifier; a rating that ends the rounds ends them here too. Sampled as the test texts are.
Each stage measures itself when it runs: seconds, CPU seconds, peak memory. Not a stage: clock
readings differ between equal runs.

    python -m stages.timings
    python -m stages.timings --questions 100
"""

import contextlib
import io
import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from schemas.errors import InputError
from schemas.questions import Questions
from stages.pure.prompts import distinct_questions, render_prompt
from stages.pure.rounds import is_done, next_prompt
from stages.pure.scored.marks import mark_options
from stages.pure.scored.scoring import NOT_TRAINED_ON
from stages.runtime import artifacts, classifiers, params, store, usage
from stages.runtime.classifiers import Classifier
from stages.runtime.loading.profile import Generation, Model
from stages.runtime.run import REPORTS_DIR, start
from stages.runtime.sampling.drawing import Decoding
from stages.runtime.sampling.generation import Generated, Writer, load_writer
from stages.scorers import verifier

STAGE = "explain_test_ilearner"  # the stage whose parameters hold for the measurement
MODELS = Path("models")
WARM_UP = 2  # questions answered before the clock counts
Question = dict[Any, Any]


@dataclass(frozen=True)
class Rounds:
    """The part of params.yaml: explain_test_ilearner that a loop over one question needs."""

    max_questions: int | None
    rounds: int
    stop_rating: float


@dataclass(frozen=True)
class Answerer:
    """A loaded policy that answers one question at a time."""

    writer: Writer
    decoding: Decoding
    seed: int

    def answer(self, prompt: str) -> Generated:
        """The answer to one prompt."""
        return self.writer.answer([prompt], self.decoding, self.seed, "timings")[0]


def one_pass(answerer: Answerer, question: Question) -> list[Generated]:
    """What the policies sft and dpo do."""
    return [answerer.answer(render_prompt(question))]


def in_rounds(
    answerer: Answerer, halves: dict[int, Classifier], how: Rounds, question: Question
) -> list[Generated]:
    """What ilearner does: the texts of its rounds, each rated by both halves of the verifier."""
    answers: list[Generated] = []
    last: dict[str, Any] | None = None
    for _ in range(how.rounds):
        answers.append(answerer.answer(next_prompt(question, last)))
        rating = rate(halves, question, answers[-1].text)
        last = {"explanation": answers[-1].text, "verifier_rating": rating}
        if is_done(rating, how.stop_rating):
            break
    return answers


def rate(halves: dict[int, Classifier], question: Question, text: str) -> float:
    """Stars of the verifier for an unseen question; NaN for an empty text."""
    if not text:
        return math.nan
    unseen = np.array([NOT_TRAINED_ON])
    asked = [render_prompt(question)], [mark_options(question, text)]
    return float(verifier.ratings(halves, *asked, unseen)[0])


def measure(
    ask: Callable[[Question], list[Generated]], questions: list[Question], policy: str
) -> pd.DataFrame:
    """One row per question: policy, question_id, seconds, tokens_n and rounds_n."""
    rows = []
    with contextlib.redirect_stderr(io.StringIO()):  # no bar for each single question
        for question in questions[:WARM_UP]:
            ask(question)
        for question in questions:
            begun = time.perf_counter()
            answers = ask(question)  # ends with the text, so a GPU has finished as well
            seconds = time.perf_counter() - begun
            row = {"policy": policy, "question_id": question["question_id"], "seconds": seconds}
            row |= {"tokens_n": sum(a.tokens_n for a in answers), "rounds_n": len(answers)}
            rows.append(row)
    return pd.DataFrame(rows)


def measure_all(given: dict[str, Any], questions: list[Question]) -> pd.DataFrame:
    """The rows of sft, dpo and ilearner; the models of one policy are in memory at a time."""
    model = params.section(Model, "model", given)
    size = params.section(Generation, "generation", given)
    decoding = params.section(Decoding, "decoding", given)
    how = params.section(Rounds, STAGE, given)

    def answerer(adapter: str) -> Answerer:
        writer = load_writer(model, size, MODELS / adapter)
        return Answerer(writer, decoding, int(given["seed"]))

    tables = [
        measure(partial(one_pass, answerer(adapter)), questions, adapter)
        for adapter in ("sft", "dpo")
    ]
    halves = classifiers.load_folds(MODELS / "verifier_reward")
    tables.append(measure(partial(in_rounds, answerer("sft"), halves, how), questions, "ilearner"))
    return pd.concat(tables, ignore_index=True)


def summarize(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Per policy: seconds per question (median, 95th percentile, mean), mean tokens and rounds."""
    return {
        str(policy): {
            "p50_seconds": float(own.seconds.quantile(0.5)),
            "p95_seconds": float(own.seconds.quantile(0.95)),
            "mean_seconds": float(own.seconds.mean()),
            "mean_tokens": float(own.tokens_n.mean()),
            "mean_rounds_n": float(own.rounds_n.mean()),
        }
        for policy, own in rows.groupby("policy", sort=False)
    }


def machine(model: Model) -> dict[str, Any]:
    """What computed: the processor or the GPU by name, and torch's threads."""
    import torch

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = torch.cuda.get_device_name() if model.device == "cuda" else "".join(names[:1])
    return {
        "device": model.device,
        "processor": name or platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def markdown(policies: dict[str, dict[str, float]], computed: dict[str, Any], count: int) -> str:
    """The measurement as a table with a sentence that says how it was made."""
    header = "| policy | p50 s | p95 s | mean s | tokens | rounds |\n|---|---:|---:|---:|---:|---:|"
    lines = [
        f"| {name} | {m['p50_seconds']:.3f} | {m['p95_seconds']:.3f} | {m['mean_seconds']:.3f} "
        f"| {m['mean_tokens']:.1f} | {m['mean_rounds_n']:.1f} |"
        for name, m in policies.items()
    ]
    where = f"{computed['processor']} ({computed['device']}, {computed['threads']} threads)"
    said = (
        f"Seconds per question, one at a time, {count} test questions, after {WARM_UP} to warm up"
    )
    return "\n".join([f"{said}: {where}.", "", header, *lines]) + "\n"


def main(
    questions: Annotated[int, typer.Option(min=1, help="Test questions, the first by id.")] = 32,
) -> None:
    """Seconds per stage; seconds per question of sft, dpo and ilearner, one at a time."""
    given = params.declared(STAGE)
    distinct = distinct_questions(artifacts.read(Questions))
    asked = distinct[distinct.split == "test"].head(questions).to_dict("records")
    if not asked:
        raise InputError(
            f"{Questions.path()}: no question in the split 'test'. Add exports or change "
            "prepare_questions.split_percent."
        )
    with store.forgetful():
        policies = summarize(measure_all(given, asked))
    computed = machine(params.section(Model, "model", given))
    stages = usage.gather()
    body = {"questions_n": len(asked), "machine": computed, "policies": policies}
    body |= {"stages": stages, "stages_total": usage.total(stages)}
    text = f"{usage.markdown(stages)}\n{markdown(policies, computed, len(asked))}"
    artifacts.write_text(REPORTS_DIR / "timings.json", json.dumps(body, indent=2) + "\n")
    artifacts.write_text(REPORTS_DIR / "timings.md", text)
    print(text, end="")


if __name__ == "__main__":
    start(main)
