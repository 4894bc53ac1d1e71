"""Train the entailment scorer of the offline default.

    data/questions.parquet (judge split) -> models/entailment
                                            reports/train_entailment.json

A premise is a student's explanation rated at least `min_rating`; it entails "The correct
answer to <question> is <key>" and does not entail the same sentence with a distractor.
Held out: it learns from the judge split and selects nothing. What it can know is limited
by its few rows; with a hub at hand a published NLI model is the better scorer.

    dvc repro train_entailment
    python -m stages.train_entailment
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from schemas.errors import InputError
from schemas.questions import Questions
from stages.pure.prompts import declarative, distractor_texts, key_text
from stages.runtime import classifiers
from stages.runtime.classifiers import Classifier, Examples
from stages.runtime.profile import Encoder, Training
from stages.runtime.run import StageParams, stage_run, start
from stages.runtime.training import scratch_outputs

FOLDER = Path("models/entailment")


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: train_entailment."""

    min_rating: float


def pairs_of(row: dict[Any, Any]) -> list[tuple[str, str, int]]:
    """(premise, hypothesis, label) of one row: the key, and one distractor to balance it.

    Which distractor is fixed by the row's id, so that all of them occur.
    """
    pairs = [(row["explanation"], declarative(row["stem"], key_text(row)), 1)]
    if wrong := distractor_texts(row):
        place = sum(row["row_id"].encode()) % len(wrong)
        pairs.append((row["explanation"], declarative(row["stem"], wrong[place]), 0))
    return pairs


def examples(rows: pd.DataFrame, split: str, min_rating: float) -> Examples:
    """Training rows of a split's well rated explanations."""
    good = rows[(rows.split == split) & (rows.question_rating_mean >= min_rating)]
    ordered = good.sort_values("row_id").to_dict("records")
    pairs = [pair for row in ordered for pair in pairs_of(row)]
    return Examples(
        first=[premise for premise, _, _ in pairs],
        second=[hypothesis for _, hypothesis, _ in pairs],
        targets=np.array([label for _, _, label in pairs], dtype=int),
        weights=np.ones(len(pairs)),
    )


def accuracy(classifier: Classifier, held_out: Examples) -> dict[str, float]:
    """Share of pairs labelled right, over pairs that the model never saw (half are 1)."""
    entailed = classifier.probabilities(held_out.first, held_out.second)[:, 1]
    is_scored = ~np.isnan(entailed)
    is_right = (entailed[is_scored] > 0.5) == (held_out.targets[is_scored] == 1)
    return {"accuracy_frac": float(is_right.mean())} if is_scored.any() else {}


def main() -> None:
    """Train the entailment scorer on the judge split."""
    with stage_run("train_entailment", Params) as run:
        rows = run.read(Questions)
        fitted = examples(rows, "judge", run.params.min_rating)
        if not fitted.first:
            raise InputError(
                "data/questions.parquet: no explanation of the judge split is rated "
                f"{run.params.min_rating} or more. Lower train_entailment.min_rating."
            )
        classifier = classifiers.build(run.section(Encoder, "encoder"), labels=2, seed=run.seed)
        training = run.section(Training, "entailment")
        validation = examples(rows, "validation", run.params.min_rating)
        log = classifiers.fit(classifier, fitted, training, run.seed, validation)
        manifest = {"kind": "entailment", "split": "judge", "rows_n": len(fitted.first)}
        classifiers.save(classifier, scratch_outputs(FOLDER), manifest)
        run.wrote(FOLDER)
        run.write_curve(pd.DataFrame(log))
        held_out = examples(rows, "train", run.params.min_rating)
        run.report({"pairs_n": len(fitted.first)} | accuracy(classifier, held_out))


if __name__ == "__main__":
    start(main)
