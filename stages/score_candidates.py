"""Ask every scorer about every candidate and every negative.

    data/{questions,candidates,negatives}.parquet    -> data/scores.parquet
    models/{verifier_reward,verifier_judge,entailment}  reports/score_candidates.json

A scorer has a role. `reward` may select pairs; `heldout` scorers look at the same texts
and select nothing, so that evaluate can trust them; `diagnostic` ones only describe.
A text that cannot be scored has a null with a reason: a zero would be a verdict.

    dvc repro score_candidates
    python -m stages.score_candidates
"""

import difflib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from schemas.candidates import Candidates
from schemas.errors import InputError
from schemas.negatives import Negatives
from schemas.questions import Questions
from schemas.scores import ROLES, Scores
from stages.pure import scoring
from stages.pure.metrics import Value
from stages.runtime import classifiers, heldout, scorers
from stages.runtime.checkpoints import BASE_DIR
from stages.runtime.params import StageParams
from stages.runtime.run import stage_run, start

MODELS = {
    "verifier": Path("models/verifier_reward"),
    "judge": Path("models/verifier_judge"),
    "entailment": Path("models/entailment"),
}
UNITS = {"verifier": "stars", "judge": "stars", "words": "words"}  # others: frac
FLAGS = ("is_loop", "has_url", "is_evasive")  # higher is worse


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: score_candidates. Units and sources are commented there."""

    scorers: dict[str, str]


def check_roles(roles: dict[str, str]) -> None:
    """Raise InputError for an unknown scorer or role, a flag as reward, or no reward at all."""
    source = "score_candidates.scorers in params.yaml"
    known = [*MODELS, *scoring.TEXT_METRICS]
    for scorer, role in roles.items():
        for word, words in ((scorer, known), (role, ROLES)):
            if word not in words:
                nearest = difflib.get_close_matches(str(word), words, n=1)
                hint = f"Did you mean '{nearest[0]}'?" if nearest else f"Use one of {words}."
                raise InputError(f"{source}: unknown '{word}' in '{scorer}: {role}'. {hint}")
        if role == "reward" and scorer in FLAGS:
            raise InputError(f"{source}: '{scorer}' is 1 for a bad text. Make it diagnostic.")
    if "reward" not in roles.values():
        raise InputError(
            f"{source}: no scorer has role 'reward' in {roles}. Give one, e.g. verifier."
        )


def ask_model(scorer: str, texts: pd.DataFrame) -> list[Value]:
    """The values of a trained scorer (n,); empty texts are not shown to it."""
    folder = MODELS[scorer]
    is_empty = (texts.explanation.str.strip() == "").to_numpy()
    said = texts[~is_empty]
    claim, explanation = said.claim.tolist(), said.explanation.tolist()
    numbers = np.full(len(texts), np.nan)
    if scorer == "verifier":
        asked = said.prompt.tolist(), said.marked.tolist(), said.fold.to_numpy()
        found = scorers.verifier_ratings(classifiers.load_folds(folder), *asked)
    elif scorer == "judge":
        found = heldout.judge_ratings(folder, claim, explanation)
    else:
        found = heldout.entailment_probabilities(folder, claim, explanation)
    numbers[~is_empty] = found
    return scoring.model_values(numbers, is_empty)


def score_texts(texts: pd.DataFrame, roles: dict[str, str]) -> pd.DataFrame:
    """scoring.texts_to_score -> Scores by every scorer of `roles`, long form."""
    tables = []
    for scorer in tqdm(sorted(roles), desc="scorers", unit="scorer", disable=None):
        values = (ask_model if scorer in MODELS else scoring.measure)(scorer, texts)
        tables.append(scoring.scores_of(texts, scorer, roles[scorer], values))
    return pd.concat(tables, ignore_index=True)


def summarize(scores: pd.DataFrame) -> dict[str, float]:
    """Mean and number of nulls of each scorer."""
    numbers: dict[str, float] = {}
    for scorer, rows in scores.groupby("scorer"):
        numbers["texts_n"] = len(rows)
        numbers[f"{scorer}_null_n"] = int(rows.value.isna().sum())
        if rows.value.notna().any():
            numbers[f"{scorer}_mean_{UNITS.get(str(scorer), 'frac')}"] = float(rows.value.mean())
    return numbers


def main() -> None:
    """Read, compute, write, report."""
    with stage_run("score_candidates", Params) as run:
        roles = run.params.scorers
        check_roles(roles)
        questions, candidates = run.read(Questions), run.read(Candidates)
        texts = scoring.texts_to_score(questions, candidates, run.read(Negatives))
        run.reads(BASE_DIR, *(folder for name, folder in MODELS.items() if name in roles))
        scores = score_texts(texts, roles)
        scoring.check_nulls(scores)
        run.write(Scores, scores)
        by_kind = scoring.means_by_kind(texts, scores).to_dict("records")
        run.report(summarize(scores), {"by_kind": by_kind})


if __name__ == "__main__":
    start(main)
