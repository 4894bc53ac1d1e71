"""The solver: it picks an option by how well a masked explanation agrees with each of them.

A conditional logit (McFadden 1974, "Conditional logit analysis of qualitative choice
behavior", eq. 12): P(option o) = exp(w . x_o) / sum over the options of exp(w . x). x_o is the
agreement (runtime/encoding/agreement.py) of the explanation with the option, by a frozen encoder.
No feature compares an option with the question: the encoder knows enough of the world to
answer by that alone, and then the explanation would not count. Beside an empty explanation
all features are 0, so that each option is as likely as any other.

n = choices, O = options of a choice, F = features.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.runtime.encoding import agreement, alignment, encoder, heads
from stages.runtime.loading import checkpoints
from stages.runtime.loading.profile import Encoder

Options = tuple[str, ...]  # the texts of a question's options, in order
PENALTIES = [10.0**k for k in (4, 3, 2, 1, 0, -1)]  # strongest first
FOLDS = 5  # of the cross-validation that chooses the penalty; whole clusters each
BLOCK = 64  # choices whose texts are in memory together
HEAD = "head.safetensors"


@dataclass(frozen=True)
class Choices:
    """What a solver is asked, and what it learns from."""

    options: list[Options]
    explanations: list[str]  # masked
    keys: np.ndarray  # (n,) place of the right option
    groups: np.ndarray  # (n,) cluster ids


@dataclass
class Solver:
    """A head over an encoder: weights (F,)."""

    encoder: Encoder
    weights: np.ndarray

    def probabilities(
        self, options: Sequence[Options], explanations: Sequence[str]
    ) -> list[np.ndarray]:
        """P of each option, one (O,) per choice that sums to 1. explanations: masked."""
        asked = features(alignment.reader(self.encoder), options, explanations)
        return [softmax(rows @ self.weights) for rows in asked]


def features(
    reader: alignment.Reader, options: Sequence[Options], explanations: Sequence[str]
) -> list[np.ndarray]:
    """Agreement of each option with the explanation, one (O, F) per choice; 0 beside no text.

    Each distinct choice is read once, in an order that does not depend on the callers'.
    """
    from tqdm import tqdm

    choices = list(zip(options, explanations, strict=True))
    distinct = sorted(set(choices))
    found: dict[Any, np.ndarray] = {}
    for start in tqdm(range(0, len(distinct), BLOCK), desc="solve", unit="block", disable=None):
        block = distinct[start : start + BLOCK]
        texts = {part for own, text in block for part in (*own, text) if part.strip()}
        read = reader.embed(sorted(texts))
        with heads.one_thread():  # small products
            found |= {(own, text): of_choice(own, text, read) for own, text in block}
    return [found[choice] for choice in choices]


def of_choice(options: Options, text: str, read: dict[str, agreement.Vectors]) -> np.ndarray:
    """The features of one choice (O, F)."""
    if not text.strip():
        return np.zeros((len(options), agreement.PER_PART))
    return np.array([agreement.agreement(read[option], read[text]) for option in options])


def nearest_to_stem(
    how: Encoder, stems: Sequence[str], options: Sequence[Options]
) -> list[np.ndarray]:
    """Cosine of each option with the question's stem, one (O,) per question: no explanation."""
    read = alignment.reader(how).embed(sorted({*stems, *(text for o in options for text in o)}))
    return [
        np.array([read[option].whole @ read[stem].whole for option in own])
        for stem, own in zip(stems, options, strict=True)
    ]


def softmax(logits: np.ndarray) -> np.ndarray:
    """exp(x) / sum exp(x) over the options."""
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum(), dtype=float)


# ---- training ----------------------------------------------------------------------------


def fit(how: Encoder, choices: Choices) -> tuple[Solver, pd.DataFrame]:
    """The solver with the penalty that cross-validates best, and the losses of all of them.

    The log has one row per penalty (step, penalty, loss on the choices it was fitted to,
    eval_loss on clusters it was not), in nats per choice.
    """
    from sklearn.model_selection import GroupKFold

    asked = features(alignment.reader(how), choices.options, choices.explanations)
    folds = GroupKFold(min(FOLDS, len(set(choices.groups))))
    parts = list(folds.split(choices.keys, groups=choices.groups))
    rows: list[tuple[float, ...]] = []
    for penalty in PENALTIES:
        losses = []
        for train, held_out in parts:
            weights = minimize(pick(asked, train), choices.keys[train], penalty)
            losses.append(
                [nats(pick(asked, of), choices.keys[of], weights) for of in (train, held_out)]
            )
        rows.append((len(rows) + 1, penalty, *np.mean(losses, axis=0)))
    curve = pd.DataFrame(rows, columns=["step", "penalty", "loss", "eval_loss"])
    best = PENALTIES[int(curve.eval_loss.argmin())]
    return Solver(how, minimize(asked, choices.keys, best)), curve


def pick(asked: list[np.ndarray], places: np.ndarray) -> list[np.ndarray]:
    """The choices at `places`."""
    return [asked[i] for i in places]


def nats(asked: list[np.ndarray], keys: np.ndarray, weights: np.ndarray) -> float:
    """Mean of -log P(key)."""
    found = [softmax(rows @ weights)[key] for rows, key in zip(asked, keys, strict=True)]
    return float(-np.log(found).mean())


def minimize(asked: list[np.ndarray], keys: np.ndarray, penalty: float) -> np.ndarray:
    """Weights (F,) with the least sum of -log P(key) + penalty / 2 * |standardised weights|^2.

    A feature's unit is its standard deviation within the choices.
    """
    from scipy.optimize import minimize as search

    centred = [rows - rows.mean(axis=0) for rows in asked]
    unit = np.sqrt(np.mean(np.concatenate(centred) ** 2, axis=0))
    scaled = [rows / np.where(unit > 0, unit, 1.0) for rows in centred]

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        total, slope = penalty / 2 * weights @ weights, penalty * weights
        for rows, key in zip(scaled, keys, strict=True):
            likely = softmax(rows @ weights)
            total -= np.log(likely[key])
            slope = slope + likely @ rows - rows[key]
        return total, slope

    found = search(loss, np.zeros(len(unit)), jac=True, method="L-BFGS-B")
    return np.asarray(found.x / np.where(unit > 0, unit, 1.0))


def save(solver: Solver, folder: Path, manifest: dict[str, Any]) -> None:
    """Head and manifest; the manifest says which encoder the head belongs to."""
    from safetensors.numpy import save_file

    save_file({"weights": solver.weights}, str(folder / HEAD))
    packaged = encoder.PACKAGE_SHA256 if solver.encoder.name == encoder.PACKAGE else None
    reading = {"encoder": asdict(solver.encoder), "encoder_sha256": packaged}
    checkpoints.write_manifest(folder, manifest | reading)


def load(folder: Path) -> Solver:
    """Read a saved solver. Raises InputError if its training did not finish."""
    from safetensors.numpy import load_file

    manifest = checkpoints.read_manifest(folder)
    weights = load_file(str(folder / HEAD))["weights"]
    return Solver(Encoder(**manifest["encoder"]), weights)
