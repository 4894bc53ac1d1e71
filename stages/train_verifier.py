"""Train the two models that predict a rating from a question and an explanation.

    data/questions.parquet, models/base -> models/verifier_reward  (train split, two folds)
    data/questions.parquet              -> models/verifier_judge   (judge split, encoder)

The verifier (a score head and a LoRA adapter on the generator's base) ranks candidates.
It is cross-fitted: fold_k learns from the train clusters of the other fold, so that no
candidate is scored by a model that was trained on its question. The judge never meets a
train question and selects nothing; it is asked in evaluate. Both regress on stars, each
row weighted by its number of ratings. Healthy: both order pairs of a cluster better than
the word count does (reports/train_verifier_*.json).

    dvc repro train_verifier@reward
    python -m stages.train_verifier judge
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from schemas.errors import InputError
from schemas.questions import Questions
from stages.pure import fitness
from stages.pure.prompts import render_prompt
from stages.runtime import checkpoints, classifiers
from stages.runtime.classifiers import Classifier, Examples
from stages.runtime.profile import Encoder, Model, Training
from stages.runtime.run import Run, StageParams, stage_run, start
from stages.runtime.training import scratch_outputs


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: train_verifier."""

    min_weight_ratings: int
    pair_gap: float


@dataclass(frozen=True)
class Setting:
    """Where an item takes its backbone, its training and its rows from."""

    split: str
    backbone: type[Model] | type[Encoder]
    backbone_section: str
    training_section: str


SETTINGS = {
    "reward": Setting("train", Model, "model", "verifier"),
    "judge": Setting("judge", Encoder, "encoder", "judge"),
}


def examples(rows: pd.DataFrame, min_weight: int) -> Examples:
    """Rated rows as training rows; weights are rating counts, scaled to mean 1."""
    weights = rows.question_ratings_n.clip(lower=min_weight).to_numpy(float)
    return Examples(
        first=[render_prompt(row) for row in rows.to_dict("records")],
        second=rows.explanation.tolist(),
        targets=rows.question_rating_mean.to_numpy(float),
        weights=weights / weights.mean() if len(weights) else weights,
    )


def rated_rows(rows: pd.DataFrame, split: str) -> pd.DataFrame:
    """Rows of a split that have a rating, in a fixed order."""
    chosen = rows[(rows.split == split) & rows.question_rating_mean.notna()]
    return chosen.sort_values("row_id", ignore_index=True)


def train_one(
    run: Run[Params], setting: Setting, rows: pd.DataFrame, eval_rows: pd.DataFrame, folder: Path
) -> tuple[Classifier, pd.DataFrame]:
    """Fit on `rows`, save to `folder`, return the model and its curve."""
    if rows.question_id.nunique() < 2:
        raise InputError(
            f"data/questions.parquet: {len(rows)} rated rows for {folder}, at least two questions "
            "are needed. Add exports or change prepare_questions.split_percent."
        )
    backbone = run.section(setting.backbone, setting.backbone_section)
    training = run.section(Training, setting.training_section)
    classifier = classifiers.build(backbone, labels=1, seed=run.seed)
    fitted = examples(rows, run.params.min_weight_ratings)
    validation = examples(eval_rows, run.params.min_weight_ratings)
    log = classifiers.fit(classifier, fitted, training, run.seed, validation)
    manifest: dict[str, object] = {"kind": "rating", "split": setting.split, "rows_n": len(rows)}
    if isinstance(backbone, Model):
        data = [Questions.path()]
        tokenizer = classifier.tokenizer
        manifest |= checkpoints.manifest_for(backbone, tokenizer, None, data, "verifier")
    classifiers.save(classifier, scratch_outputs(folder), manifest)
    return classifier, pd.DataFrame(log)


def predict(classifier: Classifier, rows: pd.DataFrame) -> np.ndarray:
    """Predicted stars (n,)."""
    prompts = [render_prompt(row) for row in rows.to_dict("records")]
    return classifier.ratings(prompts, rows.explanation.tolist())


def train_reward(run: Run[Params], rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Both folds; returns the train rows with out-of-fold predictions."""
    setting = SETTINGS["reward"]
    known, validation = rated_rows(rows, "train"), rated_rows(rows, "validation")
    predicted = np.full(len(known), np.nan)
    curves = []
    for fold in (0, 1):
        is_held_out = (known.fold == fold).to_numpy()
        target = folder / f"fold_{fold}"
        model, curve = train_one(run, setting, known[~is_held_out], validation, target)
        predicted[is_held_out] = predict(model, known[is_held_out])
        curves.append(curve.assign(fold=fold))
    run.write_curve(pd.concat(curves, ignore_index=True))
    return known.assign(predicted=predicted)


def train_judge(run: Run[Params], rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """One model; returns the train split, none of which it saw, with predictions."""
    judged, validation = rated_rows(rows, "judge"), rated_rows(rows, "validation")
    model, curve = train_one(run, SETTINGS["judge"], judged, validation, folder)
    run.write_curve(curve)
    unseen = rated_rows(rows, "train")
    return unseen.assign(predicted=predict(model, unseen))


def main(item: str) -> None:
    """Train the reward verifier ("reward") or the judge ("judge")."""
    if item not in SETTINGS:
        raise InputError(f"train_verifier: unknown item '{item}'. Use one of {sorted(SETTINGS)}.")
    with stage_run("train_verifier", Params, item) as run:
        rows = run.read(Questions)
        folder = scratch_outputs(Path(f"models/verifier_{item}"))
        if item == "reward":
            run.reads(checkpoints.BASE_DIR)
            unseen = train_reward(run, rows, folder)
        else:
            unseen = train_judge(run, rows, folder)
        run.wrote(folder)
        run.report(fitness.rating_fitness(unseen, run.params.pair_gap))


if __name__ == "__main__":
    start(main)
