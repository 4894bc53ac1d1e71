"""Section 3 of the page: what are the pairs made of?"""

import numpy as np
import pandas as pd

from stages.pure.page import audit, figures, synthetic, wording
from stages.pure.page.material import Material
from stages.pure.page.views import Figure, Part, Section, Table, cells

KEY = ["question_id", "candidate_index"]


def pairs(material: Material) -> Section:
    """What chose the pairs, what DPO learned from, what gives it away, and what leaks."""
    both = ["preferences", "candidates"]
    return Section(
        "pairs",
        "What are the pairs made of?",
        [
            Part(
                "Reward and rule",
                tables=[audit.reward_table(material.reports["build_preferences"])],
            ),
            audit.audit(material),
            Part(
                "Gaps and origins",
                figures=[material.show("gaps of the pairs", ["preferences"], gap_figure)],
                tables=[
                    material.show("pairs", ["preferences"], pair_table),
                    material.show("temperatures of the pairs", both, temperature_table),
                ],
            ),
            *synthetic.bought(material),
            audit.leakage(material),
        ],
    )


def gap_figure(preferences: pd.DataFrame) -> Figure:
    """Histogram of score_gap by the origin of the rejected text."""
    groups = {
        wording.named(origin): rows.score_gap.tolist()
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
        *((f"{wording.named(a)} over {wording.named(b)}", rows) for (a, b), rows in groups),
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
