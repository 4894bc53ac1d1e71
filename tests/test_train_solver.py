"""The solver learns from the judge split alone, and its report says what it knows without help."""

import pandas as pd
import pytest

from schemas.errors import InputError
from schemas.questions import TAUGHT, Questions
from stages import train_solver
from stages.runtime.loading.digests import dvc_md5
from tests.tiny_models import Stage, course, reported, tree_bytes, write_course

pytest_plugins = ["tests.tiny_fixtures"]

SECTION = {"train_solver": {"min_rating": 3.0}}


def test_explanations_are_shown_without_their_options():
    (row, *_) = course().query("split == 'judge'").to_dict("records")
    told = train_solver.choices([row], ["It is a river, A, not the meadow (B)."])
    assert told.explanations == ["It is a ..., A, not the ... (...)."]
    assert told.keys.tolist() == ["ABCD".index(row["key"])]
    assert told.groups.tolist() == [row["cluster_id"]]


@pytest.mark.usefixtures("checkout")
def test_the_report_holds_accuracy_with_and_without_the_explanation(run_stage: Stage):
    recorded = run_stage(train_solver.main, **SECTION)
    found = reported("train_solver")
    assert found["rows_n"] == 4
    assert found["held_out_n"] == 7  # one is not rated
    assert found["chance_frac"] == found["without_accuracy_frac"] == 0.25
    for name in ("accuracy_frac", "misled_accuracy_frac", "stem_accuracy_frac"):
        assert 0 <= found[name] <= 1
    assert recorded.curve is not None
    assert train_solver.FOLDER in recorded.outputs


@pytest.mark.usefixtures("checkout")
def test_only_the_judge_split_changes_the_solver(run_stage: Stage):
    def trained(rows: pd.DataFrame) -> bytes:
        write_course(rows)
        run_stage(train_solver.main, **SECTION)
        return tree_bytes(train_solver.FOLDER)["head.safetensors"]

    def with_other_texts(split: str) -> pd.DataFrame:
        rows = course()
        is_here = rows.split == split
        return rows.assign(explanation=rows.explanation.mask(is_here, "Fish swim in a river."))

    before = trained(course())
    assert trained(course()) == before
    assert trained(with_other_texts("train")) == trained(with_other_texts("test")) == before
    assert trained(with_other_texts("judge")) != before


@pytest.mark.usefixtures("checkout")
def test_the_manifest_names_the_table(run_stage: Stage):
    run_stage(train_solver.main, **SECTION)
    manifest = train_solver.checkpoints.read_manifest(train_solver.FOLDER)
    assert manifest["data"] == {str(Questions.path(TAUGHT)): dvc_md5(Questions.path(TAUGHT))}
    assert manifest["split"] == "judge"


@pytest.mark.usefixtures("checkout")
def test_a_judge_split_without_good_explanations_is_one_line(run_stage: Stage):
    with pytest.raises(InputError, match="judge split has explanations"):
        run_stage(train_solver.main, train_solver={"min_rating": 5.0})
