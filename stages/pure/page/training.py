"""The part of the page on what was trained: the numbers that a training reported, and curves."""

from collections.abc import Mapping

import pandas as pd

from stages.pure.page import figures, wording
from stages.pure.page.material import Material
from stages.pure.page.views import Cell, Figure, Missing, Part, Table

TRAININGS = {
    "prepare_base": "Base model",
    "train_verifier_reward": "Verifier (reward)",
    "train_verifier_judge": "Judge",
    "train_entailment": "Entailment scorer",
    "train_solver": "Solver",
    "train_students": "Student models",
    "train_sft": "SFT",
    "train_dpo": "DPO",
}
TITLES = TRAININGS | {
    "check_verifier_reward": "Verifier (reward)",
    "check_verifier_judge": "Judge",
    "check_leakage_questions": "Questions",
    "check_leakage_texts": "Texts",
}
RUNS = ["fold", "student"]  # columns that tell the runs of one training apart
PANELS = {  # what is drawn of a training log, if it is there: title -> columns
    "loss": ["loss", "eval_loss"],
    "loss of each student": ["student_0_loss", "student_1_loss"],
    "reward margin": ["rewards/margins"],
    "share of pairs in order": ["rewards/accuracies"],
    "log-probability": ["logps/chosen", "logps/rejected"],
}


def metrics_table(
    material: Material, stages: list[str], caption: str, told: str = ""
) -> Table | Missing:
    """The numbers of several reports side by side; limits stand below their number.

    told: what the caption says beside what is missing.
    """
    found = {stage: material.reports[stage] for stage in stages}
    numbers = {s: body["metrics"] for s, body in found.items() if not isinstance(body, str)}
    lost = [f"{title_of(s)} not available: {why}" for s, why in found.items() if s not in numbers]
    if not numbers:
        return Missing(caption, "; ".join(str(why) for why in found.values()))
    names = sorted(set().union(*numbers.values()))
    limits = {limit for name in names for limit in limit_names(name)}
    rows = [
        (wording.measure(name)[0], [number_cell(values, name) for values in numbers.values()])
        for name in names
        if name not in limits
    ]
    text = " ".join(filter(None, [told, "; ".join(lost)]))
    return Table(caption, text, ["Number", *map(title_of, numbers)], rows)


def title_of(stage: str) -> str:
    """A stage's name on the page, or its own."""
    return TITLES.get(stage, stage)


def limit_names(name: str) -> tuple[str, str]:
    """What the limits of the metric `name` are called: x_frac has x_low_frac, x_high_frac."""
    unit = wording.measure(name)[1]
    stem = name.removesuffix(f"_{unit}")
    return f"{stem}_low_{unit}", f"{stem}_high_{unit}"


def number_cell(numbers: Mapping[str, float], name: str) -> Cell:
    """A metric with its unit's digits, a dash if it is not there; a difference with its sign."""
    unit, is_signed = wording.measure(name)[1], "_minus_" in name
    value, low, high = (numbers.get(n) for n in (name, *limit_names(name)))
    text = (wording.change if is_signed else wording.number)(value, unit, after=True)
    return Cell(text, wording.limits(low, high, unit, signed=is_signed))


def training(material: Material) -> Part:
    """One picture per training and panel."""
    parts: list[Figure | Missing] = []
    for stage, title in TRAININGS.items():
        curve = material.curves[stage]
        if isinstance(curve, str):
            parts.append(Missing(f"curve of {title}", curve))
        else:
            parts += curve_figures(stage, title, curve)
    return Part("How training went", figures=parts, is_folded=True)


def curve_figures(stage: str, title: str, curve: pd.DataFrame) -> list[Figure | Missing]:
    """The panels that the training log has columns for; other columns are named."""
    drawn: list[Figure | Missing] = []
    used = {"step", "epoch", *RUNS}
    for panel, wanted in PANELS.items():
        columns = [c for c in wanted if c in curve and curve[c].notna().any()]
        if "step" not in curve or not columns:
            continue
        used |= set(columns)
        series: dict[str, tuple[list[float], list[float]]] = {}
        for fold, rows in by_fold(curve):
            series |= {f"{c}{fold}": (rows.step.tolist(), rows[c].tolist()) for c in columns}
        name = f"curve-{stage}-{panel}".replace("_", "-").replace(" ", "-")
        ends = []
        for shown, (_, values) in series.items():
            known = [value for value in values if not wording.is_missing(value)]
            ends += [f"{shown} from {short(known[0])} to {short(known[-1])}"] if known else []
        told = f"{wording.title('; '.join(ends))}."
        svg = figures.lines(name, dict(list(series.items())[:4]), "step", panel)
        drawn.append(Figure(f"{title}: {panel}", told, svg))
    if not drawn:
        names = ", ".join(map(str, curve.columns)) or "none"
        return [Missing(f"curve of {title}", f"no known column among: {names}")]
    return drawn


def short(value: float) -> str:
    """Three significant digits."""
    return f"{value:.3g}".replace("-", wording.MINUS)


def by_fold(curve: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The log of each fold of a cross-fitted training, of each student, or the whole log."""
    of = next((name for name in RUNS if name in curve), None)
    if of is None:
        return [("", curve)]
    return [(f", {of} {value}", rows) for value, rows in curve.groupby(of)]
