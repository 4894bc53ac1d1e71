"""Ask every scorer about every candidate and every negative.

    data/{questions,candidates,negatives}.parquet    -> data/scores.parquet
    models/{verifier_reward,verifier_judge,entailment,  reports/score_candidates.json
            solver,students}

A scorer has a role. `reward` may select pairs; `heldout` scorers look at the same texts
and select nothing, so that evaluate can trust them; `diagnostic` ones only describe. A reward
formula (params.yaml: rewards) that reads a held-out scorer moves it.
A text that cannot be scored has a null with a reason: a zero would be a verdict.

    dvc repro score_candidates
    python -m stages.score_candidates
"""

from dataclasses import dataclass

import pandas as pd

from schemas.candidates import Candidates
from schemas.negatives import Negatives
from schemas.questions import Questions
from schemas.scores import Scores
from stages.pure import catalogue, scoring
from stages.runtime.params import StageParams
from stages.runtime.run import stage_run, start
from stages.scorers import registry


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: score_candidates. Units and sources are commented there."""

    scorers: dict[str, str]


def summarize(scores: pd.DataFrame) -> dict[str, float]:
    """Mean and number of nulls of each scorer."""
    numbers: dict[str, float] = {}
    for scorer, rows in scores.groupby("scorer"):
        numbers["texts_n"] = len(rows)
        numbers[f"{scorer}_null_n"] = int(rows.value.isna().sum())
        if rows.value.notna().any():
            unit = catalogue.METRICS[str(scorer)].unit
            numbers[f"{scorer}_mean_{unit}"] = float(rows.value.mean())
    return numbers


def main() -> None:
    """Read, compute, write, report."""
    with stage_run("score_candidates", Params) as run:
        roles = run.params.scorers
        catalogue.check_roles(roles, registry.SCORERS)
        questions, candidates = run.read(Questions), run.read(Candidates)
        texts = scoring.texts_to_score(questions, candidates, run.read(Negatives))
        run.reads(*registry.folders(roles))
        scores = registry.score(texts, roles)
        run.write(Scores, scores)
        by_kind = scoring.means_by_kind(texts, scores).to_dict("records")
        run.report(summarize(scores), {"by_kind": by_kind})


if __name__ == "__main__":
    start(main)
