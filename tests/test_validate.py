"""What both policies do on the validation split, where settings are chosen."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from schemas.errors import InputError
from schemas.questions import Questions
from schemas.validations import Validations
from stages import validate as stage
from stages.pure.prompts import distinct_questions, render_prompt
from stages.runtime import artifacts, store
from stages.runtime.encoding import agreement, alignment
from stages.runtime.encoding.alignment import Scorer
from stages.runtime.loading import checkpoints
from stages.runtime.sampling import generation
from stages.runtime.sampling.drawing import Decoding, Request
from stages.runtime.sampling.generation import Generated, row_seed
from tests import invented, tiny_models
from tests.tiny_models import DECODING, ENCODER, MODEL, Recorded, Stage, course, profile, reported

pytest_plugins = ["tests.tiny_fixtures"]

HOW = {"bootstrap_samples": 500, "confidence": 0.95, "oracle_facts": None}
ASKED = ["q12", "q13"]  # the mole in the meadow, the newt in a river


def save_scorer(kind: str, folder: Path) -> None:
    """A scorer with random weights over the tiny encoder."""
    width = agreement.FEATURES + alignment.reader(ENCODER).model.config.hidden_size
    weights = np.random.default_rng(5).normal(size=width)[alignment.KINDS[kind].columns]
    alignment.save(Scorer(kind, ENCODER, weights, 2.0), checkpoints.scratch_outputs(folder), {})


Validate = Callable[..., Recorded]


@pytest.fixture
def validate(checkout: Path, run_stage: Stage) -> Validate:
    """validate(samples, facts, section={...}): the stage, with all models that it reads."""
    tiny_models.make_policy(Path("models/dpo"), seed=9)
    save_scorer("rating", Path("models/verifier_judge"))
    save_scorer("entailment", Path("models/entailment"))

    def run(samples: int = 2, facts: str | None = None, **changed: Any) -> Recorded:
        given = {"validate": {"samples": samples}, "evaluate": HOW | {"oracle_facts": facts}}
        return run_stage(stage.main, **given | changed)

    return run


def values(policy: str, metric: str) -> list[float | None]:
    """Values by question and sample."""
    rows = artifacts.read(Validations)
    own = rows[(rows.policy == policy) & (rows.metric == metric)]
    return own.value.astype(object).where(own.value.notna(), None).tolist()


# ---- who is asked what ---------------------------------------------------------------------

PROMPTS = [
    render_prompt(row)
    for row in distinct_questions(course()).query("split == 'validation'").to_dict("records")
]
Asked = list[tuple[str, Request]]  # by the name of the policy


@pytest.fixture
def told(validate: Validate, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Asked]:
    """told(sft=[...], dpo=[...]): each policy then says so; what they were asked."""
    asked: Asked = []
    says: dict[str, list[Generated]] = {}
    loaded: list[str] = []
    load = stage.load_writer

    def load_named(model: Any, size: Any, adapter: Path) -> Any:
        loaded.append(adapter.name)
        return load(model, size, adapter)

    def say(request: Request) -> Generated:
        asked.append((loaded[-1], request))
        return says[loaded[-1]][PROMPTS.index(request.text)]

    monkeypatch.setattr(stage, "load_writer", load_named)
    tiny_models.answer_with(monkeypatch, say)

    def prepare(**given: list[tuple[str, bool]]) -> Asked:
        for policy, answers in given.items():
            says[policy] = [Generated(text, 3, stopped, 1) for text, stopped in answers]
        return asked

    return prepare


GOOD = "The mole lives in the meadow because it finds its food and shelter there."
LOOP = "one two three four five six " * 2


def test_each_validation_question_is_asked_as_often_as_told_by_both_policies(
    told: Callable[..., Asked], validate: Validate
):
    asked = told(sft=[("a", True)] * 2, dpo=[("b", True)] * 2)
    validate(samples=3)
    # the name of the draw and the question fix the seed: the policies differ in weights alone
    wanted = [
        (policy, text, Decoding(**DECODING), row_seed(13, f"validate {sample}", text))
        for policy in ("sft", "dpo")
        for text in PROMPTS
        for sample in (1, 2, 3)
    ]
    found_asked = [(policy, one.text, one.decoding, one.seed) for policy, one in asked]
    assert found_asked == wanted
    tokenizer = checkpoints.load_tokenizer(MODEL)
    read = {tokenizer.decode(request.prompt) for _, request in asked}
    assert read == {f"<|user|>{text}<|assistant|>" for text in PROMPTS}
    found = artifacts.read(Validations)
    assert found.question_id.unique().tolist() == ASKED
    assert found.cluster_id.unique().tolist() == ["c12", "c13"]
    counts = found.groupby(["policy", "question_id", "metric"]).sample_index.agg(list)
    assert set(map(tuple, counts)) == {(0, 1, 2)}
    assert len(counts) == 2 * 2 * len(stage.METRICS)


def test_what_a_text_is_worth_by_hand(
    told: Callable[..., Asked], validate: Validate, tmp_path: Path
):
    row = course().query("question_id == 'q12'").iloc[0]
    options = {"key": "the meadow", "distractor_1": "a river", "distractor_2": "the dry sand"}
    options |= {"distractor_3": "old trees", "distractor_4": "a cave"}
    fact = {"fact_id": "x1", "topic": "t", "question": row.stem, **options}
    fact |= {"statement": "the mole lives in {option}", "refutation": "a river is too wet"}
    fact |= {"mechanism": "it finds its food and shelter there"}
    (tmp_path / "facts").mkdir()
    pd.DataFrame([fact]).to_csv(tmp_path / "facts/facts_zoo.csv", index=False)
    told(sft=[(LOOP, False), ("", True)], dpo=[(GOOD, True), ("In a river, so.", True)])
    validate(samples=1, facts=str(tmp_path / "facts"))
    assert values("sft", "oracle") == [0.0, None]  # there is no fact about the newt
    assert values("dpo", "oracle") == [1.0, None]
    assert (values("sft", "acr"), values("dpo", "acr")) == ([0.0, 0.0], [1.0, 1.0])
    assert (values("sft", "words"), values("dpo", "words")) == ([12.0, 0.0], [14.0, 4.0])
    assert (values("sft", "is_loop"), values("dpo", "is_loop")) == ([1.0, 0.0], [0.0, 0.0])
    assert (values("sft", "stopped"), values("dpo", "stopped")) == ([0.0, 1.0], [1.0, 1.0])
    found = artifacts.read(Validations)
    reasons = found[found.reason.notna()].groupby("metric").reason.agg(list).to_dict()
    assert reasons == {
        "judge": ["empty_text"],
        "entailment": ["empty_text"],
        "oracle": ["no_fact", "no_fact"],
    }
    numbers = reported("validate")
    assert numbers["questions_n"] == 2
    assert numbers["difference_oracle_frac"] == 1.0  # of the one question with a fact
    assert numbers["sft_stopped_frac"] == 0.5
    assert numbers["difference_words"] == 3.0  # 9 - 6


def test_two_equal_policies_do_not_differ(validate: Validate):
    shutil.rmtree("models/dpo")
    shutil.copytree("models/sft", "models/dpo")
    validate()
    found = artifacts.read(Validations)
    sft, dpo = (found[found.policy == p].drop(columns="policy") for p in ("sft", "dpo"))
    pd.testing.assert_frame_equal(sft.reset_index(drop=True), dpo.reset_index(drop=True))
    changes = {k: v for k, v in reported("validate").items() if k.startswith("difference_")}
    assert set(changes.values()) == {0.0}
    assert "difference_judge_stars" in changes
    assert not [name for name in changes if "oracle" in name]  # null is no number


# ---- with models ---------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes_and_another_one_other_texts(
    validate: Validate, monkeypatch: pytest.MonkeyPatch
):
    training: list[bool] = []
    said: list[list[str]] = []
    answers = generation.Writer.answers

    def watched(writer: Any, *rest: Any) -> list[list[Generated]]:
        training.append(writer.backend.model.training)
        found = answers(writer, *rest)
        said.extend([answer.text for answer in column] for column in zip(*found, strict=True))
        return found

    monkeypatch.setattr(generation.Writer, "answers", watched)
    monkeypatch.setattr(store, "is_forgetful", True)  # the second run draws again
    dropout = profile(lora_dropout=0.5)["model"]
    recorded = validate(model=dropout)
    report = Path("reports/validate.json")
    first = Validations.path().read_bytes(), report.read_bytes()
    once, said[:] = said[:], []
    validate(model=dropout)
    assert (Validations.path().read_bytes(), report.read_bytes()) == first
    assert said == once
    assert not any(training)
    said.clear()
    validate(seed=14)
    assert said != once
    assert once[0] != once[1]  # each sample is a draw of its own
    assert recorded.inputs == [
        Questions.path(),
        checkpoints.BASE_DIR,
        *map(Path, ("models/sft", "models/dpo", "models/entailment", "models/verifier_judge")),
    ]
    assert not [data for data in first if str(Path.cwd()).encode() in data]


# ---- the numbers ---------------------------------------------------------------------------


Samples = dict[tuple[str, str], list[float | None]]  # (policy, question) -> values


def table(**metrics: Samples) -> pd.DataFrame:
    """Validations, by metric. q1 and q2 are of one cluster, c1; q3 is of c2."""
    clusters = {"q1": "c1", "q2": "c1", "q3": "c2"}
    rows = [
        (policy, q, clusters[q], i, metric, value, "too_long" if value is None else None)
        for metric, of_text in metrics.items()
        for (policy, q), given in of_text.items()
        for i, value in enumerate(given)
    ]
    return artifacts.validate(Validations, invented.table(Validations, rows), Path("given"))


def test_a_question_counts_once_however_many_of_its_samples_have_a_value():
    judge: Samples = {
        ("sft", "q1"): [1.0, 2.0],  # 1.5
        ("sft", "q3"): [3.0, None],  # 3
        ("dpo", "q1"): [2.0, 2.0],  # 2, so +0.5
        ("dpo", "q3"): [4.0, 5.0],  # 4.5, so +1.5
    }
    numbers = stage.summarize(table(judge=judge), 13, 2000, 0.95)
    # of two clusters each resample is one of (c1, c1), (c1, c2), (c2, c1), (c2, c2)
    assert numbers == {
        "questions_n": 2,
        "sft_judge_stars": 2.25,
        "dpo_judge_stars": 3.25,
        "difference_judge_stars": 1.0,
        "low_judge_stars": 0.5,
        "high_judge_stars": 1.5,
    }


def test_the_limits_are_over_clusters_and_not_over_questions():
    said: Samples = {("sft", q): [0.0] for q in ("q1", "q2", "q3")}
    said |= {("dpo", "q1"): [0.0], ("dpo", "q2"): [1.0], ("dpo", "q3"): [2.0]}
    numbers = stage.summarize(table(words=said), 13, 2000, 0.95)
    # c1 twice gives (0 + 1) / 2, c2 twice gives 2; over questions 0 would be possible
    assert numbers["difference_words"] == 1.0
    assert (numbers["low_words"], numbers["high_words"]) == (0.5, 2.0)


def test_a_question_that_only_one_policy_has_a_value_of_is_left_out():
    judge: Samples = {
        ("sft", "q1"): [4.0],
        ("dpo", "q1"): [3.0],
        ("sft", "q3"): [5.0],
        ("dpo", "q3"): [None],
    }
    nothing: Samples = {(policy, "q1"): [None] for policy in ("sft", "dpo")}
    numbers = stage.summarize(table(judge=judge, oracle=nothing), 13, 2000, 0.95)
    # one cluster has no limits, and what is null everywhere no number at all
    assert numbers == {
        "questions_n": 2,
        "sft_judge_stars": 4.0,
        "dpo_judge_stars": 3.0,
        "difference_judge_stars": -1.0,
    }


# ---- bad input -----------------------------------------------------------------------------


def test_a_course_without_validation_questions_goes_on_and_says_that_nothing_was_watched(
    validate: Validate, caplog: pytest.LogCaptureFixture
):
    artifacts.write(Questions, course().query("split != 'validation'"))
    validate()
    assert artifacts.read(Validations).empty
    assert "nothing to watch" in caplog.text


def test_no_sample_is_refused(validate: Validate):
    with pytest.raises(InputError, match=r"validate\.samples: 0\. Give 1 or more"):
        validate(samples=0)


def test_facts_that_are_not_there_are_refused(validate: Validate):
    with pytest.raises(InputError, match=r"no facts_\*\.csv in 'nowhere'"):
        validate(samples=1, facts="nowhere")
