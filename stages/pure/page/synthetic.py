"""The part of the page on what a large language model was asked for; nothing by default."""

from typing import Any

from schemas.synthetic import KINDS
from schemas.synthetic_questions import QUESTION_KINDS, QUESTION_REASONS
from stages.pure.page import wording
from stages.pure.page.material import Material
from stages.pure.page.views import Missing, Part, Table, cells

STAGES = ["synthesize_questions", "synthesize_texts"]
TITLE = "Synthetic questions and texts"
PROBES = {  # prefix in reports/score_candidates.json -> what the verifier had to match
    "aia": "rationale of the key",
    "mia": "rationale of a wrong option",
}


def bought(material: Material) -> list[Part]:
    """What was asked for, what is used of it, what it cost, and whether the verifier can tell."""
    reports = [material.reports[stage] for stage in STAGES if stage in material.reports]
    if not reports:
        return []
    if missing := [report for report in reports if isinstance(report, str)]:
        return [Part(TITLE, tables=[Missing(TITLE, missing[0])])]
    found = [report["metrics"] for report in reports if not isinstance(report, str)]
    tables = [made(found), drops(found)]
    scored = material.reports["score_candidates"]
    if isinstance(scored, dict) and "aia_options_n" in scored["metrics"]:
        tables.append(probes(scored["metrics"]))
    return [Part(TITLE, tables=tables)]


def added(reports: list[dict[str, Any]], name: str) -> float:
    """A number of both reports, added up."""
    return sum(numbers.get(name, 0) for numbers in reports)


def made(reports: list[dict[str, Any]]) -> Table:
    """Questions and texts per kind."""
    rows = [
        (
            wording.named(kind),
            cells([wording.number(added(reports, f"{kind}{end}_n"), "n") for end in ("", "_used")]),
        )
        for kind in [*QUESTION_KINDS, *KINDS]
        if added(reports, f"{kind}_n")
    ]
    masked = {name for numbers in reports for name in numbers if name.startswith("masked_")}
    found = [f"{int(added(reports, name))} {name.split('_')[1]}" for name in sorted(masked)]
    told = f"They cost {wording.number(added(reports, 'cost_usd'), 'usd', after=True)}. "
    told += f"Masked in what was sent: {', '.join(found) or 'nothing'}. What is used goes through "
    told += "the same scorers as every text; a question is learned by SFT before."
    return Table("Of a language model", told, ["kind", "asked for", "used"], rows)


def drops(reports: list[dict[str, Any]]) -> Table:
    """Why questions and texts are not used before anything scored them."""
    rows = [
        (wording.named(reason), cells([wording.number(added(reports, f"{reason}_n"), "n")]))
        for reason in QUESTION_REASONS
        if added(reports, f"{reason}_n")
    ]
    return Table("Not used", "The first reason that holds.", ["reason", "number"], rows)


def probes(numbers: dict[str, Any]) -> Table:
    """AIA and MIA."""
    rows = [
        (
            label,
            cells(
                [
                    wording.number(numbers.get(f"{name}_frac"), "frac"),
                    wording.number(numbers.get(f"{name}_chance_frac"), "frac"),
                    wording.number(numbers[f"{name}_options_n"], "n"),
                ]
            ),
        )
        for name, label in PROBES.items()
    ]
    told = "Asked as if an option were the key: how often the verifier rates that option's own "
    told += "rationale above those of the other options (MalAlgoQA, arXiv 2407.00938)."
    heads = ["The verifier knows the", "matched", "chance", "options"]
    return Table("Which rationale is whose", told, heads, rows)
