"""Put everything that was measured on one page that a reviewer can read.

    data/*.parquet, reports/*.json, reports/curves/*.csv, models/* (digests only),
    requirements.txt
        -> reports/index.html   self-contained: no script, nothing loaded from elsewhere
           reports/summary.md   the findings for Git
           reports/report.json

The page says plainly where a result did not come out, and where a part is missing. It
shows texts of students (`report.examples` questions drawn, `report.worst_examples` chosen
twice); summary.md shows none.

    dvc repro report
    python -m stages.report
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.base import Table
from schemas.candidates import Candidates
from schemas.comparisons import Comparisons
from schemas.drops import Drops
from schemas.errors import InputError
from schemas.evaluations import Evaluations
from schemas.explanations import API, POLICIES, Explanations
from schemas.fitness import Fitness
from schemas.judgements import Judgements
from schemas.leakage import Leakage
from schemas.pair_audit import PairAudit
from schemas.policy_means import PolicyMeans
from schemas.preferences import Preferences
from schemas.questions import Questions
from schemas.rejects import Rejects
from schemas.scores import Scores
from schemas.seed_comparisons import SeedComparisons
from schemas.synthetic import Synthetic
from schemas.synthetic_questions import SyntheticQuestions
from schemas.win_rates import WinRates
from stages.pure.page import sections
from stages.pure.page.made import read_pins
from stages.pure.page.material import Material
from stages.pure.page.training import TRAININGS
from stages.pure.page.views import gaps
from stages.runtime import reports
from stages.runtime.params import StageParams
from stages.runtime.run import Run, stage_run, start

TEMPLATES = Path(__file__).parent / "templates"
TEMPLATE = "report_template.html.jinja"
TABLES: list[tuple[type[Table], str | None]] = [
    *((schema, None) for schema in (Questions, Rejects, Candidates, Scores, Preferences, Drops)),
    *((schema, None) for schema in (PairAudit, Evaluations, PolicyMeans, Comparisons)),
    *((schema, None) for schema in (SeedComparisons, WinRates)),
    *((Explanations, policy) for policy in POLICIES if policy != API),
    *((Fitness, verifier) for verifier in ("reward", "judge")),
    *((Leakage, item) for item in ("questions", "texts")),
]
MODELS = ["base", "verifier_reward", "verifier_judge", "entailment", "solver", "students"]
MODELS += ["sft", "dpo"]
REPORTS = ["make_sample_course", "prepare_questions", "check_leakage_questions"]
REPORTS += ["check_verifier_reward", "check_verifier_judge"]
REPORTS += ["sample_candidates", "make_negatives", "score_candidates", "build_preferences"]
REPORTS += ["audit_preferences", "check_leakage_texts", "validate", "repeat_training"]
REPORTS += ["evaluate", *TRAININGS]
REPORTS += [f"explain_test_{policy}" for policy in POLICIES if policy != API]
# sections of stages that ask nobody unless a provider is named, with their tables and reports;
# until then the page does not mention them
ASKING: dict[str, dict[str, tuple[type[Table], str | None]]] = {
    "explain_test_api": {"explain_test_api": (Explanations, API)},
    "judge_test_api": {"judge_test_api": (Judgements, None)},
    "synthesize": {
        "synthesize_questions": (SyntheticQuestions, None),
        "synthesize_texts": (Synthetic, None),
    },
}
REQUIREMENTS = Path("requirements.txt")


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: report. Units and sources are commented there."""

    examples: int
    worst_examples: int


def collect(run: Run[Params]) -> Material:
    """Read everything there is. Raises InputError if `evaluate` is no declared parameter."""
    if "evaluate" not in run.given:
        raise InputError("dvc.yaml: stage 'report' does not declare the param 'evaluate'. Add it.")
    asked = [section for section in ASKING if is_asked(run.given.get(section))]
    bought = {name: table for section in asked for name, table in ASKING[section].items()}
    unasked = [
        table for section in ASKING if section not in asked for table in ASKING[section].values()
    ]
    run.reads(*(schema.path(item) for schema, item in unasked if schema.path(item).exists()))
    tables = [*TABLES, *bought.values()]
    paths = [Path("models") / name for name in MODELS]
    paths += [schema.path(item) for schema, item in tables]
    return Material(
        tables={
            schema.path(item).stem: reports.read_table(run, schema, item) for schema, item in tables
        },
        reports={stage: reports.read_report(run, stage) for stage in [*REPORTS, *bought]},
        curves={stage: reports.read_curve(run, stage) for stage in TRAININGS},
        given={k: v for k, v in run.given.items() if k not in ASKING or k in asked},
        digests={path.as_posix(): reports.digest(run, path) for path in paths},
        pins=pins(run),
        examples=run.params.examples,
        worst_examples=run.params.worst_examples,
    )


def is_asked(section: Mapping[str, Any] | None) -> bool:
    """Whether the section of a stage names a provider."""
    return section is not None and section["provider"] != "none"


def pins(run: Run[Params]) -> dict[str, str]:
    """The versions in requirements.txt; none if it is not there."""
    if not REQUIREMENTS.exists():
        return {}
    run.reads(REQUIREMENTS)
    return read_pins(REQUIREMENTS.read_text(encoding="utf-8"))


def render(material: Material) -> str:
    """The page as HTML. Everything but our own SVG is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(TEMPLATE).render(
        title=sections.TITLE,
        opening=sections.opening(material),
        notice=sections.notice(material),
        sections=sections.sections(material),
    )


def main() -> None:
    """Read, compute, write, report."""
    with stage_run("report", Params) as run:
        material = collect(run)
        shown = sections.sections(material)
        parts = [part for section in shown for part in section.parts]
        reports.write_page(run, "index.html", render(material))
        reports.write_page(run, "summary.md", sections.summary(material))
        run.report(
            {
                "figures_n": sum(len(part.figures) for part in parts),
                "examples_n": sum(len(part.examples) for part in parts),
                "not_available_n": len(gaps(shown)),
            }
        )


if __name__ == "__main__":
    start(main)
