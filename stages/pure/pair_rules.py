"""The rule by which scored texts become pairs: parameters, gate and gap, in one place."""

from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

from schemas.errors import InputError, nearest
from stages.pure import fitness, pairing, rewards
from stages.pure.catalogue import FLAGS
from stages.pure.pairing import Rule
from stages.pure.rewards import Reward
from stages.pure.scored import scoring


@dataclass(frozen=True)
class Settings:
    """params.yaml: build_preferences. Units and sources are commented there."""

    reward: str
    strategy: str
    min_score_gap: float | None
    min_gap_errors: float
    pairs_per_question: int
    negatives_per_question: int
    max_words_ratio: float
    max_pairs: int | None
    refuse_chosen: list[str]
    length_control: float


@dataclass(frozen=True)
class Paired:
    """What a rule made of the scored texts."""

    texts: pd.DataFrame  # pairing.rewarded_texts, length taken off
    pairs: pd.DataFrame  # Preferences
    picked: pd.DataFrame  # the pairs before the draw of max_pairs
    rule: Rule
    length_slope: float  # reward per word, before it was taken off


def check(settings: Settings, asked: Collection[str]) -> None:
    """Raise InputError for parameters that cannot be meant. asked: the scorers of the scores."""
    bounds = {"min_score_gap": 0, "min_gap_errors": 0, "pairs_per_question": 0}
    bounds |= {"negatives_per_question": 0, "max_words_ratio": 1, "max_pairs": 1}
    for name, least in bounds.items():
        value = getattr(settings, name)
        if value is not None and value < least:
            raise InputError(
                f"build_preferences.{name}: {value} in params.yaml. Give {least} or more."
            )
    for flag in settings.refuse_chosen:
        if flag not in FLAGS or flag not in asked:
            hint = nearest(flag, [name for name in FLAGS if name in asked])
            raise InputError(
                f"build_preferences.refuse_chosen: '{flag}' in params.yaml is no flag that "
                f"score_candidates.scorers asks for. {hint}"
            )
    if settings.strategy not in pairing.STRATEGIES:
        hint = nearest(settings.strategy, pairing.STRATEGIES)
        raise InputError(
            f"build_preferences.strategy: unknown '{settings.strategy}' in params.yaml. {hint}"
        )


def usable(reward: Reward, checks: pd.DataFrame) -> tuple[Reward, str]:
    """The reward that may rank, and what was left out of it and why ("" if nothing was).

    checks: Fitness of the reward verifier. Raises InputError if nothing remains.
    """
    if "verifier" not in reward.scorers or fitness.passed(checks):
        return reward, ""
    why = f"verifier left out of the reward: {fitness.verdict(checks)}"
    try:
        return rewards.without(reward, "verifier"), why
    except InputError as error:
        raise InputError(f"{why}. {error}") from error


def widest(settings: Settings, reward: Reward, checks: pd.DataFrame) -> float:
    """The gap that a pair must have: in the reward's unit, and in standard errors of a score.

    The difference of two scores has sqrt(2) times the error of one. Raises InputError where
    the reward's error is not known.
    """
    gap = reward.min_gap if settings.min_score_gap is None else settings.min_score_gap
    if settings.min_gap_errors == 0:
        return gap
    error = fitness.score_error(checks)
    if reward.scorers != ["verifier"] or not error > 0:
        raise InputError(
            f"build_preferences.min_gap_errors: {settings.min_gap_errors} in params.yaml, but a "
            f"standard error is known for the verifier alone, not for {reward.scorers}. "
            "Set it to 0."
        )
    return max(gap, settings.min_gap_errors * 2**0.5 * error)


def pair(
    settings: Settings,
    reward: Reward,
    checks: pd.DataFrame,
    tables: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame],
) -> Paired:
    """tables: Questions, Candidates, Negatives, Scores. Raises InputError if there is no pair."""
    questions, candidates, negatives, scores = tables
    scoring.check_nulls(scores, reward.scorers)
    refused = pairing.flagged(scores, settings.refuse_chosen)
    valued = rewards.rewards(scores, reward)
    texts = pairing.rewarded_texts(questions, candidates, negatives, valued, refused)
    slope = pairing.length_slope(texts)
    texts = pairing.control_length(texts, settings.length_control)
    rule = Rule(
        settings.strategy,
        widest(settings, reward, checks),
        settings.pairs_per_question,
        settings.negatives_per_question,
        settings.max_words_ratio,
        settings.max_pairs,
    )
    pairs, picked = pairing.pair_texts(texts, rule)
    return Paired(texts, pairs, picked, rule, slope)
