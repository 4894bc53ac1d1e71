"""A reward is a named formula over scorers (params.yaml: rewards). Scores -> one number per text.

    reward = ( sum of weight * score + product of (weight * score) ) * 1[score >= limit for all]

In the unit `stars` scores are as they are; in the unit `frac` a score in stars enters as
(stars - 1) / 4, prior code's scale. A text that one of the scorers could not score has no
reward. The published rewards are presets; their sources stand in params.yaml.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from schemas.errors import InputError, nearest
from stages.pure.catalogue import METRICS

KEY = ["question_id", "candidate_index"]
UNITS = ("stars", "frac")
SECTION = "params.yaml: rewards"


@dataclass(frozen=True)
class Reward:
    """One entry of params.yaml: rewards. Names are scorers of score_candidates."""

    unit: str  # stars | frac
    min_gap: float  # in that unit, where build_preferences.min_score_gap is null
    sum: dict[str, float]  # scorer -> weight; of `words`: per word
    product: dict[str, float]
    at_least: dict[str, float]  # scorer -> limit in the scorer's own unit; below it the reward is 0

    @property
    def scorers(self) -> list[str]:
        """The scorers that it reads, sorted."""
        return sorted({*self.sum, *self.product, *self.at_least})


def reward_named(name: str, given: Mapping[str, Any], known: Collection[str]) -> Reward:
    """The reward `name` of the section `given`; known: the scorers that are asked.

    Raises InputError for an unknown name, key, unit or scorer, and for an empty formula.
    """
    if name not in given:
        hint = nearest(name, given)
        raise InputError(f"params.yaml: build_preferences.reward: unknown reward '{name}'. {hint}")
    values = given[name]
    names = ["unit", "min_gap", "sum", "product", "at_least"]
    if not isinstance(values, Mapping) or sorted(values) != sorted(names):
        raise InputError(f"{SECTION}.{name}: expected the keys {names}, got {values!r}.")
    if values["unit"] not in UNITS:
        raise InputError(f"{SECTION}.{name}.unit: '{values['unit']}'. Use one of {UNITS}.")
    parts = {part: dict(values[part] or {}) for part in names[2:]}
    reward = Reward(values["unit"], float(values["min_gap"]), **parts)
    for scorer in reward.scorers:
        if scorer not in known:
            hint = nearest(scorer, known)
            raise InputError(f"{SECTION}.{name}: unknown scorer '{scorer}'. {hint}")
    for scorer in {*reward.sum, *reward.product} - {"words"}:
        if reward.unit == "stars" and METRICS[scorer].unit != "stars":
            raise InputError(
                f"{SECTION}.{name}: '{scorer}' is in {METRICS[scorer].unit}, which does not add up "
                "with stars. Use the unit frac, where stars become (stars - 1) / 4."
            )
    if not reward.sum and not reward.product:
        raise InputError(f"{SECTION}.{name}: no scorer in sum or product. Name one.")
    return reward


def without(reward: Reward, scorer: str) -> Reward:
    """`reward` without one scorer that must not rank. Raises InputError if nothing ranks then.

    A length penalty alone is no reward.
    """
    left: dict[str, Any] = {
        part: {name: value for name, value in getattr(reward, part).items() if name != scorer}
        for part in ("sum", "product", "at_least")
    }
    if not {*left["sum"], *left["product"]} - {"words"}:
        raise InputError(
            f"build_preferences.reward in params.yaml: '{scorer}' may not rank explanations, and "
            "no other scorer is left in the reward. Use another reward or mend the scorer."
        )
    return replace(reward, **left)


def formula(reward: Reward) -> str:
    """The reward in words, e.g. "0.5 entailment + 0.5 verifier, if acr >= 0.5"."""

    def term(scorer: str, weight: float) -> str:
        scaled = reward.unit == "frac" and METRICS[scorer].unit == "stars"
        name = f"({scorer} - 1) / 4" if scaled else scorer
        return name if weight == 1 else f"{weight:g} {name}"

    product = " × ".join(term(*part) for part in reward.product.items())
    terms = [product] if product else []
    text = " + ".join(terms + [term(*part) for part in reward.sum.items()])
    limits = " and ".join(f"{name} >= {limit:g}" for name, limit in reward.at_least.items())
    return f"{text}, if {limits}" if limits else text


def rewards(scores: pd.DataFrame, reward: Reward) -> pd.DataFrame:
    """Scores -> question_id, candidate_index, reward (in the reward's unit, NaN if unscored).

    Raises InputError if a scorer of the reward is not in the table.
    """
    used = scores[scores.scorer.isin(reward.scorers)]
    if absent := sorted({*reward.scorers} - {*used.scorer}):
        raise InputError(
            f"data/scores.parquet has no scores of '{absent[0]}', which the reward reads. "
            "Name it in params.yaml: score_candidates.scorers."
        )
    wide = used.pivot(index=KEY, columns="scorer", values="value")
    scaled = wide.copy()
    for scorer in wide.columns if reward.unit == "frac" else []:
        if METRICS[scorer].unit == "stars":
            scaled[scorer] = (wide[scorer] - 1) / 4
    total = pd.Series(0.0, index=wide.index)
    for scorer, weight in reward.sum.items():
        total = total + weight * scaled[scorer]
    if reward.product:
        product = pd.Series(1.0, index=wide.index)
        for scorer, weight in reward.product.items():
            product = product * weight * scaled[scorer]
        total = total + product
    for scorer, limit in reward.at_least.items():
        total = total.where(wide[scorer] >= limit, 0.0)
    is_known = wide[reward.scorers].notna().all(axis=1)  # a limit on nothing is not passed
    return total.where(is_known).rename("reward").reset_index()
