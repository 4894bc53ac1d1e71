"""The clock runs around the whole answer and nothing else, with the models that are loaded."""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from schemas.errors import InputError
from schemas.questions import Questions
from stages import timings
from stages.pure.prompts import distinct_questions, render_prompt, render_refinement
from stages.pure.scored.marks import mark_options
from stages.pure.scored.scoring import NOT_TRAINED_ON
from stages.runtime import artifacts, classifiers, params, tracking, usage
from stages.runtime.loading import checkpoints
from stages.runtime.run import StageParams, stage_run
from stages.runtime.sampling.generation import Decoding, Generated, load_writer
from stages.scorers import verifier
from stages.timings import Answerer, Rounds, in_rounds, measure, one_pass, rate, summarize
from tests import tiny_models
from tests.imports import ROOT
from tests.pipeline import stages
from tests.tiny_models import GENERATION, MODEL, course

pytest_plugins = ["tests.tiny_fixtures"]

DECODING = Decoding(temperature=0.7, top_k=20, top_p=1.0, repetition_penalty=1.1)
HOW = Rounds(max_questions=None, rounds=4, stop_rating=3.0)
GIVEN = tiny_models.profile() | {
    "explain_test_ilearner": {"max_questions": None, "rounds": 3, "stop_rating": 6.0}
}


def questions(count: int = 2) -> list[dict[Any, Any]]:
    distinct = distinct_questions(course())
    return distinct[distinct.split == "test"].head(count).to_dict("records")


def said(text: str, tokens: int = 3) -> Generated:
    return Generated(text, tokens, True, 0)


class Told:
    """An answerer that says what it was told to, and remembers the prompts."""

    def __init__(self, *texts: str):
        self.texts, self.prompts = list(texts), list[str]()

    def answer(self, prompt: str) -> Generated:
        self.prompts.append(prompt)
        return said(self.texts[len(self.prompts) - 1])


class Half:
    """Half a verifier: stars by text."""

    identity = ""  # its numbers are not kept

    def __init__(self, **stars: float):
        self.stars = stars

    def ratings(self, prompts: list[str], texts: list[str]) -> np.ndarray:
        return np.array([self.stars[text] for text in texts])


def rounds_of(told: Any, *halves: Any) -> list[str]:
    """The texts of the rounds on the first question."""
    numbered = dict(enumerate(halves))
    return [answer.text for answer in in_rounds(told, numbered, HOW, questions()[0])]


# ---- the rounds --------------------------------------------------------------------------


def test_a_rating_that_is_high_enough_ends_the_rounds():
    told = Told("bad", "good", "never")
    halves = Half(bad=1.0, good=2.0), Half(bad=2.0, good=4.0)  # means 1.5 and 3.0
    assert rounds_of(told, *halves) == ["bad", "good"]


def test_each_round_shows_the_text_and_the_rating_of_the_last():
    told, (question, _) = Told("bad", "bad", "bad", "bad"), questions()
    rounds_of(told, Half(bad=1.0), Half(bad=2.0))
    again = render_refinement(question, "bad", 1.5)
    assert told.prompts == [render_prompt(question), again, again, again]


def test_an_unrated_text_does_not_end_the_rounds_and_is_asked_for_afresh():
    told, (question, _) = Told("", "", "", ""), questions()
    assert rounds_of(told, Half(), Half()) == [""] * HOW.rounds
    assert told.prompts == [render_prompt(question)] * HOW.rounds


# ---- the clock ---------------------------------------------------------------------------


class Clock:
    """A clock that moves only when an answer is given."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_two_questions_warm_up_and_each_one_is_timed_alone(monkeypatch: pytest.MonkeyPatch):
    clock, asked = Clock(), list[str]()
    monkeypatch.setattr(timings.time, "perf_counter", clock)

    def ask(question: dict[Any, Any]) -> list[Generated]:
        asked.append(question["question_id"])
        clock.now += len(asked)  # 1, 2 to warm up, then 3, 4, 5
        return [said("a", 2), said("b", 5)]

    rows = measure(ask, questions(3), "ilearner")
    assert asked == [q["question_id"] for q in [*questions(2), *questions(3)]]
    assert rows.seconds.tolist() == [3.0, 4.0, 5.0]
    assert rows.tokens_n.tolist() == [7, 7, 7]  # of all rounds
    assert rows.rounds_n.tolist() == [2, 2, 2]


def test_the_summary_is_computed_as_by_hand():
    own = {"policy": "sft", "seconds": [1.0, 2.0, 3.0, 4.0, 10.0], "tokens_n": 10, "rounds_n": 1}
    other = {"policy": "dpo", "seconds": [2.0], "tokens_n": 4, "rounds_n": 1}
    found = summarize(pd.concat([pd.DataFrame(own), pd.DataFrame(other)]))
    assert list(found) == ["sft", "dpo"]
    # the 95th percentile of five: at 0.95 * 4 = 3.8, four fifths of the way from 4 to 10
    wanted = {"p50_seconds": 3.0, "p95_seconds": 8.8, "mean_seconds": 4.0, "mean_tokens": 10.0}
    assert found["sft"] == pytest.approx(wanted | {"mean_rounds_n": 1.0})


# ---- stages ------------------------------------------------------------------------------


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dvc.yaml of three stages, one with items, in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path(".dvc").mkdir()
    items = "two:\n    foreach: {a: {x: 1}, b: {x: 2}}\n  three:\n    foreach: [c]\n"
    Path("dvc.yaml").write_text(f"stages:\n  one:\n    cmd: x\n  {items}")


def work(seconds: float) -> None:
    """Keep a processor busy, with 60 MiB in memory."""
    held, until = bytearray(60 * 2**20), time.process_time() + seconds
    while time.process_time() < until:
        held[-1] += 1
        held[-1] = 0


@pytest.mark.usefixtures("pipeline")
def test_a_stage_is_measured_with_its_children():
    meter = usage.Meter()
    child = os.fork()
    if child == 0:
        work(0.3)
        os._exit(0)
    os.waitpid(child, 0)
    time.sleep(0.2)
    found = meter.read()
    assert 0.3 <= found["cpu_seconds"] < found["seconds"]
    assert found["seconds"] >= 0.5
    assert 60 < found["peak_mib"] < 100_000


@pytest.mark.usefixtures("pipeline")
def test_the_table_has_every_stage_its_last_measurement_and_the_sum():
    usage.keep("one", {"seconds": 9.0, "cpu_seconds": 9.0, "peak_mib": 9.0})
    usage.keep("one", {"seconds": 60.5, "cpu_seconds": 100.0, "peak_mib": 812.34})
    usage.keep("two@b", {"seconds": 2.0, "cpu_seconds": 1.5, "peak_mib": 300.0})
    usage.keep("gone", {"seconds": 1.0, "cpu_seconds": 1.0, "peak_mib": 9000.0})  # not in dvc.yaml
    (usage.FOLDER / "three@c.json").write_text("{")  # damaged: as if it had not run
    found = usage.gather()
    assert list(found) == ["one", "two@a", "two@b", "three@c"]
    assert (found["two@a"], found["three@c"]) == (None, None)
    assert usage.total(found) == {"seconds": 62.5, "cpu_seconds": 101.5, "peak_mib": 812.34}
    lines = usage.markdown(found).splitlines()
    assert lines[2:] == [
        "| stage | seconds | CPU seconds | peak MiB |",
        "|---|---:|---:|---:|",
        "| one | 60.5 | 100.0 | 812.3 |",
        "| two@a | not run here |  |  |",
        "| two@b | 2.0 | 1.5 | 300.0 |",
        "| three@c | not run here |  |  |",
        "| sum; largest peak | 62.5 | 101.5 | 812.3 |",
    ]


def test_the_names_of_the_stages_are_those_of_dvc(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    assert sorted(usage.stage_names()) == sorted(stages())


@pytest.mark.usefixtures("pipeline")
def test_a_run_of_a_stage_leaves_its_measurement_in_mlflow_and_beside_it(
    monkeypatch: pytest.MonkeyPatch,
):
    recorded: list[dict[str, float]] = []
    monkeypatch.setattr(params, "declared", lambda stage: {})
    monkeypatch.setattr(tracking, "record", lambda *given: recorded.append(given[4]))
    with stage_run("one", StageParams) as run:
        work(0.05)
        run.metrics = {"rows_n": 3.0}
    (logged,) = recorded
    assert list(logged) == ["rows_n", *usage.COLUMNS]
    kept = usage.gather()["one"]
    assert kept is not None
    assert kept["seconds"] >= round(logged["seconds"], 3) >= 0.05
    assert not Path("reports").exists(), "no clock reading is where results are"


def test_git_and_dvc_know_nothing_of_the_measurements():
    path = (usage.FOLDER / "one.json").as_posix()
    command = ["git", "check-ignore", "--no-index", path]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.split() == [
        path
    ]
    assert not [
        out
        for s in stages().values()
        for out in s.outs
        if out.startswith((".dvc", "reports/timings"))
    ]


# ---- with models -------------------------------------------------------------------------


@pytest.fixture
def trained(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny repository with models/dpo too; parameters are GIVEN."""
    tiny_models.make_policy(Path("models/dpo"), seed=9)
    monkeypatch.setattr(params, "declared", lambda stage: GIVEN)
    return checkout


@pytest.mark.usefixtures("trained")
def test_the_rating_in_the_loop_is_the_one_of_the_stage():
    halves = classifiers.load_folds(Path("models/verifier_reward"))
    asked, texts = questions(3), ["in the meadow", "because", "it finds its food there"]
    prompts = [render_prompt(question) for question in asked]
    read = [mark_options(*pair) for pair in zip(asked, texts, strict=True)]
    wanted = verifier.ratings(halves, prompts, read, np.full(3, NOT_TRAINED_ON))
    found = [rate(halves, question, text) for question, text in zip(asked, texts, strict=True)]
    assert found == pytest.approx(wanted.tolist(), abs=1e-5)


@pytest.mark.usefixtures("trained")
def test_every_policy_is_measured_on_the_same_questions(monkeypatch: pytest.MonkeyPatch):
    loaded, load = list[Path](), classifiers.load

    def counted(*folders: Path, onto: Any = None) -> Any:
        loaded.extend(folders)
        return load(*folders, onto=onto)

    monkeypatch.setattr(classifiers, "load", counted)
    rows = timings.measure_all(GIVEN, questions(3))
    ids = [q["question_id"] for q in questions(3)]
    assert rows.policy.tolist() == ["sft"] * 3 + ["dpo"] * 3 + ["ilearner"] * 3
    assert rows.question_id.tolist() == ids * 3
    assert (rows.seconds > 0).all()
    # no rating reaches six stars, so all three rounds are asked for
    assert rows.rounds_n.tolist() == [1] * 6 + [3] * 3
    assert [folder.name for folder in loaded] == ["fold_0", "fold_1"], (
        "loading the verifier is no part of a question's time"
    )


@pytest.mark.usefixtures("trained")
def test_the_adapter_of_the_policy_answers():
    answers = []
    for adapter in ("sft", "dpo"):
        writer = load_writer(MODEL, GENERATION, Path("models") / adapter)
        own = Answerer(writer, DECODING, 13)
        answers.append([one_pass(own, q)[0].text for q in questions(4)])
        assert answers[-1] == [one_pass(own, q)[0].text for q in questions(4)]
    assert answers[0] != answers[1]


@pytest.mark.usefixtures("trained")
def test_the_command_writes_a_table_for_people_and_one_for_programs(
    capsys: pytest.CaptureFixture[str],
):
    timings.main(questions=2)
    body = json.loads(Path("reports/timings.json").read_text())
    assert set(body["policies"]) == {"sft", "dpo", "ilearner"}
    assert body["questions_n"] == 2
    assert body["machine"]["threads"] == MODEL.threads
    text = Path("reports/timings.md").read_text()
    assert capsys.readouterr().out == text
    assert all(f"| {policy} |" in text for policy in body["policies"])
    assert body["stages"] == {}, "there is no dvc.yaml here"


def test_the_files_are_not_in_git():
    names = ["reports/timings.json", "reports/timings.md"]
    command = ["git", "check-ignore", "--no-index", *names]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.stdout.split() == names


@pytest.mark.usefixtures("trained")
def test_without_a_test_question_it_says_so():
    table = course()
    artifacts.write(Questions, table[table.split != "test"])
    with pytest.raises(InputError, match="no question in the split 'test'"):
        timings.main(questions=2)


@pytest.mark.usefixtures("trained")
def test_without_an_adapter_it_says_which_is_missing():
    checkpoints.scratch_outputs(Path("models/dpo"))
    with pytest.raises(InputError, match="models/dpo"):
        timings.main(questions=2)
