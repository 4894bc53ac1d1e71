"""Read the exports, clean and filter their rows, cluster and split the questions.

    the exports named in params.yaml -> data/questions.parquet, data/questions_taught.parquet
                                        data/rejects.parquet
                                        reports/prepare_questions.json

Every row of an export is a row of exactly one of the two tables. A row that cannot be used
is rejected; one that is merely rated low or short stays with is_sft_row = false, because
the verifier has to see bad explanations too. Names of students end here: they are dropped,
or replaced by a keyed hash.

    dvc repro prepare_questions
    python -m stages.prepare_questions
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from schemas.errors import InputError
from schemas.questions import SPLITS, TAUGHT, Questions
from schemas.rejects import REASONS, Rejects
from stages.pure import clusters, tiers
from stages.pure.cleaning import sort_out
from stages.pure.prompts import key_text, options
from stages.runtime.exports import parse_entries, read_exports
from stages.runtime.identities import user_hashes
from stages.runtime.params import StageParams
from stages.runtime.run import stage_run, start

WHERE = "params.yaml: prepare_questions"


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: prepare_questions. Units and sources are commented there."""

    source: str
    exports: list[dict[str, str | None]]
    rated_object: str
    min_ratings: float
    min_question_rating: float
    min_explanation_words: float
    quality_tier: str
    min_top_rating_frac: float
    users: str
    untaught_courses: list[str]
    cluster_similarity: float
    split_percent: dict[str, float]


def check(params: Params) -> None:
    """Raise InputError for a value that no run could mean."""
    known = {"rated_object": ["question", "explanation"], "quality_tier": tiers.TIERS}
    for name, words in (known | {"users": ["drop", "hash"]}).items():
        if (value := getattr(params, name)) not in words:
            raise InputError(f"{WHERE}.{name}: unknown value {value!r}. Known: {words}.")
    for name in [name for name in vars(params) if name.startswith("min_")]:
        if not (value := getattr(params, name)) >= 0:
            raise InputError(f"{WHERE}.{name}: {value!r} is not a number of at least 0.")
    clusters.check(params.cluster_similarity, params.split_percent)


def check_untaught(untaught: list[str], courses: list[str]) -> None:
    """Raise InputError for a course that no export has, and if no course is left to learn from."""
    if unknown := sorted(set(untaught) - set(courses)):
        raise InputError(f"{WHERE}.untaught_courses: {unknown[0]!r} is no course of {courses}.")
    if not set(courses) - set(untaught):
        raise InputError(f"{WHERE}.untaught_courses: no course of {courses} is left to learn from.")


def add_clusters(rows: pd.DataFrame, params: Params) -> pd.DataFrame:
    """`rows` with question_id, cluster_id, split and fold."""
    records: Sequence[Mapping[Any, Any]] = rows.to_dict("records")
    ids = [clusters.question_id(row["stem"], options(row), key_text(row)) for row in records]
    rows = rows.assign(question_id=ids)
    distinct = rows.drop_duplicates("question_id")
    found = clusters.assign(distinct, params.cluster_similarity, params.split_percent)
    return rows.merge(found, on="question_id", how="left", validate="many_to_one")


def measure(questions: pd.DataFrame, rejects: pd.DataFrame) -> dict[str, float]:
    """How much there is of what: rows, questions and clusters, by split and by reason."""
    distinct = questions.drop_duplicates("question_id")
    metrics: dict[str, float] = {
        "export_rows_n": len(questions) + len(rejects),
        "rows_n": len(questions),
        "rejects_n": len(rejects),
        "questions_n": len(distinct),
        "clusters_n": distinct.cluster_id.nunique(),
        "largest_cluster_frac": float(distinct.cluster_id.value_counts().iloc[0]) / len(distinct),
        "sft_rows_n": int(questions.is_sft_row.sum()),
        "unrated_rows_n": int(questions.question_rating_mean.isna().sum()),
    }
    metrics |= {f"rejects_{name}_n": int((rejects.reason == name).sum()) for name in REASONS}
    for split in SPLITS:
        part = questions[questions.split == split]
        metrics[f"{split}_rows_n"] = len(part)
        metrics[f"{split}_sft_rows_n"] = int(part.is_sft_row.sum())
        metrics[f"{split}_questions_n"] = part.question_id.nunique()
        metrics[f"{split}_clusters_n"] = part.cluster_id.nunique()
    return metrics


def prepare(params: Params) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Exports -> (questions, rejects, what to report). Raises InputError for bad input."""
    check(params)
    entries = parse_entries(params.exports)
    check_untaught(params.untaught_courses, [entry.course for entry in entries])
    raw = read_exports(Path(params.source), entries)
    raw["user_hash"] = user_hashes(raw.pop("user"), params.users)
    return sort_and_split(raw, params)


def sort_and_split(
    raw: pd.DataFrame, params: Params
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Raw rows of stages.runtime.exports with user_hash -> as prepare, without a file.

    Raises InputError if no row is left, or a course does not say what the tier asks for.
    """
    rows, rejects = sort_out(raw, params.min_ratings)
    if rows.empty:
        reasons = rejects.reason.value_counts().sort_index().to_dict()
        raise InputError(
            f"{params.source}: no row of {len(raw)} is left: {reasons}. Change "
            f"{WHERE}, or add exports."
        )
    tiers.check_tier(rows, params.quality_tier)
    steps = tiers.sft_steps(
        rows, params.min_question_rating, params.min_explanation_words, params.min_top_rating_frac
    )
    rows["is_sft_row"] = tiers.is_sft_row(steps, params.quality_tier)
    rows["is_training_row"] = ~rows.course.isin(params.untaught_courses)
    details = {"waterfall": tiers.waterfall(raw, rejects, rows, steps)}
    questions = add_clusters(rows, params).assign(rated_object=params.rated_object)
    names = {"rating_mean": "question_rating_mean", "ratings_n": "question_ratings_n"}
    questions = questions.rename(columns=names)[[*Questions.to_schema().columns]]
    return questions, rejects, {"metrics": measure(questions, rejects), "details": details}


def main() -> None:
    """Turn the exports of params.yaml into questions and rejects."""
    with stage_run("prepare_questions", Params) as run:
        run.reads(Path(run.params.source))
        questions, rejects, report = prepare(run.params)
        run.write(Questions, questions)
        run.write(Questions, questions[questions.is_training_row], TAUGHT)
        run.write(Rejects, rejects)
        run.report(report["metrics"], report["details"])


if __name__ == "__main__":
    start(main)
