"""The part of the page on training seeds: does the difference come out each time?"""

from typing import Any

import pandas as pd

from stages.pure.catalogue import METRICS
from stages.pure.comparison import ALL
from stages.pure.page import figures, wording
from stages.pure.page.differences import rows_of
from stages.pure.page.material import Material
from stages.pure.page.means import AXES, heading, records
from stages.pure.page.views import Cell, Figure, Missing, Part, Table

A, B = "dpo", "sft"
TITLE = "Each training by itself"


def seeds(material: Material) -> Part:
    """DPO minus SFT of each training, beside the mean of all."""
    names = material.headline

    def build(one: pd.DataFrame, comparisons: pd.DataFrame) -> Part:
        return Part(
            TITLE,
            [
                "A seed is one whole training: SFT, its samples, the pairs made of them, and DPO. "
                "A difference that hangs on one lucky seed is none."
            ],
            figures=seed_figures(one, comparisons, names),
            tables=[seed_table(one, comparisons, names)],
        )

    what = "Differences of each training"
    found: Part | Missing = material.show(what, ["seed_comparisons", "comparisons"], build)
    return Part(TITLE, tables=[found]) if isinstance(found, Missing) else found


def of_headline(table: pd.DataFrame, metric: str) -> list[dict[str, Any]]:
    """The rows of one metric, sampled, DPO minus SFT, by seed."""
    wanted = (table.policy_a == A) & (table.policy_b == B) & (table.decoding == "sampled")
    return records(table[wanted & (table.metric == metric)].sort_values("training_seed"))


def overall(comparisons: pd.DataFrame, metric: str) -> dict[Any, Any]:
    """The row of Comparisons over all courses, empty if there is none."""
    found = rows_of(comparisons, A, B, "sampled", ALL, [metric])
    return found[0] if found else {}


def seed_figures(
    one: pd.DataFrame, comparisons: pd.DataFrame, metrics: list[str]
) -> list[Figure | Missing]:
    """One picture per metric: a dot with its interval per seed, and one for all."""
    drawn: list[Figure | Missing] = []
    for metric in metrics:
        known = [r for r in of_headline(one, metric) if not wording.is_missing(r["difference"])]
        if not known:
            drawn.append(Missing(f"{heading(metric)} by training", "no training has a value"))
            continue
        unit = METRICS[metric].unit
        factor = 100 if unit == "frac" else 1
        places = {f"seed {row['training_seed']:.0f}": row for row in known}
        mean = overall(comparisons, metric)
        if not wording.is_missing(mean.get("difference")):
            places["all seeds"] = mean
        values = [
            (factor * row["difference"], *(factor * limit(row, s) for s in ("low", "high")))
            for row in places.values()
        ]
        axis = "percent points" if unit == "frac" else AXES.get(unit, unit)
        name = f"seeds-{metric.replace('_', '-')}"
        svg = figures.dots(name, [*places], {"difference": values}, axis, has_zero=True)
        told = ", ".join(
            f"{place} {wording.change(row['difference'], unit)}" for place, row in places.items()
        )
        drawn.append(Figure(f"{heading(metric)}, DPO minus SFT", f"By training: {told}.", svg))
    return drawn


def limit(row: dict[Any, Any], side: str) -> float:
    """A limit as a float, NaN if it is missing."""
    value = row[side]
    return float("nan") if wording.is_missing(value) else float(value)


def seed_table(one: pd.DataFrame, comparisons: pd.DataFrame, metrics: list[str]) -> Table | Missing:
    """Headline metrics by seed, with the mean and the spread over seeds."""
    by_metric = {metric: of_headline(one, metric) for metric in metrics}
    numbers = sorted({row["training_seed"] for found in by_metric.values() for row in found})
    if not numbers:
        return Missing("DPO minus SFT by training", "no training compares DPO with SFT")
    rows = []
    for metric, found in by_metric.items():
        by_seed = {row["training_seed"]: row for row in found}
        mean = overall(comparisons, metric)
        spread = wording.number(mean.get("seed_sd"), METRICS[metric].unit).replace("\u00a0%", "")
        shown = [cell(by_seed.get(seed), metric) for seed in numbers]
        rows.append((heading(metric), [*shown, cell(mean, metric), Cell(spread)]))
    caption = "Sampled, paired over questions. Shares in percent points. Limits of a seed are over "
    caption += "questions; those of the mean are over questions and trainings. The last column is "
    caption += "the standard deviation between seeds."
    head = ["Metric", *(f"Seed {seed:.0f}" for seed in numbers), "All seeds", "SD"]
    return Table("DPO minus SFT by training", caption, head, rows)


def cell(row: dict[Any, Any] | None, metric: str) -> Cell:
    """A difference with its limits."""
    if not row:
        return Cell(wording.NONE)
    unit = METRICS[metric].unit
    note = wording.limits(row["low"], row["high"], unit, signed=True)
    return Cell(wording.change(row["difference"], unit), note)
