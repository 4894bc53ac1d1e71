"""Train the two models that predict a rating from a question and an explanation.

    data/questions_taught.parquet, models/base -> models/verifier_reward  (train split, two folds)
    data/questions_taught.parquet              -> models/verifier_judge   (judge split, encoder)
                                        -> data/predictions_reward, data/predictions_judge

The verifier (a score head and a LoRA adapter on the generator's base) ranks candidates.
It is cross-fitted: fold_k learns from the train clusters of the other fold, so that no
candidate is scored by a model that was trained on its question; it reads each option in a
text as what it is, correct or wrong. The judge (a ridge regression
on the agreement of question and explanation, as a frozen encoder sees it, and where there are
rows enough on the explanation's own vector) never meets a
train question and selects nothing; it is asked in evaluate. Both regress on stars, each
row weighted by its number of ratings. What each predicts of rated rows that it did not learn
from, with their own explanation and with one of another question, goes to check_verifier,
which decides whether it may rank. Healthy: no row is unscored (reports/train_verifier_*.json).

    dvc repro train_verifier@reward
    python -m stages.train_verifier judge
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from schemas.errors import InputError
from schemas.leakage import Leakage
from schemas.predictions import Predictions
from schemas.questions import TAUGHT, Questions
from stages.pure import swaps
from stages.pure.prompts import render_prompt
from stages.pure.scored.claims import Claim, claim_key
from stages.pure.scored.marks import mark_options
from stages.runtime import artifacts, classifiers, resume
from stages.runtime.classifiers import Classifier
from stages.runtime.encoding import alignment
from stages.runtime.loading import checkpoints
from stages.runtime.loading.profile import Encoder, Model, Training
from stages.runtime.run import Run, StageParams, stage_run, start


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: train_verifier."""

    min_weight_ratings: int


def weights(rows: pd.DataFrame, min_weight: int) -> np.ndarray:
    """Weight of each row (n,): its number of ratings, scaled to mean 1."""
    counts = rows.question_ratings_n.clip(lower=min_weight).to_numpy(float)
    return counts / counts.mean() if len(counts) else counts


def examples(rows: pd.DataFrame, min_weight: int) -> classifiers.Examples:
    """Rated rows as the verifier reads them."""
    return classifiers.Examples(
        prompts=[render_prompt(row) for row in rows.to_dict("records")],
        explanations=marked(rows, rows.explanation.tolist()),
        targets=rows.question_rating_mean.to_numpy(float),
        weights=weights(rows, min_weight),
    )


def marked(rows: pd.DataFrame, texts: list[str]) -> list[str]:
    """Texts about the questions of `rows`, as the verifier reads them."""
    asked = zip(rows.to_dict("records"), texts, strict=True)
    return [mark_options(row, text) for row, text in asked]


def rated_rows(rows: pd.DataFrame, split: str) -> pd.DataFrame:
    """Rows of a split that have a rating, in a fixed order."""
    chosen = rows[(rows.split == split) & rows.question_rating_mean.notna()]
    return chosen.sort_values("row_id", ignore_index=True)


def check_enough(rows: pd.DataFrame, model: str) -> None:
    """Raise InputError for less than two questions with a rating."""
    if rows.question_id.nunique() < 2:
        raise InputError(
            f"data/questions.parquet: {len(rows)} rated rows for {model}, at least two questions "
            "are needed. Add exports or change prepare_questions.split_percent."
        )


def train_fold(
    run: Run[Params], rows: pd.DataFrame, validation: pd.DataFrame, folder: Path
) -> tuple[Classifier, pd.DataFrame]:
    """Fit a verifier on `rows`, save it to `folder`, return it and its curve."""
    check_enough(rows, f"{folder.name} of the reward verifier")
    model, least = run.section(Model, "model"), run.params.min_weight_ratings
    verifier = classifiers.build(model, seed=run.seed)
    fitted, unseen = examples(rows, least), examples(validation, least)
    training = run.section(Training, "verifier")
    log = classifiers.fit(verifier, fitted, training, run.seed, unseen, resume.SECONDS)
    manifest = checkpoints.manifest_for(
        model, verifier.tokenizer, None, [Questions.path(TAUGHT)], "verifier"
    )
    counts = {"split": "train", "rows_n": len(rows)}
    classifiers.save(verifier, checkpoints.scratch_outputs(folder), manifest | counts)
    return verifier, pd.DataFrame(log)


def train_reward(run: Run[Params], rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Both folds; returns the train rows with out-of-fold predictions."""
    known, validation = rated_rows(rows, "train"), rated_rows(rows, "validation")
    found, curves = [], []
    for fold in (0, 1):
        is_held_out = known.fold == fold
        target = folder / f"fold_{fold}"
        verifier, curve = train_fold(run, known[~is_held_out], validation, target)
        found.append(swaps.predictions(known[is_held_out], rate_by(verifier)))
        curves.append(curve.assign(fold=fold))
    run.write_curve(pd.concat(curves, ignore_index=True))
    return pd.concat(found, ignore_index=True)


def rate_by(verifier: Classifier) -> swaps.Rate:
    """What the verifier says of questions and explanations."""
    return lambda rows, texts: verifier.ratings(
        [render_prompt(row) for row in rows.to_dict("records")], marked(rows, texts)
    )


def claims(rows: pd.DataFrame) -> list[Claim]:
    """The key of each row's question, as the judge reads it."""
    return [claim_key(row) for row in rows.to_dict("records")]


def train_judge(run: Run[Params], rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """One model; returns the train split, none of which it saw, with predictions."""
    judged, unseen = rated_rows(rows, "judge"), rated_rows(rows, "train")
    check_enough(judged, "the judge")
    fitted = alignment.Examples(
        claims(judged),
        judged.explanation.tolist(),
        judged.question_rating_mean.to_numpy(float),
        weights(judged, run.params.min_weight_ratings),
        judged.cluster_id.to_numpy(),
    )
    judge, curve = alignment.fit("rating", run.section(Encoder, "encoder"), fitted)
    manifest = checkpoints.data_digests(Questions.path(TAUGHT))
    alignment.save(judge, folder, manifest | {"split": "judge", "rows_n": len(judged)})
    run.write_curve(curve)
    return swaps.predictions(unseen, lambda asked, texts: judge.ratings(claims(asked), texts))


TRAININGS = {"reward": train_reward, "judge": train_judge}


def main(item: str) -> None:
    """Train the reward verifier ("reward") or the judge ("judge")."""
    if item not in TRAININGS:
        raise InputError(f"train_verifier: unknown item '{item}'. Use one of {sorted(TRAININGS)}.")
    with stage_run("train_verifier", Params, item) as run:
        rows = run.read(Questions, TAUGHT)
        run.reads(Leakage.path("questions"))
        if item == "reward":
            run.reads(checkpoints.BASE_DIR)
        target = Path(f"models/verifier_{item}")
        with artifacts.complete_folder(target) as folder:
            found = TRAININGS[item](run, rows, folder)
        run.wrote(target)
        run.write(Predictions, found, item)
        run.report({"rows_n": len(found), "unscored_n": int(found.predicted.isna().sum())})


if __name__ == "__main__":
    start(main)
