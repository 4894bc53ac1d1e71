"""Which adapter answers, beside PEFT's own way of naming it."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from stages.runtime import classifiers
from stages.runtime.loading import checkpoints
from stages.runtime.loading.adapters import activate
from tests.tiny_models import MODEL

pytest_plugins = ["tests.tiny_fixtures"]

HALVES = Path("models/verifier_reward")
NAMES = ("default", "verifier_0", "verifier_1")


@pytest.fixture
def policy(checkout: Path) -> Any:
    """A generator with both halves of a verifier on its base."""
    policy = checkpoints.load_policy(MODEL, Path("models/sft"))
    classifiers.load_folds(HALVES, onto=policy)
    return policy


def state(policy: Any) -> dict[str, Any]:
    """All that naming an adapter changes."""
    flags: dict[str, Any] = {name: w.requires_grad for name, w in policy.named_parameters()}
    modules = policy.named_modules()
    flags |= {f"{n}.active": list(m.active_adapters) for n, m in modules if hasattr(m, "merged")}
    flags["head"] = list(policy.base_model.model.score.active_adapters)
    return flags | {"active": (policy.active_adapter, policy.base_model.active_adapter)}


def test_an_adapter_is_active_as_after_pefts_set_adapter(policy: Any):
    for before, name in itertools.permutations(NAMES, 2):
        found = []
        for switch in (activate, lambda policy, name: policy.set_adapter(name)):
            policy.set_adapter(before)  # what it leaves of a score head's flags depends on it
            switch(policy, name)
            found.append(state(policy))
            policy.set_adapter(before)
            assert state(policy) != found[-1]
        assert found[0] == found[1]


def test_an_adapter_that_comes_later_is_seen_with_its_score_head(checkout: Path):
    policy = checkpoints.load_policy(MODEL, Path("models/sft"))
    activate(policy, "default")
    classifiers.load_folds(HALVES, onto=policy)
    policy.set_adapter("verifier_1")
    wanted = state(policy)
    activate(policy, "default")
    activate(policy, "verifier_1")
    assert state(policy) == wanted


def test_an_unknown_adapter_and_a_merged_one_are_refused(policy: Any):
    with pytest.raises(ValueError, match="no adapter 'verifier_2'"):
        activate(policy, "verifier_2")
    activate(policy, "default")
    policy.merge_adapter()
    with pytest.raises(RuntimeError, match="merged"):
        activate(policy, "verifier_0")
