"""Students learn from the judge split alone; hub students are pinned."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pytest

from schemas.errors import InputError
from stages import train_students
from stages.runtime import students
from stages.scorers import utility as scorer
from tests.tiny_models import STUDENT, Stage, course, reported, tree_bytes, write_course

pytest_plugins = ["tests.tiny_fixtures"]

SECTION: dict[str, Any] = {
    "train_students": {"min_rating": 1.0, "explained_frac": 0.8, "neighbours": 1}
}


def trained(run_stage: Stage, **sections: Any) -> dict[str, bytes]:
    """The students, without the exam and the manifest, which name the whole table."""
    run_stage(train_students.main, **SECTION | sections)
    files = tree_bytes(train_students.FOLDER)
    return {name: files[name] for name in files if "/" in name}


@pytest.mark.usefixtures("checkout")
def test_the_report_holds_accuracy_with_and_without_the_explanation(run_stage: Stage):
    recorded = run_stage(train_students.main, **SECTION)
    found = reported("train_students")
    assert found["rows_n"] == 8
    assert found["held_out_n"] == 8
    assert found["chance_frac"] == 0.25
    for name in ("accuracy", "masked_accuracy", "without_accuracy", "misled_accuracy"):
        each = [found[f"student_{i}_{name}_frac"] for i in range(2)]
        assert found[f"{name}_frac"] == pytest.approx(np.mean(each))
    assert recorded.curve is not None
    assert [*recorded.curve] == ["step", "student_0_loss", "student_1_loss"]
    assert recorded.curve.step.tolist() == [10, 20]
    assert recorded.curve.notna().all(axis=None)
    assert train_students.FOLDER in recorded.outputs


@pytest.mark.usefixtures("checkout")
def test_only_the_judge_split_is_read(run_stage: Stage):
    before = trained(run_stage)
    assert trained(run_stage) == before
    is_judge = course().split == "judge"
    for changed, is_same in ((~is_judge, True), (is_judge, False)):
        other = course().explanation.mask(changed, course().explanation + " Fish swim.")
        write_course(course().assign(explanation=other))
        assert (trained(run_stage) == before) == is_same


@pytest.mark.usefixtures("checkout")
def test_students_differ(run_stage: Stage):
    files = trained(run_stage)
    weights = [files[f"student_{i}/model.safetensors"] for i in range(2)]
    assert weights[0] != weights[1]


@pytest.mark.usefixtures("checkout")
def test_the_exam_is_the_train_split(run_stage: Stage):
    run_stage(train_students.main, **SECTION)
    exam = students.read_exam(train_students.FOLDER)
    assert exam.neighbours == 1
    assert [row["question_id"] for row in exam.pool] == [f"q{n:02d}" for n in range(8)]


@pytest.mark.usefixtures("checkout")
def test_the_scorer_reads_what_the_stage_writes(run_stage: Stage):
    run_stage(train_students.main, **SECTION)
    row = course().query("split == 'test'").iloc[0].to_dict()
    texts = pd.DataFrame([row | {"explanation": text} for text in ("It is a river.", "", "Hm.")])
    for score in scorer.SCORERS.values():
        found = score(texts)
        assert [value.reason for value in found] == [None, "empty_text", None]
        assert found[0].value != found[2].value
        assert found == score(texts)


def hub_students(revision: str | None) -> dict[str, Any]:
    hub = asdict(STUDENT) | {"name": "owner/name", "revision": revision, "size": None}
    return {"students": {"student_0": hub, "student_1": hub}, "reading": None}


@pytest.mark.usefixtures("checkout")
def test_hub_students_are_pinned_and_not_fetched(run_stage: Stage):
    run_stage(train_students.main, **SECTION | hub_students("a" * 40))
    files = tree_bytes(train_students.FOLDER)
    assert json.loads(files["student_1/student.json"])["revision"] == "a" * 40
    assert reported("train_students") == {"students_n": 2}
    assert "exam.json" in files


@pytest.mark.usefixtures("checkout")
def test_an_unpinned_hub_student_is_refused(run_stage: Stage):
    with pytest.raises(InputError, match=r"stages\.pin"):
        run_stage(train_students.main, **SECTION | hub_students(None))


@pytest.mark.parametrize("section", [None, {}, {"student_0": asdict(STUDENT)}])
def test_one_student_is_too_few(section: Any):
    with pytest.raises(InputError, match="at least 2 students"):
        train_students.students_of({"students": section})


def test_an_unknown_key_of_a_student_is_named():
    section = {f"student_{i}": asdict(STUDENT) | {"treads": 1} for i in range(2)}
    with pytest.raises(InputError, match=r"students\.student_0: unknown key 'treads'"):
        train_students.students_of({"students": section})


@pytest.mark.usefixtures("checkout")
def test_without_readable_exercises_the_stage_says_so(run_stage: Stage):
    with pytest.raises(InputError, match="0 explanations of the judge split"):
        run_stage(
            train_students.main, train_students=SECTION["train_students"] | {"min_rating": 5.0}
        )
