"""The students as a policy: their texts of the test questions, as they are."""

import pandas as pd
import pytest

from schemas.errors import InputError
from schemas.explanations import NO_TRAINING, Explanations
from schemas.questions import Questions
from stages import explain_test_student as stage
from stages.runtime import artifacts
from tests.tiny_models import Stage, course, reported

pytest_plugins = ["tests.tiny_fixtures"]


def test_every_test_row_is_taken_as_it_is_and_no_other():
    found = stage.student_explanations(course())
    test = course().query("split == 'test'")
    assert found.explanation.tolist() == test.explanation.tolist()
    assert found.question_id.tolist() == test.question_id.tolist()
    assert found.cluster_id.tolist() == test.cluster_id.tolist()
    assert len(found) == 12


def test_the_students_of_a_question_are_counted_from_zero():
    rows = course().query("split == 'test'")
    third = rows.head(1).assign(row_id="zoo/999", explanation="Another one.")
    found = stage.student_explanations(pd.concat([third, rows]))
    assert found.explanation_index.tolist() == [0, 1, 2] + [0, 1] * 5
    assert found.explanation[2] == "Another one."


def test_a_student_is_neither_trained_nor_sampled_nor_rated():
    found = stage.student_explanations(course())
    assert set(found.policy) == {"student"}
    assert set(found.decoding) == {"none"}
    assert set(found.training_seed) == {NO_TRAINING} == {-1}
    assert found.is_final.all()
    assert found.is_stopped.all()
    assert found.verifier_rating.isna().all()


def test_the_order_of_the_rows_does_not_matter():
    rows = course()
    pd.testing.assert_frame_equal(
        stage.student_explanations(rows.sample(frac=1, random_state=6)),
        stage.student_explanations(rows),
    )


@pytest.mark.usefixtures("checkout")
def test_a_course_without_test_rows_is_refused(run_stage: Stage):
    artifacts.write(Questions, course().query("split != 'test'"))
    with pytest.raises(InputError, match="no row in the split 'test'"):
        run_stage(stage.main)
    assert not Explanations.path("student").exists()


@pytest.mark.usefixtures("checkout")
def test_the_stage_writes_its_table_and_its_report(run_stage: Stage):
    recorded = run_stage(stage.main)
    found = artifacts.read(Explanations, "student")
    assert len(found) == 12
    assert recorded.inputs == [Questions.path()]
    words = course().query("split == 'test'").explanation_words_n
    assert reported("explain_test_student") == {
        "questions_n": 6,
        "texts_n": 12,
        "mean_words": words.mean(),
    }
