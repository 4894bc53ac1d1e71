"""All scorers by name."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import ModuleType

import pandas as pd
from tqdm import tqdm

from schemas.errors import InputError
from stages.pure.metrics import Value
from stages.pure.scored.scoring import scores_of
from stages.runtime.loading.checkpoints import BASE_DIR
from stages.runtime.loading.digests import weight_digests
from stages.scorers import (
    coverage,
    degeneration,
    entailment,
    judge,
    recoverability,
    utility,
    verifier,
    words,
)

FAMILIES: tuple[ModuleType, ...] = (verifier, judge, entailment, coverage)
FAMILIES += (recoverability, utility, words, degeneration)
SCORERS = {name: ask for family in FAMILIES for name, ask in family.SCORERS.items()}


def ask(scorer: str, texts: pd.DataFrame) -> list[Value]:
    """What `scorer` says of each text (n,). texts: stages.pure.scored.scoring.texts_to_score."""
    values: list[Value] = SCORERS[scorer](texts)
    if len(values) != len(texts):
        raise ValueError(f"{scorer}: {len(values)} values for {len(texts)} texts")
    return values


def score(texts: pd.DataFrame, roles: Mapping[str, str]) -> pd.DataFrame:
    """texts_to_score -> Scores by every scorer of `roles` (scorer -> role), long form."""
    names = tqdm(sorted(roles), desc="scorers", unit="scorer", disable=None)
    tables = [scores_of(texts, name, roles[name], ask(name, texts)) for name in names]
    return pd.concat(tables, ignore_index=True)


def folders(scorers: Iterable[str]) -> list[Path]:
    """The model folders that these scorers read, each once, in order."""
    asked = set(scorers)
    return sorted({path for f in FAMILIES if asked & {*f.SCORERS} for path in f.MODELS})


def check_apart(rewarding: Collection[str]) -> None:
    """Raise InputError if one model stands behind a rewarding and a held-out scorer.

    rewarding: families (stages.pure.catalogue). Two folders that share a file of weights share
    a model: a copied folder, or a copied half of the verifier. The base is shared by design and
    proves nothing.
    """
    owner: dict[str, tuple[str, Path]] = {}
    for family in FAMILIES:
        name = family.__name__.rpartition(".")[2]
        for folder in sorted({*family.MODELS} - {BASE_DIR}):
            for digest in sorted(weight_digests(folder)):
                other, path = owner.setdefault(digest, (name, folder))
                if (other in rewarding) != (name in rewarding):
                    raise InputError(
                        f"{folder} ({name}) and {path} ({other}) hold the same weights, but one is "
                        "a reward and the other is held out. Train them on different questions."
                    )
