"""Plots with one row per policy or pair, and the reliability curve; SVG as in figures.py."""

from collections.abc import Mapping, Sequence

import numpy as np

from stages.pure.page.figures import CARD, FAINT, INK, SERIES, SIZE, plot

GRID = 240  # points of a density
OVERLAP = 1.6  # height of the highest density, in distances between rows
ROOM = 0.1  # share of a bar from which its number fits into it


def ridge(name: str, groups: Mapping[str, Sequence[float]], axis: str) -> str:
    """Densities of several groups above each other, on one scale; a mark at each median.

    groups: label -> values, drawn from top to bottom. A Gaussian kernel with Scott's width;
    a group whose values are all equal is a line.
    """
    known = {label: np.asarray(values, float) for label, values in groups.items()}
    pooled = np.concatenate([values[np.isfinite(values)] for values in known.values()])
    margin = 0.12 * float(np.ptp(pooled)) or 0.5
    grid = np.linspace(pooled.min() - margin, pooled.max() + margin, GRID)
    heights = {label: density(values, grid) for label, values in known.items()}
    top = max(height.max() for height in heights.values()) or 1.0
    with plot(name, (SIZE[0], 0.9 + 0.45 * len(known))) as (axes, svg):
        for i, (label, height) in enumerate(heights.items()):
            base = len(heights) - 1 - i
            up = base + OVERLAP * height / top
            axes.fill_between(grid, base, up, color=CARD, alpha=0.75, linewidth=0, zorder=2 * i + 2)
            axes.fill_between(
                grid, base, up, color=SERIES[0], alpha=0.3, linewidth=0, zorder=2 * i + 2
            )
            axes.plot(grid, up, color=SERIES[0], linewidth=1.2, zorder=2 * i + 3)
            middle = float(np.nanmedian(known[label]))
            axes.plot([middle] * 2, [base, base + 0.25], color=INK, linewidth=1.4, zorder=99)
        axes.set_yticks(np.arange(len(heights))[::-1], [*heights])
        axes.set_ylim(-0.05, len(heights) - 1 + OVERLAP * 1.05)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_xlabel(axis)
    return svg[0]


def density(values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Kernel density of the finite values on `grid`; all zero if they do not spread."""
    from scipy.stats import gaussian_kde

    seen = values[np.isfinite(values)]
    if len(seen) < 2 or np.ptp(seen) < 1e-9:
        return np.zeros_like(grid)
    found: np.ndarray = gaussian_kde(seen)(grid)
    return found


def stacked(
    name: str,
    labels: Sequence[str],
    parts: Mapping[str, Sequence[float]],
    looks: Sequence[tuple[int | None, float]],
    axis: str,
) -> str:
    """Horizontal bars from 0 to 100 %, one per label, cut into `parts`; a line at 50 %.

    parts: name -> share (0..1) per label; NaN draws no bar. looks: per part the number of its
    series colour (None = neutral) and how opaque it is. If all are opaque, wide parts show
    their percentage.
    """
    places = np.arange(len(labels))[::-1]
    has_numbers = all(alpha == 1 for _, alpha in looks)
    with plot(name, (SIZE[0], 1.0 + 0.15 * len(parts) / 2 + 0.36 * len(labels))) as (axes, svg):
        left = np.zeros(len(labels))
        for (title, shares), (series, alpha) in zip(parts.items(), looks, strict=True):
            width = np.nan_to_num(np.asarray(shares, float))
            color = FAINT if series is None else SERIES[series]
            axes.barh(places, 100 * width, 0.68, 100 * left, color=color, alpha=alpha, label=title)
            for place, start, share in zip(places, left, width, strict=True):
                if has_numbers and share >= ROOM:
                    shade = INK if series is None else CARD
                    middle = 100 * (start + share / 2)
                    how = {"ha": "center", "va": "center", "color": shade, "fontsize": 8}
                    axes.text(middle, place, f"{100 * share:.0f}", **how)
            left = left + width
        axes.axvline(50, color=INK, linewidth=0.8, linestyle=":")
        axes.set_yticks(places, labels)
        axes.set_ylim(-0.6, len(labels) - 0.4)
        axes.set_xlim(0, 100)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(axis)
        columns = 3 if len(parts) < 4 else 2  # six long names are too wide
        axes.figure.legend(loc="outside upper center", ncols=columns)
    return svg[0]


def reliability(
    name: str, predicted: Sequence[float], observed: Sequence[float], counts: Sequence[int]
) -> str:
    """Mean rating against mean prediction per bin (stars), beside the line of a perfect one.

    counts: rows per bin; a mark's area grows with it.
    """
    x, y, n = (np.asarray(values, float) for values in (predicted, observed, counts))
    low, high = float(np.min([x, y])), float(np.max([x, y]))
    with plot(name) as (axes, svg):
        axes.plot([low, high], [low, high], color=INK, linewidth=0.8, linestyle=":")
        axes.plot(x, y, color=SERIES[0], linewidth=1.2)
        axes.scatter(x, y, s=12 + 60 * n / n.max(), color=SERIES[0])
        axes.grid()
        axes.set_xlabel("predicted (stars)")
        axes.set_ylabel("rated (stars)")
    return svg[0]
