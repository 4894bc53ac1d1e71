"""Section 2 of the page: can one trust the verifier, and the scorers beside it?"""

from collections.abc import Mapping
from typing import Any

from schemas.negatives import KINDS
from schemas.scores import ROLES
from schemas.synthetic import FLAWED, ORIGIN
from stages.pure.catalogue import METRICS
from stages.pure.page import fitness, reliability, wording
from stages.pure.page.material import Material
from stages.pure.page.means import heading
from stages.pure.page.views import Cell, Findings, Missing, Part, Section, Table, cells

READERS = {"train_solver": "Solver", "train_students": "Student models"}
SHOWN = {  # metric of a reader -> what it is shown
    "accuracy_frac": "the explanation",
    "masked_accuracy_frac": "the explanation, without the key's text",
    "misled_accuracy_frac": "another question's explanation",
    "without_accuracy_frac": "no explanation",
    "stem_accuracy_frac": "only what is likest to the stem",
    "chance_frac": "nothing (chance)",
}


def trust(material: Material) -> Section:
    """Gate and fitness of verifier and judge, solver and students, and negatives."""
    return Section(
        "trust",
        "Can I trust the verifier?",
        [
            fitness.gate(material),
            fitness.above_baselines(material),
            reliability.measured(material),
            readers(material),
            Part(
                "Do the scorers see what is wrong on purpose?",
                tables=[kind_table(material.reports["score_candidates"])],
            ),
        ],
    )


def readers(material: Material) -> Part:
    """Solver and students with and without an explanation, beside chance."""
    found = {stage: material.reports[stage] for stage in READERS}
    numbers = {
        READERS[s]: body["metrics"] for s, body in found.items() if not isinstance(body, str)
    }
    missing = [Missing(READERS[s], body) for s, body in found.items() if isinstance(body, str)]
    return Part(
        "Do solver and students need the explanation?",
        ["They answer questions that they have not seen. Without an explanation they must be near "
         "chance, and so with another question's; what they gain with the own one is in the text."],
        findings=[Findings("Accuracy", [reader_sentence(*each) for each in numbers.items()])]
        if numbers
        else [],
        tables=[*([reader_table(numbers)] if numbers else []), *missing],
    )  # fmt: skip


def reader_sentence(name: str, numbers: Mapping[str, float]) -> tuple[str, str]:
    """Accuracy with and without the explanation, and chance."""
    own, without, chance = (
        wording.number(numbers.get(key), "frac")
        for key in ("accuracy_frac", "without_accuracy_frac", "chance_frac")
    )
    return "none", f"{name}: {own} with the explanation, {without} without; chance is {chance}."


def reader_table(numbers: Mapping[str, Mapping[str, float]]) -> Table:
    """What is shown by who reads; single students after their mean."""
    columns: dict[str, dict[str, float]] = {}
    for reader, found in numbers.items():
        columns[reader] = dict(found)
        for key in sorted(found):
            name = key.removesuffix("_without_accuracy_frac")
            if name != key:  # of one student of several
                cut = len(name) + 1
                columns[name] = {k[cut:]: v for k, v in found.items() if k.startswith(f"{name}_")}
    shown = {key: label for key, label in SHOWN.items() if any(key in c for c in columns.values())}
    rows = [
        (label, cells(wording.number(column.get(key), "frac") for column in columns.values()))
        for key, label in shown.items()
    ]
    caption = "Share of held-out questions answered with the key."
    return Table("Accuracy of solver and students", caption, ["What is shown", *columns], rows)


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
    shown = {kind for _, kind in by_place}
    kinds = [k for k in ("student", ORIGIN, "sft", *KINDS, *FLAWED) if k in shown]
    counts = {row["kind"]: row["texts_n"] for row in found}
    rows = [("Texts", cells(["", *(wording.number(counts[kind], "n") for kind in kinds)]))]
    for scorer in sorted(role_of, key=lambda name: (ROLES.index(role_of[name]), name)):
        means = [mean_cell(by_place.get((scorer, kind))) for kind in kinds]
        rows.append((heading(scorer), [Cell(wording.role(role_of[scorer])), *means]))
    caption = (
        "Mean of each scorer. The kinds after own samples are wrong on purpose: a scorer that "
    )
    caption += "knows right from wrong finds them worse than students' texts and own samples."
    head = ["Scorer", "Role", *(wording.title(wording.named(kind)) for kind in kinds)]
    return Table(what, caption, head, rows)


def mean_cell(row: dict[str, Any] | None) -> Cell:
    """A mean, with the number of texts that have no value as note."""
    if row is None:
        return Cell(wording.NONE)
    lost = row["texts_n"] - row["scored_n"]
    text = wording.number(row["mean"], METRICS[row["scorer"]].unit)
    return Cell(text, f"{lost} without value" if lost else "")
