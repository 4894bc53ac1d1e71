"""One policy on the test questions: what it is asked, and that all policies decode alike."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from schemas.errors import InputError
from schemas.explanations import Explanations
from schemas.questions import Questions
from stages import explain_test as stage
from stages.pure.prompts import distinct_questions, render_prompt
from stages.runtime import artifacts
from stages.runtime.loading import checkpoints
from stages.runtime.sampling.drawing import Decoding, Request
from stages.runtime.sampling.generation import Generated, row_seed
from tests import tiny_models
from tests.tiny_models import DECODING, MODEL, Stage, course, reported

pytest_plugins = ["tests.tiny_fixtures"]

TEST = [f"q{n}" for n in range(14, 20)]
SAMPLED = Decoding(**DECODING)
GREEDY = Decoding(**DECODING | {"temperature": None})


def run(run_stage: Stage, item: str = "sft", max_questions: int | None = None) -> pd.DataFrame:
    run_stage(stage.main, item, explain_test={"max_questions": max_questions})
    return artifacts.read(Explanations, item)


PROMPTS = [
    render_prompt(row)
    for row in distinct_questions(course()).query("split == 'test'").to_dict("records")
]


def say(request: Request) -> Generated:
    kind = "greedy" if request.decoding.temperature is None else "sampled"
    place = PROMPTS.index(request.text)
    return Generated(f"{kind} {place}", 2, place > 1, 7)


@pytest.fixture
def asked(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """What the policy was asked."""
    return tiny_models.answer_with(monkeypatch, say)


def test_each_test_question_is_asked_once_in_the_words_of_training(
    asked: list[Request], run_stage: Stage
):
    run(run_stage)
    tokenizer = checkpoints.load_tokenizer(MODEL)
    for how in (SAMPLED, GREEDY):
        own = [request for request in asked if request.decoding == how]
        assert [request.text for request in own] == PROMPTS
        read = [tokenizer.decode(request.prompt) for request in own]
        assert read == [f"<|user|>{text}<|assistant|>" for text in PROMPTS]
    assert len(asked) == 2 * 6  # two students wrote each question


def test_the_seed_of_an_answer_is_named_by_run_decoding_and_question(
    asked: list[Request], run_stage: Stage
):
    run(run_stage)
    seeds = {(one.decoding, one.text): one.seed for one in asked}
    assert seeds == {(GREEDY, text): 0 for text in PROMPTS} | {
        (SAMPLED, text): row_seed(13, "explain sampled", text) for text in PROMPTS
    }


def test_an_answer_goes_to_its_question(asked: list[Request], run_stage: Stage):
    found = run(run_stage)
    assert found.question_id.tolist() == [name for name in TEST for _ in range(2)]
    assert found.decoding.tolist() == ["greedy", "sampled"] * 6
    for decoding, group in found.groupby("decoding"):
        assert group.explanation.tolist() == [f"{decoding} {i}" for i in range(6)]
        assert group.is_stopped.tolist() == [False, False, True, True, True, True]
    assert found.cluster_id.tolist() == [name.replace("q", "c") for name in found.question_id]
    assert found.is_final.all()
    assert found.verifier_rating.isna().all()
    assert set(found.training_seed) == {13}


def test_what_the_stage_reports(asked: list[Request], run_stage: Stage):
    run(run_stage)
    assert reported("explain_test_sft") == {
        "questions_n": 6,
        "stopped_frac": pytest.approx(4 / 6),
        "mean_words": 2.0,
    }


def test_a_limit_takes_the_first_questions(asked: list[Request], run_stage: Stage):
    assert set(run(run_stage, max_questions=2).question_id) == set(TEST[:2])


def test_a_limit_of_zero_is_refused_and_not_taken_for_all(asked: list[Request], run_stage: Stage):
    with pytest.raises(InputError, match="max_questions 0 takes none"):
        run(run_stage, max_questions=0)


# ---- the tiny policy -----------------------------------------------------------------------


def test_two_equal_policies_say_the_same(checkout: Path, run_stage: Stage):
    # so that a difference between two policies is one of the adapters, not of the seeds
    shutil.copytree("models/sft", "models/dpo")
    sft, dpo = run(run_stage, "sft"), run(run_stage, "dpo")
    assert set(dpo.policy) == {"dpo"}
    pd.testing.assert_frame_equal(dpo.assign(policy="sft"), sft)


def test_another_adapter_says_something_else_and_is_recorded(checkout: Path, run_stage: Stage):
    tiny_models.make_policy(Path("models/dpo"), seed=9)
    sft = run(run_stage, "sft")
    recorded = run_stage(stage.main, "dpo", explain_test={"max_questions": None})
    dpo = artifacts.read(Explanations, "dpo")
    assert dpo.explanation.tolist() != sft.explanation.tolist()
    assert recorded.stage == "explain_test@dpo"
    assert recorded.inputs == [Questions.path(), checkpoints.BASE_DIR, Path("models/dpo")]


def test_the_same_seed_gives_the_same_bytes(checkout: Path, run_stage: Stage):
    run(run_stage)
    first = Explanations.path("sft").read_bytes()
    run(run_stage)
    assert Explanations.path("sft").read_bytes() == first


# ---- bad input -----------------------------------------------------------------------------


def test_an_unknown_policy_is_refused_with_the_known_ones(checkout: Path, run_stage: Stage):
    with pytest.raises(InputError, match=r"unknown policy 'ppo'.*\['sft', 'dpo'\]"):
        run(run_stage, "ppo")


def test_a_policy_of_another_base_is_refused(checkout: Path, run_stage: Stage):
    tiny_models.make_base(seed=1)
    with pytest.raises(InputError, match="models/sft: trained on base"):
        run(run_stage)
    assert not Explanations.path("sft").exists()


def test_a_course_without_test_questions_is_refused(checkout: Path, run_stage: Stage):
    artifacts.write(Questions, course().query("split != 'test'"))
    with pytest.raises(InputError, match="no question in the split 'test'"):
        run(run_stage)
