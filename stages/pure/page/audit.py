"""The parts of the page on audits: what gives the chosen text away, and what leaks of the test."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from stages.pure.comparison import ALL
from stages.pure.page import wording
from stages.pure.page.fitness import limit_sentence, value_cell
from stages.pure.page.material import Material
from stages.pure.page.means import records
from stages.pure.page.views import Cell, Findings, Missing, Part, Table, cells

LABELS = {
    "length": "by the word count",
    "bag_of_words": "by single words",
    "origin": "by the origin",
    "repeated_text": "by texts seen before",
    "chosen_longer": "chosen is longer",
}
LEAKAGE = {"questions": "max_question_similarity", "texts": "max_text_similarity"}  # its limit
SPLITS = ["source", "split", "other_split"]


def audit(material: Material) -> Part:
    """Could a dumb rule have chosen as the reward did?"""
    found = material.show("Pair audit", ["pair_audit"], verdict)
    table = material.show("Pair audit in numbers", ["pair_audit"], audit_table)
    is_missing = isinstance(found, Missing)
    return Part(
        "Pair audit",
        ["If length, single words or the origin tell chosen from rejected texts, DPO can learn "
         "that instead of quality. Each number is the share of pairs that such a classifier gets "
         "right, on pairs it has not seen: one half knows nothing. A limit is broken if the whole "
         "interval is above it."],
        findings=[] if is_missing else [found],
        tables=[found, table] if is_missing else [table],
    )  # fmt: skip


def label_of(row: Mapping[str, Any]) -> str:
    """A measure in words, with its group of pairs."""
    label = LABELS.get(row["measure"], wording.named(row["measure"]))
    return label if row["group"] == ALL else f"{label}, rejected is {wording.named(row['group'])}"


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """The rows by measure as LABELS has them, not as they are sorted on disk."""
    places = {name: i for i, name in enumerate(LABELS)}
    return table.sort_values("measure", key=lambda names: names.map(places), kind="stable")


def verdict(table: pd.DataFrame) -> Findings | Missing:
    """One sentence per limit that is over all pairs or not met."""
    tested = records(in_order(table[table.is_met.notna()]))
    if not tested:
        return Missing("Pair audit", "nothing was held against a limit")
    is_passed = all(row["is_met"] for row in tested)
    told = [row for row in tested if row["group"] == ALL or not row["is_met"]]
    said = [limit_sentence(row, label_of(row), "frac") for row in told]
    return Findings(f"Audit: {'passed' if is_passed else 'not passed'}", said)


def audit_table(table: pd.DataFrame) -> Table:
    """Measures by group of pairs, all pairs first."""
    groups = sorted(dict.fromkeys(table.group), key=lambda name: name != ALL)
    rows = []
    for name, part in in_order(table).groupby("measure", sort=False):
        found = {row["group"]: value_cell(row, "frac", row["pairs_n"]) for row in records(part)}
        label = wording.title(label_of({"measure": name, "group": ALL}))
        rows.append((label, [found.get(group, Cell(wording.NONE)) for group in groups]))
    heads = ["All pairs" if g == ALL else wording.title(wording.named(g)) for g in groups]
    caption = "By the origin of the rejected text, or the kind of negative. Small print is the "
    caption += "interval and the number of pairs; coloured numbers were held against a limit."
    return Table("What tells chosen from rejected", caption, ["Measure", *heads], rows)


def leakage(material: Material) -> Part:
    """What of the test could have been seen in training."""
    limits = material.given.get("check_leakage", {})
    return Part(
        "Does anything of the test leak into training?",
        ["An encoder that took no part in the split looks for near neighbours over it. Above its "
         "limit, which was set on questions known to ask for the same fact, the run stops and "
         "names both texts."],
        tables=[
            material.show(
                f"nearest {key} over the split",
                [f"leakage_{key}"],
                lambda t, k=key, m=limits.get(limit): near_table(t, k, m),
            )
            for key, limit in LEAKAGE.items()
        ],
    )  # fmt: skip


def near_table(table: pd.DataFrame, key: str, limit: float | None) -> Table:
    """The nearest pair of every two splits, and how many texts stand on both sides.

    limit: similarity from which the run stops, None if unknown.
    """
    rows = []
    for (source, one, other), part in table.groupby(SPLITS, sort=True):
        numbers = [wording.number(part.similarity.max(), "score")]
        numbers += [wording.number(limit, "score"), str(int(part.is_same_text.sum()))]
        rows.append((f"{source}: {one} beside {other}", cells(numbers)))
    caption = "Cosine of the encoder's vectors; 1 is the same text. Short explanations may well "
    caption += "be the same."
    head = ["Splits", "Nearest", "Limit", "Same text"]
    return Table(f"Nearest {key} over the split", caption, head, rows)


def reward_table(report: dict[str, Any] | str) -> Table | Missing:
    """The reward and the rule of the pairs in words, from reports/build_preferences.json."""
    what = "The reward in words"
    if isinstance(report, str):
        return Missing(what, report)
    details = report.get("details", {})
    rows = [
        (wording.title(wording.named(name)), [Cell(text)])
        for key in ("reward", "strategy")
        for name, text in spread(key, details.get(key))
    ]
    if not rows:
        return Missing(what, "reports/build_preferences.json has no details.reward")
    return Table(
        what, "As build_preferences used it.", ["Of the reward", "Value"], rows, style="words"
    )


def spread(name: str, value: Any) -> list[tuple[str, str]]:
    """A nested value as lines: name, text. Nothing for None."""
    if value is None:
        return []
    if isinstance(value, dict):
        return [
            line for key, inner in value.items()
            for line in spread(name if key == "words" else f"{name}: {key}", inner)
        ]  # fmt: skip
    if isinstance(value, list):
        return [(name, "; ".join(map(wording.as_text, value)) or wording.NONE)]
    return [(name, wording.as_text(value))]
