"""A reward is a formula: the published ones by hand, and what may not be added up."""

from typing import Any

import pandas as pd
import pytest
import yaml

from schemas.errors import InputError
from schemas.scores import Scores
from stages.pure import rewards
from stages.pure.rewards import Reward, formula, reward_named, without
from tests import invented
from tests.imports import ROOT

PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
PRESETS, ASKED = PARAMS["rewards"], PARAMS["score_candidates"]["scorers"]


def scores(**values: float | None) -> pd.DataFrame:
    """Scores of one text."""
    rows = [
        ("q", 0, scorer, "heldout", value, "too_long" if value is None else None)
        for scorer, value in values.items()
    ]
    return invented.table(Scores, rows)


def value(name: str, **given: float | None) -> float:
    reward = reward_named(name, PRESETS, ASKED)
    return float(rewards.rewards(scores(**given), reward).reward[0])


def test_the_published_rewards_by_hand():
    assert value("verifier", verifier=3.5) == 3.5
    assert value("nli", entailment_upstream=0.4) == 0.4
    # .5 * .4 + .5 * (3 - 1) / 4
    assert value("h_a", entailment_upstream=0.4, verifier=3.0) == pytest.approx(0.45)
    # .7 * .5 * .3 * (5 - 1) / 4 - .002 * 200 / 100
    given = {"entailment_upstream": 0.5, "verifier": 5.0, "words": 200.0}
    assert value("h_m", **given, acr_upstream=0.5) == pytest.approx(0.105 - 0.004)
    assert value("h_m", **given, acr_upstream=0.49) == 0.0


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_names_scorers_that_are_asked_and_reads_like_a_formula(name: str):
    reward = reward_named(name, PRESETS, ASKED)
    assert reward.scorers
    assert reward.min_gap > 0
    assert all(scorer in formula(reward) for scorer in reward.scorers)


@pytest.mark.parametrize("missing", ["entailment_upstream", "verifier", "words", "acr_upstream"])
def test_a_text_that_one_scorer_did_not_score_has_no_reward(missing: str):
    # the rest of the formula is another formula; a limit on nothing is not passed
    given = {"entailment_upstream": 0.5, "verifier": 5.0, "words": 20.0, "acr_upstream": 1.0}
    assert pd.isna(value("h_m", **given | {missing: None}))


def test_other_scorers_do_not_matter():
    given = {"entailment_upstream": 0.4, "verifier": 3.0}
    assert value("h_a", **given, judge=1.0, acr=None) == value("h_a", **given)


def test_an_unscored_scorer_of_the_reward_is_named():
    with pytest.raises(InputError, match=r"no scores of 'verifier'.*score_candidates\.scorers"):
        value("h_a", entailment_upstream=0.4)


def test_without_the_verifier_the_rest_of_the_reward_remains_or_nothing_does():
    hybrid = without(reward_named("h_a", PRESETS, ASKED), "verifier")
    assert hybrid.sum == {"entailment_upstream": 0.5}
    assert without(reward_named("h_m", PRESETS, ASKED), "verifier").product == {
        "entailment_upstream": 0.7
    }
    with pytest.raises(InputError, match="no other scorer is left"):
        without(reward_named("verifier", PRESETS, ASKED), "verifier")
    with pytest.raises(InputError, match="no other scorer is left"):  # a penalty is no reward
        without(Reward("stars", 0.1, {"verifier": 1.0, "words": -0.1}, {}, {}), "verifier")


def entry(**changes: Any) -> dict[str, Any]:
    whole = {"unit": "stars", "min_gap": 0.3, "sum": {"verifier": 1.0}, "product": {}}
    return {"mine": whole | {"at_least": {}} | changes}


@pytest.mark.parametrize(
    ("given", "name", "message"),
    [
        (entry(), "mime", r"unknown reward 'mime'. Did you mean 'mine'\?"),
        (entry(unit="star"), "mine", r"rewards\.mine\.unit: 'star'"),
        (entry(sum={"verifer": 1}), "mine", r"unknown scorer 'verifer'. Did you mean 'verifier'\?"),
        (entry(sum={"verifier": 1, "acr": 1}), "mine", r"'acr' is in frac.*stars"),
        (entry(sum={}), "mine", r"no scorer in sum or product"),
        ({"mine": {"unit": "stars"}}, "mine", r"expected the keys"),
        ({"mine": None}, "mine", r"expected the keys"),
    ],
)
def test_a_reward_that_cannot_be_meant_is_refused(given: dict, name: str, message: str):
    with pytest.raises(InputError, match=message):
        reward_named(name, given, ASKED)


def test_formulas_read_like_formulas():
    named = {name: formula(reward_named(name, PRESETS, ASKED)) for name in PRESETS}
    assert named["verifier"] == "verifier"
    assert named["h_a"] == "0.5 entailment_upstream + 0.5 (verifier - 1) / 4"
    assert named["h_m"] == (
        "0.7 entailment_upstream × 0.3 (verifier - 1) / 4 + -2e-05 words, if acr_upstream >= 0.5"
    )
