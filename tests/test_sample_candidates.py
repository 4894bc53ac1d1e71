"""Candidates: which questions are sampled, how often, and the students' texts beside them."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.candidates import Candidates
from schemas.errors import InputError
from schemas.questions import Questions
from schemas.synthetic_questions import SyntheticQuestions
from stages import sample_candidates as stage
from stages.pure.prompts import distinct_questions, render_prompt
from stages.runtime import artifacts
from stages.runtime.loading import checkpoints
from stages.runtime.sampling.drawing import Decoding, Request
from stages.runtime.sampling.generation import Generated, row_seed
from stages.steps import candidates
from tests import tiny_models
from tests.tiny_models import MODEL, Stage, course, reported

pytest_plugins = ["tests.tiny_fixtures"]

TEMPERATURES = [0.3, 0.9, 1.3]
PARAMS = {
    "max_questions": None,
    "temperatures": TEMPERATURES,
    "top_p": 0.95,
    "top_k": 50,
    "repetition_penalty": 1.1,
}
TRAIN = [f"q{n:02d}" for n in range(8)]


def run(run_stage: Stage, **changed: Any) -> pd.DataFrame:
    """The candidates of the stage."""
    run_stage(stage.main, sample_candidates=PARAMS | changed)
    return artifacts.read(Candidates)


# ---- which questions -----------------------------------------------------------------------


def chosen(rows: pd.DataFrame, limit: int | None) -> list[str]:
    return candidates.choose(distinct_questions(rows), limit).question_id.tolist()


def test_only_train_questions_are_sampled():
    assert chosen(course(), None) == TRAIN


@given(st.integers(1, 10))
def test_a_smaller_number_is_part_of_a_larger_one(limit: int):
    few, more = chosen(course(), limit), chosen(course(), limit + 1)
    assert len(few) == min(limit, 8)
    assert set(few) <= set(more)
    assert few == sorted(few)


@given(st.permutations(range(40)))
def test_the_order_of_the_rows_does_not_change_the_choice(order: list[int]):
    assert chosen(course().iloc[order], 4) == chosen(course(), 4)


def test_questions_of_other_splits_do_not_change_the_choice():
    rows = course()
    assert chosen(rows[rows.split == "train"], 4) == chosen(rows, 4)


def test_a_new_question_takes_at_most_one_place():
    rows = course()
    before = set(chosen(rows, 4))
    for name in ("new", "other", "third"):
        added = rows.head(1).assign(question_id=name, row_id=name)
        after = set(chosen(pd.concat([rows, added]), 4))
        assert after - {name} <= before
        assert len(after) == 4


def test_the_choice_is_not_the_first_questions_of_the_table():
    assert chosen(course(), 4) != TRAIN[:4]


# ---- samples -------------------------------------------------------------------------------


PROMPTS = [
    render_prompt(row)
    for row in distinct_questions(course()).query("split == 'train'").to_dict("records")
]


def say(request: Request) -> Generated:
    """Which temperature and which question it is for."""
    place = PROMPTS.index(request.text)
    heat = TEMPERATURES.index(request.decoding.temperature or 0)
    return Generated(f"heat {heat} prompt {place}", 4, place != 0, request.seed)


@pytest.fixture
def asked(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """What the policy was asked."""
    return tiny_models.answer_with(monkeypatch, say)


def test_one_sample_per_temperature_with_its_index(asked: list[Request], run_stage: Stage):
    found = run(run_stage)
    samples = found[found.origin == "sft"]
    assert {request.decoding for request in asked} == {
        Decoding(temperature, 50, 0.95, 1.1) for temperature in TEMPERATURES
    }
    for question_id, group in samples.groupby("question_id"):
        assert group.candidate_index.tolist() == [0, 1, 2]
        assert group.temperature.tolist() == TEMPERATURES
        place = TRAIN.index(str(question_id))
        assert group.explanation.tolist() == [f"heat {n} prompt {place}" for n in range(3)]
        names = [f"sample {n}" for n in (1, 2, 3)]
        assert group.seed.tolist() == [row_seed(13, name, PROMPTS[place]) for name in names]
        assert group.is_stopped.tolist() == [place != 0] * 3


def test_each_question_is_asked_once_per_temperature_in_the_words_of_training(
    asked: list[Request], run_stage: Stage
):
    run(run_stage)
    tokenizer = checkpoints.load_tokenizer(MODEL)
    for temperature in TEMPERATURES:
        own = [request for request in asked if request.decoding.temperature == temperature]
        assert [request.text for request in own] == PROMPTS
        read = [tokenizer.decode(request.prompt) for request in own]
        assert read == [f"<|user|>{text}<|assistant|>" for text in PROMPTS]
    assert len({request.seed for request in asked}) == len(asked) == 3 * 8


# ---- students ------------------------------------------------------------------------------


def test_students_texts_are_numbered_on_after_the_samples(asked: list[Request], run_stage: Stage):
    found = run(run_stage)
    students = found[found.origin == "student"]
    train = course().query("split == 'train'")
    assert students.row_id.tolist() == train.row_id.tolist()
    assert students.explanation.tolist() == train.explanation.tolist()
    assert students.candidate_index.tolist() == [3, 4] * 8
    assert set(students.seed) == {-1}
    assert students.temperature.isna().all()
    assert students.is_stopped.all()
    assert found[found.origin == "sft"].row_id.isna().all()
    tokenizer = checkpoints.load_tokenizer(MODEL)
    sizes = [len(checkpoints.encode_text(tokenizer, text)) for text in students.explanation]
    assert students.tokens_n.tolist() == sizes


def test_texts_of_questions_that_are_not_sampled_are_no_candidates(
    asked: list[Request], run_stage: Stage
):
    found = run(run_stage, max_questions=3)
    assert set(found.question_id) == set(chosen(course(), 3))
    assert len(found) == 3 * (3 + 2)


def test_what_the_stage_reports(asked: list[Request], run_stage: Stage):
    run(run_stage)
    assert reported("sample_candidates") == {
        "questions_n": 8,
        "candidates_n": 40,
        "sampled_n": 24,
        "stopped_frac": 7 / 8,
        "distinct_frac": 1.0,
        "sampled_mean_words": 4.0,
    }


# ---- the tiny policy -----------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes(checkout: Path, run_stage: Stage):
    first = run(run_stage)
    data = Candidates.path().read_bytes()
    run(run_stage)
    assert Candidates.path().read_bytes() == data
    recorded = run_stage(stage.main, sample_candidates=PARAMS, seed=14)
    other = artifacts.read(Candidates)
    assert (
        other[other.origin == "sft"].explanation.tolist()
        != first[first.origin == "sft"].explanation.tolist()
    )
    tables = [Questions.path(), SyntheticQuestions.path()]
    assert recorded.inputs == [*tables, checkpoints.BASE_DIR, stage.POLICY]


@pytest.mark.parametrize("changed", [{"temperatures": []}, {"max_questions": 0}])
def test_nothing_to_sample_is_refused(checkout: Path, run_stage: Stage, changed: dict[str, Any]):
    with pytest.raises(InputError, match="give no sample"):
        run(run_stage, **changed)
    assert not Candidates.path().exists()


def test_one_more_temperature_leaves_the_other_samples_as_they_were(
    checkout: Path, run_stage: Stage
):
    columns = ["question_id", "temperature", "seed", "explanation", "tokens_n"]
    two, three = (
        found[found.origin == "sft"][columns]
        for found in (run(run_stage, temperatures=TEMPERATURES[:n]) for n in (2, 3))
    )
    kept = three[three.temperature != TEMPERATURES[2]]
    assert len(two) == len(kept) == 16
    pd.testing.assert_frame_equal(two.reset_index(drop=True), kept.reset_index(drop=True))


def test_samples_of_one_question_differ(checkout: Path, run_stage: Stage):
    found = run(run_stage)
    samples = found[found.origin == "sft"]
    assert samples.groupby("question_id").explanation.nunique().max() > 1
    assert (samples.tokens_n <= 8).all()  # the profile's max_new_tokens
