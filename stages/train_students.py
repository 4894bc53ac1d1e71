"""Train the students of the offline default, or pin the hub models of the profile.

    data/questions_taught.parquet (judge split) -> models/students
                                            reports/train_students.json, curves/

Student utility asks whether an explanation makes the key likelier to a student who could not
know it. The students that are trained here know nothing but how to read: their exercises are
explanations of the judge split whose options are replaced by other words, anew each time
(stages/pure/reading.py), and questions without explanation whose answer is drawn. The words are
those of all questions but the test split's; which option is right is not told. The exam
questions, from which each text takes its nearest, are those of the train split; they are
stored, not learnt. A profile that names hub models gets a folder that pins them; nothing is
downloaded and nothing is measured.

Held-out numbers are of the train split, one well rated explanation that names its key per
question. Healthy: accuracy_frac far above chance_frac, without_accuracy_frac and
misled_accuracy_frac near it. masked_accuracy_frac is no higher than chance, too, for students
who know nothing of the world: then `utility` says whether a text speaks for a wrong option, and
no more, and `utility_unmasked` is the scorer to look at.

    dvc repro train_students
    python -m stages.train_students
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from schemas.errors import InputError
from schemas.questions import TAUGHT, Questions
from stages.pure import exams, prompts, reading, utility
from stages.pure.scored import masking, solving
from stages.runtime import artifacts, lessons, params, resume, students
from stages.runtime.lessons import Reading
from stages.runtime.loading import checkpoints
from stages.runtime.loading.profile import Student
from stages.runtime.pretraining import base_model
from stages.runtime.pretraining.packing import Document
from stages.runtime.run import Run, StageParams, stage_run, start
from stages.runtime.sources import code_digest
from stages.runtime.students import Exam, Reader

FOLDER = Path("models/students")
LEAST = 2  # students
WORDS_OF = ("train", "judge", "validation")  # splits whose questions give words, without keys


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: train_students."""

    min_rating: float
    explained_frac: float
    neighbours: int


def students_of(given: dict[str, Any]) -> dict[str, Student]:
    """The students of the profile by name. Raises InputError for fewer than two."""
    source, section = "params.yaml or stages/profiles", given["students"]
    if not isinstance(section, dict) or len(section) < LEAST:
        raise InputError(
            f"{source}: students: {section!r}: student utility is a mean over at least {LEAST} "
            "students. Name them."
        )
    named = section.items()
    return {name: params.fill(Student, f"students.{name}", how, source) for name, how in named}


def document(tokenizer: Any, exercise: reading.Exercise) -> Document:
    """An exercise and its answer, on which alone the loss counts."""
    question, explanation, answer = exercise
    prompt = students.encode_prompt(tokenizer, prompts.render_exam(question, explanation))
    return Document(prompt + students.encode_answer(tokenizer, answer), len(prompt))


def train_one(
    run: Run[Params],
    how: Student,
    rows: Sequence[solving.Row],
    others: Sequence[solving.Row],
    seed: int,
) -> tuple[Reader, list[dict[str, float]]]:
    """One student and its log. rows: whose explanations it reads; others: more options' words."""
    how_to_learn, given = run.section(Reading, "reading"), reading.material(rows, others)
    if not given.rows or len(given.words) < solving.MOST_OPTIONS:
        raise InputError(
            f"data/questions.parquet: {len(given.rows)} explanations of the judge split are rated "
            f"{run.params.min_rating} or more and name their key. Lower "
            "train_students.min_rating or add exports."
        )
    texts = [prompts.render_exam(row, row["explanation"]) for row in rows]
    texts += [prompts.render_exam(row, "") for row in others]
    tokenizer = base_model.train_tokenizer(texts, how_to_learn.vocabulary, how.max_length)
    rng = np.random.default_rng(seed)

    def exercise(is_short: bool) -> Document:
        if is_short:
            return document(tokenizer, reading.short_exercise(given, rng))
        return document(tokenizer, reading.exercise(given, run.params.explained_frac, rng))

    kept = resume.of(
        resume.SECONDS,
        kind="student",
        rows=resume.rows_digest([rows, others, texts]),
        explained_frac=run.params.explained_frac,
        how=asdict(how),
        reading=asdict(how_to_learn),
        seed=seed,
        code=code_digest("stages.train_students"),
    )
    network, log = lessons.train(how, how_to_learn, tokenizer, exercise, seed, rng, kept)
    return Reader(network, tokenizer, how), log


def fitness(reader: Reader, rows: Sequence[solving.Row]) -> dict[str, float]:
    """Accuracy on questions it has not seen: with and without their explanation, and misled."""
    own = [row["explanation"] for row in rows]
    masked = [masking.mask(row["explanation"], masking.key_of(row)) for row in rows]
    shown = {"": own, "masked_": masked, "without_": [""] * len(rows)}
    shown["misled_"] = solving.misleading(rows)
    numbers = {}
    for name, texts in shown.items():
        asked = [utility.choice(row, text) for row, text in zip(rows, texts, strict=True)]
        numbers[f"{name}accuracy_frac"] = solving.accuracy(reader.probabilities(asked), rows)
    return numbers


def train_all(
    run: Run[Params], named: dict[str, Student], rows: pd.DataFrame, folder: Path
) -> dict[str, float]:
    """Train, measure and save every student; the mean of their numbers, and the curve."""
    fitted = solving.rated_at_least(rows, ["judge"], run.params.min_rating)
    good = solving.rated_at_least(rows, ["train"], run.params.min_rating)
    held_out = solving.one_per_question([row for row in good if reading.frames_of(row)])
    known = prompts.distinct_questions(rows)
    others = exams.records(known[known.split.isin(WORDS_OF)])
    found, curve = [], pd.DataFrame()
    for place, (name, how) in enumerate(named.items()):
        reader, log = train_one(run, how, fitted, others, run.seed + place)
        students.save(reader, folder / name)
        found.append(fitness(reader, held_out) if held_out else {})
        logged = pd.DataFrame(log)
        curve = curve.assign(step=logged.step, **{f"{name}_loss": logged.loss})
    run.write_curve(curve)
    numbers = {"rows_n": float(len(fitted)), "held_out_n": float(len(held_out))}
    numbers |= {"chance_frac": solving.chance(held_out)} if held_out else {}
    for name, each in zip(named, found, strict=True):
        numbers |= {f"{name}_{of}": value for of, value in each.items()}
    means = pd.DataFrame(found).mean()
    return numbers | {str(of): float(value) for of, value in means.items()}


def main() -> None:
    """Train the tiny students, or pin the hub models of the profile."""
    with stage_run("train_students", Params) as run:
        rows = run.read(Questions, TAUGHT)
        named = students_of(run.given)
        with artifacts.complete_folder(FOLDER) as folder:
            if all(how.name == "trained" for how in named.values()):
                numbers = train_all(run, named, rows, folder)
            else:
                numbers = {"students_n": float(len(named))}
                for name, how in named.items():
                    students.pin(how, folder / name)
                run.write_curve(pd.DataFrame({"step": [], "loss": []}))
            asked = prompts.distinct_questions(rows)
            exam = Exam(run.params.neighbours, exams.records(asked[asked.split == "train"]))
            students.write_exam(exam, folder)
            checkpoints.write_manifest(folder, checkpoints.data_digests(Questions.path(TAUGHT)))
        run.wrote(FOLDER)
        run.report(numbers)


if __name__ == "__main__":
    start(main)
