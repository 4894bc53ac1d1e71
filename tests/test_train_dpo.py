"""DPO: what a pair becomes, where policy and reference start, and what may not be set."""

import ast
import inspect
import textwrap
from dataclasses import asdict, replace
from math import log
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from schemas.errors import InputError
from schemas.leakage import Leakage
from schemas.pair_audit import PairAudit
from schemas.preferences import Preferences
from schemas.questions import Questions
from schemas.synthetic_questions import SyntheticQuestions
from stages import train_dpo as stage
from stages.pure.prompts import distinct_questions, render_prompt
from stages.runtime import artifacts, resume
from stages.runtime.loading import checkpoints
from stages.runtime.tuning import training as trainers
from stages.steps import dpo
from tests import invented
from tests.tiny_models import MODEL, TRAINING, Stage, course, profile, reported, tree_bytes

pytest_plugins = ["tests.tiny_fixtures"]

SCIENCE: dict[str, Any] = {
    "beta": 0.1,
    "loss_type": ["sigmoid"],
    "loss_weights": None,
    "ld_alpha": None,
    "label_smoothing": 0.0,
}
TABLES = [Questions.path(), Preferences.path(), SyntheticQuestions.path()]
ONE_BY_ONE = asdict(replace(TRAINING, batch_size=1))


def pairs() -> pd.DataFrame:
    """One pair per train question: the good text against the poor one."""
    rows = []
    for _, texts in course().query("split == 'train'").groupby("question_id"):
        good, poor = texts.to_dict("records")
        start = (good["question_id"], good["cluster_id"], 3, 4, good["explanation"])
        origins = (poor["explanation"], "student", "student", None)
        rows.append((*start, *origins, 4.0, 1.0, 3.0, 1))
    return invented.table(Preferences, rows)


@pytest.fixture
def _pairs(checkout: Path) -> None:
    artifacts.write(Preferences, pairs())


# ---- encoding ------------------------------------------------------------------------------


def encoded(table: pd.DataFrame, max_length: int = MODEL.max_length) -> list[dict[str, Any]]:
    tokenizer = checkpoints.load_tokenizer(MODEL)
    questions = distinct_questions(course()).to_dict("records")
    prompts = {row["question_id"]: render_prompt(row) for row in questions}
    return dpo.encode(tokenizer, table, prompts, replace(MODEL, max_length=max_length))


def test_a_pair_is_the_prompt_and_two_texts_that_end(checkout: Path):
    tokenizer = checkpoints.load_tokenizer(MODEL)
    (row,) = encoded(pairs().head(1))
    question = course().to_dict("records")[0]
    assert {name: tokenizer.decode(ids) for name, ids in row.items()} == {
        "prompt_ids": f"<|user|>{render_prompt(question)}<|assistant|>",
        "chosen_ids": f"{pairs().chosen[0]}<|eos|>",
        "rejected_ids": f"{pairs().rejected[0]}<|eos|>",
    }


@pytest.mark.parametrize("long", ["chosen", "rejected"])
def test_a_pair_with_a_text_that_is_too_long_is_left_out(checkout: Path, long: str):
    table = pairs().head(2)
    table.loc[0, long] = "the meadow " * 100
    (row,) = encoded(table)
    assert row == encoded(pairs().head(2))[1]


def test_a_pair_of_exactly_the_limit_is_kept(checkout: Path):
    table = pairs().head(1)
    (row,) = encoded(table)
    longest = len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"]))
    assert encoded(table, longest) == [row]
    assert encoded(table, longest - 1) == []


# ---- training ------------------------------------------------------------------------------


@pytest.mark.usefixtures("_pairs")
def test_policy_and_reference_start_as_the_same_model(run_stage: Stage):
    # without a step both sides of the loss are equal: -log sigmoid(0) = log 2
    still = ONE_BY_ONE | {"learning_rate": 0.0}
    recorded = run_stage(stage.main, train_dpo=SCIENCE, dpo=still)
    numbers = reported("train_dpo")
    assert numbers["loss_first_nats"] == numbers["loss_last_nats"] == pytest.approx(log(2))
    assert numbers["rewards_margins_first_nats"] == pytest.approx(0, abs=1e-6)
    assert numbers["pairs_n"] == 8
    weights = "adapter_model.safetensors"
    assert tree_bytes(stage.FOLDER)[weights] == tree_bytes(stage.PARENT)[weights]
    inputs = [*TABLES, checkpoints.BASE_DIR, stage.PARENT]
    inputs += [PairAudit.path(), Leakage.path("texts")]
    assert recorded.inputs == inputs


@pytest.mark.usefixtures("_pairs")
def test_training_prefers_the_chosen_texts_and_leaves_the_sft_adapter(run_stage: Stage):
    parent = tree_bytes(stage.PARENT)
    settings = ONE_BY_ONE | {"epochs": 5, "learning_rate": 0.02}
    recorded = run_stage(stage.main, train_dpo=SCIENCE, dpo=settings)
    numbers = reported("train_dpo")
    assert numbers["loss_last_nats"] < numbers["loss_first_nats"] < 0.75
    assert numbers["rewards_margins_last_nats"] > numbers["rewards_margins_first_nats"]
    assert tree_bytes(stage.PARENT) == parent
    manifest = checkpoints.read_manifest(stage.FOLDER)
    assert manifest["parent"] == {
        "path": "models/sft",
        "md5": checkpoints.dvc_md5(stage.PARENT),
    }
    assert set(manifest["data"]) == {path.as_posix() for path in TABLES}
    assert stage.FOLDER in recorded.outputs
    names = set(tree_bytes(stage.FOLDER))
    assert names == {"adapter_config.json", "adapter_model.safetensors", "manifest.json"}
    checkpoints.load_policy(MODEL, stage.FOLDER)


@pytest.mark.usefixtures("_pairs")
def test_the_same_seed_gives_the_same_bytes(run_stage: Stage):
    run_stage(stage.main, train_dpo=SCIENCE)
    first = tree_bytes(stage.FOLDER) | tree_bytes(Path("reports"))
    run_stage(stage.main, train_dpo=SCIENCE)
    assert tree_bytes(stage.FOLDER) | tree_bytes(Path("reports")) == first
    assert not [name for name, data in first.items() if str(Path.cwd()).encode() in data]


@pytest.mark.usefixtures("_pairs")
def test_only_parameters_that_are_set_reach_the_trainer(
    monkeypatch: pytest.MonkeyPatch, run_stage: Stage
):
    given: dict[str, Any] = {}

    def fit(*_: Any, **science: Any) -> list[dict[str, float]]:
        given.update(science)
        return [{"step": 5, "loss": 0.5}]

    monkeypatch.setattr(trainers, "fit_dpo", fit)
    run_stage(stage.main, train_dpo=SCIENCE | {"ld_alpha": 0.5})
    assert given == {
        "beta": 0.1,
        "loss_type": ["sigmoid"],
        "ld_alpha": 0.5,
        "label_smoothing": 0.0,
        "checkpoint_seconds": resume.SECONDS,
    }


@pytest.mark.usefixtures("_pairs")
def test_pairs_that_are_all_too_long_are_refused(run_stage: Stage):
    with pytest.raises(InputError, match="max_length 12 is shorter than each of 8 pairs"):
        run_stage(stage.main, train_dpo=SCIENCE, model=profile(max_length=12)["model"])
    assert not stage.FOLDER.exists()


# ---- settings ------------------------------------------------------------------------------


def test_the_losses_are_those_that_the_installed_trainer_knows():
    import trl

    source = inspect.getsource(trl.DPOTrainer._compute_loss)
    known = [
        str(node.comparators[0].value)
        for node in ast.walk(ast.parse(textwrap.dedent(source)))
        if isinstance(node, ast.Compare)
        and isinstance(node.left, ast.Name)
        and node.left.id == "loss_type"
        and isinstance(node.comparators[0], ast.Constant)
    ]
    assert len(known) > 10
    assert sorted(dpo.LOSSES) == sorted(known)


def params(**changed: Any) -> dpo.Settings:
    return dpo.Settings(**SCIENCE | changed)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        *[{"loss_type": [name], "label_smoothing": 0.001} for name in dpo.LOSSES],
        {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.2]},
        {"loss_type": ["sigmoid", "sft"]},  # weights of 1
        {"label_smoothing": 0.49},
        {"ld_alpha": 0.0},
        {"ld_alpha": 1},
        {"beta": 1e-6},
    ],
)
def test_settings_that_can_be_meant_are_taken(changed: dict[str, Any]):
    dpo.check(params(**changed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"loss_type": ["sigmoid_norms"]}, r"loss_type: 'sigmoid_norms': Did you mean 'sigmoid_no"),
        ({"loss_type": ["sigmoid", "hinje"]}, "loss_type: 'hinje': Did you mean 'hinge'"),
        ({"loss_type": ["IPO"]}, "loss_type: 'IPO': Known: .*'ipo'"),
        ({"loss_type": ["zzz"]}, "loss_type: 'zzz': Known: .*'sigmoid'"),
        ({"loss_type": []}, r"loss_type: \[\]: name at least one"),
        ({"loss_weights": [1.0, 0.2]}, r"loss_weights: \[1.0, 0.2\]: give one for each of"),
        ({"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0]}, "loss_weights"),
        ({"loss_weights": []}, "loss_weights"),
        ({"beta": 0}, "beta: 0: give a number above 0"),
        ({"beta": -0.1}, "beta: -0.1"),
        ({"beta": float("nan")}, "beta: nan"),
        ({"label_smoothing": 0.5}, "label_smoothing: 0.5: give 0 or more and less than 0.5"),
        ({"label_smoothing": -0.1}, "label_smoothing: -0.1"),
        ({"loss_type": ["exo_pair"]}, "label_smoothing: 0.0: 'exo_pair' needs more than 0"),
        ({"ld_alpha": 1.1}, "ld_alpha: 1.1: give 0 to 1, or null"),
        ({"ld_alpha": -0.1}, "ld_alpha: -0.1"),
    ],
)
@pytest.mark.usefixtures("_pairs")
def test_settings_that_cannot_be_meant_are_refused_before_a_model_is_read(
    monkeypatch: pytest.MonkeyPatch, run_stage: Stage, changed: dict[str, Any], message: str
):
    def read(*_: Any, **__: Any) -> Any:
        raise AssertionError("a model was read")

    for name in ("load_tokenizer", "load_policy"):
        monkeypatch.setattr(checkpoints, name, read)
    with pytest.raises(InputError, match=rf"train_dpo\.{message}"):
        run_stage(stage.main, train_dpo=SCIENCE | changed)
    assert not stage.FOLDER.exists()
