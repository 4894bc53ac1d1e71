"""Which rationale belongs to which option: counted by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.pure import probe


def question(name: str, key: str, n: int) -> dict[str, Any]:
    letters = "abcde"
    options = {f"option_{c}": f"{name} {c}" if i < n else None for i, c in enumerate(letters)}
    row: dict[str, Any] = {
        "row_id": f"{name}/1",
        "question_id": name,
        "cluster_id": name,
        "split": "train",
    }
    row |= {"fold": 0, "course": "c", "stem": "Which?", "options_n": n, "key": key}
    return row | options


def text(
    name: str, index: int, kind: str, option: str | None, reason: str | None = None
) -> dict[str, Any]:
    row = {"question_id": name, "candidate_index": index, "kind": kind, "option": option}
    return row | {"explanation": f"{name} {index}", "reason": reason}


QUESTIONS = pd.DataFrame([question("p", "A", 3), question("q", "B", 2), question("r", "A", 4)])
TEXTS = pd.DataFrame(
    [
        text("p", 2000, "reasoned_positive", None),
        text("p", 2001, "reasoned_positive", None),  # a second one of the key: not asked
        text("p", 3400, "malgorithm", "B"),
        text("p", 3401, "malgorithm", "C"),
        text("p", 3000, "inverted_logic", None),
        text("q", 2000, "reasoned_positive", None),
        text("q", 3400, "malgorithm", "A"),
        text("r", 2000, "reasoned_positive", None),
        text("r", 3400, "malgorithm", "B", "near_existing"),  # leaves r with one rationale
    ]
)


@pytest.fixture
def trials() -> pd.DataFrame:
    return probe.asked(probe.rationales(TEXTS, QUESTIONS))


def test_every_rationale_meets_every_option_that_has_one(trials: pd.DataFrame):
    shown = trials.groupby(["question_id", "key"]).option.agg("".join).to_dict()
    assert shown == {("p", c): "ABC" for c in "ABC"} | {("q", c): "AB" for c in "AB"}
    assert trials[trials.is_own].candidate_index.tolist() == [2000, 3400, 3401, 3400, 2000]
    assert trials.groupby("question_id").right.first().to_dict() == {"p": "A", "q": "B"}


def test_accuracies_by_hand(trials: pd.DataFrame):
    # p: A matched; B loses to C; C ties with A. q: A matched; B (the key) loses.
    ratings = {
        ("p", "A"): [4, 3, 2],
        ("p", "B"): [1, 2, 3],
        ("p", "C"): [3, 1, 3],
        ("q", "A"): [3, 2],
        ("q", "B"): [3, 2],
    }
    given = np.concatenate([ratings[key] for key in sorted(ratings)]).astype(float)
    found = probe.accuracies(trials, given)
    assert found["aia_frac"] == 1 / 2
    assert found["mia_frac"] == 1 / 3
    assert found["aia_chance_frac"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert found["mia_chance_frac"] == pytest.approx((1 / 3 + 1 / 3 + 1 / 2) / 3)
    assert (found["aia_options_n"], found["mia_options_n"]) == (2, 3)


def test_an_unrated_rationale_is_no_failure(trials: pd.DataFrame):
    ratings = np.where(trials.is_own, 5.0, 1.0)
    ratings[0] = np.nan  # of p, asked about A
    found = probe.accuracies(trials, ratings)
    assert (found["aia_frac"], found["aia_unrated_n"], found["aia_options_n"]) == (1.0, 1, 1)
    assert (found["mia_frac"], found["mia_unrated_n"]) == (1.0, 0)


def test_a_verifier_that_ignores_the_option_is_no_better_than_chance(trials: pd.DataFrame):
    rated = trials.explanation.map(
        {name: i for i, name in enumerate(sorted(set(TEXTS.explanation)))}
    )
    found = probe.accuracies(trials, rated.to_numpy(float))
    matched = (
        found["aia_frac"] * found["aia_options_n"] + found["mia_frac"] * found["mia_options_n"]
    )
    assert matched == 2  # one option of each question, whichever text it likes best
