"""The part of the page on rewards: how the values of each policy's texts spread."""

import pandas as pd

from stages.pure.page import figures_rows, wording
from stages.pure.page.material import Material
from stages.pure.page.means import ORDER
from stages.pure.page.views import Figure, Missing, Part

DRAWN = {  # metric -> caption
    "judge": "The judge's stars (held out)",
    "verifier": "The reward verifier's stars",
}


def rewards(material: Material) -> Part:
    """A ridge plot for the judge and one for the verifier of the reward."""
    return Part(
        "Rewards of each policy",
        [
            "Each row is the distribution over test questions, sampled texts, on one scale; the "
            "mark is the median. A mean can rise because all texts rise, or because the bad ones "
            "went away."
        ],
        figures=[
            material.show(caption, ["evaluations"], lambda table, m=metric: ridge_figure(table, m))
            for metric, caption in DRAWN.items()
        ],
    )


def ridge_figure(evaluations: pd.DataFrame, metric: str) -> Figure | Missing:
    """The values of one metric by policy, one density each."""
    wanted = (evaluations.metric == metric) & (evaluations.decoding != "greedy")
    known = evaluations[wanted & evaluations.value.notna()]
    groups = {
        wording.POLICY[policy]: rows.value.tolist()
        for policy in ORDER
        if len(rows := known[known.policy == policy])
    }
    if not groups:
        return Missing(DRAWN[metric], "no text has a value")
    told = []
    for label, values in groups.items():
        low, middle, high = pd.Series(values).quantile([0.25, 0.5, 0.75])
        told.append(f"{label} {middle:.2f} ({low:.2f} to {high:.2f})")
    svg = figures_rows.ridge(f"ridge-{metric}", groups, "stars")
    return Figure(DRAWN[metric], f"Median and middle half in stars: {', '.join(told)}.", svg)
