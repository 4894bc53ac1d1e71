"""Section 2 of the page: can one trust the verifier, and the scorers beside it?"""

from typing import Any

from schemas.negatives import KINDS
from schemas.scores import ROLES
from stages.pure import page_fitness, wording
from stages.pure.catalogue import METRICS
from stages.pure.material import Material
from stages.pure.page_means import heading
from stages.pure.page_training import metrics_table
from stages.pure.views import Cell, Missing, Part, Section, Table, cells

READERS = ["train_solver", "train_students"]


def trust(material: Material) -> Section:
    """Gate and fitness of verifier and judge, solver and students, and negatives."""
    return Section(
        "trust",
        "Can I trust the verifier?",
        [
            page_fitness.gate(material),
            page_fitness.above_baselines(material),
            page_fitness.measured(material),
            readers(material),
            Part(
                "Do the scorers see what is wrong on purpose?",
                tables=[kind_table(material.reports["score_candidates"])],
            ),
        ],
    )


def readers(material: Material) -> Part:
    """Solver and students with and without an explanation, beside chance."""
    caption = "A reader that has not read the facts is near chance without an explanation, so "
    caption += "what it gains with one comes from the text."
    return Part(
        "Do solver and students need the explanation?",
        tables=[metrics_table(material, READERS, "Accuracy of solver and students", caption)],
    )


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
