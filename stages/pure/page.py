"""Everything that the stages left -> the sections of the page, and its summary in Markdown."""

from collections.abc import Mapping
from typing import Any

from stages.pure import (
    page_data,
    page_pairs,
    page_results,
    page_scorers,
    page_texts,
    page_training,
    wording,
)
from stages.pure.material import Material
from stages.pure.views import Cell, Missing, Section, Table, cells

TITLE = "Explanations of multiple-choice questions, learned from ratings"
PROFILE = ["base", "dpo", "encoder", "generation", "model", "sft", "verifier"]  # its sections


def sections(material: Material) -> list[Section]:
    """The page from top to bottom, below its opening."""
    return [
        page_results.results(material),
        page_results.courses(material),
        page_scorers.scorers(material),
        page_training.training(material),
        page_pairs.pairs(material),
        page_data.data(material),
        page_texts.texts(material),
        page_texts.rounds(material),
        made(material),
    ]


def opening(material: Material) -> list[str]:
    """What this is and where the questions come from, in paragraphs."""
    questions = material.tables["questions"]
    text = (
        "A language model learned from students' explanations of multiple-choice questions (SFT) "
    )
    text += "and then from pairs of explanations that a learned verifier rated apart (DPO). It is "
    text += "measured on questions that no training has seen, beside the students' own texts and "
    text += "ILearner, which asks the SFT model again until the verifier is content."
    if isinstance(questions, str):
        return [text, f"The questions are not available: {questions}"]
    rated = sorted(set(questions.rated_object))
    origin = f"The questions come from {questions.course.nunique()} course(s) with "
    origin += f"{wording.number(len(questions), 'n')} usable rows; in these exports students rated "
    origin += f"the {' or the '.join(rated)}"
    origin += ", not the explanation alone." if "question" in rated else "."
    return [text, origin]


def notice(material: Material) -> tuple[str, str]:
    """Title and text of the box that says what the numbers are worth."""
    control = material.given.get("make_sample_course", {}).get("shuffle_ratings", False)
    if material.is_sample and control:
        return (
            "Control: the ratings were shuffled",
            "The data are invented and their ratings belong to other rows, so nothing about "
            "quality can be learned from them. A gain here would be a fault of the method. "
            + reach(material),
        )
    if material.is_sample:
        return (
            "Sample course: invented data",
            "Questions, explanations and ratings were made by a program from textbook facts, with "
            "known reasons for good ratings. The results show whether the pipeline recovers that "
            "planted preference on questions it has not seen. They say nothing about students. "
            + reach(material),
        )
    return (
        "No oracle",
        "For these questions nothing says which explanation is correct, so correctness is not "
        "measured. The held-out scorers are models and rules; people have not judged the texts.",
    )


def reach(material: Material) -> str:
    """What a result on the sample course reaches: questions, not knowledge, not trainings."""
    text = "Intervals cover questions, not trainings: each model was trained once."
    given = material.given
    is_trained_here = given.get("model", {}).get("name") == "trained"
    background = given.get("prepare_base", {}).get("background")
    if is_trained_here and background:
        told = f"The base model has read every fact as a bare statement ({background}), also those "
        told += "that test questions ask for. So the test measures explaining unseen questions "
        told += "about facts that were read, not unseen knowledge. "
        text = told + text
    return text


def made(material: Material) -> Section:
    """Parameters, digests of the models, and every number that a stage reported."""
    digests = [(name, cells([value])) for name, value in sorted(material.digests.items())]
    return Section(
        "made",
        "How was it made?",
        ["A digest is the one that dvc.lock holds: the same digest means the same bytes."],
        tables=[Table("Models by digest", "", ["Model", "Digest"], digests)],
        folded=[
            *settings(material.given),
            *(
                page_training.metrics_table(material, [stage], f"Numbers of {stage}")
                for stage in sorted(material.reports)
            ),
        ],
    )


def settings(given: Mapping[str, Any]) -> list[Table]:
    """What decides results (params.yaml), and what the hardware decides (the profile)."""

    def table(title: str, caption: str, wanted: Mapping[str, Any]) -> Table:
        rows = [(name, cells([value])) for name, value in flatten(wanted)]
        return Table(title, caption, ["Parameter", "Value"], rows)

    profile = given.get("profile", "")
    science = {name: value for name, value in given.items() if name not in PROFILE}
    hardware = {name: value for name, value in given.items() if name in PROFILE}
    return [
        table("All parameters", "From params.yaml.", science),
        table("All values of the profile", f"From stages/profiles/{profile}.yaml.", hardware),
    ]


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested parameters as dotted names, sorted."""
    rows: list[tuple[str, str]] = []
    for name in sorted(values):
        value = values[name]
        if isinstance(value, Mapping) and value:
            rows += flatten(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, wording.as_text(value)))
    return rows


def summary(material: Material) -> str:
    """The findings as Markdown for Git: numbers, and no text of a student."""
    head, text = notice(material)
    lines = ["# Results", "", f"**{head}.** {text}", ""]
    results = page_results.results(material)
    for found in results.findings:
        lines += [f"{found.title}:", ""]
        lines += [*(f"- {sentence}" for _, sentence in found.sentences), ""]
    for table in results.tables[:3]:
        lines += [*markdown(table), ""]
    lines += ["The full report is `reports/index.html`.", ""]
    return "\n".join(lines)


def markdown(table: Table | Missing) -> list[str]:
    """A table as lines of Markdown, notes in brackets."""
    if isinstance(table, Missing):
        return [f"{table.what}: not available ({table.why})"]

    def cell(part: Cell) -> str:
        return f"{part.text} ({part.note})" if part.note else part.text

    lines = [
        f"**{table.title}.** {table.caption}",
        "",
        row(table.head),
        row(["---"] * len(table.head)),
    ]
    return lines + [row([name, *map(cell, values)]) for name, values in table.rows]


def row(values: Any) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(str(value).replace("|", "\\|") for value in values) + " |"
