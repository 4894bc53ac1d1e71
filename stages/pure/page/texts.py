"""The parts of the page to be read: the worst, the disputed and the drawn explanations."""

import hashlib
from collections.abc import Callable
from typing import Any

import pandas as pd

from stages.pure import prompts
from stages.pure.catalogue import METRICS
from stages.pure.page import wording
from stages.pure.page.material import Material
from stages.pure.page.means import ORDER
from stages.pure.page.views import Example, Missing, Part, Table, cells

WRITTEN = [f"explanations_{policy}" for policy in ORDER]
TEXT = ["policy", "question_id", "decoding", "explanation_index"]
Choice = Callable[[pd.DataFrame], list[str]]


def worst(material: Material) -> Part:
    """DPO's texts that the judge likes least."""

    def lowest(stars: pd.DataFrame) -> list[str]:
        dpo = stars[stars.policy == "dpo"].sort_values(["value", "question_id"])
        return dpo.question_id.tolist()[: material.worst_examples]

    return judged(material, "Worst by the judge", lowest, "The texts of DPO that the judge gives "
                  "the fewest stars, with what the others say of the same question.")  # fmt: skip


def disagreements(material: Material) -> Part:
    """Questions on which the judge likes one model's text and not another's."""

    def widest(stars: pd.DataFrame) -> list[str]:
        models = stars[stars.policy != "student"]
        wide = models.groupby("question_id").value.agg(lambda v: v.max() - v.min())
        ordered = (
            wide.rename("gap")
            .reset_index()
            .sort_values(["gap", "question_id"], ascending=[False, True])
        )
        return ordered[ordered.gap > 0].question_id.tolist()[: material.worst_examples]

    told = "The questions on which the models' texts are farthest apart by the judge; students' "
    told += "texts do not count here."
    return judged(material, "Where policies disagree most", widest, told)


def judged(material: Material, title: str, choose: Choice, told: str) -> Part:
    """Questions chosen by the judge's stars of the first text of each policy."""

    def build(questions: pd.DataFrame, evaluations: pd.DataFrame) -> list[Example] | Missing:
        texts = first_texts(material)
        judge = evaluations[evaluations.metric == "judge"].dropna(subset=["value"])
        keys = [name for name in (*TEXT, "training_seed") if name in texts and name in judge]
        stars = texts[keys].merge(judge[[*keys, "value"]], on=keys)
        if stars.empty:
            return Missing(title, "no text that the judge has rated is here")
        return [example(row, texts, material) for row in of_test(questions, choose(stars))]

    found = material.show(title, ["questions", "evaluations"], build)
    is_missing = isinstance(found, Missing)
    return Part(
        title, [told], tables=[found] if is_missing else [], examples=[] if is_missing else found
    )


def drawn(material: Material) -> Part:
    """Questions drawn by a digest of their id, with what every policy says of them."""

    def build(questions: pd.DataFrame) -> list[Example]:
        texts = first_texts(material)
        test = questions[questions.split == "test"]
        ids = sorted(set(test.question_id) & set(texts.question_id), key=digest)
        return [
            example(row, texts, material) for row in of_test(questions, ids[: material.examples])
        ]

    found = material.show("examples", ["questions"], build)
    missing = [
        Missing(name.replace("_", " of "), str(table))
        for name, table in written(material).items()
        if isinstance(table, str)
    ]
    return Part(
        "Texts that nobody chose",
        ["The questions are drawn by a digest of their id, not chosen. Texts are as written."],
        tables=[*missing, found] if isinstance(found, Missing) else missing,
        examples=[] if isinstance(found, Missing) else found,
    )


def written(material: Material) -> dict[str, pd.DataFrame | str]:
    """The explanations of each policy; an API's only where one was named."""
    return {name: material.tables[name] for name in WRITTEN if name in material.tables}


def first_texts(material: Material) -> pd.DataFrame:
    """The first final text of each policy on each question, not greedy; of the first training."""
    tables = [t for t in written(material).values() if not isinstance(t, str)]
    if not tables:
        return pd.DataFrame(columns=[*TEXT, "explanation"])
    found = pd.concat([t[t.is_final & (t.decoding != "greedy")] for t in tables])
    order = [name for name in ("training_seed", "explanation_index") if name in found]
    return found.sort_values(order, kind="stable").drop_duplicates(["policy", "question_id"])


def of_test(questions: pd.DataFrame, ids: list[str]) -> list[Any]:
    """The test questions `ids`, in this order."""
    test = prompts.distinct_questions(questions[questions.split == "test"])
    rows: list[Any] = test.set_index("question_id", drop=False).loc[ids].to_dict("records")
    return rows


def digest(identifier: str) -> str:
    """An order that nobody chose."""
    return hashlib.sha256(identifier.encode()).hexdigest()


def example(question: dict[str, Any], texts: pd.DataFrame, material: Material) -> Example:
    """One question and the text of each policy, with what the scorers say of it."""
    first = texts[texts.question_id == question["question_id"]]
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
    for column in (*TEXT, "training_seed"):
        if column in table and not wording.is_missing(row.get(column)):
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


def rounds(material: Material) -> Part:
    """What ILearner's loop did: texts per round, and how the verifier rated them."""
    return Part(
        "Rounds of ILearner",
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
