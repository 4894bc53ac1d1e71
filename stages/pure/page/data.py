"""Section 5 of the page: what was dropped on the way, and why?"""

from typing import Any

import pandas as pd

from schemas.questions import SPLITS
from schemas.rejects import REASONS
from stages.pure.page import wording
from stages.pure.page.material import Material
from stages.pure.page.means import heading, places
from stages.pure.page.views import Cell, Missing, Part, Section, Table, cells


def dropped(material: Material) -> Section:
    """Rows of the exports, candidates in no pair, and texts that a scorer could not rate."""
    return Section(
        "dropped",
        "What was dropped, and why?",
        [
            Part("Rows of the exports", tables=[rejected(material)]),
            Part(
                "Texts in no pair",
                tables=[material.show("texts in no pair", ["drops"], drop_table)],
            ),
            Part(
                "Texts without a value",
                ["A failure is counted here, and is in no mean: it is never a zero."],
                tables=[
                    material.show("unscored candidates", ["scores"], unscored_table),
                    material.show("explanations without a value", ["evaluations"], null_table),
                ],
            ),
        ],
    )


def rejected(material: Material) -> Table | Missing:
    """From the rows of the exports to the questions of each split, per course."""
    table = material.show("rows per course", ["questions"], lambda questions: questions)
    if isinstance(table, Missing):
        return table
    rejects = material.tables["rejects"]
    if isinstance(rejects, str):
        return Missing("rows per course", rejects)
    return waterfall(table, rejects)


def waterfall(questions: pd.DataFrame, rejects: pd.DataFrame) -> Table:
    """Steps by courses; a row is rejected at the first filter that it fails."""
    names = sorted({*questions.course, *rejects.course})
    columns: list[tuple[pd.DataFrame, pd.DataFrame]] = [(questions, rejects)]
    columns += [(questions[questions.course == c], rejects[rejects.course == c]) for c in names]

    def row(name: str, count: Any) -> tuple[str, list[Cell]]:
        return name, cells(wording.number(count(kept, lost), "n") for kept, lost in columns)

    def split(wanted: str) -> Any:
        return lambda kept, _: kept.question_id[kept.split == wanted].nunique()

    rows = [row("rows in the exports", lambda kept, lost: len(kept) + len(lost))]
    for reason in REASONS:
        if (rejects.reason == reason).any():
            spoken_reason = f"{wording.MINUS} {reason.replace('_', ' ')}"
            rows.append(row(spoken_reason, lambda _, lost, r=reason: int((lost.reason == r).sum())))
    rows.append(row("= usable rows", lambda kept, _: len(kept)))
    rows.append(row("rows to imitate (SFT)", lambda kept, _: int(kept.is_sft_row.sum())))
    rows.append(row("distinct questions", lambda kept, _: kept.question_id.nunique()))
    rows.append(row("clusters", lambda kept, _: kept.cluster_id.nunique()))
    splits = [name for name in SPLITS if (questions.split == name).any()]
    rows += [row(f"questions: {name}", split(name)) for name in splits]
    caption = "A cluster of near-identical questions lies in one "
    caption += "split; courses may share one, so columns need not add up."
    return Table("Rows and questions per course", caption, ["Step", "all", *names], rows)


def drop_table(drops: pd.DataFrame) -> Table:
    """Texts in no pair by reason and origin."""
    counts = drops.groupby(["reason", "origin"]).size().unstack(fill_value=0).sort_index()
    rows = [
        (wording.named(reason), cells(wording.number(n, "n") for n in counts.loc[reason]))
        for reason in counts.index
    ]
    head = ["Reason", *map(wording.named, counts.columns)]
    return Table("Texts in no pair", "By reason and origin.", head, rows)


def unscored_table(scores: pd.DataFrame) -> Table:
    """Candidates and negatives by scorer and reason of a missing score."""
    lost = scores[scores.value.isna()]
    rows = [
        (
            wording.named(scorer),
            cells([wording.role(str(role)), wording.named(reason), f"{len(part)}"]),
        )
        for (scorer, role, reason), part in lost.groupby(["scorer", "role", "reason"])
    ]
    rows = rows or [("none", cells([wording.NONE, wording.NONE, "0"]))]
    caption = f"Of {wording.number(len(scores), 'n')} scores of candidates and negatives. A text "
    caption += "without a score of the reward is in no pair."
    return Table("Candidates without a score", caption, ["Scorer", "Role", "Reason", "Texts"], rows)


def null_table(evaluations: pd.DataFrame) -> Table:
    """Explanations of the test questions without a value, by metric, reason and policy."""
    lost = evaluations[evaluations.value.isna()]
    shown = places(evaluations)
    rows = []
    for (metric, reason), part in lost.groupby(["metric", "reason"]):
        by_place = part.value_counts(["policy", "decoding"])
        counts = [int(by_place.get((policy, decoding), 0)) for policy, decoding, _ in shown]
        label = f"{heading(str(metric))}: {wording.named(reason)}"
        rows.append((label, cells(wording.number(count, "n") for count in counts)))
    rows = rows or [("none", cells("0" for _ in shown))]
    caption = "Of the test questions, texts by metric and reason; a metric that is not here has a "
    caption += "value for every text."
    head = ["Metric: reason", *(label for _, _, label in shown)]
    return Table("Explanations without a value", caption, head, rows)
