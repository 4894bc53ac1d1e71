"""The parts of the page on the gate: may a verifier rank, and what does it know beyond length?"""

from collections.abc import Callable
from typing import Any

import pandas as pd

from schemas.fitness import MEASURES
from stages.pure import fitness
from stages.pure.comparison import ALL
from stages.pure.page import wording
from stages.pure.page.material import Material
from stages.pure.page.means import records
from stages.pure.page.views import Cell, Findings, Missing, Part

VERIFIERS = {"reward": "Verifier (reward)", "judge": "Judge"}
MODEL = "model"  # the predictor that is a verifier; the others are baselines
BASELINES = {
    "question_only": "question only",
    "words": "word count",
    "bag_of_words": "bag of words",
    "mean_predictor": "a constant",
}
ORDER = [MODEL, *BASELINES]
COMPARED = {"spearman": "rank correlation with the ratings", "pair_accuracy": "pairs in order"}
LABELS = {
    "pair_accuracy": "pairs in order",
    "partial_spearman": "Spearman, given the word count",
    "swap_accuracy": "own explanation above another question's",
    "swap_spearman_drop": "Spearman lost by swapped explanations",
}
MINUS = "_minus_"


def of_each(
    material: Material, what: str, build: Callable[[pd.DataFrame, str], Findings | Missing]
) -> tuple[list[Findings], list[Missing]]:
    """What `build` says of the fitness of each verifier, and what it cannot say."""
    said = [
        material.show(f"{what} {title}", [f"fitness_{key}"], lambda table, k=key: build(table, k))
        for key, title in VERIFIERS.items()
    ]
    missing = [part for part in said if isinstance(part, Missing)]
    return [part for part in said if not isinstance(part, Missing)], missing


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """The rows by predictor and measure as the page names them, not as they are sorted on disk."""
    places = {name: i for i, name in enumerate([*ORDER, *MEASURES])}
    return table.sort_values(
        ["predictor", "measure"], key=lambda names: names.map(places), kind="stable"
    )


def gate(material: Material) -> Part:
    """Which verifiers may rank texts, by which limits."""

    def said(table: pd.DataFrame, key: str) -> Findings | Missing:
        return verdict(table, VERIFIERS[key], material.reports[f"check_verifier_{key}"])

    found, missing = of_each(material, "Gate of the", said)
    return Part(
        "Gate",
        ["A limit is met if the whole interval is above it. A verifier that misses one ranks "
         "nothing: the reward is then made of the remaining scorers. The swap test puts another "
         "question's explanation in the place of the own one: a verifier that does not mind has "
         "not compared the text with its question."],
        findings=found,
        tables=missing,
    )  # fmt: skip


def verdict(table: pd.DataFrame, title: str, report: dict[str, Any] | str) -> Findings | Missing:
    """One sentence per limit; whether all are met is what check_verifier said, if it did."""
    limited = records(in_order(table[table.limit.notna()]))
    if not limited:
        return Missing(f"Gate of the {title}", "no measure has a limit")
    is_passed = all(row["is_met"] for row in limited)
    if not isinstance(report, str):
        is_passed = bool(report["metrics"].get("is_fit_n", is_passed))
    said = [limit_sentence(row, *labelled(row)) for row in limited]
    return Findings(f"{title}: {'passed' if is_passed else 'not passed'}", said)


def labelled(row: dict[str, Any]) -> tuple[str, str]:
    """A measure with its group in words, and its unit."""
    label, unit = measure(row["measure"])
    return (label if row["group"] == ALL else f"{label}, {group_name(row['group'])}"), unit


def limit_sentence(row: dict[str, Any], label: str, unit: str) -> tuple[str, str]:
    """What a row with a limit says, and its tone: value, interval, limit, met or not."""
    between = wording.limits(row["low"], row["high"], unit) or "no interval"
    text = f"{wording.title(label)}: {wording.number(row['value'], unit)} ({between}), "
    text += f"limit {wording.number(row['limit'], unit)}: "
    return ("up", f"{text}met.") if row["is_met"] else ("down", f"{text}not met.")


def measure(name: str) -> tuple[str, str]:
    """A measure in words, and its unit."""
    label, unit = wording.measure(name)
    return LABELS.get(name, label), MEASURES.get(name, unit)


def group_name(name: str) -> str:
    """A group of rows or pairs in words: gap_0.5 are pairs at least so many stars apart."""
    stars = name.removeprefix("gap_")
    return wording.named(name) if stars == name else f"{stars} or more stars apart"


def above_baselines(material: Material) -> Part:
    """What a verifier knows beyond each baseline, in sentences."""
    found, missing = of_each(
        material, "Beside the baselines:", lambda table, key: against(table, VERIFIERS[key])
    )
    return Part(
        "Better than counting words?",
        ["A scorer that does not beat the word count on ratings it has not seen adds nothing but "
         "a taste for length; one that does not beat the question alone has not read the "
         "explanation. The baselines learned from the same rows. The reward verifier chooses "
         "pairs; the judge only looks on."],
        findings=found,
        tables=missing,
    )  # fmt: skip


def against(table: pd.DataFrame, title: str) -> Findings | Missing:
    """One sentence per measure and baseline: is the verifier above it?

    Of pairs only those as far apart as the gate's; the others are in the table of differences.
    """
    value = {(r["predictor"], r["measure"], r["group"]): r["value"] for r in records(table)}
    groups = {ALL, *table.group[table.limit.notna()]}
    sentences = []
    shown = table[table.measure.str.contains(MINUS) & table.group.isin(groups)]
    for row in records(in_order(shown)):
        name, _, baseline = row["measure"].partition(MINUS)
        if name not in COMPARED or baseline not in BASELINES:
            continue
        label = COMPARED[name]
        label += "" if row["group"] == ALL else f", {group_name(row['group'])}"
        known = {"low": row["low"], "high": row["high"], "difference": row["value"]}
        known |= {"mean_a": value.get((MODEL, name, row["group"])), "p_value_holm": None}
        known |= {"mean_b": value.get((baseline, name, row["group"])), "role": "heldout"}
        names = (title, BASELINES[baseline])
        said = wording.compared(known, label, MEASURES[name], names, wording.level(fitness.LEVEL))
        sentences.append((wording.verdict(known)[1], said))
    if not sentences:
        return Missing(f"Beside the baselines: {title}", "no difference from a baseline is there")
    return Findings(f"{title} against the baselines", sentences)


def value_cell(row: dict[str, Any], unit: str, n: float, is_signed: bool = False) -> Cell:
    """A value, its interval and count, and why it is null; toned if held against a limit."""
    notes = [wording.limits(row["low"], row["high"], unit, signed=is_signed)]
    notes += [f"n = {wording.number(n, 'n')}"]
    notes += [wording.named(row["reason"])] if isinstance(row.get("reason"), str) else []
    tone = ""
    if not pd.isna(row["is_met"]):
        tone = "up" if row["is_met"] else "down"
    told = wording.change if is_signed else wording.number
    return Cell(told(row["value"], unit), "; ".join(filter(None, notes)), tone)
