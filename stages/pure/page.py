"""Everything that the stages left -> the sections of the page, and its summary in Markdown."""

from collections.abc import Mapping
from typing import Any

from stages.pure import page_data, page_results, page_texts, page_training, wording
from stages.pure.material import Material
from stages.pure.views import Cell, Missing, Section, Table, cells

TITLE = "Explanations of multiple-choice questions, learned from ratings"


def sections(material: Material) -> list[Section]:
    """The page from top to bottom, below its opening."""
    return [
        page_results.results(material),
        page_results.courses(material),
        page_training.scorers(material),
        page_training.training(material),
        page_data.pairs(material),
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
            "quality can be learned from them. A gain here would be a fault of the method.",
        )
    if material.is_sample:
        return (
            "Sample course: invented data",
            "Questions, explanations and ratings were made by a program from textbook facts, with "
            "known reasons for good ratings. The results show whether the pipeline recovers that "
            "planted preference on questions it has not seen. They say nothing about students.",
        )
    return (
        "No oracle",
        "For these questions nothing says which explanation is correct, so correctness is not "
        "measured. The held-out scorers are models and rules; people have not judged the texts.",
    )


def made(material: Material) -> Section:
    """Parameters, digests of the models, and every number that a stage reported."""
    parameters = [(name, cells([value])) for name, value in flatten(material.given)]
    digests = [(name, cells([value])) for name, value in sorted(material.digests.items())]
    return Section(
        "made",
        "How was it made?",
        ["A digest is the one that dvc.lock holds: the same digest means the same bytes."],
        tables=[Table("Models by digest", "", ["Model", "Digest"], digests)],
        folded=[
            Table("All parameters", "", ["Parameter", "Value"], parameters),
            *(
                page_training.metrics_table(material, [stage], f"Numbers of {stage}")
                for stage in sorted(material.reports)
            ),
        ],
    )


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
