"""Plots as SVG for a page: small, the same bytes each time, in the colours of the page.

Text stays text, so a reader can search and enlarge it. Colours are written as CSS variables,
so that one picture serves a light and a dark page. No outside text is drawn.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

INK = "#123456"  # stands for the page's text colour until `page_colours`
FAINT = "#123457"
CARD = "#123458"  # what a figure stands on
SERIES = ["#123461", "#123462", "#123463", "#123464"]
VARIABLES = {INK: "currentColor", FAINT: "var(--line)", CARD: "var(--card)"}
VARIABLES |= {color: f"var(--series-{i + 1})" for i, color in enumerate(SERIES)}
SIZE = (3.9, 2.5)  # inches; a page shows 72 units per inch at about 1.3 times


@contextmanager
def plot(name: str, size: tuple[float, float] = SIZE) -> Iterator[tuple[Any, list[str]]]:
    """Axes to draw on, and a list that holds the SVG afterwards."""
    import matplotlib
    from matplotlib.figure import Figure

    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,  # ids differ between the pictures of a page
        "text.parse_math": False,
        "font.size": 9,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": FAINT,
        "axes.labelcolor": INK,
        "text.color": INK,
        "xtick.color": FAINT,
        "ytick.color": FAINT,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "grid.color": FAINT,
        "grid.linewidth": 0.5,
        "legend.frameon": False,
        "legend.fontsize": 8,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
    }
    svg: list[str] = []
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        axes.set_axisbelow(True)
        yield axes, svg
        buffer = io.StringIO()
        nothing = dict.fromkeys(["Date", "Creator", "Format", "Type"])
        figure.savefig(buffer, format="svg", metadata=nothing)
    svg.append(for_page(buffer.getvalue(), name))


def for_page(svg: str, name: str) -> str:
    """A whole SVG file -> an element of a page, without size, addresses or shared ids."""
    svg = svg[svg.index("<svg") :]
    for unwanted in (r"<metadata>.*?</metadata>", r"<defs>\s*<style.*?</style>\s*</defs>"):
        svg = re.sub(unwanted, "", svg, flags=re.DOTALL)
    svg = re.sub(r' (?:width|height)="[\d.]+pt"| xmlns(?::xlink)?="[^"]*"', "", svg)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", svg)
    for color, variable in VARIABLES.items():
        svg = svg.replace(color, variable)
    svg = re.sub(r"font(-family)?: ?([^;\"]*?)'DejaVu Sans'[^;\"]*", r"font\1: \2inherit", svg)
    return svg.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1).strip()


def dots(
    name: str,
    labels: Sequence[str],
    series: Mapping[str, Sequence[tuple[float, float, float]]],
    axis: str,
    *,
    has_zero: bool = False,
) -> str:
    """Means with intervals, one row per label, one mark per series (at most 4).

    series: name -> (mean, low, high) per label; NaN is left out. has_zero: with a line at 0.
    """
    height = 0.75 + 0.34 * len(labels)
    with plot(name, (SIZE[0], height)) as (axes, svg):
        places = np.arange(len(labels))[::-1]
        for i, (title, rows) in enumerate(series.items()):
            mean, low, high = np.array(rows, dtype=float).reshape(-1, 3).T
            shift = 0.16 * ((len(series) - 1) / 2 - i)
            spread = np.nan_to_num([mean - low, high - mean]).clip(0)
            axes.errorbar(
                mean,
                places + shift,
                xerr=spread,
                fmt="os^D"[i],
                color=SERIES[i],
                markerfacecolor=SERIES[i] if i == 0 else "none",
                markersize=5,
                linewidth=1.4,
                label=title,
            )
        if has_zero:
            axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(places, labels)
        axes.set_ylim(-0.6, len(labels) - 0.4)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_xlabel(axis)
        if len(series) > 1:
            axes.figure.legend(loc="outside upper right", ncols=len(series))
    return svg[0]


def lines(
    name: str, series: Mapping[str, tuple[Sequence[float], Sequence[float]]], x: str, y: str
) -> str:
    """One line per series (at most 4), x against y; NaN is left out."""
    with plot(name) as (axes, svg):
        for i, (title, points) in enumerate(series.items()):
            across, up = np.asarray(points[0], float), np.asarray(points[1], float)
            seen = np.isfinite(up)
            style = "-" if i % 2 == 0 else "--"
            axes.plot(across[seen], up[seen], style, color=SERIES[i], linewidth=1.4, label=title)
        axes.grid(axis="y")
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        if len(series) > 1:
            columns = 4 if len(series) < 4 else 2  # four names of two words are too wide
            axes.figure.legend(loc="outside upper right", ncols=columns)
    return svg[0]


def histogram(name: str, groups: Mapping[str, Sequence[float]], x: str, y: str) -> str:
    """Stacked counts of the values of up to 4 groups, in shared bins."""
    values = [np.asarray(group, float) for group in groups.values()]
    edges = np.histogram_bin_edges(np.concatenate([*values, np.zeros(1)]), bins=20)
    with plot(name) as (axes, svg):
        axes.hist(values, bins=edges, stacked=True, color=SERIES[: len(values)], label=[*groups])
        axes.grid(axis="y")
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        if len(groups) > 1:
            axes.figure.legend(loc="outside upper right", ncols=4)
    return svg[0]
