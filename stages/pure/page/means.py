"""The mean of each policy as a table, and as one small picture per metric."""

from typing import Any

import pandas as pd

from stages.pure.catalogue import METRICS
from stages.pure.comparison import ALL
from stages.pure.page import figures, wording
from stages.pure.page.views import Cell, Figure, Missing, Table

NAN = float("nan")
ORDER = ["student", "sft", "ilearner", "dpo", "api"]
AXES = {"frac": "percent of questions", "score": "score, 0 to 1"}


def places(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Policy, decoding and row label, sampled first; only those that are in `table`."""
    seen = set(zip(table.policy, table.decoding, strict=True))
    wanted = [(p, "none" if p == "student" else "sampled", wording.POLICY[p]) for p in ORDER]
    wanted += [(p, "greedy", f"{wording.POLICY[p]}, greedy") for p in ORDER]
    return [place for place in wanted if place[:2] in seen]


def policy_table(table: pd.DataFrame, headline: list[str]) -> Table:
    """Policies by headline metrics: mean, interval, and how many texts have no value."""
    table = table[table.course == ALL]
    found = {(row["policy"], row["decoding"], row["metric"]): row for row in records(table)}
    rows = [
        (label, [mean_cell(found.get((policy, decoding, metric))) for metric in headline])
        for policy, decoding, label in places(table)
    ]
    caption = "Over all test questions. Sampled at the temperature of the parameter "
    caption += "decoding.temperature; greedy takes the likeliest token each time."
    caption += fewer(table)
    return Table(
        "Mean of each policy", caption, ["Policy", *(heading(metric) for metric in headline)], rows
    )


def fewer(table: pd.DataFrame) -> str:
    """On how many questions the API model's means stand, if it is there."""
    words = table[table.metric == "words"].set_index("policy").questions_n  # no text lacks them
    if "api" not in words.index:
        return ""
    found = f" {wording.POLICY['api']}: over {words['api']} of {words.max()} questions, decoded in "
    return found + "its own way."


def every_mean_table(table: pd.DataFrame, encoder: str) -> Table:
    """Every metric by policy and decoding: mean, interval, and how many texts have no value.

    encoder: name of the encoder in the profile.
    """
    table = table[table.course == ALL]
    found = {(row["policy"], row["decoding"], row["metric"]): row for row in records(table)}
    shown = places(table)
    rows = [
        (heading(metric), [mean_cell(found.get((*place[:2], metric))) for place in shown])
        for metric in METRICS
        if metric in set(table.metric)
    ]
    which = "packaged MiniLM encoder" if encoder.startswith("package:") else f"encoder {encoder}"
    note = f"BERTScore uses the {which}, and the entailment model is our own, so "
    note += "these values are not comparable with published ones."
    head = ["Metric", *(label for _, _, label in shown)]
    return Table("All metrics by policy", "Over all test questions.", head, rows, note)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as mappings."""
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def mean_cell(row: dict[str, Any] | None, unit: str | None = None) -> Cell:
    """A mean with its interval and its nulls as note. unit: of the metric, unless given."""
    if row is None:
        return Cell(wording.NONE)
    unit = unit or METRICS[row["metric"]].unit
    notes = [wording.limits(row["low"], row["high"], unit)]
    notes += [f"{row['null_n']} without value"] if row["null_n"] else []
    return Cell(wording.number(row["mean"], unit), "; ".join(filter(None, notes)))


def heading(metric: str) -> str:
    """A metric's label with its unit where the numbers do not show it."""
    if metric not in METRICS:  # a scorer without a metric of the same name
        return wording.title(wording.named(metric))
    label, unit = wording.title(METRICS[metric].label), METRICS[metric].unit
    return f"{label} (stars)" if unit == "stars" else label


def mean_figure(table: pd.DataFrame, metric: str, level: float) -> Figure | Missing:
    """The means of one metric as dots with intervals, sampled and greedy."""
    shown = METRICS[metric]
    known = records(table[(table.course == ALL) & (table.metric == metric)].dropna(subset=["mean"]))
    if not known:
        return Missing(wording.title(shown.label), "no text has a value")
    policies = [policy for policy in ORDER if any(row["policy"] == policy for row in known)]
    series: dict[str, list[tuple[float, float, float]]] = {}
    for row in known:
        title = "greedy" if row["decoding"] == "greedy" else "sampled"
        places = series.setdefault(title, [(NAN, NAN, NAN)] * len(policies))
        factor = 100 if shown.unit == "frac" else 1
        mean, low, high = (factor * row[name] for name in ("mean", "low", "high"))
        places[policies.index(row["policy"])] = (mean, low, high)
    series = {title: series[title] for title in ("sampled", "greedy") if title in series}
    told = ", ".join(
        f"{wording.POLICY[row['policy']]} {wording.number(row['mean'], shown.unit, after=True)}"
        for policy in policies
        for row in known
        if row["policy"] == policy and row["decoding"] != "greedy"
    )
    labels = [wording.POLICY[policy] for policy in policies]
    axis = AXES.get(shown.unit, shown.unit)
    svg = figures.dots(f"mean-{metric.replace('_', '-')}", labels, series, axis)
    caption = f"Mean with {wording.level(level)} interval"
    return Figure(wording.title(shown.label), f"{caption}: {told or 'greedy only'}.", svg)
