"""The part of the page on fitness in numbers: reliability curve, predictors, differences."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from stages.pure.page import figures_rows, wording
from stages.pure.page.fitness import (
    BASELINES,
    MINUS,
    MODEL,
    ORDER,
    VERIFIERS,
    in_order,
    labelled,
    value_cell,
)
from stages.pure.page.material import Material
from stages.pure.page.means import records
from stages.pure.page.training import metrics_table
from stages.pure.page.views import Cell, Figure, Missing, Part, Table


def measured(material: Material) -> Part:
    """Reliability, the numbers of every predictor, and every difference from a baseline."""

    def each(
        build: Callable[[pd.DataFrame, str], Table | Missing], what: str
    ) -> list[Table | Missing]:
        return [
            material.show(f"{what}: {title}", [f"fitness_{key}"], lambda t, w=title: build(t, w))
            for key, title in VERIFIERS.items()
        ]

    reports = {key: material.reports[f"check_verifier_{key}"] for key in VERIFIERS}
    stages = [f"check_verifier_{key}" for key in VERIFIERS]
    return Part(
        "Fitness in numbers",
        figures=[reliability_figure(reports[key], key, VERIFIERS[key]) for key in VERIFIERS],
        tables=each(predictor_table, "Fitness"),
        folded=[
            *each(baseline_table, "Differences from the baselines"),
            metrics_table(material, stages, "All numbers of the check"),
        ],
    )


def predictor_table(table: pd.DataFrame, title: str) -> Table:
    """Measures (and groups, if a measure is of one) by predictor."""
    shown = in_order(table[~table.measure.str.contains(MINUS)])
    names = {MODEL: title} | {p: wording.title(label) for p, label in BASELINES.items()}
    caption = "On rated rows that the predictor did not learn from. Small print is the interval "
    caption += "and the number of rows or pairs of one cluster; coloured numbers have a limit."
    return pivot(shown, "predictor", names, f"Fitness: {title}", caption)


def baseline_table(table: pd.DataFrame, title: str) -> Table | Missing:
    """The same measures, less those of each baseline."""
    shown = in_order(table[table.measure.str.contains(MINUS)])
    if shown.empty:
        return Missing(f"Differences from the baselines: {title}", "no baseline was compared")
    parts = shown.measure.str.partition(MINUS)
    names = {baseline: f"Minus {label}" for baseline, label in BASELINES.items()}
    return pivot(
        shown.assign(measure=parts[0], baseline=parts[2]),
        "baseline",
        names,
        f"Differences from the baselines: {title}",
        "Shares in percent points. An interval above 0 is a gain; of MSE, one below 0.",
    )


def pivot(
    table: pd.DataFrame, across: str, names: Mapping[str, str], title: str, caption: str
) -> Table:
    """Measures and groups, in order of appearance, by the values of the column `across`."""
    columns = [name for name in ORDER if name in set(table[across])]
    rows = []
    for (name, group), part in table.groupby(["measure", "group"], sort=False):
        label, unit = labelled({"measure": name, "group": group})
        signed = across == "baseline"
        cells = {row[across]: value_cell(row, unit, row["n"], signed) for row in records(part)}
        rows.append((wording.title(label), [cells.get(c, Cell(wording.NONE)) for c in columns]))
    return Table(title, caption, ["Measure", *(names[c] for c in columns)], rows)


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
