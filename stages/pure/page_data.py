"""The part of the page on data: from exports to questions."""

from typing import Any

import pandas as pd

from schemas.questions import SPLITS
from schemas.rejects import REASONS
from stages.pure import wording
from stages.pure.material import Material
from stages.pure.views import Cell, Missing, Section, Table, cells


def data(material: Material) -> Section:
    """From the rows of the exports to the questions of each split, per course."""
    table = material.show("rows per course", ["questions"], lambda questions: questions)
    if not isinstance(table, Missing):
        rejects = material.tables["rejects"]
        table = (
            Missing("rows per course", rejects)
            if isinstance(rejects, str)
            else waterfall(table, rejects)
        )
    return Section("data", "What was in the exports?", tables=[table])


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
