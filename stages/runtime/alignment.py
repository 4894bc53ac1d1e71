"""Judge and entailment scorer: a linear head on the agreement of two texts, encoder frozen.

A few hundred rated rows, which is what the judge split of a course has, do not fine-tune an
encoder (reports/log.md, 2026-11-20), but they fit the 21 to 29 weights of a ridge or
logistic regression. n = pairs of texts, F = features that a scorer sees.
"""

import functools
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from schemas.errors import InputError
from stages.runtime import agreement, checkpoints, encoder
from stages.runtime.agreement import Vectors
from stages.runtime.profile import Encoder

Claim = tuple[str, ...]  # stages/pure/claims.py: hypothesis, option, stem, other options
BLOCK = 512  # pairs whose texts are in memory together
FOLDS = 5  # of the cross-validation that chooses the penalty; whole clusters each
# Penalties to choose from, strongest first: a curve then goes from the constant to the fit.
RIDGE_PENALTIES = [10.0**k for k in (4, 3.5, 3, 2.5, 2, 1.5, 1, 0.5, 0)]
LOGISTIC_PENALTIES = [10.0**k for k in (4, 3, 2, 1, 0, -1)]
HEAD = "head.safetensors"


@dataclass(frozen=True)
class Examples:
    """Training rows: a claim and an explanation with a target each."""

    claims: list[Claim]
    explanations: list[str]
    targets: np.ndarray  # stars (n,) float, or labels (n,) 0 and 1
    weights: np.ndarray  # (n,) float, mean 1
    groups: np.ndarray  # (n,) cluster ids: one cluster never stands on both sides


@dataclass(frozen=True)
class Kind:
    """What tells the two scorers apart."""

    columns: slice  # the features that it sees
    is_regression: bool


KINDS = {
    "rating": Kind(slice(None), is_regression=True),
    "entailment": Kind(agreement.ENTAILMENT, is_regression=False),
}


@dataclass
class Scorer:
    """A head over an encoder: weights (F,) and intercept, in the unit of the target."""

    kind: str
    encoder: Encoder
    weights: np.ndarray
    intercept: float

    def ratings(self, claims: list[Claim], explanations: list[str]) -> np.ndarray:
        """Predicted rating in stars, clipped to 0..5, shape (n,); NaN where a text is too long."""
        return np.clip(self.outputs(reader(self.encoder).features(claims, explanations)), 0.0, 5.0)

    def probabilities(
        self, claims: list[Claim], explanations: list[str], is_bare: bool = False
    ) -> np.ndarray:
        """P(the explanation entails the claim), shape (n,); NaN where a text is too long.

        is_bare: the hypothesis is the option alone, as in prior code.
        """
        rows = reader(self.encoder).features(claims, explanations)
        return 1 / (1 + np.exp(-self.outputs(agreement.bare(rows) if is_bare else rows)))

    def outputs(self, rows: np.ndarray) -> np.ndarray:
        """Stars or log-odds (n,) of features (n, 29)."""
        return rows[:, KINDS[self.kind].columns] @ self.weights + self.intercept


class Reader:
    """A loaded encoder. It keeps the features of each pair: both scorers ask for the same."""

    def __init__(self, how: Encoder):
        self.how, self.rows = how, dict[tuple[Claim, str], np.ndarray]()
        self.model, self.tokenizer = encoder.load(how)

    def features(self, claims: list[Claim], explanations: list[str]) -> np.ndarray:
        """The features of each pair, (n, 29); a row of NaN where one of its texts is too long."""
        from tqdm import tqdm

        pairs = list(zip(claims, explanations, strict=True))
        new = sorted(set(pairs) - self.rows.keys())
        starts = range(0, len(new), BLOCK)
        for start in tqdm(starts, desc="read texts", unit="block", disable=None):
            block = new[start : start + BLOCK]
            read = self.embed(sorted({text for a, b in block for text in (*a, b)}))
            for said, text in block:
                is_read = all(part in read for part in (*said, text))
                missing = np.full(agreement.FEATURES, np.nan)
                row = agreement.features(said, text, read) if is_read else missing
                self.rows[said, text] = row
        return np.array([self.rows[pair] for pair in pairs]).reshape(-1, agreement.FEATURES)

    def embed(self, texts: list[str]) -> dict[str, Vectors]:
        """Vectors of each text; one of more than `max_length` tokens is left out."""
        import torch
        from torch.nn.functional import normalize

        ids = self.tokenizer(texts, verbose=False)["input_ids"]
        fits = [i for i, row in enumerate(ids) if len(row) <= self.how.max_length]
        fits.sort(key=lambda i: len(ids[i]))
        read = {}
        with torch.inference_mode():
            for start in range(0, len(fits), self.how.batch_size):
                chunk = fits[start : start + self.how.batch_size]
                batch = self.tokenizer.pad(
                    [{"input_ids": ids[i]} for i in chunk], return_tensors="pt"
                )
                hidden = self.model(**batch.to(self.model.device)).last_hidden_state.float().cpu()
                for i, vectors in zip(chunk, hidden, strict=True):
                    own = vectors[: len(ids[i])]
                    whole, words = normalize(own.mean(dim=0), dim=0), normalize(own[1:-1], dim=1)
                    read[texts[i]] = Vectors(whole.numpy(), words.numpy())
        return read


@functools.cache
def reader(how: Encoder) -> Reader:
    """The encoder of a profile, loaded once per process."""
    return Reader(how)


def fit(kind: str, how: Encoder, examples: Examples) -> tuple[Scorer, pd.DataFrame]:
    """The scorer with the penalty that cross-validates best, and the losses of all of them.

    The log has one row per penalty (step, penalty, loss on the rows it was fitted to,
    eval_loss on clusters it was not), in squared stars or nats. Raises InputError if fewer
    than two clusters can be read.
    """
    rows = reader(how).features(examples.claims, examples.explanations)[:, KINDS[kind].columns]
    kept = np.isfinite(rows).all(axis=1)
    groups = examples.groups[kept]
    if (clusters := len(set(groups))) < 2:
        raise InputError(
            f"data/questions.parquet: {clusters} cluster(s) to train the {kind} scorer on with "
            f"texts of at most {how.max_length} tokens (encoder.max_length of the profile), two "
            "are needed. Add exports or change prepare_questions.split_percent."
        )
    if not KINDS[kind].is_regression and len(set(examples.targets[kept])) < 2:
        raise InputError(
            "data/questions.parquet: no question has a second option, so there is no wrong claim "
            "to train the entailment scorer on. Export questions with distractors."
        )
    search = search_of(KINDS[kind], min(FOLDS, clusters))
    weights = {"head__sample_weight": examples.weights[kept]}
    search.fit(rows[kept], examples.targets[kept], groups=groups, **weights)
    scaler, head = search.best_estimator_.named_steps.values()
    inputs = np.ravel(head.coef_) / scaler.scale_  # of features as they are, not standardised
    intercept = float(np.ravel(head.intercept_)[0] - scaler.mean_ @ inputs)
    return Scorer(kind, how, inputs, intercept), path_of(KINDS[kind], search.cv_results_)


def search_of(kind: Kind, folds: int) -> Any:
    """Cross-validation over the penalties of a ridge or logistic regression."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    if kind.is_regression:
        head, scoring = Ridge(), "neg_mean_squared_error"
        grid = {"head__alpha": RIDGE_PENALTIES}
    else:
        head, scoring = LogisticRegression(max_iter=2000), "neg_log_loss"
        grid = {"head__C": [1 / penalty for penalty in LOGISTIC_PENALTIES]}
    return GridSearchCV(
        Pipeline([("scale", StandardScaler()), ("head", head)]),
        grid,
        scoring=scoring,
        cv=GroupKFold(folds),
        return_train_score=True,
        error_score="raise",
    )


def path_of(kind: Kind, results: dict[str, Any]) -> pd.DataFrame:
    """The losses along the penalties, strongest penalty first."""
    penalties = RIDGE_PENALTIES if kind.is_regression else LOGISTIC_PENALTIES
    return pd.DataFrame(
        {
            "step": np.arange(1, len(penalties) + 1),
            "penalty": penalties,
            "loss": -results["mean_train_score"],
            "eval_loss": -results["mean_test_score"],
        }
    )


def save(scorer: Scorer, folder: Path, manifest: dict[str, Any]) -> None:
    """Head and manifest; the manifest says which encoder the head belongs to."""
    from safetensors.numpy import save_file

    numbers = {"weights": scorer.weights, "intercept": np.array([scorer.intercept])}
    save_file(numbers, str(folder / HEAD))
    reading = {"kind": scorer.kind, "encoder": asdict(scorer.encoder)}
    checkpoints.write_manifest(folder, manifest | reading)


def load(folder: Path) -> Scorer:
    """Read a saved scorer. Raises InputError if its training did not finish."""
    from safetensors.numpy import load_file

    manifest = checkpoints.read_manifest(folder)
    numbers = load_file(str(folder / HEAD))
    how = Encoder(**manifest["encoder"])
    return Scorer(manifest["kind"], how, numbers["weights"], float(numbers["intercept"][0]))
