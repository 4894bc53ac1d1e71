"""ILearner: a true iteration of generator and verifier, and the best round kept."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InputError
from schemas.explanations import Explanations
from schemas.questions import Questions
from stages import explain_test_ilearner as stage
from stages.pure.prompts import distinct_questions, render_prompt, render_refinement
from stages.pure.scored.scoring import NOT_TRAINED_ON
from stages.runtime import artifacts, classifiers, store
from stages.runtime.loading import checkpoints
from stages.runtime.sampling import generation
from stages.runtime.sampling.drawing import Request
from stages.runtime.sampling.generation import Generated, row_seed
from stages.scorers import verifier
from tests.tiny_models import Stage, course, reported

pytest_plugins = ["tests.tiny_fixtures"]

NAN = float("nan")
TEST = [f"q{n}" for n in range(14, 20)]
HALVES = "the halves of models/verifier_reward"
QUESTIONS = {row["question_id"]: row for row in distinct_questions(course()).to_dict("records")}


@dataclass
class Loop:
    """Fake generator and verifier: round k of question q says "<q> k" and is rated as told.

    ratings: question -> rating of each round (the last one holds on); 1.0 for the others.
    """

    ratings: dict[str, list[float]] = field(default_factory=dict)
    empty: set[str] = field(default_factory=set)  # texts that are not said
    asked: list[list[Request]] = field(default_factory=list)  # of each call
    rated: list[list[str]] = field(default_factory=list)
    folds: list[int] = field(default_factory=list)
    loaded: list[Path] = field(default_factory=list)  # verifiers

    def load(self, folder: Path, onto: Any) -> str:
        assert onto is not None
        self.loaded.append(folder)
        return HALVES

    def run(self, requests: list[Request], _: int) -> Iterator[list[tuple[int, Generated]]]:
        self.asked.append(requests)
        for place, request in enumerate(requests):
            (name,) = [q for q, row in QUESTIONS.items() if row["stem"] in request.text]
            said = f"{name} {self.round}"
            yield [(place, Generated("" if said in self.empty else said, 2, True, 7))]

    @property
    def prompts(self) -> list[list[str]]:
        return [[request.text for request in call] for call in self.asked]

    @property
    def round(self) -> int:
        """Of the last call: the calls before it of the same decoding."""
        kinds = [call[0].decoding for call in self.asked]
        return kinds.count(kinds[-1]) - 1

    def rate(
        self, halves: Any, prompts: list[str], texts: list[str], folds: np.ndarray
    ) -> np.ndarray:
        assert halves == HALVES
        self.rated.append(prompts)
        self.folds += folds.tolist()
        found = []
        for text in texts:
            name, index = text.split()
            given = self.ratings.get(name, [1.0])
            found.append(given[min(int(index), len(given) - 1)])
        return np.array(found)


Run = Callable[..., pd.DataFrame]


@pytest.fixture
def loop(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Loop:
    made = Loop()
    monkeypatch.setattr(generation.Local, "run", lambda _, *given: made.run(*given))
    monkeypatch.setattr(store, "is_forgetful", True)  # an equal prompt is asked again
    monkeypatch.setattr(classifiers, "load_folds", made.load)
    monkeypatch.setattr(verifier, "ratings", made.rate)
    return made


@pytest.fixture
def run(run_stage: Stage) -> Run:
    """run(rounds=..., stop_rating=..., max_questions=...): the sampled rows of the stage."""

    def go(rounds: int = 3, stop_rating: float = 3.0, max_questions: int | None = None) -> Any:
        section = {"rounds": rounds, "stop_rating": stop_rating, "max_questions": max_questions}
        run_stage(stage.main, explain_test_ilearner=section)
        rows = artifacts.read(Explanations, "ilearner")
        return rows[rows.decoding == "sampled"]

    return go


# ---- the iteration -------------------------------------------------------------------------


def test_the_first_round_asks_as_one_pass_does(loop: Loop, run: Run):
    run(rounds=1)
    assert loop.prompts == [[render_prompt(QUESTIONS[name]) for name in TEST]] * 2
    sampled, greedy = loop.asked
    # round 0 says what the SFT policy says in one pass
    assert [r.seed for r in sampled] == [row_seed(13, "explain sampled", r.text) for r in sampled]
    assert {r.seed for r in greedy} == {0}


def test_a_later_round_shows_the_question_the_last_text_and_its_rating(loop: Loop, run: Run):
    loop.ratings = {"q14": [1.0, 2.5, 2.0]}
    run(rounds=3, max_questions=1)
    question = QUESTIONS["q14"]
    assert loop.prompts[:3] == [
        [render_prompt(question)],
        [render_refinement(question, "q14 0", 1.0)],
        [render_refinement(question, "q14 1", 2.5)],  # the last text, not the first
    ]


def test_the_last_text_is_shown_even_if_an_earlier_one_was_better(loop: Loop, run: Run):
    loop.ratings = {"q14": [2.5, 1.0, 2.0]}
    run(rounds=3, max_questions=1)
    assert loop.prompts[2] == [render_refinement(QUESTIONS["q14"], "q14 1", 1.0)]


def test_the_verifier_always_reads_the_plain_prompt(loop: Loop, run: Run):
    # a rating must not depend on what was said before
    run(rounds=3, max_questions=2)
    plain = [render_prompt(QUESTIONS[name]) for name in TEST[:2]]
    assert loop.rated == [plain] * 6
    assert set(loop.folds) == {NOT_TRAINED_ON}


def test_the_verifier_is_read_once_for_all_rounds(loop: Loop, run: Run):
    run(rounds=3)
    assert loop.loaded == [Path("models/verifier_reward")]


def test_every_round_draws_anew_also_where_it_asks_the_same(loop: Loop, run: Run):
    loop.ratings = {name: [NAN] for name in TEST}  # then each round asks the plain prompt
    run(rounds=4)
    sampled = [request for call in loop.asked[:4] for request in call]
    assert len({request.text for request in sampled}) == 6
    assert len({request.seed for request in sampled}) == 24


def test_a_question_is_done_when_its_rating_reaches_the_threshold(loop: Loop, run: Run):
    loop.ratings = {"q14": [3.0], "q15": [2.99, 4.0], "q16": [2.0]}
    found = run(rounds=4, stop_rating=3.0, max_questions=3)
    assert found.groupby("question_id").round_index.max().to_dict() == {
        "q14": 0,
        "q15": 1,
        "q16": 3,
    }
    assert [len(prompts) for prompts in loop.prompts[:4]] == [3, 2, 1, 1]


def test_no_round_is_asked_when_all_are_done(loop: Loop, run: Run):
    loop.ratings = {name: [5.0] for name in TEST}
    run(rounds=5)
    assert len(loop.prompts) == 2  # one per decoding


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_there_are_at_most_k_rounds(loop: Loop, run: Run, rounds: int):
    found = run(rounds=rounds)
    assert found.round_index.tolist() == list(range(rounds)) * 6
    assert len(loop.prompts) == 2 * rounds


def test_the_two_decodings_do_not_mix(loop: Loop, run: Run):
    run(rounds=2, max_questions=1)
    question = QUESTIONS["q14"]
    wanted = [[render_prompt(question)], [render_refinement(question, "q14 0", 1.0)]]
    assert loop.prompts == wanted * 2


# ---- what is kept --------------------------------------------------------------------------


def test_every_round_is_stored_with_its_text_and_rating(loop: Loop, run: Run):
    loop.ratings = {"q14": [1.0, 2.5, 2.0]}
    found = run(rounds=3, max_questions=1)
    assert found.explanation.tolist() == ["q14 0", "q14 1", "q14 2"]
    assert found.verifier_rating.tolist() == [1.0, 2.5, 2.0]
    assert found.is_final.tolist() == [False, True, False]
    assert set(found.training_seed) == {13}  # of the SFT policy that is asked


def final(ratings: dict[str, list[float]]) -> dict[str, int]:
    """The round that mark_final keeps, by question."""
    rows = pd.DataFrame(
        [(q, i, rating) for q, given in ratings.items() for i, rating in enumerate(given)],
        columns=["question_id", "round_index", "verifier_rating"],
    )
    marked = stage.mark_final(rows)
    return dict(marked[marked.is_final][["question_id", "round_index"]].to_numpy().tolist())


def test_the_best_rated_round_is_final_and_the_earliest_of_equals():
    found = final({"a": [1.0, 3.0, 2.0], "b": [2.0, 2.0], "c": [0.5, 1.5, 1.5, 1.0], "d": [0.0]})
    assert found == {"a": 1, "b": 0, "c": 1, "d": 0}


def test_an_unrated_round_is_worse_than_any_rated_one():
    assert final({"a": [NAN, 0.0], "b": [0.0, NAN], "c": [NAN, NAN]}) == {"a": 1, "b": 0, "c": 0}


@given(
    st.dictionaries(
        st.sampled_from("abcd"),
        st.lists(st.sampled_from([NAN, 0.0, 1.0, 2.5, 5.0]), min_size=1, max_size=5),
        min_size=1,
    )
)
def test_exactly_one_round_of_each_question_is_final(ratings: dict[str, list[float]]):
    found = final(ratings)
    assert set(found) == set(ratings)
    for name, kept in found.items():
        values = np.nan_to_num(ratings[name], nan=-1.0)
        assert values[kept] == values.max()
        assert kept == int(np.argmax(values))


# ---- texts without a rating ----------------------------------------------------------------


def test_a_text_that_is_too_long_to_rate_is_asked_for_afresh(loop: Loop, run: Run):
    loop.ratings = {"q14": [NAN, 2.0, 2.0]}
    found = run(rounds=3, max_questions=1)
    question = QUESTIONS["q14"]
    assert loop.prompts[:3] == [
        [render_prompt(question)],
        [render_prompt(question)],
        [render_refinement(question, "q14 1", 2.0)],
    ]
    assert found.is_final.tolist() == [False, True, False]


def test_an_empty_text_is_not_rated_and_asked_for_afresh(loop: Loop, run: Run):
    loop.empty = {"q14 0"}
    found = run(rounds=2, max_questions=2)
    assert loop.rated[0] == [render_prompt(QUESTIONS["q15"])]
    assert np.isnan(found[found.question_id == "q14"].verifier_rating.iloc[0])
    assert loop.prompts[1] == [
        render_prompt(QUESTIONS["q14"]),
        render_refinement(QUESTIONS["q15"], "q15 0", 1.0),
    ]


def test_a_policy_that_says_nothing_is_no_error(loop: Loop, run: Run):
    loop.empty = {f"{name} {index}" for name in TEST for index in range(2)}
    found = run(rounds=2)
    assert found.verifier_rating.isna().all()
    assert found[found.is_final].round_index.tolist() == [0] * 6
    assert reported("explain_test_ilearner")["unrated_n"] == 24
    assert "final_rating_stars" not in reported("explain_test_ilearner")


# ---- the stage -----------------------------------------------------------------------------


def test_what_the_stage_reports(loop: Loop, run: Run):
    loop.ratings = {"q14": [1.0, 2.0], "q15": [3.0]}
    run(rounds=2, max_questions=2)
    assert reported("explain_test_ilearner") == {
        "questions_n": 2,
        "texts_n": 6,  # three of each decoding
        "rounds_mean_n": 1.5,
        "unrated_n": 0,
        "round_0_rating_stars": 2.0,
        "final_rating_stars": 2.5,
    }


def test_only_test_questions_are_asked(loop: Loop, run: Run):
    assert set(run(rounds=1).question_id) == set(TEST)


def test_the_tiny_models_run_through_and_give_the_same_bytes(checkout: Path, run_stage: Stage):
    section = {"rounds": 2, "stop_rating": 3.0, "max_questions": 3}
    recorded = run_stage(stage.main, explain_test_ilearner=section)
    first = Explanations.path("ilearner").read_bytes()
    run_stage(stage.main, explain_test_ilearner=section)
    assert Explanations.path("ilearner").read_bytes() == first
    rows = artifacts.read(Explanations, "ilearner")
    assert rows.groupby(["question_id", "decoding"]).is_final.sum().tolist() == [1] * 6
    assert recorded.inputs == [
        Questions.path(),
        checkpoints.BASE_DIR,
        stage.POLICY,
        verifier.FOLDER,
    ]


def test_the_first_round_is_what_the_sft_policy_says_in_one_pass(checkout: Path, run_stage: Stage):
    from stages import explain_test

    section = {"rounds": 1, "stop_rating": 3.0, "max_questions": None}
    run_stage(stage.main, explain_test_ilearner=section)
    run_stage(explain_test.main, "sft", explain_test={"max_questions": None})
    iterated, once = (artifacts.read(Explanations, name) for name in ("ilearner", "sft"))
    assert iterated.explanation.tolist() == once.explanation.tolist()


def test_a_rating_of_the_stage_is_the_mean_of_both_halves(checkout: Path):
    question = QUESTIONS["q14"] | {"key": "A"}  # the meadow
    answers = [Generated("In the meadow.", 3, True, 1), Generated("", 0, True, 1)]
    prompt = render_prompt(question)
    halves = classifiers.load_folds(verifier.FOLDER)
    (rated, empty) = stage.rate(halves, [question, question], answers)
    stars = [half.ratings([prompt], ["In correct."])[0] for half in halves.values()]
    assert stars[0] != stars[1]
    assert rated == pytest.approx(np.mean(stars))
    assert np.isnan(empty)


def test_a_course_without_test_questions_is_refused(loop: Loop, run: Run):
    artifacts.write(Questions, course().query("split != 'test'"))
    with pytest.raises(InputError, match="no question in the split 'test'"):
        run()


def test_less_than_one_round_is_refused(loop: Loop, run: Run):
    with pytest.raises(InputError, match=r"explain_test_ilearner\.rounds"):
        run(rounds=0)
