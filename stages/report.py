"""Put everything that was measured on one page that a reviewer can read.

    data/*.parquet, reports/*.json, reports/curves/*.csv, models/* (digests only)
        -> reports/index.html   self-contained: no script, nothing loaded from elsewhere
           reports/summary.md   the findings for Git
           reports/report.json

The page says plainly where a result did not come out, and where a part is missing. It
shows texts of students (`report.examples` questions); summary.md shows none.

    dvc repro report
    python -m stages.report
"""

from dataclasses import dataclass
from pathlib import Path

from schemas.base import Table
from schemas.candidates import Candidates
from schemas.comparisons import Comparisons
from schemas.drops import Drops
from schemas.errors import InputError
from schemas.evaluations import Evaluations
from schemas.explanations import POLICIES, Explanations
from schemas.policy_means import PolicyMeans
from schemas.preferences import Preferences
from schemas.questions import Questions
from schemas.rejects import Rejects
from stages.pure import page
from stages.pure.material import Material
from stages.pure.page_training import TRAININGS
from stages.pure.views import gaps
from stages.runtime import reports
from stages.runtime.params import StageParams
from stages.runtime.run import Run, stage_run, start

TEMPLATES = Path(__file__).parent / "templates"
TEMPLATE = "report_template.html.jinja"
TABLES: list[type[Table]] = [Questions, Rejects, Candidates, Preferences, Drops]
TABLES += [Evaluations, PolicyMeans, Comparisons]
MODELS = ["base", "verifier_reward", "verifier_judge", "entailment", "sft", "dpo"]
REPORTS = ["make_sample_course", "prepare_questions", "sample_candidates", "make_negatives"]
REPORTS += ["score_candidates", "build_preferences", "evaluate", *TRAININGS]
REPORTS += [f"explain_test_{policy}" for policy in POLICIES]


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: report. Units and sources are commented there."""

    examples: int


def collect(run: Run[Params]) -> Material:
    """Read everything there is. Raises InputError if `evaluate` is no declared parameter."""
    if "evaluate" not in run.given:
        raise InputError("dvc.yaml: stage 'report' does not declare the param 'evaluate'. Add it.")
    tables = {schema.table_name(): reports.read_table(run, schema) for schema in TABLES}
    for policy in POLICIES:
        name = f"{Explanations.table_name()}_{policy}"
        tables[name] = reports.read_table(run, Explanations, policy)
    return Material(
        tables=tables,
        reports={stage: reports.read_report(run, stage) for stage in REPORTS},
        curves={stage: reports.read_curve(run, stage) for stage in TRAININGS},
        given=run.given,
        digests={name: reports.digest(run, Path("models") / name) for name in MODELS},
        examples=run.params.examples,
    )


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
        title=page.TITLE,
        opening=page.opening(material),
        notice=page.notice(material),
        sections=page.sections(material),
    )


def main() -> None:
    """Read, compute, write, report."""
    with stage_run("report", Params) as run:
        material = collect(run)
        sections = page.sections(material)
        reports.write_page(run, "index.html", render(material))
        reports.write_page(run, "summary.md", page.summary(material))
        run.report(
            {
                "figures_n": sum(len(section.figures) for section in sections),
                "examples_n": sum(len(section.examples) for section in sections),
                "not_available_n": len(gaps(sections)),
            }
        )


if __name__ == "__main__":
    start(main)
