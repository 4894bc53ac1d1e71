"""The part of the page on wins: how often one policy's text beats another's, and how clearly."""

from typing import Any

import numpy as np
import pandas as pd

from stages.pure.comparison import PAIRS
from stages.pure.page import figures_rows, wording
from stages.pure.page.material import Material
from stages.pure.page.means import records
from stages.pure.page.views import Cell, Figure, Findings, Missing, Part, Table, cells

STRENGTHS = {  # column -> what it is called; from the best for the first to the worst
    "much_better_n": "first: much better",
    "better_n": "first: better",
    "slightly_better_n": "first: slightly better",
    "slightly_worse_n": "second: slightly better",
    "worse_n": "second: better",
    "much_worse_n": "second: much better",
}
LOOKS = [(0, 1.0), (0, 0.6), (0, 0.3), (1, 0.3), (1, 0.6), (1, 1.0)]
OUTCOMES = {"wins_n": "first wins", "ties_n": "tie", "losses_n": "second wins"}


TITLE = "Who wins, question by question"


def wins(material: Material) -> Part:
    """Win rates of every pair of policies, in bars and in numbers."""

    def build(rates: pd.DataFrame) -> Part:
        table = in_order(rates)
        return Part(
            TITLE,
            [
                "Per question the scorer's values of both policies are compared; a difference too "
                "small to call is a tie. A longer text often pleases: the length-controlled rate "
                "is what would be left between texts of the same length."
            ],
            findings=findings(main(table)),
            figures=[win_figure(main(table)), strength_figure(main(table))],
            tables=[win_table(table, "sampled")],
            folded=[win_table(table, "greedy")],
        )

    found: Part | Missing = material.show("Win rates", ["win_rates"], build)
    return Part(TITLE, tables=[found]) if isinstance(found, Missing) else found


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """The rows in the order in which the page compares policies."""
    place = {pair: i for i, pair in enumerate(PAIRS)}
    pairs = zip(table.policy_a, table.policy_b, strict=True)
    order = pd.Series([place.get(pair, len(place)) for pair in pairs], index=table.index)
    return table.loc[order.sort_values(kind="stable").index]


def main(table: pd.DataFrame) -> pd.DataFrame:
    """The rows to draw: sampled texts, by the judge if it was asked, else by the first scorer."""
    sampled = table[table.decoding == "sampled"]
    scorers = sorted(set(sampled.scorer), key=lambda name: (name != "judge", name))
    return sampled[sampled.scorer == scorers[0]] if scorers else sampled


def pair(row: dict[str, Any]) -> str:
    """Two policies as a row label."""
    return f"{wording.POLICY[row['policy_a']]} : {wording.POLICY[row['policy_b']]}"


def findings(table: pd.DataFrame) -> list[Findings]:
    """One sentence per pair: the rate, and what is left of it at equal length."""
    rows = records(table)
    if not rows:
        return []
    return [Findings(f"By the {wording.named(rows[0]['scorer'])}", [*map(win_sentence, rows)])]


def win_sentence(row: dict[str, Any]) -> tuple[str, str]:
    """A win rate with its length-controlled one, in the tone of the latter."""
    first, second = (wording.POLICY[row[side]] for side in ("policy_a", "policy_b"))
    rate, equal = (
        share_cell(row, f"{name}_frac", f"{name}_low", f"{name}_high")
        for name in ("win", "length_controlled")
    )
    text = f"{first} against {second}: {rate.text} won ({rate.note or 'no interval'}); "
    if row.get("is_only_longer"):
        text += "flagged: it writes clearly more, and no held-out metric is clearly better; "
    if wording.is_missing(row["length_controlled_low"]):
        return "none", f"{text}at equal length not measured."
    said = {"up": f"{first} is better", "down": f"{second} is better"}
    left = said.get(equal.tone, "no clear difference is left")
    return equal.tone or "flat", f"{text}at equal length {equal.text} ({equal.note}): {left}."


def counts(rows: list[dict[str, Any]], columns: Any) -> np.ndarray:
    """The counts in `columns`, (columns, rows), as shares of their sum; NaN where that is 0."""
    found = np.array([[row[name] for row in rows] for name in columns], dtype=float)
    total = found.sum(axis=0)
    return found / np.where(total > 0, total, np.nan)


def win_figure(table: pd.DataFrame) -> Figure | Missing:
    """Win, tie and loss as shares of the questions."""
    rows = records(table)
    if not rows:
        return Missing("win rates", "no pair of policies was sampled")
    shares = counts(rows, OUTCOMES)
    svg = figures_rows.stacked(
        "win-rates",
        [pair(row) for row in rows],
        dict(zip(OUTCOMES.values(), shares.tolist(), strict=True)),
        [(0, 1.0), (None, 1.0), (1, 1.0)],
        "percent of questions",
    )
    told = "; ".join(
        f"{pair(row)} {' / '.join(wording.number(share, 'frac') for share in found)}"
        for row, found in zip(rows, shares.T, strict=True)
    )
    caption = f"Win rates by the {wording.named(rows[0]['scorer'])}"
    return Figure(caption, f"First wins / tie / second wins: {told}.", svg)


def strength_figure(table: pd.DataFrame) -> Figure | Missing:
    """How clear the decided questions are, for either side."""
    known = table.dropna(subset=[*STRENGTHS])
    rows = records(known[known.wins_n + known.losses_n > 0])
    if not rows:
        return Missing("strength of preference", "the scorer gives no size of a preference")
    shares = counts(rows, STRENGTHS)
    svg = figures_rows.stacked(
        "win-strength",
        [pair(row) for row in rows],
        dict(zip(STRENGTHS.values(), shares.tolist(), strict=True)),
        LOOKS,
        "percent of questions that are no tie",
    )
    told = "; ".join(
        f"{pair(row)} {wording.number(found[0], 'frac')} and {wording.number(found[-1], 'frac')}"
        for row, found in zip(rows, shares.T, strict=True)
    )
    return Figure(
        "Strength of preference",
        f"Of the questions that are no tie. Much better, first and second: {told}.",
        svg,
    )


def win_table(table: pd.DataFrame, decoding: str) -> Table | Missing:
    """Wins, ties, losses, the rate, the rate at equal length, and the bias of position."""
    title = "Win rates" if decoding == "sampled" else f"Win rates, {decoding}"
    rows = [row for row in records(table) if row["decoding"] == decoding]
    if not rows:
        return Missing(title, f"no pair of policies has {decoding} texts")
    shown = []
    for row in rows:
        numbers = [wording.number(row[name], "n") for name in ("questions_n", *OUTCOMES)]
        values = [
            *cells([wording.named(row["scorer"]), *numbers]),
            *(
                share_cell(row, f"{name}_frac", f"{name}_low", f"{name}_high")
                for name in ("win", "length_controlled")
            ),
            Cell(wording.number(row["position_bias_frac"], "frac")),
        ]
        shown.append((pair(row), values))
    head = ["First : second", "Scorer", "Questions", "Wins", "Ties", "Losses", "Win rate"]
    caption = "Of the first policy; a tie counts one half, so 50 % is no difference. The last "
    caption += "column is how often a scorer that reads two texts at once changes its mind with "
    caption += "their order; a scorer that rates each by itself has none."
    return Table(title, caption, [*head, "Length-controlled", "Position bias"], shown)


def share_cell(row: dict[str, Any], value: str, low: str, high: str) -> Cell:
    """A rate with its limits; toned if they exclude one half."""
    tone = ""
    if not wording.is_missing(row[low]) and not row[low] <= 0.5 <= row[high]:
        tone = "up" if row[low] > 0.5 else "down"
    return Cell(
        wording.number(row[value], "frac"), wording.limits(row[low], row[high], "frac"), tone
    )
