"""Watch both policies on the validation split: where settings are chosen, never on the test split.

    data/questions.parquet (validation), models/sft, models/dpo -> data/validations.parquet
    models/verifier_judge, entailment, ...                         reports/validate.json

Each question is answered `samples` times by either policy, so that a few questions say
something. A policy may drift into long texts and loops that a reward even likes: look at
words, loops and stops beside the oracle and the judge, and at the chosen log-probabilities
in reports/train_dpo.json.

    dvc repro validate
    dvc exp run validate -S train_dpo.beta=0.2
    python -m stages.tabulate_sweep        # all such experiments as a table
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from schemas.errors import InputError
from schemas.questions import Questions
from schemas.validations import Validations
from stages.pure import catalogue, measurements, stats
from stages.pure.prompts import distinct_questions, render_prompt
from stages.pure.scored import scoring
from stages.runtime import artifacts
from stages.runtime.loading.checkpoints import BASE_DIR
from stages.runtime.loading.profile import Generation, Model
from stages.runtime.params import StageParams
from stages.runtime.run import Run, stage_run, start
from stages.runtime.sampling.drawing import Decoding
from stages.runtime.sampling.generation import Draw, load_writer
from stages.scorers import registry
from stages.steps import truth

POLICIES = ["sft", "dpo"]
SCORERS = ["judge", "acr", "entailment", "words", "is_loop"]
METRICS = ["oracle", *SCORERS, "stopped"]
KEY = ["policy", "question_id", "cluster_id", "sample_index"]


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: validate."""

    samples: int


def answers(run: Run[Params], questions: pd.DataFrame, policy: str) -> pd.DataFrame:
    """`samples` answers of one policy to each question."""
    sizes = run.section(Model, "model"), run.section(Generation, "generation")
    writer = load_writer(*sizes, Path("models") / policy)
    prompts = [render_prompt(row) for row in questions.to_dict("records")]
    how = run.section(Decoding, "decoding")
    draws = [Draw(f"validate {index + 1}", how) for index in range(run.params.samples)]
    found = writer.answers(prompts, draws, run.seed)
    tables = [
        questions.assign(
            policy=policy,
            sample_index=index,
            explanation=[answers[index].text for answers in found],
            is_stopped=[answers[index].is_stopped for answers in found],
            is_generated=True,
        )
        for index in range(run.params.samples)
    ]
    return pd.concat(tables, ignore_index=True)


def measure(run: Run[Params], texts: pd.DataFrame) -> pd.DataFrame:
    """Validations: one row per text and metric."""
    values = {name: registry.ask(name, texts) for name in SCORERS}
    facts = truth.read_facts(run.given["evaluate"]["oracle_facts"])
    values["oracle"] = truth.ask_oracle(texts, facts)["oracle"]
    values["stopped"] = measurements.generated(texts, texts.is_stopped)
    return measurements.long_form(texts[KEY], {name: values[name] for name in METRICS})


def summarize(rows: pd.DataFrame, seed: int, samples: int, level: float) -> dict[str, float]:
    """Mean of each policy, and DPO minus SFT with clustered limits, per metric."""
    means = rows.groupby(["metric", "policy", "question_id", "cluster_id"]).value.mean()
    numbers: dict[str, float] = {"questions_n": rows.question_id.nunique()}
    for metric in METRICS:
        both = means[metric].unstack("policy").dropna() if metric in means.index else None
        if both is None or both.empty:
            continue
        change = (both.dpo - both.sft).to_numpy()
        clusters = both.index.get_level_values("cluster_id").to_numpy()
        interval = stats.cluster_bootstrap(change, clusters, samples, level, seed)
        found = {policy: float(both[policy].mean()) for policy in POLICIES}
        found |= {"difference": interval.mean, "low": interval.low, "high": interval.high}
        numbers |= {
            catalogue.with_unit(name, metric): value
            for name, value in found.items()
            if pd.notna(value)
        }
    return numbers


def main() -> None:
    """Read, compute, write, report."""
    with stage_run("validate", Params) as run:
        questions = distinct_questions(run.read(Questions))
        asked = questions[questions.split == "validation"]
        run.reads(BASE_DIR, *(Path("models") / policy for policy in POLICIES))
        run.reads(*registry.folders(SCORERS))
        if run.params.samples < 1:
            raise InputError(
                f"params.yaml: validate.samples: {run.params.samples}. Give 1 or more."
            )
        if asked.empty:  # a small course: the route goes on, but nothing is watched
            logging.warning("validate: no question in the split 'validation', nothing to watch.")
            run.write(Validations, artifacts.empty(Validations))
            run.report({"questions_n": 0})
            return
        texts = pd.concat([answers(run, asked, policy) for policy in POLICIES], ignore_index=True)
        rows = measure(run, scoring.unseen(texts))
        run.write(Validations, rows)
        how = run.given["evaluate"]
        run.report(summarize(rows, run.seed, how["bootstrap_samples"], how["confidence"]))


if __name__ == "__main__":
    start(main)
