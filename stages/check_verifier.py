"""Ask whether a verifier may rank explanations, before anything uses its ratings.

    data/predictions_reward.parquet, questions -> data/fitness_reward.parquet
    data/predictions_judge.parquet, questions  -> data/fitness_judge.parquet
                                                  reports/check_verifier_*.json

Its ratings of rows that it did not learn from are compared with the students' ratings, with
three baselines that learned from the same rows (the question alone, the word count, a bag of
words), and with its own ratings of explanations that belong to another question. All
intervals are over clusters. The gate: agreement with the ratings, agreement beyond length,
order within a cluster and the swap test are each clearly above what no information gives. A
verifier that fails is named here in one line; build_preferences leaves it out of the reward.
Healthy: no warning, and `is_fit_n` is 1.

    dvc repro check_verifier@reward
    python -m stages.check_verifier judge
"""

import logging
from dataclasses import asdict, dataclass

import pandas as pd

from schemas.errors import InputError
from schemas.fitness import MEASURES, Fitness
from schemas.predictions import VERIFIERS, Predictions
from schemas.questions import Questions
from stages.pure import baselines, calibration, fitness, verifier_measures
from stages.runtime.run import StageParams, stage_run, start


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: check_verifier."""

    min_spearman_corr: float | None
    min_partial_spearman_corr: float | None
    min_pair_accuracy_frac: float | None
    min_swap_spearman_drop_corr: float | None
    min_swap_accuracy_frac: float | None
    pair_gaps: list[float]
    reliability_bins: int


def with_baselines(item: str, rows: pd.DataFrame, predicted: pd.DataFrame) -> pd.DataFrame:
    """The predictions beside those of the baselines, which learned from the same rows.

    reward: the train rows of the other fold; judge: the judge split.
    """
    rated = rows[rows.question_rating_mean.notna()].sort_values("row_id", ignore_index=True)
    asked = rated[rated.row_id.isin(predicted.row_id)]
    if item == "judge":
        found = baselines.predict(rated[rated.split == "judge"], asked)
    else:
        first, second = (asked[asked.fold == fold] for fold in (0, 1))
        found = pd.concat([baselines.predict(second, first), baselines.predict(first, second)])
    columns = ["row_id", "question_only", "bag_of_words"]
    return predicted.merge(found[columns], on="row_id", how="left", validate="one_to_one")


def check_gaps(gaps: list[float]) -> None:
    """Raise InputError for gaps that make no pairs or name a group twice."""
    if not gaps or min(gaps) <= 0 or len({f"{gap:g}" for gap in gaps}) < len(gaps):
        raise InputError(
            f"params.yaml: check_verifier.pair_gaps: {gaps} are not distinct gaps above 0 stars. "
            "Give at least one; the gate checks the first."
        )


def metrics(table: pd.DataFrame) -> dict[str, float]:
    """The model's numbers, their limits and the verdict; what is undefined is left out."""
    numbers: dict[str, float] = {"is_fit_n": int(fitness.passed(table))}
    for row in table[table.predictor == "model"].to_dict("records"):
        group = "" if row["group"] == "all" else "_" + row["group"].replace(".", "_")
        name, unit = f"{row['measure']}{group}", MEASURES[row["measure"]]
        values = {"": row["value"], "_low": row["low"], "_high": row["high"]}
        numbers |= {f"{name}{end}_{unit}": v for end, v in values.items() if pd.notna(v)}
    return numbers


def main(item: str) -> None:
    """Check the reward verifier ("reward") or the judge ("judge")."""
    if item not in VERIFIERS:
        raise InputError(f"check_verifier: unknown item '{item}'. Use one of {VERIFIERS}.")
    with stage_run("check_verifier", Params, item) as run:
        given, predicted = run.params, run.read(Predictions, item)
        check_gaps(given.pair_gaps)
        rows = with_baselines(item, run.read(Questions), predicted)
        how = (fitness.SAMPLES, fitness.LEVEL, run.seed)
        measured = verifier_measures.measure(rows, given.pair_gaps, given.reliability_bins, *how)
        limits = {name: asdict(given)[name] for name in fitness.CHECKS}
        gap = verifier_measures.gap_group(given.pair_gaps[0])
        table = fitness.with_limits(measured, limits, gap)
        run.write(Fitness, table, item)
        verdict = fitness.verdict(table)
        if not fitness.passed(table):
            logging.warning("%s: the verifier may not rank: %s", run.name, verdict)
        scored = rows[rows.predicted.notna()]
        curve = calibration.reliability(
            scored.predicted.to_numpy(float), scored.rating.to_numpy(float), given.reliability_bins
        )
        sizes = {"rows_n": len(rows), "unscored_n": len(rows) - len(scored)}
        run.report(sizes | metrics(table), {"verdict": verdict, "reliability": curve})


if __name__ == "__main__":
    start(main)
