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
from schemas.synthetic import Synthetic
from schemas.synthetic_questions import SyntheticQuestions
from stages import score_candidates as stage
from stages.pure.prompts import declarative, render_prompt
from stages.pure.scored import scoring
from stages.pure.scored.scoring import check_nulls, means_by_kind, model_values
from stages.runtime import artifacts, params, tracking
from stages.runtime.loading.checkpoints import BASE_DIR
from stages.score_candidates import summarize
from stages.scorers import registry
from tests import invented
from tests.test_scorers import Fake, given_texts, use_fakes

ALL = {
    "verifier": "reward",
    "judge": "heldout",
    "entailment": "heldout",
    "entailment_upstream": "heldout",
    "acr": "heldout",
    "acr_upstream": "heldout",
    "words": "diagnostic",
    "is_loop": "diagnostic",
    "has_url": "diagnostic",
    "is_evasive": "diagnostic",
}


@pytest.fixture(autouse=True)
def _fake_models(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fakes(monkeypatch)


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
    texts = scoring.texts_to_score(invented.questions(), candidates, invented.negatives())
    is_ours = texts.candidate_index < 1000
    assert set(texts.marked[is_ours]) == {"correct, not wrong: yesterday."}
    assert set(texts.explanation[is_ours]) == {"Yes, not no: yesterday."}


def test_only_train_questions_have_a_fold():
    questions = invented.questions().assign(fold=1)
    assert set(given_texts(questions).fold) == {1}
    assert set(given_texts(questions.assign(split="test")).fold) == {-1}


def test_a_text_of_an_unknown_question_is_named():
    questions = invented.questions()
    with pytest.raises(InputError, match=r"question q2 .*dvc repro"):
        given_texts(questions[questions.question_id != "q2"])


def test_every_text_has_a_row_of_every_scorer():
    scores = registry.score(given_texts(), ALL)
    artifacts.validate(Scores, artifacts.conform(Scores, scores), Scores.path())
    assert scores.scorer.value_counts().to_dict() == dict.fromkeys(ALL, 10)
    assert scores.groupby("scorer").role.agg(set).to_dict() == {k: {v} for k, v in ALL.items()}


def test_an_empty_text_is_shown_to_no_model_and_is_null_there_with_its_reason():
    scores = registry.score(given_texts(), ALL)
    empty = scores[(scores.question_id == "q2") & (scores.candidate_index == 2)]
    reasons = dict(zip(empty.scorer, empty.reason, strict=True))
    values = dict(zip(empty.scorer, empty.value, strict=True))
    for model in ("verifier", "judge", "entailment", "entailment_upstream"):
        assert np.isnan(values[model])
        assert reasons[model] == "empty_text"
    assert values["words"] == 0.0  # a measured zero
    assert values["is_evasive"] == 1.0
    assert all(explanation.strip() for _, (_, explanation) in Fake.asked)


def test_a_text_that_is_too_long_is_null_and_not_zero():
    texts = given_texts()
    texts.loc[0, ["explanation", "marked"]] = "too long"
    scores = registry.score(texts, {"verifier": "reward"})
    assert scores.reason.dropna().to_dict() == {0: "too_long", 6: "empty_text"}
    assert scores.value.isna().sum() == 2


def test_values_by_hand():
    texts = given_texts()
    texts.loc[1, ["explanation", "marked"]] = "yes because yes"
    scores = registry.score(texts, ALL)
    row = scores[(scores.question_id == "q1") & (scores.candidate_index == 1)]
    assert dict(zip(row.scorer, row.value, strict=True)) == {
        "verifier": 3.0,  # words, by fold_0 alone
        "judge": 3.0,
        "entailment": 0.75,
        "entailment_upstream": 0.25,
        "acr": 1.0,
        "acr_upstream": pytest.approx(float("nan"), nan_ok=True),  # no word of four letters
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
        ({"verifyer": "reward"}, r"unknown 'verifyer'.*Did you mean 'verifier'\?"),
        ({"verifier": "rewards"}, r"unknown 'rewards'.*Did you mean 'reward'\?"),
        ({"verifier": "reward", "zzz": "heldout"}, "unknown 'zzz'.*Known: .*'acr'"),
        ({"is_loop": "reward"}, "'is_loop' is 1 for a bad text"),
        ({"acr": "reward", "acr_upstream": "heldout"}, "one signal cannot be both"),
    ],
)
def test_a_wrong_scorer_or_role_is_refused_before_a_text_is_read(
    monkeypatch: pytest.MonkeyPatch, roles: dict[str, str], message: str
):
    monkeypatch.setattr(params, "declared", lambda name: {"score_candidates": {"scorers": roles}})
    monkeypatch.setattr(artifacts, "read", lambda *_: pytest.fail("a table was read"))
    with pytest.raises(InputError, match=message):
        stage.main()


def nulls(null_n: int, role: str) -> pd.DataFrame:
    """Ten scores of the verifier, of which `null_n` are null."""
    rows = [
        ("q", i, "verifier", role, None if i < null_n else 1.0, "too_long" if i < null_n else None)
        for i in range(10)
    ]
    return invented.table(Scores, rows)


def test_a_scorer_of_the_reward_that_reads_less_than_half_is_refused():
    check_nulls(nulls(5, "reward"), ["verifier"])
    with pytest.raises(InputError, match=r"'verifier': 6 of 10 .*too_long"):
        check_nulls(nulls(6, "reward"), ["acr", "verifier"])
    check_nulls(nulls(10, "heldout"), ["acr"])


def test_what_the_reward_reads_counts_and_not_the_role_that_was_declared():
    # a reward that reads a held-out scorer moves it
    with pytest.raises(InputError, match=r"'verifier': 10 of 10"):
        check_nulls(nulls(10, "heldout"), ["verifier"])


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
    table = means_by_kind(texts, registry.score(texts, {"words": "reward"}))
    rows = {row.kind: (row.texts_n, row.scored_n, row.mean) for row in table.itertuples()}
    assert rows["circular"] == (1, 1, 3.0)  # "A is A"
    assert rows["sft"] == (6, 6, 5 / 6)  # one sample of q2 is empty: 0 words
    empty = registry.score(texts, {"verifier": "reward"}).assign(value=np.nan, reason="too_long")
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
    artifacts.write(Synthetic, artifacts.empty(Synthetic))
    artifacts.write(SyntheticQuestions, artifacts.empty(SyntheticQuestions))
    written = []
    for _ in range(2):
        stage.main()
        report = tmp_path / "reports/score_candidates.json"
        written.append(((tmp_path / Scores.path()).read_bytes(), report.read_bytes()))
    assert written[0] == written[1]
    models = {"models/verifier_reward", "models/verifier_judge", "models/entailment"}
    assert {BASE_DIR, *map(Path, models)} <= set(read[0])  # the verifier stands on the base
    body = json.loads(written[0][1])
    assert body["metrics"]["verifier_null_n"] == 1
    assert {row["scorer"] for row in body["details"]["by_kind"]} == set(ALL)
