"""Ask every scorer about every candidate, every negative and every synthetic text.

    data/{questions,synthetic_questions,candidates, -> data/scores.parquet
          negatives,synthetic}.parquet                 reports/score_candidates.json
    models/{verifier_reward,verifier_judge,entailment,solver,students}

A scorer has a role. `reward` may select pairs; `heldout` scorers look at the same texts
and select nothing, so that evaluate can trust them; `diagnostic` ones only describe. A reward
formula (params.yaml: rewards) that reads a held-out scorer moves it.
A text that cannot be scored has a null with a reason: a zero would be a verdict. Where there are
synthetic rationales of several options, the verifier is asked which is whose (pure/probe.py).

    dvc repro score_candidates
    python -m stages.score_candidates
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from schemas.candidates import Candidates
from schemas.negatives import Negatives
from schemas.questions import Questions
from schemas.scores import Scores
from schemas.synthetic import Synthetic
from schemas.synthetic_questions import SyntheticQuestions
from stages.pure import catalogue, probe, synthetic_questions, synthetic_texts
from stages.pure.scored import orders, scoring
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


def ordered(texts: pd.DataFrame) -> dict[str, float]:
    """How many texts tell their rater what to do, where there are any."""
    found = int(texts.explanation.map(orders.has_order).sum())
    return {"orders_n": found} if found else {}


def probed(synthetic: pd.DataFrame, questions: pd.DataFrame) -> dict[str, float]:
    """Does the verifier know which rationale belongs to which option? Nothing without any."""
    rows = probe.rationales(synthetic, questions)
    if rows.empty:
        return {}
    trials = scoring.with_rendered(probe.asked(rows))
    stars = [value.value for value in registry.ask("verifier", trials)]
    return probe.accuracies(trials, np.array(stars, dtype=float))


def main() -> None:
    """Read, compute, write, report."""
    with stage_run("score_candidates", Params) as run:
        roles = run.params.scorers
        catalogue.check_roles(roles, registry.SCORERS)
        students, made = run.read(Questions), (run.read(Candidates), run.read(Negatives))
        questions = synthetic_questions.joined(students, run.read(SyntheticQuestions))
        synthetic = run.read(Synthetic)
        texts = scoring.texts_to_score(questions, *synthetic_texts.joined(*made, synthetic))
        run.reads(*registry.folders(roles))
        scores = registry.score(texts, roles)
        run.write(Scores, scores)
        by_kind = scoring.means_by_kind(texts, scores).to_dict("records")
        numbers = summarize(scores) | ordered(texts)
        numbers |= probed(synthetic, questions) if "verifier" in roles else {}
        run.report(numbers, {"by_kind": by_kind})


if __name__ == "__main__":
    start(main)
