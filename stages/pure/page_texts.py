"""The part of the page to be read: explanations side by side, and ILearner's rounds."""

import hashlib
from typing import Any

import pandas as pd

from stages.pure import prompts, wording
from stages.pure.catalogue import METRICS
from stages.pure.material import Material
from stages.pure.page_means import ORDER
from stages.pure.views import Example, Missing, Section, Table, cells

WRITTEN = [f"explanations_{policy}" for policy in ORDER]


def texts(material: Material) -> Section:
    """Questions drawn by a digest of their id, with what every policy says of them."""
    found = material.show(
        "examples", ["questions"], lambda questions: examples(questions, material)
    )
    missing = [
        Missing(name.replace("_", " of "), str(table))
        for name in WRITTEN
        if isinstance(table := material.tables[name], str)
    ]
    if isinstance(found, Missing):
        missing.append(found)
    return Section(
        "examples",
        "What do the explanations look like?",
        ["The questions are drawn by a digest of their id, not chosen. Texts are as written."],
        tables=missing,
        examples=found if isinstance(found, list) else [],
    )


def examples(questions: pd.DataFrame, material: Material) -> list[Example]:
    """The first test questions by digest that a policy explained."""
    tables = [t for name in WRITTEN if not isinstance(t := material.tables[name], str)]
    if not tables:
        return []
    written = pd.concat([t[t.is_final & (t.decoding != "greedy")] for t in tables])
    test = prompts.distinct_questions(questions[questions.split == "test"])
    drawn = sorted(set(test.question_id) & set(written.question_id), key=digest)
    rows: list[Any] = test.set_index("question_id", drop=False).loc[drawn].to_dict("records")
    return [example(row, written, material) for row in rows[: material.examples]]


def digest(identifier: str) -> str:
    """An order that nobody chose."""
    return hashlib.sha256(identifier.encode()).hexdigest()


def example(question: dict[str, Any], written: pd.DataFrame, material: Material) -> Example:
    """One question and the first text of each policy, with what the scorers say of it."""
    of_question = written[written.question_id == question["question_id"]]
    first = of_question.sort_values("explanation_index").drop_duplicates("policy")
    said = []
    for row in sorted(first.to_dict("records"), key=lambda row: ORDER.index(row["policy"])):
        text = row["explanation"].strip() or "(empty)"
        said.append((wording.POLICY[row["policy"]], text, remarks(row, material)))
    options = [
        (letter, text, letter == question["key"])
        for letter, text in zip(prompts.LETTERS, prompts.options(question), strict=False)
    ]
    return Example(question["stem"], question["course"], options, said)


def remarks(row: dict[str, Any], material: Material) -> str:
    """The headline values of one text in a line."""
    table = material.tables["evaluations"]
    if isinstance(table, str):
        return "not evaluated"
    wanted = pd.Series(True, index=table.index)
    for column in ("policy", "question_id", "decoding", "explanation_index"):
        wanted &= table[column] == row[column]
    values = table[wanted].set_index("metric").value.to_dict()
    known = [m for m in material.headline if not wording.is_missing(values.get(m))]
    return " · ".join(remark(metric, values[metric]) for metric in known)


def remark(metric: str, value: float) -> str:
    """One value in a few words."""
    label, unit = METRICS[metric].label, METRICS[metric].unit
    if metric == "oracle":
        return "correct" if value == 1 else "not correct"
    if unit in ("words", "tokens"):
        return f"{value:.0f} {unit if value != 1 else unit.removesuffix('s')}"
    return f"{label} {wording.number(value, unit)}"


def rounds(material: Material) -> Section:
    """What ILearner's loop did: texts per round, and how the verifier rated them."""
    return Section(
        "rounds",
        "How many rounds did ILearner take?",
        tables=[material.show("rounds of ILearner", ["explanations_ilearner"], round_table)],
    )


def round_table(explanations: pd.DataFrame) -> Table:
    """One row per decoding and round, 0 being the first answer."""
    counted = explanations.assign(words=[len(text.split()) for text in explanations.explanation])
    rows = []
    for (decoding, number), group in counted.groupby(["decoding", "round_index"]):
        values = [
            wording.number(len(group), "n"),
            wording.number(group.is_final.sum(), "n"),
            wording.number(group.verifier_rating.mean(), "stars"),
            wording.number(group.verifier_rating[group.is_final].mean(), "stars"),
            wording.number(group.words.mean(), "words"),
        ]
        rows.append((f"{decoding}, round {number}", cells(values)))
    caption = "Round 0 is the first answer. The loop stops when the verifier is "
    caption += "content, so the ratings of final texts are high by construction."
    head = ["Round", "Texts", "Final here", "Verifier (stars)", "Verifier, final ones", "Words"]
    return Table("Texts per round", caption, head, rows)
