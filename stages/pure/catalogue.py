"""The metrics of evaluate: what each is called, its unit, and whether it may decide."""

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.errors import InputError


@dataclass(frozen=True)
class Metric:
    """One metric of a finished explanation.

    unit: as in schemas/metrics.py. scorer: the entry of score_candidates.scorers whose
    signal it repeats. role: reward (selects pairs or texts somewhere), heldout (never),
    diagnostic (describes, and is no quality).
    """

    label: str
    unit: str
    role: str
    scorer: str


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
    "words": Metric("words", "words", "diagnostic", "words"),
    "tokens": Metric("tokens", "tokens", "diagnostic", "tokens"),
    "stopped": Metric("ends by itself", "frac", "diagnostic", "stopped"),
    "is_loop": Metric("repeats a 6-gram", "frac", "diagnostic", "is_loop"),
    "has_url": Metric("has a web address", "frac", "diagnostic", "has_url"),
    "is_evasive": Metric("evades the answer", "frac", "diagnostic", "is_evasive"),
    "is_verbose": Metric("long and entails little", "frac", "diagnostic", "entailment"),
}


def roles(scorers: Mapping[str, str]) -> dict[str, str]:
    """The role of each metric, given score_candidates.scorers.

    A metric whose scorer has role `reward` there has it here too, whatever the catalogue
    says. The verifier stays `reward` even when other scorers choose the pairs: ILearner's
    loop stops by it.
    """
    return {
        name: "reward" if scorers.get(metric.scorer) == "reward" else metric.role
        for name, metric in METRICS.items()
    }


def check_headline(headline: list[str], role_of: Mapping[str, str]) -> None:
    """Raise InputError if a headline metric is unknown or helped to build pairs."""
    for name in headline:
        if name not in role_of:
            raise InputError(
                f"params.yaml: evaluate.headline: unknown metric '{name}'. "
                f"Known: {sorted(role_of)}."
            )
        if role_of[name] == "reward":
            raise InputError(
                f"params.yaml: evaluate.headline: '{name}' has role reward, and a scorer that "
                "helped to build pairs cannot be the headline. Take it out of evaluate.headline "
                "or change its role in score_candidates.scorers."
            )


def with_unit(name: str, metric: str) -> str:
    """`name`_`metric` ending in the metric's unit, as schemas/metrics.py wants it."""
    unit = METRICS[metric].unit
    return f"{name}_{metric}" if metric == unit else f"{name}_{metric}_{unit}"
