"""SFT: which rows it imitates, that nothing is cut, and that the adapter learns to stop."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from schemas.errors import InputError
from schemas.leakage import Leakage
from schemas.questions import TAUGHT, Questions
from schemas.synthetic_questions import SyntheticQuestions
from stages import train_sft
from stages.pure.prompts import render_prompt
from stages.runtime.loading import checkpoints
from stages.runtime.tuning import training as trainers
from stages.steps import sft
from tests.tiny_models import (
    MODEL,
    TRAINING,
    Stage,
    course,
    profile,
    reported,
    tree_bytes,
    write_course,
)

pytest_plugins = ["tests.tiny_fixtures"]

SECTION = {"train_sft": {"refinement_frac": 0.25, "min_refinement_gap": 0.5}}


@pytest.fixture
def fitted(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The texts of the rows that are trained on and validated on; nothing is trained."""
    found: dict[str, list[str]] = {}

    def fit(_: Any, tokenizer: Any, rows: Any, validation: Any, *rest: Any) -> list[Any]:
        for name, given in (("rows", rows), ("validation", validation)):
            found[name] = [tokenizer.decode(row["input_ids"]) for row in given]
        return [{"step": 5, "loss": 1.5}]

    monkeypatch.setattr(trainers, "fit_sft", fit)
    monkeypatch.setattr(checkpoints, "save_adapter", lambda *_: None)
    return found


def as_text(row: dict[Any, Any]) -> str:
    return f"<|user|>{render_prompt(row)}<|assistant|>{row['explanation']}<|eos|>"


def good(split: str) -> pd.DataFrame:
    return course().query(f"split == '{split}' and is_sft_row")


def test_only_well_rated_train_rows_are_imitated(fitted: dict[str, list[str]], run_stage: Stage):
    run_stage(train_sft.main, train_sft={"refinement_frac": 0.0, "min_refinement_gap": 0.5})
    wanted = [as_text(row) for row in good("train").to_dict("records")]
    assert fitted["rows"] == wanted
    assert len(wanted) == 8
    assert reported("train_sft") == {
        "plain_n": 8,
        "refinements_n": 0,
        "too_long_n": 0,
        "loss_first_nats": 1.5,
        "loss_last_nats": 1.5,
    }


def test_the_validation_split_is_looked_at_and_not_trained_on(
    fitted: dict[str, list[str]], run_stage: Stage
):
    run_stage(train_sft.main, **SECTION)
    wanted = [as_text(row) for row in good("validation").to_dict("records")]
    assert fitted["validation"] == wanted
    assert set(wanted).isdisjoint(fitted["rows"])


@pytest.mark.parametrize(("frac", "count"), [(0.25, 2), (0.5, 4), (10.0, 7)])
def test_refinements_are_a_share_of_the_plain_rows(
    fitted: dict[str, list[str]], run_stage: Stage, frac: float, count: int
):
    # 8 plain rows; 7 clusters have a rated pair
    run_stage(train_sft.main, train_sft={"refinement_frac": frac, "min_refinement_gap": 0.5})
    refined = [text for text in fitted["rows"] if "Last explanation: I think" in text]
    assert len(refined) == count == reported("train_sft")["refinements_n"]
    assert len(fitted["rows"]) == 8 + count
    assert all(text.endswith("there.<|eos|>") for text in refined)


def test_no_text_of_another_split_is_in_a_refinement(
    fitted: dict[str, list[str]], run_stage: Stage
):
    run_stage(train_sft.main, train_sft={"refinement_frac": 10.0, "min_refinement_gap": 0.5})
    others = set(course().query("split != 'train'").stem)
    assert not [text for text in fitted["rows"] if any(stem in text for stem in others)]


def test_rows_in_another_order_are_the_same_training():
    rows = course()
    shuffled = rows.sample(frac=1, random_state=5)
    assert sft.plain_texts(shuffled) == sft.plain_texts(rows)


# ---- encoding ------------------------------------------------------------------------------


def test_the_mask_covers_the_answer_and_its_end(checkout: Path):
    tokenizer = checkpoints.load_tokenizer(MODEL)
    (row,) = sft.encode(tokenizer, [("Why?", "So it is.")], MODEL)
    masked = [i for i, m in zip(row["input_ids"], row["completion_mask"], strict=True) if m]
    asked = [i for i, m in zip(row["input_ids"], row["completion_mask"], strict=True) if not m]
    assert tokenizer.decode(masked) == "So it is.<|eos|>"
    assert tokenizer.decode(asked) == "<|user|>Why?<|assistant|>"


def test_a_row_that_is_too_long_is_left_out_and_not_cut(checkout: Path):
    tokenizer = checkpoints.load_tokenizer(MODEL)
    (row,) = sft.encode(tokenizer, [("Why?", "So it is.")], MODEL)
    exact = replace(MODEL, max_length=len(row["input_ids"]))
    shorter = replace(exact, max_length=exact.max_length - 1)
    assert sft.encode(tokenizer, [("Why?", "So it is.")], exact) == [row]
    assert sft.encode(tokenizer, [("Why?", "So it is."), ("", "So.")], shorter) == [
        sft.encode(tokenizer, [("", "So.")], MODEL)[0]
    ]


def test_rows_that_are_too_long_are_counted(fitted: dict[str, list[str]], run_stage: Stage):
    rows = course()
    is_first = rows.row_id == good("train").row_id.iloc[0]
    long = rows.explanation.where(~is_first, "the meadow " * 200)
    write_course(rows.assign(explanation=long))
    run_stage(train_sft.main, train_sft={"refinement_frac": 0.0, "min_refinement_gap": 0.5})
    assert reported("train_sft")["too_long_n"] == 1
    assert len(fitted["rows"]) == 7


# ---- a real training -----------------------------------------------------------------------


def test_the_adapter_learns_and_the_same_seed_gives_the_same_bytes(
    checkout: Path, run_stage: Stage
):
    training = asdict(replace(TRAINING, epochs=10, learning_rate=0.02))
    recorded = run_stage(train_sft.main, **SECTION, sft=training)
    numbers = reported("train_sft")
    assert numbers["loss_last_nats"] < numbers["loss_first_nats"]
    assert numbers["eval_loss_last_nats"] < numbers["eval_loss_first_nats"]
    assert recorded.inputs == [
        Questions.path(TAUGHT),
        SyntheticQuestions.path(),
        Leakage.path("questions"),
        checkpoints.BASE_DIR,
    ]
    assert train_sft.FOLDER in recorded.outputs
    first = tree_bytes(train_sft.FOLDER) | tree_bytes(Path("reports"))
    assert not [name for name, data in first.items() if str(checkout).encode() in data]
    manifest = checkpoints.read_manifest(train_sft.FOLDER)
    assert (manifest["kind"], manifest["parent"]) == ("sft", None)
    checkpoints.load_policy(MODEL, train_sft.FOLDER)
    run_stage(train_sft.main, **SECTION, sft=training)
    assert tree_bytes(train_sft.FOLDER) | tree_bytes(Path("reports")) == first
    run_stage(train_sft.main, **SECTION, sft=training, seed=14)
    other = tree_bytes(train_sft.FOLDER)["adapter_model.safetensors"]
    assert other != first["adapter_model.safetensors"]


# ---- bad input -----------------------------------------------------------------------------


def test_a_course_without_good_rows_is_refused(checkout: Path, run_stage: Stage):
    before = tree_bytes(train_sft.FOLDER)
    write_course(course().assign(is_sft_row=False))
    with pytest.raises(InputError, match="no train row has is_sft_row"):
        run_stage(train_sft.main, **SECTION)
    assert tree_bytes(train_sft.FOLDER) == before


def test_a_profile_whose_rows_are_all_too_long_is_refused(checkout: Path, run_stage: Stage):
    with pytest.raises(InputError, match="max_length"):
        run_stage(train_sft.main, **SECTION, model=profile(max_length=10)["model"])
