"""Judge and entailment scorer: a linear head on the agreement of two texts, encoder frozen.

A few hundred rated rows, which is what the judge split of a course has, do not fine-tune an
encoder (reports/log.md, 2026-11-20), but they fit a logistic regression on 21 features, or a
ridge regression on 30. The judge also sees the explanation's own vector, as far as the ratings
teach what a good text is like: how much it counts is chosen by cross-validation, and with few
rows that may be nothing. n = pairs of texts, F = features that a scorer sees, D = the width of
the encoder.
"""

import functools
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from schemas.errors import InputError
from stages.runtime.encoding import agreement, buckets, encoder, heads
from stages.runtime.encoding.agreement import Vectors
from stages.runtime.encoding.heads import KINDS
from stages.runtime.loading import checkpoints
from stages.runtime.loading.profile import Encoder

Claim = tuple[str, ...]  # stages/pure/scored/claims.py: hypothesis, option, stem, other options
BLOCK = 512  # pairs whose texts are read together
KEPT_BYTES = 2**29  # of vectors that stay in memory: scorers ask about the same texts in turn
HEAD = "head.safetensors"


@dataclass(frozen=True)
class Examples:
    """Training rows: a claim and an explanation with a target each."""

    claims: list[Claim]
    explanations: list[str]
    targets: np.ndarray  # stars (n,) float, or labels (n,) 0 and 1
    weights: np.ndarray  # (n,) float, mean 1
    groups: np.ndarray  # (n,) cluster ids: one cluster never stands on both sides


@dataclass
class Scorer:
    """A head over an encoder: weights (F,) and intercept, in the unit of the target."""

    kind: str
    encoder: Encoder
    weights: np.ndarray
    intercept: float

    def ratings(self, claims: list[Claim], explanations: list[str]) -> np.ndarray:
        """Predicted rating in stars, clipped to 0..5, shape (n,)."""
        return np.clip(self.outputs(reader(self.encoder).features(claims, explanations)), 0.0, 5.0)

    def probabilities(
        self, claims: list[Claim], explanations: list[str], is_bare: bool = False
    ) -> np.ndarray:
        """P(the explanation entails the claim), shape (n,).

        is_bare: the hypothesis is the option alone, as in prior code.
        """
        rows = reader(self.encoder).features(claims, explanations)
        return 1 / (1 + np.exp(-self.outputs(agreement.bare(rows) if is_bare else rows)))

    def outputs(self, rows: np.ndarray) -> np.ndarray:
        """Stars or log-odds (n,) of features (n, 30 + D)."""
        # row by row: a matrix product adds up in an order that depends on the number of rows
        return (rows[:, KINDS[self.kind].columns] * self.weights).sum(axis=1) + self.intercept


class Reader:
    """A loaded encoder. It keeps the features of each pair, and the texts that it read last."""

    def __init__(self, how: Encoder):
        self.how, self.rows = how, dict[tuple[Claim, str], np.ndarray]()
        self.known = dict[str, Vectors]()  # the last asked for stands last
        self.model, self.tokenizer = encoder.load(how)

    def features(self, claims: list[Claim], explanations: list[str]) -> np.ndarray:
        """The features of each pair, (n, 30 + D)."""
        from tqdm import tqdm

        pairs = list(zip(claims, explanations, strict=True))
        new = sorted(set(pairs) - self.rows.keys())
        starts = range(0, len(new), BLOCK)
        for start in tqdm(starts, desc="read texts", unit="block", disable=None):
            block = new[start : start + BLOCK]
            read = self.embed(sorted({text for a, b in block for text in (*a, b)}))
            with heads.one_thread():  # small products: waking a second one takes longer
                for said, text in block:
                    self.rows[said, text] = agreement.features(said, text, read)
        width = agreement.FEATURES + self.model.config.hidden_size
        return np.array([self.rows[pair] for pair in pairs]).reshape(-1, width)

    def embed(self, texts: list[str]) -> dict[str, Vectors]:
        """Vectors of each text, read now or known from before: the same bits in any company."""
        found = {text: self.known.pop(text) for text in texts if text in self.known}
        if new := [text for text in texts if text not in found]:
            found |= self.read(new)
        self.known |= found
        spare = sum(vectors.tokens.nbytes for vectors in self.known.values()) - KEPT_BYTES
        while spare > 0:
            oldest = next(iter(self.known))
            spare -= self.known.pop(oldest).tokens.nbytes
        return found

    def read(self, texts: list[str]) -> dict[str, Vectors]:
        """Vectors of each text; one of more than `max_length` tokens is read in windows.

        The windows' tokens stand side by side, so that a claim finds its nearest token in
        whichever window holds it.
        """
        import torch
        from torch.nn.functional import normalize

        pieces = [
            (place, window)
            for place, ids in enumerate(self.tokenizer(texts, verbose=False)["input_ids"])
            for window in windows(ids, self.how.max_length)
        ]
        read: dict[int, Any] = {}
        lengths = [len(ids) for _, ids in pieces]
        with torch.inference_mode():
            for chunk, length in buckets.batches(lengths, self.how.batch_size):
                batch = self.tokenizer.pad(
                    [{"input_ids": pieces[i][1]} for i in chunk],
                    padding="max_length",
                    max_length=length,
                    return_tensors="pt",
                )
                hidden = self.model(**batch.to(self.model.device)).last_hidden_state.float().cpu()
                read |= {
                    i: vectors[: len(pieces[i][1])]
                    for i, vectors in zip(chunk, hidden, strict=True)
                }
        of_text: dict[str, list[Any]] = {}
        for i, (place, _) in enumerate(pieces):
            of_text.setdefault(texts[place], []).append(read[i])
        return {
            text: Vectors(
                normalize(torch.cat(own).mean(dim=0), dim=0).numpy(),
                normalize(torch.cat([part[1:-1] for part in own]), dim=1).numpy(),
            )
            for text, own in of_text.items()
        }


def windows(ids: list[int], max_length: int) -> list[list[int]]:
    """Token ids with the two markers around them -> parts of at most `max_length`, each with both.

    A short text is one part, itself.
    """
    first, body, last = ids[0], ids[1:-1], ids[-1]
    room = max_length - 2
    starts = range(0, max(1, len(body)), room)
    return [[first, *body[start : start + room], last] for start in starts]


@functools.cache
def reader(how: Encoder) -> Reader:
    """The encoder of a profile, loaded once per process."""
    return Reader(how)


def fit(kind: str, how: Encoder, examples: Examples) -> tuple[Scorer, pd.DataFrame]:
    """The scorer with the penalty that cross-validates best, and the losses of all of them.

    The log has one row per penalty (step, penalty, loss on the rows it was fitted to,
    eval_loss on clusters it was not), in squared stars or nats. Raises InputError for fewer
    than two clusters, and for labels of one kind.
    """
    rows = reader(how).features(examples.claims, examples.explanations)[:, KINDS[kind].columns]
    if (clusters := len(set(examples.groups))) < 2:
        raise InputError(
            f"data/questions.parquet: {clusters} cluster(s) to train the {kind} scorer on, two "
            "are needed. Add exports or change prepare_questions.split_percent."
        )
    if not KINDS[kind].is_regression and len(set(examples.targets)) < 2:
        raise InputError(
            "data/questions.parquet: no question has a second option, so there is no wrong claim "
            "to train the entailment scorer on. Export questions with distractors."
        )
    weights, intercept, log = heads.fit(
        KINDS[kind], rows, examples.targets, examples.weights, examples.groups
    )
    return Scorer(kind, how, weights, intercept), log


def save(scorer: Scorer, folder: Path, manifest: dict[str, Any]) -> None:
    """Head and manifest; the manifest says which encoder the head belongs to."""
    from safetensors.numpy import save_file

    numbers = {"weights": scorer.weights, "intercept": np.array([scorer.intercept])}
    save_file(numbers, str(folder / HEAD))
    packaged = encoder.PACKAGE_SHA256 if scorer.encoder.name == encoder.PACKAGE else None
    reading = {"kind": scorer.kind, "encoder": asdict(scorer.encoder), "encoder_sha256": packaged}
    checkpoints.write_manifest(folder, manifest | reading)


def load(folder: Path) -> Scorer:
    """Read a saved scorer. Raises InputError if its training did not finish."""
    from safetensors.numpy import load_file

    manifest = checkpoints.read_manifest(folder)
    numbers = load_file(str(folder / HEAD))
    how = Encoder(**manifest["encoder"])
    return Scorer(manifest["kind"], how, numbers["weights"], float(numbers["intercept"][0]))
