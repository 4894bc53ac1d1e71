"""Measure what each policy says of the test questions, and what the differences are worth.

    data/questions.parquet                            -> data/evaluations.parquet
    data/explanations_{student,sft,dpo,ilearner,         data/policy_means.parquet
                       api,repeats}.parquet              data/comparisons.parquet
    models/ of the scorers                               data/seed_comparisons.parquet
                                                         data/win_rates.parquet
                                                         reports/evaluate.json

A metric that helped to build pairs rises by construction, so it is shown beside the
held-out ones and cannot be a headline; where the reward reads a held-out scorer, that
scorer moves. On the sample course the oracle knows the truth; with real exports it is null
and says so.

    dvc repro evaluate
    python -m stages.evaluate
"""

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd

from schemas.comparisons import Comparisons
from schemas.evaluations import Evaluations
from schemas.explanations import POLICIES, Explanations
from schemas.policy_means import PolicyMeans
from schemas.questions import Questions
from schemas.seed_comparisons import SeedComparisons
from schemas.win_rates import WinRates
from stages.pure import catalogue, comparison, measurements, rewards, winrates
from stages.pure.metrics import Value
from stages.pure.scored.scoring import model_values
from stages.pure.stats import Resampling
from stages.runtime import bertscore
from stages.runtime.loading.profile import Encoder
from stages.runtime.params import StageParams
from stages.runtime.run import Run, stage_run, start
from stages.scorers import registry
from stages.steps import truth

JUDGES = ["judge"]  # metrics in stars that say which of two texts wins
REPEATS = "repeats"  # the explanations of the other training seeds


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: evaluate. Units and sources are commented there."""

    oracle_facts: str | None
    legacy_bleu: bool
    bootstrap_samples: int
    confidence: float
    headline: list[str]


def ask_bertscore(texts: pd.DataFrame, encoder: Encoder) -> dict[str, list[Value]]:
    """BERTScore F1 against the students' texts (mean over them) and the key's text."""
    pairs = measurements.with_references(texts)
    said = [*pairs.explanation, *texts.explanation]
    wanted = [*pairs.reference, *texts.key_text]
    question = [*texts.question_id[pairs.position], *texts.question_id]
    order = sorted(range(len(said)), key=lambda i: question[i])  # shared texts stand together
    columns = [said[i] for i in order], [wanted[i] for i in order]
    scores = np.empty(len(said))
    scores[order] = bertscore.f1(*columns, encoder.threads, encoder.device)
    values = model_values(scores, np.array([not text.strip() for text in said]))
    of_pairs = values[: len(pairs)]
    return {
        "bertscore_student": measurements.mean_over_references(texts, pairs, of_pairs),
        "bertscore_answer": values[len(pairs) :],
    }


def roles_of(run: Run[Params]) -> tuple[dict[str, str], list[str]]:
    """The role of each metric, and the headline without what the reward reads.

    Raises InputError for a scorer, or one model, in both roles.
    """
    declared = run.given["score_candidates"]["scorers"]
    name = run.given["build_preferences"]["reward"]
    in_reward = rewards.reward_named(name, run.given["rewards"], declared).scorers
    catalogue.check_roles(declared, registry.SCORERS)
    kept, moved = catalogue.headline_of(run.params.headline, declared, in_reward)
    registry.check_apart(catalogue.rewarding(declared, in_reward))
    if moved:
        logging.warning(f"evaluate: the reward '{name}' reads {moved}: not in the headline.")
    return catalogue.roles(declared, in_reward), kept


def measure(run: Run[Params], texts: pd.DataFrame) -> dict[str, list[Value]]:
    """Every metric of every text, name -> (n,)."""
    run.reads(*registry.folders(registry.SCORERS))
    return (
        truth.ask_oracle(texts, truth.read_facts(run.params.oracle_facts))
        | measurements.endings(texts)
        | measurements.bleus(texts, run.params.legacy_bleu)
        | ask_bertscore(texts, run.section(Encoder, "encoder"))
        | {name: registry.ask(name, texts) for name in registry.SCORERS}
    )


def main() -> None:
    """Read, compute, write, report."""
    with stage_run("evaluate", Params) as run:
        role_of, headline = roles_of(run)
        explanations = [run.read(Explanations, name) for name in (*POLICIES, REPEATS)]
        texts = measurements.final_texts(run.read(Questions), explanations)
        evaluations = measurements.long_rows(texts, measure(run, texts), role_of)
        how = Resampling(run.params.bootstrap_samples, run.params.confidence, run.seed)
        means = comparison.policy_means(evaluations, how)
        pairs = comparison.all_pairs(evaluations, headline)
        differences = comparison.comparisons(pairs, headline, how)
        run.write(Evaluations, evaluations)
        run.write(PolicyMeans, means)
        run.write(Comparisons, differences)
        run.write(SeedComparisons, comparison.seed_comparisons(pairs, how))
        rates = winrates.win_rates(pairs, JUDGES, how)
        run.write(WinRates, winrates.with_flags(rates, differences, how.level))
        numbers = comparison.headline_numbers(evaluations, means, differences, headline)
        run.report(numbers | measurements.corpus_bleus(texts), {"headline": headline})


if __name__ == "__main__":
    start(main)
