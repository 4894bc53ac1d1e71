"""Stop the run where a training text repeats what is held out.

    questions: data/questions{,_taught}.parquet -> data/leakage_questions.parquet
    texts:     data/{questions,synthetic_questions,candidates,negatives,synthetic,scores,
                     preferences}.parquet       -> data/leakage_texts.parquet
               reports/check_leakage_<item>.json

Clusters are found by shared words. This check is independent of them: a frozen sentence
encoder says which questions of two splits ask the same in other words, and which text that may
train a policy repeats a judge or test student's. Every training depends on it. The limits are
calibrated by `python -m stages.calibrate_leakage`.

    dvc repro check_leakage
    python -m stages.check_leakage texts
"""

from dataclasses import dataclass

import pandas as pd

from schemas.candidates import Candidates
from schemas.errors import InputError
from schemas.leakage import Leakage
from schemas.negatives import Negatives
from schemas.preferences import Preferences
from schemas.questions import TAUGHT, Questions
from schemas.scores import Scores
from schemas.synthetic import Synthetic
from schemas.synthetic_questions import SyntheticQuestions
from stages.pure import leakage, synthetic_questions, synthetic_texts
from stages.pure.sql import query
from stages.runtime.loading.profile import Encoder
from stages.runtime.params import StageParams
from stages.runtime.run import Run, stage_run, start
from stages.steps import nearness

KEPT = 20  # pairs in the table per combination of splits, for the reader


@dataclass(frozen=True)
class Params(StageParams, nearness.Settings):
    """params.yaml: check_leakage."""


def check_splits(tables: dict[str, pd.DataFrame], questions: pd.DataFrame) -> None:
    """Raise InputError if a row of a training table is of a question outside the train split."""
    parts = [
        table.reindex(columns=["question_id", "cluster_id"]).assign(table_name=name)
        for name, table in tables.items()
    ]
    rows = pd.concat(parts, ignore_index=True).drop_duplicates()
    leaks = query("leaks", {"rows": rows.astype("str"), "questions": questions})
    if len(leaks):
        first = leaks.to_dict("records")[0]
        raise InputError(
            f"question {first['question_id']} of data/{first['table_name']}.parquet: its cluster "
            f"is in split '{first['split']}', not train ({leaks.question_id.nunique()} such "
            "questions). Run `dvc repro sample_candidates`."
        )


def write(run: Run[Params], item: str, pairs: pd.DataFrame) -> None:
    """Write the nearest pairs."""
    run.write(Leakage, leakage.top(pairs, KEPT)[[*Leakage.to_schema().columns]], item)


def report(run: Run[Params], pairs: pd.DataFrame, sizes: dict[str, float]) -> None:
    """Report how near the nearest pairs are."""
    numbers = {"pairs_n": len(pairs)} | sizes
    for (one, other), near in pairs.groupby(["split", "other_split"]).similarity:
        numbers[f"{one}_{other}_nearest_score"] = float(near.max())
    run.report(numbers)


def check_questions(run: Run[Params]) -> None:
    """No two questions of different splits may ask the same.

    The table is of the questions that models learn from: trainings depend on it, and a course
    that came later runs none of them again. Check and report are of all.
    """
    rows, taught = run.read(Questions), run.read(Questions, TAUGHT)
    encoder = run.section(Encoder, "encoder")
    pairs = nearness.pairs_of_questions(rows, encoder)
    leakage.check(
        pairs,
        run.params.max_question_similarity,
        "max_question_similarity",
        "If they ask the same, lower prepare_questions.cluster_similarity or drop one from its "
        "export; if not, raise the limit.",
    )
    has_later = len(taught) < len(rows)
    write(run, "questions", nearness.pairs_of_questions(taught, encoder) if has_later else pairs)
    report(run, pairs, {"questions_n": rows.question_id.nunique()})


def check_texts(run: Run[Params]) -> None:
    """No text that may train a policy may be, or repeat, a judge or test text."""
    students = run.read(Questions)
    added = synthetic_questions.as_rows(students, run.read(SyntheticQuestions))
    rows = synthetic_texts.below(students, added)
    made = synthetic_texts.joined(run.read(Candidates), run.read(Negatives), run.read(Synthetic))
    tables = dict(zip(("candidates", "negatives"), made, strict=True))
    paired = {"scores": run.read(Scores), "preferences": run.read(Preferences)}
    check_splits(tables | paired, rows)
    encoder, words = run.section(Encoder, "encoder"), run.params.min_text_words
    check_added(students, added, encoder, run.params.max_question_similarity)
    pairs = nearness.pairs_of_texts(rows, tables, words, encoder)
    leakage.check(
        pairs,
        run.params.max_text_similarity,
        "max_text_similarity",
        "Find where the text came from and drop it there.",
    )
    write(run, "texts", pairs)
    report(run, pairs, {"texts_n": sum(map(len, tables.values()))})


def check_added(
    students: pd.DataFrame, added: pd.DataFrame, encoder: Encoder, limit: float
) -> None:
    """Raise InputError if a synthetic question asks what a held-out one asks."""
    near = nearness.held_out_pairs(students, added, encoder)
    leakage.check(
        near, limit, "max_question_similarity", "Run `dvc repro synthesize`, which drops such ones."
    )


CHECKS = {"questions": check_questions, "texts": check_texts}


def main(item: str) -> None:
    """Compare questions across splits ("questions") or training texts with held-out ones."""
    if item not in CHECKS:
        raise InputError(f"check_leakage: unknown item '{item}'. Use one of {sorted(CHECKS)}.")
    with stage_run("check_leakage", Params, item) as run:
        nearness.check(run.params)
        CHECKS[item](run)


if __name__ == "__main__":
    start(main)
