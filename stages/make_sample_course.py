"""Invent PeerWise exports from our own facts, with a planted preference of the raters.

    stages/sample_course/ -> data/raw/sample_course/   five courses in both layouts, background.txt
                             reports/make_sample_course.json

Students explain with independent latents (names the key, right or wrong mechanism, refutes a
distractor, endorses another wrong option, length), and raters reward them as stages/pure/
sample_ratings.py says. Phrasings of the judge and test splits never occur in training, which
is why the generator must know the split that prepare_questions will find.

    dvc repro make_sample_course
    python -m stages.make_sample_course
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stages.pure import (
    sample_course,
    sample_dirt,
    sample_exports,
    sample_ratings,
    sample_students,
    sample_texts,
)
from stages.runtime.params import StageParams
from stages.runtime.run import as_dict, stage_run, start

FACTS_DIR = Path("stages/sample_course")
OUTPUT_DIR = Path("data/raw/sample_course")


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: make_sample_course. Units and sources are commented there."""

    rows_per_question: float
    questions_per_fact: int
    rater_noise_stars: float
    length_bonus_stars: float
    dirt_frac: float
    shuffle_ratings: bool
    max_facts: int | None


@dataclass(frozen=True)
class Clustering:
    """What prepare_questions will split by (params.yaml: prepare_questions)."""

    cluster_similarity: float
    split_percent: dict[str, float]


def read_facts(folder: Path) -> pd.DataFrame:
    """facts_<field>.csv of every field, with a column `field`.

    Raises InputError for a faulty file, and for an id that occurs twice in all of them.
    """
    tables = []
    for field in sample_course.COURSES:
        path = folder / f"facts_{field}.csv"
        facts = pd.read_csv(path, dtype=str, keep_default_na=False)
        sample_course.check_facts(facts, str(path))
        tables.append(facts.assign(field=field))
    found = pd.concat(tables, ignore_index=True)
    sample_course.check_ids(found, str(folder))
    return found


def read_phrasings(folder: Path) -> dict[str, Any]:
    """phrasings.yaml: `pools` and `background`."""
    import yaml

    return dict(yaml.safe_load((folder / "phrasings.yaml").read_text(encoding="utf-8")))


def make_rows(
    facts: pd.DataFrame,
    pools: Mapping[str, sample_texts.Pool],
    params: Params,
    clustering: Clustering,
    seed: int,
) -> pd.DataFrame:
    """Chosen facts -> all student rows with latents, text, ratings and dirt."""
    questions = sample_course.make_questions(
        facts, params.questions_per_fact, clustering.cluster_similarity,
        clustering.split_percent, seed,
    )  # fmt: skip
    rows = sample_students.draw_latents(questions, facts, params.rows_per_question, seed)
    rows = sample_texts.write_explanations(rows, facts, pools, seed)
    noise, bonus = params.rater_noise_stars, params.length_bonus_stars
    rows = sample_ratings.rate(rows, noise, bonus, params.shuffle_ratings, seed)
    return sample_dirt.soil(rows, params.dirt_frac, seed)


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write all files beside the target and rename: the folder is complete or absent."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, content in sorted(files.items()):
        (partial / name).write_bytes(content)
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)


def main() -> None:
    """Write the invented exports and the statements to read."""
    with stage_run("make_sample_course", Params) as run:
        sample_course.check_amounts(as_dict(run.params))
        run.reads(FACTS_DIR)
        clustering = run.section(Clustering, "prepare_questions")
        facts = sample_course.choose_facts(read_facts(FACTS_DIR), run.params.max_facts)
        phrasings = read_phrasings(FACTS_DIR)
        rows = make_rows(facts, phrasings["pools"], run.params, clustering, run.seed)
        lines = sample_texts.background(facts, phrasings["background"])
        text = "".join(line + "\n" for line in lines).encode()
        files = sample_exports.export(rows, run.seed)
        write_folder(OUTPUT_DIR, {**files, "background.txt": text})
        run.wrote(OUTPUT_DIR)
        metrics = sample_ratings.summarize(rows) | {"background_lines_n": len(lines)}
        run.report(metrics, {"dirt": sample_dirt.counts(rows)})


if __name__ == "__main__":
    start(main)
