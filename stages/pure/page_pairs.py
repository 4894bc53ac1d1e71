"""The part of the page on pairs: what the scorers say of which text, and what DPO then saw."""

from typing import Any

import numpy as np
import pandas as pd

from schemas.negatives import KINDS
from schemas.scores import ROLES
from stages.pure import figures, wording
from stages.pure.catalogue import METRICS
from stages.pure.material import Material
from stages.pure.page_means import heading
from stages.pure.views import Cell, Figure, Missing, Section, Table, cells

KEY = ["question_id", "candidate_index"]
SAID = {"sft": "own sample"}  # what an origin is called on the page


def pairs(material: Material) -> Section:
    """What DPO learned from, and what it did not get to see."""
    both = ["preferences", "candidates"]
    return Section(
        "pairs",
        "Which pairs did DPO learn from?",
        figures=[material.show("gaps of the pairs", ["preferences"], gap_figure)],
        tables=[
            material.show("pairs", ["preferences"], pair_table),
            material.show("temperatures of the pairs", both, temperature_table),
            kind_table(material.reports["score_candidates"]),
            material.show("texts in no pair", ["drops"], drop_table),
        ],
    )


def named(kind: Any) -> str:
    """An origin or a kind of negative in words."""
    return SAID.get(kind, str(kind).replace("_", " "))


def gap_figure(preferences: pd.DataFrame) -> Figure:
    """Histogram of score_gap by the origin of the rejected text."""
    groups = {
        named(origin): rows.score_gap.tolist()
        for origin, rows in preferences.groupby("rejected_origin")
    }
    gap = preferences.score_gap
    told = f"Gap between chosen and rejected: median {gap.median():.2f} stars, "
    told += f"from {gap.min():.2f} to {gap.max():.2f}, over {len(gap)} pairs. Colours show where "
    told += "the rejected text is from."
    svg = figures.histogram("gaps", groups, "score gap (stars)", "pairs")
    return Figure("Gaps of the pairs", told, svg)


def grouped(table: pd.DataFrame, by: list[str]) -> list[tuple[str, pd.DataFrame]]:
    """All pairs, then those of each (chosen, rejected), named "x over y"."""
    groups = table.groupby(by)
    return [
        ("all pairs", table),
        *((f"{named(a)} over {named(b)}", rows) for (a, b), rows in groups),
    ]


def pair_table(preferences: pd.DataFrame) -> Table:
    """Counts by origin, and whether chosen texts are simply longer (50 % = no bias)."""
    chosen, rejected = (
        np.array([len(text.split()) for text in preferences[side]], dtype=float)
        for side in ("chosen", "rejected")
    )
    origins = preferences.assign(is_longer=chosen > rejected, chosen_n=chosen, rejected_n=rejected)
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
        for name, group in grouped(origins, ["chosen_origin", "rejected_origin"])
    ]
    head = ["Chosen over rejected", "Pairs", "Questions", "Median gap (stars)", "Chosen is longer"]
    caption = "If the chosen text were longer in far more than half of the pairs, "
    caption += "DPO would be taught length."
    return Table("Pairs by origin", caption, [*head, "Words, chosen", "Words, rejected"], rows)


def temperature_table(preferences: pd.DataFrame, candidates: pd.DataFrame) -> Table:
    """Pairs by kind of text, and whether chosen samples are simply colder (50 % = no bias).

    A text that is no sample has no temperature. Two samples of one question that are equally
    cold count one half.
    """
    degrees = candidates.set_index(KEY).temperature
    warm = {
        side: degrees.reindex(pd.MultiIndex.from_frame(preferences[[KEY[0], f"{side}_index"]]))
        for side in ("chosen", "rejected")
    }
    chosen, rejected = (warm[side].to_numpy(float) for side in ("chosen", "rejected"))
    colder = np.where(np.isnan(chosen - rejected), np.nan, np.sign(rejected - chosen) / 2 + 0.5)
    table = preferences.assign(
        chosen_t=chosen,
        rejected_t=rejected,
        is_colder=colder,
        kind=preferences.negative_kind.fillna(preferences.rejected_origin),
    )
    rows = [
        (
            name,
            cells(
                [
                    wording.number(len(group), "n"),
                    wording.number(group.chosen_t.mean(), "temperature"),
                    wording.number(group.rejected_t.mean(), "temperature"),
                    wording.number(group.is_colder.mean(), "frac"),
                ]
            ),
        )
        for name, group in grouped(table, ["chosen_origin", "kind"])
    ]
    caption = "Mean temperature of the texts that are own samples; over all samples it is "
    caption += f"{wording.number(degrees.mean(), 'temperature')}. The last column is over pairs of "
    caption += "two own samples: far above half, the preference is one for cold samples, and DPO "
    caption += "may gain by sharpening alone."
    head = ["Chosen over rejected", "Pairs", "Temperature, chosen", "Temperature, rejected"]
    return Table("Pairs by temperature", caption, [*head, "Chosen is colder"], rows)


def kind_table(report: dict[str, Any] | str) -> Table | Missing:
    """Scorers by kind of text: does a scorer find what is wrong on purpose worse?

    report: reports/score_candidates.json, or why it is missing.
    """
    what = "Scores by kind of text"
    if isinstance(report, str):
        return Missing(what, report)
    found = report.get("details", {}).get("by_kind", [])
    if not found:
        return Missing(what, "reports/score_candidates.json has no details.by_kind")
    by_place = {(row["scorer"], row["kind"]): row for row in found}
    role_of = {row["scorer"]: row["role"] for row in found}
    kinds = [k for k in ("student", "sft", *KINDS) if any(k == kind for _, kind in by_place)]
    counts = {row["kind"]: row["texts_n"] for row in found}
    rows = [("Texts", cells(["", *(wording.number(counts[kind], "n") for kind in kinds)]))]
    for scorer in sorted(role_of, key=lambda name: (ROLES.index(role_of[name]), name)):
        role = {"heldout": "held out"}.get(role_of[scorer], role_of[scorer])
        means = [mean_cell(by_place.get((scorer, kind))) for kind in kinds]
        rows.append((heading(scorer), [Cell(role), *means]))
    caption = (
        "Mean of each scorer. The kinds after own samples are wrong on purpose: a scorer that "
    )
    caption += "knows right from wrong finds them worse than students' texts and own samples."
    return Table(what, caption, ["Scorer", "Role", *map(wording.title, map(named, kinds))], rows)


def mean_cell(row: dict[str, Any] | None) -> Cell:
    """A mean, with the number of texts that have no value as note."""
    if row is None:
        return Cell(wording.NONE)
    lost = row["texts_n"] - row["scored_n"]
    text = wording.number(row["mean"], METRICS[row["scorer"]].unit)
    return Cell(text, f"{lost} without value" if lost else "")


def drop_table(drops: pd.DataFrame) -> Table:
    """Texts in no pair by reason and origin."""
    counts = drops.groupby(["reason", "origin"]).size().unstack(fill_value=0).sort_index()
    rows = [
        (named(reason), cells(wording.number(n, "n") for n in counts.loc[reason]))
        for reason in counts.index
    ]
    head = ["Reason", *map(named, counts.columns)]
    return Table("Texts in no pair", "By reason and origin.", head, rows)
