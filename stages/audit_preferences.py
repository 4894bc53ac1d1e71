"""Refuse preference pairs that a classifier without judgement can tell apart.

    data/preferences.parquet -> data/pair_audit.parquet, reports/audit_preferences.json

Cross-validated over clusters: the word count, single words, the origin, and a memory of whole
texts (three fixed strings as the rejected texts of all questions are known to it). Over all
pairs, per origin of the rejected text and per kind of negative. A value may be high because
better texts do use other words; a limit is broken only when the whole interval is above it,
and then train_dpo has nothing to train on.

    dvc repro audit_preferences
    python -m stages.query "select * from pair_audit"
"""

from dataclasses import dataclass

import pandas as pd

from schemas.errors import InputError
from schemas.pair_audit import PairAudit
from schemas.preferences import Preferences
from stages.pure import audit
from stages.runtime.params import StageParams
from stages.runtime.run import stage_run, start

ADVICE = {
    "length": "raise build_preferences.length_control",
    "bag_of_words": "lower build_preferences.min_score_gap or make these texts less uniform",
    "origin": "lower build_preferences.negatives_per_question or sample more candidates",
    "repeated_text": "drop the pairs with these rejected texts",
}
NEGATIVES = "lower build_preferences.negatives_per_question or drop this kind in make_negatives"


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: audit_preferences. Units and reasons are commented there."""

    max_length_auc: float
    max_bag_of_words_auc: float
    max_origin_auc: float
    max_repeated_text_auc: float
    min_pairs: int


def limits_of(params: Params) -> dict[str, float]:
    """Measure -> limit. Raises InputError for a limit outside 0.5..1 or fewer than 2 pairs."""
    limits = {name: float(getattr(params, f"max_{name}_auc")) for name in audit.CLASSIFIERS}
    for name, limit in limits.items():
        if not 0.5 <= limit <= 1:
            raise InputError(
                f"params.yaml: audit_preferences.max_{name}_auc: {limit} is not within 0.5..1. "
                "0.5 is guessing, 1 allows everything."
            )
    if params.min_pairs < 2:
        raise InputError(
            f"params.yaml: audit_preferences.min_pairs: {params.min_pairs} is less than 2."
        )
    return limits


def check(table: pd.DataFrame) -> None:
    """Raise InputError naming each group and measure whose limit is not met, and what to do."""
    broken = table[table.is_met.eq(False).fillna(False)].to_dict("records")
    if not broken:
        return
    told = [
        f"group '{row['group']}', {row['measure']} {row['value']:.3f} (95 % interval "
        f"{row['low']:.3f} to {row['high']:.3f}, {row['pairs_n']} pairs), limit {row['limit']:g}"
        for row in broken
    ]
    advice = [
        NEGATIVES if row["group"].startswith("negative") else ADVICE[row["measure"]]
        for row in broken
    ]
    raise InputError(
        f"data/preferences.parquet: without judging, a classifier tells chosen from rejected: "
        f"{'; '.join(told)}. To mend: {'; '.join(dict.fromkeys(advice))}; or raise the limit in "
        "params.yaml: audit_preferences."
    )


def summarize(table: pd.DataFrame) -> dict[str, float]:
    """The measures over all pairs, and how many limits were tested."""
    overall = table[(table.group == "all") & table.value.notna()].to_dict("records")
    numbers: dict[str, float] = {f"{row['measure']}_frac": row["value"] for row in overall}
    tested = int(table.is_met.notna().sum())
    return numbers | {
        "pairs_n": int(table.pairs_n[table.group == "all"].max()),
        "limits_tested_n": tested,
        "not_measured_n": int(table.value.isna().sum()),
    }


def main() -> None:
    """Read, compute, write, report."""
    with stage_run("audit_preferences", Params) as run:
        limits = limits_of(run.params)
        pairs = run.read(Preferences)
        table = audit.audit(pairs, limits, run.params.min_pairs)
        check(table)
        run.write(PairAudit, table)
        run.report(summarize(table), {"score_gaps": audit.histogram(pairs)})


if __name__ == "__main__":
    start(main)
