"""Roles: a signal selects or judges, never both, and a reward moves what it reads."""

import pytest

from schemas.errors import InputError
from stages.pure import catalogue
from stages.pure.catalogue import METRICS, check_roles, headline_of, rewarding, roles
from stages.scorers import registry

DECLARED = {"verifier": "reward", "judge": "heldout", "entailment": "heldout"}
DECLARED |= {"entailment_upstream": "heldout", "acr": "heldout", "words": "diagnostic"}


def test_a_reward_that_reads_a_held_out_scorer_moves_its_whole_family():
    before, after = roles(DECLARED, ()), roles(DECLARED, ["entailment_upstream"])
    moved = {name for name in METRICS if before[name] != after[name]}
    assert moved == {name for name in METRICS if METRICS[name].family == "entailment"}
    assert {after[name] for name in moved} == {"reward"}
    assert {"entailment", "entailment_margin", "is_verbose"} <= moved


def test_the_verifier_selects_even_where_other_scorers_choose_the_pairs():
    assert rewarding({"judge": "heldout"}, ["acr"]) == {"verifier", "acr"}


def test_what_the_reward_moved_is_not_in_the_headline():
    headline = ["oracle", "acr", "entailment", "judge", "words"]
    assert headline_of(headline, DECLARED, ["verifier"]) == (headline, [])
    kept, moved = headline_of(headline, DECLARED, ["entailment_upstream", "acr_upstream"])
    assert (kept, moved) == (["oracle", "judge", "words"], ["acr", "entailment"])


def test_a_declared_reward_in_the_headline_is_refused():
    with pytest.raises(InputError, match=r"'judge' has role reward"):
        headline_of(["oracle", "judge"], DECLARED | {"judge": "reward"}, ["verifier"])
    with pytest.raises(InputError, match=r"unknown metric 'juge'. Did you mean 'judge'\?"):
        headline_of(["juge"], DECLARED, ["verifier"])
    with pytest.raises(InputError, match=r"reads each of \['entailment'\]"):
        headline_of(["entailment"], DECLARED, ["entailment_upstream"])


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"verifer": "reward"}, r"unknown 'verifer'.*Did you mean 'verifier'\?"),
        ({"verifier": "rewards"}, r"unknown 'rewards'.*Did you mean 'reward'\?"),
        ({"is_loop": "reward"}, r"'is_loop' is 1 for a bad text"),
        (
            {"entailment": "heldout", "entailment_upstream": "reward"},
            r"'entailment_upstream' has role reward and 'entailment' has heldout.*one signal",
        ),
    ],
)
def test_a_scorer_in_both_roles_or_in_none_is_refused(declared: dict, message: str):
    with pytest.raises(InputError, match=message):
        check_roles(declared, registry.SCORERS)


def test_every_scorer_is_in_the_catalogue_and_families_agree_with_files():
    assert set(registry.SCORERS) <= set(METRICS)
    for family in registry.FAMILIES:
        if family.MODELS:
            name = family.__name__.rpartition(".")[2]
            assert {METRICS[scorer].family for scorer in family.SCORERS} == {name}
    assert set(catalogue.FLAGS) <= set(METRICS)
