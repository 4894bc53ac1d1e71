"""Verifier and judge: which rows each learns from, how they weigh, and what is reported."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from schemas.errors import InputError
from schemas.leakage import Leakage
from schemas.predictions import Predictions
from schemas.questions import TAUGHT, Questions
from stages import train_verifier
from stages.pure.prompts import render_prompt
from stages.pure.scored.claims import Claim, claim_key
from stages.pure.scored.marks import mark_options
from stages.runtime import artifacts, classifiers
from stages.runtime.classifiers import Examples
from stages.runtime.encoding import alignment
from stages.runtime.loading import checkpoints
from stages.runtime.loading.profile import Encoder, Model
from tests import tiny_models
from tests.tiny_models import ENCODER, MODEL, TRAINING, Stage, course, reported, tree_bytes

pytest_plugins = ["tests.tiny_fixtures"]

SOME_STEPS = asdict(replace(TRAINING, epochs=3))  # the first is at a rate of 0
SECTION = {"train_verifier": {"min_weight_ratings": 1}}


@dataclass
class Spy:
    """In place of `classifiers`: remembers what is fitted, and rates by the number of words."""

    fitted: list[Examples] = field(default_factory=list)
    validation: list[Examples] = field(default_factory=list)
    saved: list[tuple[str, int, dict[str, Any]]] = field(default_factory=list)
    rated: list[tuple[int, list[str]]] = field(default_factory=list)
    backbones: list[Model] = field(default_factory=list)

    def build(self, backbone: Model, seed: int) -> "Spy.Fake":
        self.backbones.append(backbone)
        tokenizer = checkpoints.load_tokenizer(MODEL)
        return Spy.Fake(self, len(self.backbones) - 1, tokenizer)

    def fit(self, fake: "Spy.Fake", examples: Examples, *rest: Any) -> list[dict[str, float]]:
        assert fake.number == len(self.fitted)
        self.fitted.append(examples)
        self.validation.append(rest[2])
        return [{"step": 5, "loss": 1.0 + fake.number}]

    def save(self, fake: "Spy.Fake", folder: Path, manifest: dict[str, Any]) -> None:
        self.saved.append((folder.as_posix(), fake.number, manifest))

    @dataclass
    class Fake:
        spy: "Spy"
        number: int
        tokenizer: Any

        def ratings(self, prompts: list[str], explanations: list[str]) -> np.ndarray:
            self.spy.rated.append((self.number, prompts))
            return np.array([len(text.split()) / 10 for text in explanations])


@pytest.fixture
def spy(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Spy:
    made = Spy()
    for name in ("build", "fit", "save"):
        monkeypatch.setattr(classifiers, name, getattr(made, name))
    return made


@dataclass
class JudgeSpy:
    """In place of `alignment` and its scorer: remembers the same, and rates by words too."""

    kind: str = ""
    encoder: Encoder | None = None
    fitted: list[alignment.Examples] = field(default_factory=list)
    saved: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    rated: list[Claim] = field(default_factory=list)

    def fit(self, kind: str, how: Encoder, examples: alignment.Examples) -> tuple[Any, Any]:
        self.kind, self.encoder = kind, how
        self.fitted.append(examples)
        return self, pd.DataFrame({"step": [1], "loss": [0.5]})

    def ratings(self, claims: list[Claim], explanations: list[str]) -> np.ndarray:
        self.rated += claims
        return np.array([len(text.split()) / 10 for text in explanations])

    def save(self, _: Any, folder: Path, manifest: dict[str, Any]) -> None:
        self.saved.append((folder.as_posix(), manifest))


@pytest.fixture
def judge(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> JudgeSpy:
    made = JudgeSpy()
    for name in ("fit", "save"):
        monkeypatch.setattr(alignment, name, getattr(made, name))
    return made


def claims_of(rows: pd.DataFrame) -> set[Claim]:
    return {claim_key(row) for row in rows.to_dict("records")}


def prompts_of(rows: pd.DataFrame) -> set[str]:
    return {render_prompt(row) for row in rows.to_dict("records")}


# ---- the reward verifier -------------------------------------------------------------------


def test_a_half_never_sees_the_questions_of_its_own_fold(spy: Spy, run_stage: Stage):
    run_stage(train_verifier.main, "reward", **SECTION)
    assert [folder for folder, _, _ in spy.saved] == [
        "models/verifier_reward.new.partial/fold_0",
        "models/verifier_reward.new.partial/fold_1",
    ]
    train = course().query("split == 'train' and question_rating_mean.notna()")
    for fold, (_, number, _) in enumerate(spy.saved):
        seen = set(spy.fitted[number].prompts)
        assert seen == prompts_of(train[train.fold != fold])
        assert seen.isdisjoint(prompts_of(train[train.fold == fold]))


def test_a_train_row_is_rated_by_the_half_that_did_not_see_it(spy: Spy, run_stage: Stage):
    run_stage(train_verifier.main, "reward", **SECTION)
    assert len(spy.rated) == 4  # each half with own and with swapped texts
    for number, prompts in spy.rated:
        assert set(prompts).isdisjoint(spy.fitted[number].prompts)
    # together they rate every rated train row
    assert sum(len(prompts) for _, prompts in spy.rated) == 2 * 15
    assert reported("train_verifier_reward") == {"rows_n": 15, "unscored_n": 0}
    found = artifacts.read(Predictions, "reward").set_index("row_id")
    rows = course().set_index("row_id").loc[found.index]
    assert len(found) == 15
    assert found.rating.tolist() == rows.question_rating_mean.tolist()
    read = train_verifier.marked(rows, rows.explanation.tolist())
    assert found.predicted.tolist() == [len(text.split()) / 10 for text in read]
    assert found.words_n.tolist() == rows.explanation_words_n.tolist()
    assert found.swapped.notna().all()


def test_good_and_poor_texts_are_learnt_from_and_unrated_ones_are_not(spy: Spy, run_stage: Stage):
    run_stage(train_verifier.main, "reward", **SECTION)
    fold_1 = spy.fitted[0]  # of fold 1: q01, q03, q05, q07, two students each
    train = course().query("split == 'train' and fold == 1").sort_values("row_id")
    assert fold_1.explanations == train_verifier.marked(train, train.explanation.tolist())
    assert fold_1.explanations[0].startswith("The bear lives in correct because")
    assert fold_1.targets.tolist() == train.question_rating_mean.tolist()
    assert len(spy.fitted[1].prompts) == 7  # fold 0 has one row without a rating


def test_both_halves_are_validated_on_the_validation_split(spy: Spy, run_stage: Stage):
    run_stage(train_verifier.main, "reward", **SECTION)
    wanted = prompts_of(course().query("split == 'validation'"))
    assert [set(examples.prompts) for examples in spy.validation] == [wanted, wanted]


def test_the_curve_says_which_half_it_is_of(spy: Spy, run_stage: Stage):
    recorded = run_stage(train_verifier.main, "reward", **SECTION)
    assert recorded.curve is not None
    assert recorded.curve[["fold", "loss"]].to_numpy().tolist() == [[0, 1.0], [1, 2.0]]


def test_the_verifier_stands_on_the_generators_base(spy: Spy, run_stage: Stage):
    recorded = run_stage(train_verifier.main, "reward", **SECTION)
    assert spy.backbones == [MODEL, MODEL]
    assert recorded.inputs == [
        Questions.path(TAUGHT),
        Leakage.path("questions"),
        checkpoints.BASE_DIR,
    ]
    assert Path("models/verifier_reward") in recorded.outputs
    for _, _, manifest in spy.saved:
        assert manifest["base"]["md5"] == checkpoints.dvc_md5(checkpoints.BASE_DIR)
        assert list(manifest["data"]) == ["data/questions_taught.parquet"]


# ---- the judge -----------------------------------------------------------------------------


def test_the_judge_learns_from_its_split_alone(judge: JudgeSpy, run_stage: Stage):
    recorded = run_stage(train_verifier.main, "judge", **SECTION)
    rows = course().query("split == 'judge'").sort_values("row_id")
    (fitted,) = judge.fitted
    assert fitted.claims == [claim_key(row) for row in rows.to_dict("records")]
    assert fitted.explanations == rows.explanation.tolist()
    assert fitted.targets.tolist() == rows.question_rating_mean.tolist()
    assert fitted.groups.tolist() == rows.cluster_id.tolist()
    # 18, 19, 20 and 21 ratings, two students each: weights are ratings over their mean
    assert fitted.weights == pytest.approx(np.repeat([18, 19, 20, 21], 2) / 19.5)
    data = {"data/questions_taught.parquet": checkpoints.dvc_md5(Questions.path(TAUGHT))}
    wanted = {"split": "judge", "rows_n": 8, "data": data}
    assert judge.saved == [("models/verifier_judge.new.partial", wanted)]
    assert recorded.inputs == [Questions.path(TAUGHT), Leakage.path("questions")]


def test_the_judge_is_a_rating_by_the_encoder(judge: JudgeSpy, run_stage: Stage):
    recorded = run_stage(train_verifier.main, "judge", **SECTION)
    assert (judge.kind, judge.encoder) == ("rating", ENCODER)
    assert recorded.curve is not None
    assert recorded.curve.loss.tolist() == [0.5]


def test_the_judge_is_measured_on_train_questions_that_it_never_saw(
    judge: JudgeSpy, run_stage: Stage
):
    run_stage(train_verifier.main, "judge", **SECTION)
    assert set(judge.rated) == claims_of(course().query("split == 'train'"))
    assert reported("train_verifier_judge") == {"rows_n": 15, "unscored_n": 0}
    rows = course().query("split == 'train' and question_rating_mean.notna()")
    assert set(artifacts.read(Predictions, "judge").row_id) == set(rows.row_id)


# ---- weights -------------------------------------------------------------------------------


def weights(counts: list[int], least: int = 1) -> list[float]:
    rows = course().head(len(counts)).assign(question_ratings_n=counts)
    return train_verifier.weights(rows, least).tolist()


def test_a_row_weighs_as_many_as_it_has_ratings():
    assert weights([10, 20, 30]) == [0.5, 1.0, 1.5]


def test_a_row_of_few_ratings_weighs_at_least_the_minimum():
    assert weights([0, 10, 20], least=10) == pytest.approx([0.75, 0.75, 1.5])


def test_weights_have_mean_one():
    assert np.mean(weights([1, 3, 40, 7])) == pytest.approx(1)
    assert weights([]) == []


def test_the_order_of_the_rows_does_not_change_what_is_learnt():
    rows = course()
    shuffled = rows.sample(frac=1, random_state=2)
    for split in ("train", "judge"):
        pd.testing.assert_frame_equal(
            train_verifier.rated_rows(shuffled, split), train_verifier.rated_rows(rows, split)
        )


# ---- real models, and bad input ------------------------------------------------------------


@pytest.mark.parametrize("item", ["reward", "judge"])
def test_a_real_training_can_be_loaded_and_gives_the_same_bytes(
    checkout: Path, run_stage: Stage, item: str
):
    folder = Path(f"models/verifier_{item}")
    run_stage(train_verifier.main, item, **SECTION, verifier=SOME_STEPS)
    table = Predictions.path(item)
    first = tree_bytes(folder) | tree_bytes(Path("reports")) | {"table": table.read_bytes()}
    alignment.reader.cache_clear()  # as in another process: every text is read again
    run_stage(train_verifier.main, item, **SECTION, verifier=SOME_STEPS)
    second = tree_bytes(folder) | tree_bytes(Path("reports")) | {"table": table.read_bytes()}
    assert second == first
    assert not [name for name, data in first.items() if str(checkout).encode() in data]
    assert {f"train_verifier_{item}.json", f"curves/train_verifier_{item}.csv"} <= set(first)
    rows = course().query("split == 'train'").to_dict("records")
    explanations = [mark_options(row, row["explanation"]) for row in rows]
    if item == "reward":
        verifier = classifiers.load_folds(folder)[1]
        found = verifier.ratings([render_prompt(row) for row in rows], explanations)
    else:
        found = alignment.load(folder).ratings([claim_key(row) for row in rows], explanations)
    assert np.isfinite(found).all()


def test_an_unknown_item_is_refused_with_the_known_ones(checkout: Path, run_stage: Stage):
    with pytest.raises(InputError, match=r"unknown item 'jury'.*\['judge', 'reward'\]"):
        run_stage(train_verifier.main, "jury", **SECTION)
    assert not Path("models/verifier_jury").exists()


@pytest.mark.parametrize(("item", "split"), [("reward", "train"), ("judge", "judge")])
def test_a_split_with_less_than_two_rated_questions_is_refused(
    spy: Spy, judge: JudgeSpy, run_stage: Stage, item: str, split: str
):
    rows = course()
    is_kept = (rows.split != split) | (
        rows.question_id == rows[rows.split == split].question_id.min()
    )
    tiny_models.write_course(rows[is_kept])
    with pytest.raises(InputError, match="at least two questions are needed"):
        run_stage(train_verifier.main, item, **SECTION)
    assert spy.saved == judge.saved == []


def test_folds_of_an_interrupted_run_do_not_stay(checkout: Path, run_stage: Stage):
    stale = Path("models/verifier_reward/fold_7")
    stale.mkdir()
    run_stage(train_verifier.main, "reward", **SECTION, verifier=SOME_STEPS)
    assert not stale.exists()
    assert tiny_models.reported("train_verifier_reward")["unscored_n"] == 0
