"""Train the entailment scorer of the offline default.

    data/questions_taught.parquet (judge split) -> models/entailment
                                            reports/train_entailment.json

A premise is a student's explanation rated at least `min_rating`; it entails "The correct
answer to <question> is <key>" and does not entail the same sentence with a distractor.
Held out: it learns from the judge split and selects nothing. It is a logistic regression on
how well the words of the claim are covered (runtime/encoding/alignment.py), so it knows which
option a text speaks for, not whether the reasons hold; with a hub at hand a published NLI
model is the better scorer. Healthy: accuracy_frac well above 0.5, the share of guessing.

    dvc repro train_entailment
    python -m stages.train_entailment
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from schemas.errors import InputError
from schemas.leakage import Leakage
from schemas.questions import TAUGHT, Questions
from stages.pure.prompts import distractor_texts
from stages.pure.scored.claims import Claim, claim, claim_key
from stages.runtime import artifacts
from stages.runtime.encoding import alignment
from stages.runtime.encoding.alignment import Examples, Scorer
from stages.runtime.loading import checkpoints
from stages.runtime.loading.profile import Encoder
from stages.runtime.run import StageParams, stage_run, start

FOLDER = Path("models/entailment")


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: train_entailment."""

    min_rating: float


def claims_of(row: dict[Any, Any]) -> list[tuple[Claim, int]]:
    """(claim, label) of one row: the key, and one distractor to balance it.

    Which distractor is fixed by the row's id, so that all of them occur.
    """
    claims = [(without_rivals(claim_key(row)), 1)]
    if wrong := distractor_texts(row):
        place = sum(row["row_id"].encode()) % len(wrong)
        claims.append((without_rivals(claim(row, wrong[place])), 0))
    return claims


def without_rivals(said: Claim) -> Claim:
    """The claim without the question's other options, which this scorer does not look at."""
    return said[:3]


def examples(rows: pd.DataFrame, split: str, min_rating: float) -> Examples:
    """Training rows of a split's well rated explanations."""
    good = rows[(rows.split == split) & (rows.question_rating_mean >= min_rating)]
    ordered = good.sort_values("row_id").to_dict("records")
    found = [(said, label, row) for row in ordered for said, label in claims_of(row)]
    return Examples(
        claims=[said for said, _, _ in found],
        explanations=[row["explanation"] for _, _, row in found],
        targets=np.array([label for _, label, _ in found], dtype=int),
        weights=np.ones(len(found)),
        groups=np.array([row["cluster_id"] for _, _, row in found]),
    )


def accuracy(scorer: Scorer, held_out: Examples) -> dict[str, float]:
    """Share of claims labelled right, over claims that the scorer never saw (half are 1)."""
    entailed = scorer.probabilities(held_out.claims, held_out.explanations)
    is_scored = ~np.isnan(entailed)
    is_right = (entailed[is_scored] > 0.5) == (held_out.targets[is_scored] == 1)
    return {"accuracy_frac": float(is_right.mean())} if is_scored.any() else {}


def main() -> None:
    """Train the entailment scorer on the judge split."""
    with stage_run("train_entailment", Params) as run:
        rows = run.read(Questions, TAUGHT)
        run.reads(Leakage.path("questions"))
        fitted = examples(rows, "judge", run.params.min_rating)
        if not fitted.claims:
            raise InputError(
                "data/questions.parquet: no explanation of the judge split is rated "
                f"{run.params.min_rating} or more. Lower train_entailment.min_rating."
            )
        scorer, curve = alignment.fit("entailment", run.section(Encoder, "encoder"), fitted)
        manifest = checkpoints.data_digests(Questions.path(TAUGHT))
        manifest |= {"split": "judge", "rows_n": len(fitted.claims)}
        with artifacts.complete_folder(FOLDER) as folder:
            alignment.save(scorer, folder, manifest)
        run.wrote(FOLDER)
        run.write_curve(curve)
        held_out = examples(rows, "train", run.params.min_rating)
        run.report({"pairs_n": len(fitted.claims)} | accuracy(scorer, held_out))


if __name__ == "__main__":
    start(main)
