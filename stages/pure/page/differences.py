"""Differences between two policies as tables: by metric, by role, by course."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from stages.pure.catalogue import METRICS
from stages.pure.comparison import ALL, DECODINGS
from stages.pure.page import wording
from stages.pure.page.means import heading
from stages.pure.page.views import Cell, Missing, Table, cells


def over_trainings(row: Mapping[Any, Any]) -> dict[Any, Any]:
    """A row of Comparisons with the wider limits, over questions and trainings, if it has them."""
    found = dict(row)
    if not wording.is_missing(row.get("seed_low")):
        found |= {"low": row["seed_low"], "high": row["seed_high"]}
    return found


def rows_of(
    table: pd.DataFrame, a: str, b: str, decoding: str, course: str, metrics: list[str]
) -> list[dict[Any, Any]]:
    """Rows of Comparisons in the order of `metrics`, with limits over trainings if known."""
    wanted = (table.policy_a == a) & (table.policy_b == b) & (table.decoding == decoding)
    found = table[wanted & (table.course == course)].set_index("metric", drop=False)
    rows = found.loc[[m for m in metrics if m in found.index]].to_dict("records")
    return [over_trainings(row) for row in rows]


def trainings_n(table: pd.DataFrame | str) -> int:
    """How many trainings Comparisons are over; 1 if the table does not say."""
    if isinstance(table, str) or "seeds_n" not in table or not table.seeds_n.notna().any():
        return 1
    return int(table.seeds_n.max())


def difference_table(table: pd.DataFrame, a: str, b: str, headline: list[str]) -> Table | Missing:
    """One pair of policies: headline metrics, sampled and greedy, p value and what is visible."""
    title = f"{wording.POLICY[a]} minus {wording.POLICY[b]}"
    sampled, greedy = (
        {row["metric"]: row for row in rows_of(table, a, b, decoding, ALL, headline)}
        for decoding in DECODINGS
    )
    main = greedy | sampled
    if not main:
        return Missing(title, "no question is explained by both policies")
    rows = []
    for metric in [name for name in headline if name in main]:
        effect = wording.change(main[metric]["minimum_detectable_effect"], METRICS[metric].unit)
        row = [
            difference_cell(sampled.get(metric)),
            difference_cell(greedy.get(metric)),
            Cell(wording.p_value(main[metric]["p_value_holm"])),
            Cell(effect.lstrip("+")),
            verdict_cell(main[metric]),
        ]
        rows.append((heading(metric), row))
    questions, clusters = (
        max(row[name] for row in main.values()) for name in ("questions_n", "clusters_n")
    )
    trainings = max(wording.trainings(row) for row in main.values())
    caption = f"Paired over {questions} questions in {clusters} clusters"
    caption += f", the mean of {trainings} trainings" if trainings > 1 else ""
    caption += ". Shares in percent points; p and the words are on the sampled texts."
    head = ["Metric", "Difference, sampled", "Difference, greedy", "p (Holm)", "Could see"]
    return Table(title, caption, [*head, "In words"], rows)


def verdict_cell(row: dict[Any, Any]) -> Cell:
    """The verdict on a comparison, in its tone."""
    said, tone = wording.verdict(row)
    return Cell(said, tone=tone)


def difference_cell(row: dict[Any, Any] | None) -> Cell:
    """A difference with its interval as note."""
    if row is None:
        return Cell(wording.NONE)
    unit = METRICS[row["metric"]].unit
    note = wording.limits(row["low"], row["high"], unit, signed=True)
    return Cell(wording.change(row["difference"], unit), note, wording.verdict(row)[1])


def role_table(table: pd.DataFrame, headline: list[str] | None) -> Table | Missing:
    """DPO minus SFT by role: what the reward gained beside what it was not trained on.

    headline: the held-out metrics to show; None shows every metric there is.
    """
    found = rows_of(table, "dpo", "sft", "sampled", ALL, list(METRICS))
    title, caption = "Every metric", "DPO minus SFT, sampled. p values are not corrected here."
    if headline is not None:
        title = "Reward beside held-out scorers"
        caption = "DPO minus SFT, sampled. The reward chose the pairs and rises by construction; "
        caption += "the others chose nothing, and count."
        found = [
            row
            for row in found
            if row["role"] == "reward" or (row["role"] == "heldout" and row["metric"] in headline)
        ]
    if not found:
        return Missing(title, "DPO and SFT share no question")
    found.sort(key=lambda row: ["reward", "heldout", "diagnostic"].index(row["role"]))
    rows = []
    for row in found:
        unit = METRICS[row["metric"]].unit
        role = wording.role(row["role"])
        numbers = cells([role, *(wording.number(row[s], unit) for s in ("mean_b", "mean_a"))])
        rows.append((heading(row["metric"]), [*numbers, difference_cell(row), verdict_cell(row)]))
    return Table(title, caption, ["Metric", "Role", "SFT", "DPO", "Difference", "In words"], rows)


def course_table(table: pd.DataFrame, headline: list[str]) -> Table | Missing:
    """DPO minus SFT in each course, after all of them."""
    names = sorted(set(table.course) - {ALL})
    if not names:
        return Missing("DPO minus SFT per course", "no course is named")
    rows = []
    for course in [ALL, *names]:
        found = rows_of(table, "dpo", "sft", "sampled", course, headline)
        by_metric = {row["metric"]: row for row in found}
        questions = max((row["questions_n"] for row in found), default=0)
        row = [Cell(str(questions)), *(difference_cell(by_metric.get(m)) for m in headline)]
        rows.append(("all courses" if course == ALL else course, row))
    caption = "Sampled, with intervals. Shares in percent points. A course has few clusters, so "
    caption += "its interval is wide; one that includes 0 does not contradict the others."
    head = ["Course", "Questions", *(heading(m) for m in headline)]
    return Table("DPO minus SFT per course", caption, head, rows)
