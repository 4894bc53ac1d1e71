"""Turn scored texts into preference pairs for DPO.

    data/{questions,candidates,negatives,scores}.parquet -> data/preferences.parquet, drops.parquet
                                                            reports/build_preferences.json

Two texts of one question make a pair when their rewards (the mean of the scorers with role
`reward`, less what it gives to length) are at least `min_score_gap` apart: below a scorer's
own error the order is chance. Not only the best against the worst: few and easy pairs teach a
policy to drift. Held-out scorers are not read. What is in no pair is in `drops`, with its
reason.

    dvc repro build_preferences
    python -m stages.build_preferences
"""

from dataclasses import dataclass

import pandas as pd

from schemas.candidates import Candidates
from schemas.drops import Drops
from schemas.errors import InputError
from schemas.negatives import Negatives
from schemas.preferences import Preferences
from schemas.questions import Questions
from schemas.scores import Scores
from stages.pure import pairing
from stages.pure.sql import query
from stages.runtime.params import StageParams
from stages.runtime.run import stage_run, start


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: build_preferences. Units and sources are commented there."""

    min_score_gap: float
    pairs_per_question: int
    negatives_per_question: int
    length_control: float


def pair_texts(texts: pd.DataFrame, params: Params) -> pd.DataFrame:
    """pairing.rewarded_texts -> Preferences: the widest gaps first, a few per question.

    Raises InputError for parameters that cannot be meant, and if there is no pair.
    """
    for name in ("min_score_gap", "pairs_per_question", "negatives_per_question"):
        if getattr(params, name) < 0:
            raise InputError(
                f"build_preferences.{name}: {getattr(params, name)} in params.yaml is negative. "
                "Give 0 or more."
            )
    pairs = query(
        "preferences",
        {"texts": texts},
        min_score_gap=params.min_score_gap,
        pairs_per_question=params.pairs_per_question,
        negatives_per_question=params.negatives_per_question,
    )
    if pairs.empty:
        raise InputError(
            f"build_preferences: none of {len(texts)} texts makes a pair with min_score_gap "
            f"{params.min_score_gap} (widest gap {pairing.widest_gap(texts):.2f} stars). Lower "
            "min_score_gap, raise pairs_per_question or sample more candidates."
        )
    return pairs


def drop_texts(texts: pd.DataFrame, pairs: pd.DataFrame, params: Params) -> pd.DataFrame:
    """pairing.rewarded_texts, Preferences -> Drops: every text in no pair, with its reason."""
    tables = {"texts": texts, "preferences": pairs}
    return query("drops", tables, min_score_gap=params.min_score_gap)


def check_split(pairs: pd.DataFrame, questions: pd.DataFrame) -> None:
    """Raise InputError if a pair is of a question, or of a cluster, outside the train split."""
    rows = pairs[["question_id", "cluster_id"]].assign(table_name="preferences")
    leaks = query("leaks", {"rows": rows, "questions": questions})
    if len(leaks):
        raise InputError(
            f"question {leaks.question_id[0]} of data/preferences.parquet: its cluster is in split "
            f"'{leaks.split[0]}', not train ({leaks.question_id.nunique()} such questions). "
            "Run `dvc repro sample_candidates`."
        )


def main() -> None:
    """Read, compute, write, report."""
    with stage_run("build_preferences", Params) as run:
        questions, candidates = run.read(Questions), run.read(Candidates)
        texts = pairing.rewarded_texts(questions, candidates, run.read(Negatives), run.read(Scores))
        slope = pairing.length_slope(texts)
        texts = pairing.control_length(texts, run.params.length_control)
        pairs = pair_texts(texts, run.params)
        drops = drop_texts(texts, pairs, run.params)
        run.write(Preferences, pairs)
        run.write(Drops, drops)
        check_split(pairs, questions)  # last, so that a leaking table is never a result of DVC
        numbers = pairing.summarize(texts, pairs) | {"length_slope_stars": slope}
        run.report(numbers, pairing.tabulate(pairs, drops))


if __name__ == "__main__":
    start(main)
