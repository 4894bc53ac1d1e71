"""Section 4 of the page: where does it fail?"""

import pandas as pd

from stages.pure.comparison import ALL
from stages.pure.page import texts
from stages.pure.page.differences import course_table
from stages.pure.page.material import Material
from stages.pure.page.means import mean_cell, places, records
from stages.pure.page.views import Missing, Part, Section, Table

DETECTORS = {  # metric -> what a text does that has it; all are shares of texts
    "oracle_endorses_distractor": "Endorses a distractor (oracle)",
    "endorses_distractor": "Endorses a distractor",
    "oracle_has_other_mechanism": "Gives another fact's mechanism (oracle)",
    "is_evasive": "Evades the answer",
    "restates_answer": "Only restates the answer",
    "echoes_prompt": "Echoes the prompt",
    "is_verbose": "Long and entails little",
    "is_loop": "Repeats a 6-gram",
    "is_truncated": "Is cut off",
    "has_url": "Has a web address",
}


def failures(material: Material) -> Section:
    """Failure rates, the worst texts, disagreements, courses, and texts that nobody chose."""
    return Section(
        "failures",
        "Where does it fail?",
        [
            Part(
                "Failure rates",
                tables=[material.show("failure rates", ["policy_means"], failure_table)],
            ),
            texts.worst(material),
            texts.disagreements(material),
            Part(
                "By course",
                tables=[
                    material.show(
                        "per course",
                        ["comparisons"],
                        lambda table: course_table(table, material.headline),
                    )
                ],
            ),
            texts.rounds(material),
            texts.drawn(material),
        ],
    )


def failure_table(means: pd.DataFrame) -> Table | Missing:
    """Detectors by policy: share of texts with the defect, with its interval."""
    whole = means[(means.course == ALL) & means.metric.isin(DETECTORS)]
    if whole.empty:
        return Missing("failure rates", "no detector was measured")
    found = {(row["policy"], row["decoding"], row["metric"]): row for row in records(whole)}
    shown = places(whole)
    rows = [
        (label, [mean_cell(found.get((*place[:2], metric)), "frac") for place in shown])
        for metric, label in DETECTORS.items()
        if metric in set(whole.metric)
    ]
    caption = "Share of the texts on test questions that have the defect; lower is better."
    return Table("Failure rates", caption, ["Defect", *(label for _, _, label in shown)], rows)
