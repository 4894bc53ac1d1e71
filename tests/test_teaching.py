"""A course that came later is kept from every training: what models learn from stays as it was."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from schemas.questions import TAUGHT, Questions
from stages import prepare_base, train_entailment, train_solver, train_students, train_verifier
from stages.pure.scored import solving
from stages.runtime import artifacts
from stages.runtime.loading import checkpoints
from stages.steps import sft
from tests import tiny_models
from tests.tiny_models import MODEL

pytest_plugins = ["tests.tiny_fixtures"]

RATING = 3.0


def later() -> pd.DataFrame:
    """The same twenty questions in another course, which no model may learn from."""
    rows = tiny_models.course()
    moved = rows.assign(
        row_id=rows.row_id.str.replace("zoo", "ark"),
        question_id="ark" + rows.question_id,
        cluster_id="ark" + rows.cluster_id,
        course="ark",
        stem=rows.stem.str.replace("live", "sleep"),
        is_training_row=False,
    )
    return artifacts.conform(Questions, moved)


def taught(rows: pd.DataFrame) -> pd.DataFrame:
    """What prepare_questions hands to the trainings of these rows."""
    tiny_models.write_course(rows)
    return artifacts.read(Questions, TAUGHT)


def both() -> pd.DataFrame:
    """The taught course and the later one, in the order of the table."""
    table = pd.concat([tiny_models.course(), later()]).sort_values("row_id", ignore_index=True)
    return Questions.validate(artifacts.conform(Questions, table))


def of_sft(rows: pd.DataFrame) -> Any:
    tokenizer = checkpoints.load_tokenizer(MODEL)
    return sft.lessons(rows, sft.Settings(0.5, 1.0), tokenizer, MODEL)


def of_verifier(rows: pd.DataFrame) -> Any:
    found = []
    for split in ("train", "judge", "validation"):
        given = train_verifier.examples(train_verifier.rated_rows(rows, split), 1)
        found += [given.prompts, given.explanations, given.targets.tolist()]
        found += [given.weights.tolist()]
    return found


def of_entailment(rows: pd.DataFrame) -> Any:
    given = train_entailment.examples(rows, "judge", RATING)
    labels = given.targets.tolist(), given.weights.tolist(), given.groups.tolist()
    return given.claims, given.explanations, *labels


def of_solver(rows: pd.DataFrame) -> Any:
    fitted = solving.rated_at_least(rows, ["judge"], RATING)
    told = train_solver.choices(fitted, [row["explanation"] for row in fitted])
    return told.options, told.explanations, told.keys.tolist(), told.groups.tolist()


INPUTS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "base": prepare_base.train_texts,
    "sft": of_sft,
    "verifier": of_verifier,
    "entailment": of_entailment,
    "solver": of_solver,
}


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize("model", INPUTS)
def test_a_later_course_changes_no_training_input(model: str):
    alone = INPUTS[model](taught(tiny_models.course()))
    assert INPUTS[model](taught(both())) == alone
    # the later course has what a model could learn from
    assert INPUTS[model](both()) != alone


def trained(run_stage: tiny_models.Stage, rows: pd.DataFrame, stage: Any, *item: str) -> Any:
    """What a stage writes from these rows."""
    tiny_models.write_course(rows)
    sections = {
        "train_entailment": {"min_rating": RATING},
        "train_solver": {"min_rating": RATING},
        "train_students": {"min_rating": RATING, "explained_frac": 0.5, "neighbours": 1},
        "train_verifier": {"min_weight_ratings": 1},
        "train_sft": {"refinement_frac": 0.5, "min_refinement_gap": 1.0},
    }
    recorded = run_stage(stage.main, *item, **sections)
    return {
        (path.as_posix(), name): content
        for path in recorded.outputs
        if path.is_dir()
        for name, content in tiny_models.tree_bytes(path).items()
        if Path(name).name != checkpoints.MANIFEST
    }


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize(
    ("stage", "item"),
    [(train_solver, []), (train_entailment, []), (train_verifier, ["judge"]), (train_students, [])],
    ids=["solver", "entailment", "judge", "students"],
)
def test_a_later_course_changes_no_byte_of_a_model(
    run_stage: tiny_models.Stage, stage: Any, item: list[str]
):
    taught = trained(run_stage, tiny_models.course(), stage, *item)
    assert taught
    digests = {path: checkpoints.model_digest(Path(path)) for path, _ in taught}
    assert trained(run_stage, both(), stage, *item) == taught
    assert {path: checkpoints.model_digest(Path(path)) for path in digests} == digests
