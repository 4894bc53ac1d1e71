"""Train the solver that tells recoverability: which option does a masked explanation point to?

    data/questions_taught.parquet (judge split) -> models/solver
                                            reports/train_solver.json

It learns from students' explanations rated at least `min_rating`, with the letters and texts
of all options hidden, on a head of its own over the frozen encoder: it shares no weight with
verifier, judge and entailment scorer. It sees no likeness of option and question, because
the encoder answers by that alone more often than chance (reported as stem_accuracy_frac).
Held-out numbers are of the train split, one explanation per question. Healthy:
accuracy_frac above chance_frac, without_accuracy_frac equal to it, and
misled_accuracy_frac (an explanation of another question) not above it.

    dvc repro train_solver
    python -m stages.train_solver
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import InputError
from schemas.questions import TAUGHT, Questions
from stages.pure import prompts
from stages.pure.scored import masking, solving
from stages.runtime import artifacts, solver
from stages.runtime.loading import checkpoints
from stages.runtime.loading.profile import Encoder
from stages.runtime.run import StageParams, stage_run, start
from stages.runtime.solver import Choices, Solver

FOLDER = Path("models/solver")


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: train_solver."""

    min_rating: float


def choices(rows: Sequence[solving.Row], explanations: Sequence[str]) -> Choices:
    """What the solver is asked: one explanation per row, masked."""
    texts = [
        masking.mask(text, masking.options_of(row))
        for row, text in zip(rows, explanations, strict=True)
    ]
    return Choices(
        options=[tuple(prompts.options(row)) for row in rows],
        explanations=texts,
        keys=np.array([solving.place_of_key(row) for row in rows], dtype=int),
        groups=np.array([row["cluster_id"] for row in rows]),
    )


def fitness(trained: Solver, rows: Sequence[solving.Row]) -> dict[str, float]:
    """Accuracy on questions it has not seen: with and without their explanation, and misled."""
    if not rows:
        return {}
    own = [row["explanation"] for row in rows]
    asked = {"": own, "without_": [""] * len(rows), "misled_": solving.misleading(rows)}
    numbers = {"held_out_n": float(len(rows)), "chance_frac": solving.chance(rows)}
    for name, texts in asked.items():
        said = choices(rows, texts)
        likely = trained.probabilities(said.options, said.explanations)
        numbers[f"{name}accuracy_frac"] = solving.accuracy(likely, rows)
    stems = [str(row["stem"]) for row in rows]
    by_stem = solver.nearest_to_stem(trained.encoder, stems, choices(rows, own).options)
    return numbers | {"stem_accuracy_frac": solving.accuracy(by_stem, rows)}


def main() -> None:
    """Train the solver on the judge split."""
    with stage_run("train_solver", Params) as run:
        rows = run.read(Questions, TAUGHT)
        fitted = solving.rated_at_least(rows, ["judge"], run.params.min_rating)
        if len({row["cluster_id"] for row in fitted}) < 2:
            raise InputError(
                "data/questions.parquet: the judge split has explanations rated "
                f"{run.params.min_rating} or more in fewer than 2 clusters. Lower "
                "train_solver.min_rating or add exports."
            )
        told = choices(fitted, [row["explanation"] for row in fitted])
        trained, curve = solver.fit(run.section(Encoder, "encoder"), told)
        manifest: dict[str, Any] = checkpoints.data_digests(Questions.path(TAUGHT))
        manifest |= {"split": "judge", "rows_n": len(fitted)}
        with artifacts.complete_folder(FOLDER) as folder:
            solver.save(trained, folder, manifest)
        run.wrote(FOLDER)
        run.write_curve(curve)
        held_out = solving.rated_at_least(rows, ["train"], run.params.min_rating)
        numbers = fitness(trained, solving.one_per_question(held_out))
        run.report({"rows_n": len(fitted)} | numbers)


if __name__ == "__main__":
    start(main)
