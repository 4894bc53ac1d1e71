"""Ask the oracle of the sample course about finished texts. Only evaluate and validate may."""

from pathlib import Path

import pandas as pd

from schemas.errors import InputError
from stages.pure import oracle
from stages.pure.metrics import Value
from stages.pure.scored import scoring

VERDICTS = ["correct", "names_key", "has_mechanism", "has_other_mechanism", "endorses_distractor"]


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
    for question in scoring.rows_of(texts):
        found: dict[str, bool] = {}
        if facts and (fact := oracle.find_fact(facts, question)):
            found = oracle.judge(fact, question, question["explanation"], facts)
        for verdict, name in names.items():
            known = Value(float(found[verdict])) if found else Value(None, "no_fact")
            values[name].append(known)
    return values
