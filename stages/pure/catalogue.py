"""The metrics of evaluate and the scorers of candidates: name, unit, and who may decide."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from schemas.errors import InputError, nearest
from schemas.scores import ROLES

SECTION = "params.yaml: score_candidates.scorers"


@dataclass(frozen=True)
class Metric:
    """One metric of a finished explanation.

    unit: as in schemas/metrics.py. role: reward (selects pairs or texts somewhere), heldout
    (never), diagnostic (describes, and is no quality). family: the model or rule whose signal
    it repeats; a family has one role.
    """

    label: str
    unit: str
    role: str
    family: str


METRICS = {
    "oracle": Metric("correct by the oracle", "frac", "heldout", "oracle"),
    "oracle_names_key": Metric("names the key", "frac", "diagnostic", "oracle"),
    "oracle_has_mechanism": Metric("gives the mechanism", "frac", "diagnostic", "oracle"),
    "oracle_has_other_mechanism": Metric("gives another fact's", "frac", "diagnostic", "oracle"),
    "oracle_endorses_distractor": Metric("endorses a distractor", "frac", "diagnostic", "oracle"),
    "acr": Metric("answer coverage", "frac", "heldout", "acr"),
    "acr_upstream": Metric("answer coverage, upstream's", "frac", "heldout", "acr"),
    "entailment": Metric("entails the answer", "frac", "heldout", "entailment"),
    "entailment_upstream": Metric("entails the bare option", "frac", "heldout", "entailment"),
    "entailment_margin": Metric("key over best distractor", "score", "heldout", "entailment"),
    "judge": Metric("judge", "stars", "heldout", "judge"),
    "verifier": Metric("verifier", "stars", "reward", "verifier"),
    "bleu": Metric("BLEU", "score", "heldout", "bleu"),
    "bleu_upstream": Metric("BLEU, upstream's", "score", "heldout", "bleu"),
    "bleu_characters_legacy": Metric("character BLEU, legacy", "score", "heldout", "bleu"),
    "bertscore_student": Metric("BERTScore, students", "score", "heldout", "bertscore_student"),
    "bertscore_answer": Metric("BERTScore, answer", "score", "heldout", "bertscore_answer"),
    "recoverability": Metric("key recovered", "frac", "heldout", "recoverability"),
    "utility": Metric("student utility", "score", "heldout", "utility"),
    "utility_unmasked": Metric("student utility, key named", "score", "heldout", "utility"),
    "words": Metric("words", "words", "diagnostic", "words"),
    "tokens": Metric("tokens", "tokens", "diagnostic", "tokens"),
    "stopped": Metric("ends by itself", "frac", "diagnostic", "stopped"),
    "is_loop": Metric("repeats a 6-gram", "frac", "diagnostic", "is_loop"),
    "has_url": Metric("has a web address", "frac", "diagnostic", "has_url"),
    "is_evasive": Metric("evades the answer", "frac", "diagnostic", "acr"),
    "restates_answer": Metric("only restates the answer", "frac", "diagnostic", "restates_answer"),
    "echoes_prompt": Metric("echoes the prompt", "frac", "diagnostic", "echoes_prompt"),
    "is_truncated": Metric("breaks off", "frac", "diagnostic", "is_truncated"),
    "endorses_distractor": Metric("calls a distractor right", "frac", "diagnostic", "endorses"),
    "is_verbose": Metric("long and entails little", "frac", "diagnostic", "entailment"),
}


FLAGS = [name for name in METRICS if name.startswith(("is_", "has_", "echoes_", "restates_"))]
FLAGS += ["endorses_distractor"]  # 1 is a bad text


def check_roles(declared: Mapping[str, str], known: Collection[str]) -> None:
    """Raise InputError for an unknown scorer or role, a flag as reward, one model in two roles.

    declared: scorer -> role (score_candidates.scorers). known: the scorers that there are.
    """
    if not declared:
        raise InputError(f"{SECTION}: no scorer. Name one, e.g. verifier: reward.")
    role_of_family: dict[str, tuple[str, str]] = {}
    for scorer, role in declared.items():
        for word, words in ((scorer, known), (role, ROLES)):
            if word not in words:
                hint = nearest(word, words)
                raise InputError(f"{SECTION}: unknown '{word}' in '{scorer}: {role}'. {hint}")
        if role == "reward" and scorer in FLAGS:
            raise InputError(f"{SECTION}: '{scorer}' is 1 for a bad text. Make it diagnostic.")
        if role == "diagnostic":
            continue
        family = METRICS[scorer].family
        other, its_role = role_of_family.setdefault(family, (scorer, role))
        if role != its_role:
            raise InputError(
                f"{SECTION}: '{scorer}' has role {role} and '{other}' has {its_role}, but both are "
                f"of the family '{family}': one signal cannot be both. Give them one role."
            )


def rewarding(declared: Mapping[str, str], in_reward: Collection[str]) -> set[str]:
    """The families whose signal selects texts: declared so, or read by the reward.

    The verifier is one even when other scorers choose the pairs: ILearner's loop stops by it.
    """
    named = [scorer for scorer, role in declared.items() if role == "reward"]
    return {"verifier"} | {METRICS[scorer].family for scorer in [*named, *in_reward]}


def roles(declared: Mapping[str, str], in_reward: Collection[str]) -> dict[str, str]:
    """The role of each metric: `reward` for a rewarding family, else as the catalogue says.

    A reward that uses a held-out scorer thereby moves it, and its whole family.
    """
    families = rewarding(declared, in_reward)
    return {
        name: "reward" if metric.family in families else metric.role
        for name, metric in METRICS.items()
    }


def headline_of(
    headline: list[str], declared: Mapping[str, str], in_reward: Collection[str]
) -> tuple[list[str], list[str]]:
    """The headline metrics that may stand there, and those that the reward has moved away.

    Raises InputError for an unknown metric, and for one that params.yaml itself declares to be
    a reward: a scorer that helped to build pairs rises by construction.
    """
    before, after = roles(declared, ()), roles(declared, in_reward)
    for name in headline:
        if name not in METRICS:
            raise InputError(
                f"params.yaml: evaluate.headline: unknown metric '{name}'. {nearest(name, METRICS)}"
            )
        if before[name] == "reward":
            raise InputError(
                f"params.yaml: evaluate.headline: '{name}' has role reward, and a scorer that "
                "helped to build pairs cannot be the headline. Take it out of evaluate.headline "
                "or change its role in score_candidates.scorers."
            )
    kept = [name for name in headline if after[name] != "reward"]
    if not kept:
        raise InputError(
            f"params.yaml: evaluate.headline: the reward reads each of {headline}. "
            "Name a held-out metric."
        )
    return kept, [name for name in headline if name not in kept]


def with_unit(name: str, metric: str) -> str:
    """`name`_`metric` ending in the metric's unit, as schemas/metrics.py wants it."""
    unit = METRICS[metric].unit
    return f"{name}_{metric}" if metric == unit else f"{name}_{metric}_{unit}"
