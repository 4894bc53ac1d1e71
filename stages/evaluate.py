"""Measure what each policy says of the test questions, and what the differences are worth.

    data/questions.parquet                            -> data/evaluations.parquet
    data/explanations_{student,sft,dpo,ilearner}.parquet  data/policy_means.parquet
    models/{verifier_reward,verifier_judge,entailment}    data/comparisons.parquet
                                                         reports/evaluate.json

A metric that helped to build pairs rises by construction, so it is shown beside the
held-out ones and cannot be a headline. On the sample course the oracle knows the truth;
with real exports it is null and says so.

    dvc repro evaluate
    python -m stages.evaluate
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from schemas.comparisons import Comparisons
from schemas.errors import InputError
from schemas.evaluations import Evaluations
from schemas.explanations import POLICIES, Explanations
from schemas.policy_means import PolicyMeans
from schemas.questions import Questions
from stages.pure import catalogue, comparison, measurements, oracle
from stages.pure.metrics import Value
from stages.pure.scoring import model_values
from stages.runtime import bertscore, classifiers, heldout, scorers
from stages.runtime.checkpoints import BASE_DIR
from stages.runtime.params import StageParams
from stages.runtime.profile import Encoder
from stages.runtime.run import stage_run, start

VERIFIER = Path("models/verifier_reward")
JUDGE = Path("models/verifier_judge")
ENTAILMENT = Path("models/entailment")
VERDICTS = ["correct", "names_key", "has_mechanism", "has_other_mechanism", "endorses_distractor"]


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: evaluate. Units and sources are commented there."""

    oracle_facts: str | None
    legacy_bleu: bool
    bootstrap_samples: int
    confidence: float
    headline: list[str]


def read_facts(folder: str | None) -> oracle.Index | None:
    """The facts of the sample course; None without a folder."""
    if folder is None:
        return None
    files = sorted(Path(folder).glob("facts_*.csv"))
    if not files:
        raise InputError(
            f"params.yaml: evaluate.oracle_facts: no facts_*.csv in '{folder}'. "
            "Name the folder with the facts, or null if there are none."
        )
    return oracle.index(
        pd.concat([pd.read_csv(file, dtype=str, keep_default_na=False) for file in files])
    )


def ask_oracle(texts: pd.DataFrame, facts: oracle.Index | None) -> dict[str, list[Value]]:
    """Whether each text agrees with its fact, as 0 or 1; null without a fact."""
    names = {verdict: f"oracle_{verdict}" for verdict in VERDICTS} | {"correct": "oracle"}
    values: dict[str, list[Value]] = {name: [] for name in names.values()}
    for question in measurements.questions_of(texts):
        found: dict[str, bool] = {}
        if facts and (fact := oracle.find_fact(facts, question)):
            found = oracle.judge(fact, question, question["explanation"], facts)
        for verdict, name in names.items():
            known = Value(float(found[verdict])) if found else Value(None, "no_fact")
            values[name].append(known)
    return values


def ask_models(texts: pd.DataFrame) -> dict[str, list[Value]]:
    """Ratings and entailment of each text, name -> (n,)."""
    said = texts[~measurements.is_empty(texts)]
    claims, explanation = said.claim.tolist(), said.explanation.tolist()
    unseen = np.full(len(said), scorers.NOT_TRAINED_ON)  # no test question trained a fold
    verifier, entail = classifiers.load_folds(VERIFIER), heldout.entailment_probabilities
    read = said.prompt.tolist(), said.marked.tolist()
    rivals = measurements.rival_claims(texts)
    # the claims of a question in one call: each text is then encoded once
    asked = [*claims, *rivals.claim], [*explanation, *rivals.explanation]
    of_key, of_rivals = np.split(entail(ENTAILMENT, *asked), [len(said)])
    numbers = {
        "verifier": scorers.verifier_ratings(verifier, *read, unseen),
        "judge": heldout.judge_ratings(JUDGE, claims, explanation),
        "entailment": of_key,
        "entailment_upstream": entail(ENTAILMENT, claims, explanation, is_bare=True),
    }
    values = {name: measurements.from_model(texts, found) for name, found in numbers.items()}
    return values | {
        "entailment_margin": measurements.margins(texts, values["entailment"], rivals, of_rivals),
        "is_verbose": measurements.verbose_flags(texts, values["entailment_upstream"]),
    }


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


def main() -> None:
    """Read, compute, write, report."""
    with stage_run("evaluate", Params) as run:
        params = run.params
        role_of = catalogue.roles(run.given["score_candidates"]["scorers"])
        catalogue.check_headline(params.headline, role_of)
        explanations = [run.read(Explanations, policy) for policy in POLICIES]
        texts = measurements.final_texts(run.read(Questions), explanations)
        run.reads(BASE_DIR, VERIFIER, JUDGE, ENTAILMENT)
        measured = (
            ask_oracle(texts, read_facts(params.oracle_facts))
            | measurements.surface(texts)
            | measurements.bleus(texts, params.legacy_bleu)
            | ask_bertscore(texts, run.section(Encoder, "encoder"))
            | ask_models(texts)
        )
        evaluations = measurements.long_rows(texts, measured, role_of)
        how = comparison.Resampling(params.bootstrap_samples, params.confidence, run.seed)
        means = comparison.policy_means(evaluations, how)
        differences = comparison.comparisons(evaluations, params.headline, how)
        run.write(Evaluations, evaluations)
        run.write(PolicyMeans, means)
        run.write(Comparisons, differences)
        numbers = comparison.headline_numbers(evaluations, means, differences, params.headline)
        run.report(numbers | measurements.corpus_bleus(texts))


if __name__ == "__main__":
    start(main)
