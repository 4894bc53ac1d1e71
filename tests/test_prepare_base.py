"""models/base: what the tiny base reads and must not read, and how a hub model is pinned."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from schemas.errors import InputError
from stages import prepare_base
from stages.pure.prompts import render_prompt
from stages.runtime.loading import checkpoints
from stages.runtime.pretraining import base_model
from stages.runtime.pretraining.packing import Document
from tests import tiny_models
from tests.tiny_models import BASE, Stage, profile, reported, tree_bytes

pytest_plugins = ["tests.tiny_fixtures"]

STATEMENTS = ["The heron stands in shallow water.", "", "  ", "Moss grows on stones."]
REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def _source(checkout: Path) -> None:
    """data/raw with a file of statements; the course is in place."""
    Path("data/raw").mkdir()
    Path("data/raw/background.txt").write_text("\n".join(STATEMENTS) + "\n")


def sections(background: str | None = "background.txt", **model: Any) -> dict[str, Any]:
    given = {
        "prepare_questions": {"source": "data/raw"},
        "prepare_base": {"background": background},
    }
    return profile(**model) | given


def marked(rows: pd.DataFrame) -> pd.DataFrame:
    """The course with the name of its split in every text of a row."""
    columns = ["stem", "explanation", "option_a", "option_b", "option_c", "option_d"]
    return rows.assign(**{name: rows[name] + " of" + rows.split.str.upper() for name in columns})


class Spy:
    """Takes the place of the base's training and keeps the texts of what it is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.tokenizer: Any = None
        self.vocabulary_texts: list[str] = []
        self.questions: list[Document] = []
        self.statements: list[Document] = []
        self.exercises: list[Document] = []
        self.train_tokenizer = base_model.train_tokenizer
        monkeypatch.setattr(base_model, "train_tokenizer", self.tokenize)
        monkeypatch.setattr(base_model, "train", self.train)

    def tokenize(self, texts: list[str], *sizes: int) -> Any:
        self.vocabulary_texts = texts
        self.tokenizer = self.train_tokenizer(texts, *sizes)
        return self.tokenizer

    def train(self, _: Any, questions: Any, statements: Any, exercise: Any, *__: Any) -> Any:
        self.questions, self.statements = questions, statements
        self.exercises = [exercise() for _ in range(200)]
        return [{"step": 1, "loss": 1.0, "learning_rate": 1.0}]

    def text(self, document: Document) -> str:
        return str(self.tokenizer.decode(document.ids))

    def all_texts(self) -> str:
        read = [*self.questions, *self.statements, *self.exercises]
        return "\n".join([*self.vocabulary_texts, *map(self.text, read)])


@pytest.mark.usefixtures("_source")
def test_no_text_of_the_other_splits_is_read(monkeypatch: pytest.MonkeyPatch, run_stage: Stage):
    tiny_models.write_course(marked(tiny_models.course()))
    spy = Spy(monkeypatch)
    run_stage(prepare_base.main, **sections())
    read = spy.all_texts()
    assert "ofTRAIN" in read
    for split in ("JUDGE", "VALIDATION", "TEST"):
        assert f"of{split}" not in read
    hidden = set(tiny_models.ANIMALS[8:])
    assert hidden.isdisjoint(read.split())


@pytest.mark.usefixtures("_source")
def test_every_explanation_of_the_train_split_is_read_good_or_not(
    monkeypatch: pytest.MonkeyPatch, run_stage: Stage
):
    spy = Spy(monkeypatch)
    run_stage(prepare_base.main, **sections())
    train = tiny_models.course().query("split == 'train'").to_dict("records")
    expected = [
        f"<|user|>{render_prompt(row)}<|assistant|>{row['explanation']}<|eos|>" for row in train
    ]
    assert list(map(spy.text, spy.questions)) == expected
    answers = [spy.tokenizer.decode(d.ids[d.loss_from :]) for d in spy.questions]
    assert answers == [f"{row['explanation']}<|eos|>" for row in train]


@pytest.mark.usefixtures("_source")
def test_statements_are_read_whole_and_without_empty_lines(
    monkeypatch: pytest.MonkeyPatch, run_stage: Stage
):
    spy = Spy(monkeypatch)
    run_stage(prepare_base.main, **sections())
    assert [spy.text(d) for d in spy.statements] == [
        "The heron stands in shallow water.<|eos|>",
        "Moss grows on stones.<|eos|>",
    ]
    assert {d.loss_from for d in spy.statements} == {0}
    assert reported("prepare_base")["statements_n"] == 2


@pytest.mark.usefixtures("_source")
def test_the_loss_of_an_exercise_counts_on_its_answer(
    monkeypatch: pytest.MonkeyPatch, run_stage: Stage
):
    spy = Spy(monkeypatch)
    run_stage(prepare_base.main, **sections())
    for exercise in spy.exercises:
        answer = spy.tokenizer.decode(exercise.ids[exercise.loss_from :])
        assert answer.startswith("The right answer is ")
        assert answer.endswith(".<|eos|>")


@pytest.mark.usefixtures("_source")
def test_a_course_without_background_is_enough(run_stage: Stage):
    run_stage(prepare_base.main, **sections(background=None))
    assert reported("prepare_base")["statements_n"] == 0
    assert checkpoints.load_base(tiny_models.MODEL).config.num_hidden_layers == BASE.layers


@pytest.mark.usefixtures("_source")
def test_the_base_is_saved_with_its_curve_and_its_sizes(run_stage: Stage):
    recorded = run_stage(prepare_base.main, **sections())
    assert checkpoints.BASE_DIR in recorded.outputs
    numbers = reported("prepare_base")
    network = checkpoints.load_base(tiny_models.MODEL)
    assert numbers["parameters_n"] == sum(p.numel() for p in network.parameters())
    assert numbers["question_texts_n"] == 16
    curve = pd.read_csv("reports/curves/prepare_base.csv")
    assert curve.step.tolist() == [10, 12]
    assert numbers["loss_last_nats"] == pytest.approx(curve.loss.iloc[-1], rel=1e-5)


@pytest.mark.usefixtures("_source")
def test_the_same_seed_gives_the_same_bytes(run_stage: Stage):
    run_stage(prepare_base.main, **sections())
    first = tree_bytes(checkpoints.BASE_DIR)
    run_stage(prepare_base.main, **sections())
    assert tree_bytes(checkpoints.BASE_DIR) == first
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(first)
    assert not [name for name, data in first.items() if str(Path.cwd()).encode() in data]
    run_stage(prepare_base.main, **sections() | {"seed": 14})
    assert tree_bytes(checkpoints.BASE_DIR)["model.safetensors"] != first["model.safetensors"]


@pytest.mark.usefixtures("_source")
def test_rows_in_another_order_give_the_same_texts():
    rows = tiny_models.course()
    shuffled = rows.sample(frac=1, random_state=3)
    assert prepare_base.train_texts(shuffled) == prepare_base.train_texts(rows)


# ---- bad input -----------------------------------------------------------------------------


@pytest.mark.usefixtures("_source")
def test_a_missing_file_of_statements_is_named(run_stage: Stage):
    with pytest.raises(InputError, match=r"data/raw/nothing\.txt \(prepare_base\.background\)"):
        run_stage(prepare_base.main, **sections(background="nothing.txt"))


@pytest.mark.usefixtures("_source")
def test_a_course_without_train_rows_is_refused(run_stage: Stage):
    tiny_models.write_course(tiny_models.course().query("split != 'train'"))
    with pytest.raises(InputError, match="no row in the split 'train'"):
        run_stage(prepare_base.main, **sections())


# ---- hub models ----------------------------------------------------------------------------


@pytest.mark.usefixtures("_source")
def test_a_hub_model_is_pinned_and_not_downloaded(run_stage: Stage):
    # the fixture of all tests refuses the network
    recorded = run_stage(prepare_base.main, **sections(name="some/model", revision=REVISION))
    assert [path.name for path in checkpoints.BASE_DIR.iterdir()] == ["reference.json"]
    pinned = json.loads(Path("models/base/reference.json").read_text())
    assert pinned == {"name": "some/model", "revision": REVISION}
    assert checkpoints.BASE_DIR in recorded.outputs
    assert list(pd.read_csv("reports/curves/prepare_base.csv")) == ["step", "loss"]
    model = replace(tiny_models.MODEL, name="some/model", revision=REVISION)
    assert checkpoints.base_source(model) == ("some/model", REVISION)


@pytest.mark.usefixtures("_source")
def test_a_hub_model_without_a_revision_is_refused_and_the_old_base_stays(run_stage: Stage):
    before = tree_bytes(checkpoints.BASE_DIR)
    with pytest.raises(InputError, match=r"model\.revision of some/model is null"):
        run_stage(prepare_base.main, **sections(name="some/model"))
    assert tree_bytes(checkpoints.BASE_DIR) == before
