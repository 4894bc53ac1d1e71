"""Every scorer on every text: who is asked what, once, and what a missing value looks like."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from schemas.candidates import Candidates
from schemas.errors import InputError
from schemas.negatives import Negatives
from schemas.questions import Questions
from schemas.scores import Scores
from stages import score_candidates as stage
from stages.pure.claims import Claim
from stages.pure.prompts import declarative, render_prompt
from stages.pure.scoring import check_nulls, means_by_kind, model_values, texts_to_score
from stages.runtime import artifacts, heldout, params, scorers, tracking
from stages.runtime.checkpoints import BASE_DIR
from stages.score_candidates import check_roles, score_texts, summarize
from tests import invented

ALL = {
    "verifier": "reward",
    "judge": "heldout",
    "entailment": "heldout",
    "acr": "heldout",
    "words": "diagnostic",
    "is_loop": "diagnostic",
    "has_url": "diagnostic",
    "is_evasive": "diagnostic",
}


class Fake:
    """A scorer that remembers what it was asked. Its rating is the number of words."""

    asked: list[tuple[str, tuple[Any, str]]] = []  # noqa: RUF012 - reset by the fixture

    def __init__(self, folder: Path):
        self.folder = folder
        self.bonus = 0.5 if folder.name == "fold_1" else 0.0

    def remember(self, asked: list[Any], explanations: list[str]) -> np.ndarray:
        pairs = zip(asked, explanations, strict=True)
        Fake.asked += [(self.folder.as_posix(), pair) for pair in pairs]
        words = np.array([len(text.split()) for text in explanations], dtype=float)
        return np.where([("too long" in t) for t in explanations], np.nan, words)

    def ratings(self, asked: list[Any], explanations: list[str]) -> np.ndarray:
        return self.remember(asked, explanations) + self.bonus

    def probabilities(
        self, claims: list[Claim], explanations: list[str], is_bare: bool = False
    ) -> np.ndarray:
        self.remember(claims, explanations)
        yes = np.array([0.75 if "yes" in text else 0.25 for text in explanations])
        return 1 - yes if is_bare else yes


def fake_halves(folder: Path) -> dict[int, Any]:
    return {fold: Fake(folder / f"fold_{fold}") for fold in (0, 1)}


@pytest.fixture(autouse=True)
def _fake_models(monkeypatch):
    Fake.asked = []
    monkeypatch.setattr(stage.classifiers, "load_folds", fake_halves)
    monkeypatch.setattr(heldout.alignment, "load", Fake)


P, Q = ((f"it is {name}", name, "Which?") for name in "pq")


def given_texts(questions: pd.DataFrame | None = None) -> pd.DataFrame:
    questions = invented.questions() if questions is None else questions
    return texts_to_score(questions, invented.candidates(), invented.negatives())


# ---- scorers ------------------------------------------------------------------------------


def rate(folds: list[int], texts: list[str] | None = None) -> list[float]:
    texts = texts or ["one two"] * len(folds)
    halves, prompts = fake_halves(Path("v")), ["p"] * len(folds)
    return scorers.verifier_ratings(halves, prompts, texts, np.array(folds)).tolist()


def test_a_train_question_is_rated_by_the_half_that_did_not_see_it():
    assert rate([0, 1]) == [2.0, 2.5]
    assert {folder for folder, _ in Fake.asked} == {"v/fold_0", "v/fold_1"}
    assert len(Fake.asked) == 2


def test_any_other_question_is_rated_by_the_mean_of_both_halves():
    assert rate([-1]) == [2.25]


def test_a_half_that_is_not_needed_is_not_asked():
    rate([1, 1])
    assert {folder for folder, _ in Fake.asked} == {"v/fold_1"}


def test_a_text_that_one_half_cannot_read_has_no_rating():
    assert np.isnan(rate([-1, 0, 1], ["too long"] * 3)).all()


@pytest.mark.parametrize("folds", [[2], [-2], [0, 1]])
def test_folds_that_mean_nothing_are_refused(folds: list[int]):
    with pytest.raises(ValueError, match="folds"):
        scorers.verifier_ratings(fake_halves(Path("v")), ["p"], ["t"], np.array(folds))


def test_a_text_is_scored_once_and_its_value_goes_to_every_copy():
    values = heldout.judge_ratings(Path("j"), [P, P, Q, P], ["b c", "a", "b c", "b c"])
    assert values.tolist() == [2.0, 1.0, 2.0, 2.0]
    assert [pair for _, pair in Fake.asked] == [(P, "a"), (P, "b c"), (Q, "b c")]


def test_what_is_asked_does_not_depend_on_the_order_of_the_rows():
    heldout.judge_ratings(Path("j"), [P, Q], ["a", "b"])
    forward, Fake.asked = Fake.asked, []
    heldout.judge_ratings(Path("j"), [Q, P], ["b", "a"])
    assert Fake.asked == forward


def test_entailment_is_of_the_sentence_unless_the_bare_option_is_asked_for():
    asked = Path("e"), [P, P], ["yes", "no"]
    assert heldout.entailment_probabilities(*asked).tolist() == [0.75, 0.25]
    assert heldout.entailment_probabilities(*asked, is_bare=True).tolist() == [0.25, 0.75]


def test_no_text_gives_no_value():
    assert heldout.judge_ratings(Path("j"), [], []).shape == (0,)
    nothing = np.array([], dtype=int)
    assert scorers.verifier_ratings(fake_halves(Path("v")), [], [], nothing).shape == (0,)


def test_a_scorer_that_loses_a_text_is_caught():
    with pytest.raises(ValueError, match="zip"):
        scorers.score_distinct(lambda a, b: np.zeros(1), ["a", "b"], ["c", "d"])


# ---- what is scored -----------------------------------------------------------------------


def test_candidates_and_negatives_are_scored_alike():
    texts = given_texts()
    assert len(texts) == 8 + 2
    assert texts.kind.value_counts().to_dict() == {
        "sft": 6,
        "student": 2,
        "other_question": 1,
        "circular": 1,
    }


def test_a_text_meets_its_own_question_in_the_words_of_the_prompt_module():
    questions = invented.questions()
    texts = given_texts(questions.sample(frac=1, random_state=3))
    q2: Any = questions[questions.question_id == "q2"].iloc[0]
    for text in texts[texts.question_id == "q2"].itertuples():
        assert text.prompt == render_prompt(q2)
        assert text.claim == (declarative("Is 2 so?", "yes"), "yes", "Is 2 so?", "no")
        assert text.key_text == "yes"


def test_the_verifier_reads_options_as_what_they_are():
    candidates = invented.candidates().assign(explanation="Yes, not no: yesterday.")
    texts = texts_to_score(invented.questions(), candidates, invented.negatives())
    is_ours = texts.candidate_index < 1000
    assert set(texts.marked[is_ours]) == {"correct, not wrong: yesterday."}
    assert set(texts.explanation[is_ours]) == {"Yes, not no: yesterday."}
    stage.ask_model("verifier", texts[is_ours])
    assert {text for _, (_, text) in Fake.asked} == {"correct, not wrong: yesterday."}


def test_only_train_questions_have_a_fold():
    questions = invented.questions().assign(fold=1)
    assert set(given_texts(questions).fold) == {1}
    assert set(given_texts(questions.assign(split="test")).fold) == {-1}


def test_a_text_of_an_unknown_question_is_named():
    questions = invented.questions()
    with pytest.raises(InputError, match=r"question q2 .*dvc repro"):
        given_texts(questions[questions.question_id != "q2"])


def test_every_text_has_a_row_of_every_scorer():
    scores = score_texts(given_texts(), ALL)
    artifacts.validate(Scores, artifacts.conform(Scores, scores), Scores.path())
    assert scores.scorer.value_counts().to_dict() == dict.fromkeys(ALL, 10)
    assert scores.groupby("scorer").role.agg(set).to_dict() == {k: {v} for k, v in ALL.items()}


def test_an_empty_text_is_shown_to_no_model_and_is_null_there_with_its_reason():
    scores = score_texts(given_texts(), ALL)
    empty = scores[(scores.question_id == "q2") & (scores.candidate_index == 2)]
    reasons = dict(zip(empty.scorer, empty.reason, strict=True))
    values = dict(zip(empty.scorer, empty.value, strict=True))
    for model in ("verifier", "judge", "entailment"):
        assert np.isnan(values[model])
        assert reasons[model] == "empty_text"
    assert values["words"] == 0.0  # a measured zero
    assert values["is_evasive"] == 1.0
    assert all(explanation.strip() for _, (_, explanation) in Fake.asked)


def test_a_text_that_is_too_long_is_null_and_not_zero():
    texts = given_texts()
    texts.loc[0, ["explanation", "marked"]] = "too long"
    scores = score_texts(texts, {"verifier": "reward"})
    assert scores.reason.dropna().to_dict() == {0: "too_long", 6: "empty_text"}
    assert scores.value.isna().sum() == 2


def test_values_by_hand():
    texts = given_texts()
    texts.loc[1, ["explanation", "marked"]] = "yes because yes"
    scores = score_texts(texts, ALL)
    row = scores[(scores.question_id == "q1") & (scores.candidate_index == 1)]
    assert dict(zip(row.scorer, row.value, strict=True)) == {
        "verifier": 3.0,  # words, by fold_0 alone
        "judge": 3.0,
        "entailment": 0.75,
        "acr": 1.0,
        "words": 3.0,
        "is_loop": 0.0,
        "has_url": 0.0,
        "is_evasive": 0.0,
    }


def test_numbers_become_values_or_reasons():
    values = model_values(
        np.array([1.5, np.nan, np.nan, np.inf]), np.array([False, True, False, False])
    )
    assert [tuple(value) for value in values] == [
        (1.5, None),
        (None, "empty_text"),
        (None, "too_long"),
        (None, "infinite"),
    ]


# ---- roles and limits ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ({"verifyer": "reward"}, "unknown 'verifyer' .*Did you mean 'verifier'"),
        ({"verifier": "rewards"}, "unknown 'rewards' .*Did you mean 'reward'"),
        ({"verifier": "reward", "zzz": "heldout"}, "unknown 'zzz' .*Use one of"),
        ({"verifier": "heldout"}, "no scorer has role 'reward'"),
        ({}, "no scorer has role 'reward'"),
        ({"is_loop": "reward"}, "'is_loop' is 1 for a bad text"),
    ],
)
def test_a_wrong_scorer_or_role_is_refused_with_the_nearest_name(roles: dict, message: str):
    with pytest.raises(InputError, match=message):
        check_roles(roles)


def test_the_roles_of_params_are_accepted():
    check_roles(ALL)


def nulls(null_n: int, role: str) -> pd.DataFrame:
    """Ten scores of the verifier, of which `null_n` are null."""
    rows = [
        ("q", i, "verifier", role, None if i < null_n else 1.0, "too_long" if i < null_n else None)
        for i in range(10)
    ]
    return invented.table(Scores, rows)


def test_a_reward_scorer_that_reads_less_than_half_stops_the_stage():
    check_nulls(nulls(5, "reward"))
    with pytest.raises(InputError, match=r"'verifier': 6 of 10 .*too_long"):
        check_nulls(nulls(6, "reward"))
    check_nulls(nulls(10, "heldout"))


def test_the_report_counts_nulls_and_leaves_them_out_of_the_means():
    scores = nulls(6, "heldout")
    scores.loc[9, "value"] = 3.0
    assert summarize(scores) == {
        "texts_n": 10,
        "verifier_null_n": 6,
        "verifier_mean_stars": 1.5,
    }
    assert "verifier_mean_stars" not in summarize(nulls(10, "heldout"))


def test_means_by_kind_show_whether_negatives_are_worse():
    texts = given_texts()
    table = means_by_kind(texts, score_texts(texts, {"words": "reward"}))
    rows = {row.kind: (row.texts_n, row.scored_n, row.mean) for row in table.itertuples()}
    assert rows["circular"] == (1, 1, 3.0)  # "A is A"
    assert rows["sft"] == (6, 6, 5 / 6)  # one sample of q2 is empty: 0 words
    empty = score_texts(texts, {"verifier": "reward"}).assign(value=np.nan, reason="too_long")
    assert means_by_kind(texts, empty)["mean"].tolist() == [None] * 4


def test_the_stage_writes_scores_and_a_report_and_again_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    read = []
    monkeypatch.setattr(tracking, "record", lambda stage, given, inputs, *rest: read.append(inputs))
    section = {"score_candidates": {"scorers": ALL}}
    monkeypatch.setattr(params, "declared", lambda name: section)
    artifacts.write(Questions, invented.questions())
    artifacts.write(Candidates, invented.candidates())
    artifacts.write(Negatives, invented.negatives())
    written = []
    for _ in range(2):
        stage.main()
        report = tmp_path / "reports/score_candidates.json"
        written.append(((tmp_path / Scores.path()).read_bytes(), report.read_bytes()))
    assert written[0] == written[1]
    assert {BASE_DIR, *stage.MODELS.values()} <= set(read[0])  # the verifier stands on the base
    body = json.loads(written[0][1])
    assert body["metrics"]["verifier_null_n"] == 1
    assert {row["scorer"] for row in body["details"]["by_kind"]} == set(ALL)


def test_a_scorer_that_is_not_asked_for_is_not_loaded():
    score_texts(given_texts(), {"verifier": "reward", "words": "diagnostic"})
    assert {folder.split("/")[1] for folder, _ in Fake.asked} == {"verifier_reward"}
