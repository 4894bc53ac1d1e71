"""The part of the page on data: from exports to questions, and from scores to pairs."""

from typing import Any

import numpy as np
import pandas as pd

from schemas.questions import SPLITS
from schemas.rejects import REASONS
from stages.pure import figures, wording
from stages.pure.material import Material
from stages.pure.views import Cell, Figure, Missing, Section, Table, cells


def pairs(material: Material) -> Section:
    """What DPO learned from, and what it did not get to see."""
    return Section(
        "pairs",
        "Which pairs did DPO learn from?",
        figures=[material.show("gaps of the pairs", ["preferences"], gap_figure)],
        tables=[
            material.show("pairs", ["preferences"], pair_table),
            material.show("texts in no pair", ["drops"], drop_table),
        ],
    )


def gap_figure(preferences: pd.DataFrame) -> Figure:
    """Histogram of score_gap by the origin of the rejected text."""
    groups = {
        str(origin): rows.score_gap.tolist()
        for origin, rows in preferences.groupby("rejected_origin")
    }
    gap = preferences.score_gap
    told = f"Gap between chosen and rejected: median {gap.median():.2f} stars, "
    told += f"from {gap.min():.2f} to {gap.max():.2f}, over {len(gap)} pairs. Colours show where "
    told += "the rejected text is from."
    svg = figures.histogram("gaps", groups, "score gap (stars)", "pairs")
    return Figure("Gaps of the pairs", told, svg)


def pair_table(preferences: pd.DataFrame) -> Table:
    """Counts by origin, and whether chosen texts are simply longer (50 % = no bias)."""
    chosen, rejected = (
        np.array([len(text.split()) for text in preferences[side]], dtype=float)
        for side in ("chosen", "rejected")
    )
    origins = preferences.assign(is_longer=chosen > rejected, chosen_n=chosen, rejected_n=rejected)
    groups = [
        (f"{better} over {worse}", rows)
        for (better, worse), rows in origins.groupby(["chosen_origin", "rejected_origin"])
    ]
    rows = [
        (
            name,
            cells(
                [
                    wording.number(len(group), "n"),
                    wording.number(group.question_id.nunique(), "n"),
                    wording.number(group.score_gap.median(), "stars"),
                    wording.number(group.is_longer.mean(), "frac"),
                    wording.number(group.chosen_n.mean(), "words"),
                    wording.number(group.rejected_n.mean(), "words"),
                ]
            ),
        )
        for name, group in [("all pairs", origins), *groups]
    ]
    head = ["Chosen over rejected", "Pairs", "Questions", "Median gap (stars)", "Chosen is longer"]
    caption = "If the chosen text were longer in far more than half of the pairs, "
    caption += "DPO would be taught length."
    return Table("Pairs by origin", caption, [*head, "Words, chosen", "Words, rejected"], rows)


def drop_table(drops: pd.DataFrame) -> Table:
    """Texts in no pair by reason and origin."""
    counts = drops.groupby(["reason", "origin"]).size().unstack(fill_value=0).sort_index()
    rows = [
        (str(reason).replace("_", " "), cells(wording.number(n, "n") for n in counts.loc[reason]))
        for reason in counts.index
    ]
    return Table("Texts in no pair", "By reason and origin.", ["Reason", *counts.columns], rows)


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
