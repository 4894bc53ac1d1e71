"""The parts of the page on fitness: does a verifier pass its gate, and what does it look at?"""

from collections.abc import Callable
from typing import Any

import pandas as pd

from schemas.fitness import MEASURES
from stages.pure import figures_rows, fitness, wording
from stages.pure.comparison import ALL
from stages.pure.material import Material
from stages.pure.page_means import records
from stages.pure.page_training import metrics_table
from stages.pure.views import Cell, Figure, Findings, Missing, Part, Table

VERIFIERS = {"reward": "Verifier (reward)", "judge": "Judge"}
MODEL = "model"  # the predictor that is a verifier; the others are baselines
BASELINES = {
    "question_only": "question only",
    "words": "word count",
    "bag_of_words": "bag of words",
}
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
    limited = records(table[table.limit.notna()])
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
    """One sentence per measure and baseline: is the verifier above it?"""
    confidence = wording.level(fitness.LEVEL)
    value = {(r["predictor"], r["measure"], r["group"]): r["value"] for r in records(table)}
    sentences = []
    for row in records(table[(table.predictor == MODEL) & table.measure.str.contains(MINUS)]):
        name, _, baseline = row["measure"].partition(MINUS)
        if name not in COMPARED or baseline not in BASELINES:
            continue
        label = COMPARED[name]
        label += "" if row["group"] == ALL else f", {group_name(row['group'])}"
        compared = {
            "mean_a": value.get((MODEL, name, row["group"])),
            "mean_b": value.get((baseline, name, row["group"])),
            "difference": row["value"],
            "low": row["low"],
            "high": row["high"],
            "p_value_holm": None,
            "role": "heldout",
        }
        names = (title, BASELINES[baseline])
        said = wording.compared(compared, label, MEASURES[name], names, confidence)
        sentences.append((wording.verdict(compared)[1], said))
    if not sentences:
        return Missing(f"Beside the baselines: {title}", "no difference from a baseline is there")
    return Findings(f"{title} against the baselines", sentences)


def measured(material: Material) -> Part:
    """Reliability, and the numbers of every predictor."""
    tables: list[Table | Missing] = []
    for key, title in VERIFIERS.items():
        found = material.show(
            f"Fitness: {title}", [f"fitness_{key}"], lambda t, w=title: predictor_table(t, w)
        )
        tables.append(found)
    reports = {key: material.reports[f"check_verifier_{key}"] for key in VERIFIERS}
    return Part(
        "Fitness in numbers",
        figures=[reliability_figure(reports[key], key, VERIFIERS[key]) for key in VERIFIERS],
        tables=tables,
        folded=[metrics_table(material, [f"check_verifier_{k}" for k in VERIFIERS],
                              "All numbers of the check")],
    )  # fmt: skip


def predictor_table(table: pd.DataFrame, title: str) -> Table:
    """Measures (and groups, if a measure is of one) by predictor, in order of appearance."""
    shown = table[~table.measure.str.contains(MINUS)]
    predictors = list(dict.fromkeys(shown.predictor))
    rows = []
    for (name, group), part in shown.groupby(["measure", "group"], sort=False):
        label, unit = labelled({"measure": name, "group": group})
        cells = {row["predictor"]: value_cell(row, unit, row["n"]) for row in records(part)}
        rows.append((wording.title(label), [cells.get(p, Cell(wording.NONE)) for p in predictors]))
    names = [title if p == MODEL else wording.title(BASELINES.get(p, p)) for p in predictors]
    caption = "On rated rows that the predictor did not learn from. Small print is the interval "
    caption += "and the number of rows or pairs of one cluster; coloured numbers have a limit."
    return Table(f"Fitness: {title}", caption, ["Measure", *names], rows)


def value_cell(row: dict[str, Any], unit: str, n: float) -> Cell:
    """A value with its interval and count; toned where it was held against a limit."""
    notes = [wording.limits(row["low"], row["high"], unit)]
    notes += [f"n = {wording.number(n, 'n')}"]
    tone = ""
    if not pd.isna(row["is_met"]):
        tone = "up" if row["is_met"] else "down"
    return Cell(wording.number(row["value"], unit), "; ".join(filter(None, notes)), tone)


def reliability_figure(report: dict[str, Any] | str, key: str, title: str) -> Figure | Missing:
    """Rated against predicted stars in bins, with the expected calibration error (ECE)."""
    caption = f"Reliability: {title}"
    if isinstance(report, str):
        return Missing(caption, report)
    bins = [row for row in report.get("details", {}).get("reliability", []) if row["rows_n"]]
    if not bins:
        return Missing(caption, f"reports/check_verifier_{key}.json has no details.reliability")
    predicted, rated, n = (
        [row[name] for row in bins] for name in ("predicted_stars", "rating_stars", "rows_n")
    )
    error = sum(c * abs(p - r) for p, r, c in zip(predicted, rated, n, strict=True)) / sum(n)
    told = f"Expected calibration error (ECE) {error:.2f} stars over {len(bins)} bins of "
    told += f"{wording.number(sum(n), 'n')} rows. Predicted {predicted[0]:.2f} is rated "
    told += f"{rated[0]:.2f}; predicted {predicted[-1]:.2f} is rated {rated[-1]:.2f}. "
    told += "The dotted line is perfect."
    svg = figures_rows.reliability(f"reliability-{key}", predicted, rated, n)
    return Figure(caption, told, svg)
