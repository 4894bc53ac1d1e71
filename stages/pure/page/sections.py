"""Everything that the stages left -> the sections of the page, and its summary in Markdown."""

from typing import Any

from stages.pure.page import (
    audit,
    data,
    failures,
    fitness,
    made,
    pairs,
    results,
    trust,
    wording,
)
from stages.pure.page.differences import trainings_n
from stages.pure.page.material import Material
from stages.pure.page.views import Cell, Findings, Missing, Part, Section, Table

TITLE = "Explanations of multiple-choice questions, learned from ratings"


def sections(material: Material) -> list[Section]:
    """The six questions that the page answers, in order."""
    return [
        results.results(material),
        trust.trust(material),
        pairs.pairs(material),
        failures.failures(material),
        data.dropped(material),
        made.made(material),
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
    """What a result on the sample course reaches: questions, not knowledge; which trainings."""
    many = trainings_n(material.tables["comparisons"])
    text = "Intervals cover questions, not trainings: each model was trained once."
    if many > 1:
        text = f"Intervals of DPO against SFT cover questions and {many} trainings."
    given = material.given
    is_trained_here = given.get("model", {}).get("name") == "trained"
    background = given.get("prepare_base", {}).get("background")
    if is_trained_here and background:
        told = f"The base model has read every fact as a bare statement ({background}), also those "
        told += "that test questions ask for. So the test measures explaining unseen questions "
        told += "about facts that were read, not unseen knowledge. "
        text = told + text
    return text


def summary(material: Material) -> str:
    """The findings as Markdown for Git: numbers, and no text of a student."""
    head, text = notice(material)
    lines = ["# Results", "", f"**{head}.** {text}", ""]
    for part in filter(lambda part: part.findings or part.tables, told(material)):
        lines += [f"## {part.title}", ""]
        for found in part.findings:
            lines += [*bullets(found), ""]
        for table in part.tables:
            lines += [*markdown(table), ""]
    lines += ["The full report is `reports/index.html`.", ""]
    return "\n".join(lines)


def told(material: Material) -> list[Part]:
    """The parts of the page that the summary repeats; they hold numbers only."""
    measured = results.results(material)
    return [*measured.parts, fitness.gate(material), audit.audit(material)]


def bullets(found: Findings) -> list[str]:
    """Findings as a list in Markdown."""
    return [f"### {found.title}", "", *(f"- {sentence}" for _, sentence in found.sentences)]


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
