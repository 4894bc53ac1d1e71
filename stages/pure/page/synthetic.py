"""The part of the page on texts that a large language model was asked for; none by default."""

from typing import Any

from schemas.synthetic import KINDS, REASONS
from stages.pure.page import wording
from stages.pure.page.material import Material
from stages.pure.page.views import Missing, Part, Table, cells

STAGE = "synthesize"
TITLE = "Synthetic texts"
PROBES = {  # prefix in reports/score_candidates.json -> what the verifier had to match
    "aia": "rationale of the key",
    "mia": "rationale of a wrong option",
}


def bought(material: Material) -> list[Part]:
    """What was asked for, what is used of it, what it cost, and whether the verifier can tell."""
    if STAGE not in material.reports:
        return []
    report = material.reports[STAGE]
    if isinstance(report, str):
        return [Part(TITLE, tables=[Missing(TITLE, report)])]
    numbers = report["metrics"]
    tables = [texts(numbers), drops(numbers)]
    scored = material.reports["score_candidates"]
    if isinstance(scored, dict) and "aia_options_n" in scored["metrics"]:
        tables.append(probes(scored["metrics"]))
    return [Part(TITLE, tables=tables)]


def texts(numbers: dict[str, Any]) -> Table:
    """Texts per kind."""
    rows = [
        (
            wording.named(kind),
            cells([wording.number(numbers[f"{kind}{end}_n"], "n") for end in ("", "_used")]),
        )
        for kind in KINDS
        if numbers[f"{kind}_n"]
    ]
    masked = {name: n for name, n in numbers.items() if name.startswith("masked_")}
    told = f"They cost {wording.number(numbers['cost_usd'], 'usd', after=True)}. "
    found = [f"{int(n)} {name.split('_')[1]}" for name, n in sorted(masked.items())]
    told += f"Masked in what was sent: {', '.join(found) or 'nothing'}. What is used goes through "
    told += "the same scorers as every text."
    return Table("Texts of a language model", told, ["kind", "asked for", "used"], rows)


def drops(numbers: dict[str, Any]) -> Table:
    """Why texts are not used before anything scored them."""
    rows = [
        (wording.named(reason), cells([wording.number(numbers[f"{reason}_n"], "n")]))
        for reason in REASONS
        if numbers.get(f"{reason}_n")
    ]
    return Table("Not used", "The first reason that holds.", ["reason", "texts"], rows)


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
