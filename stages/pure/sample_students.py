"""What each student will say of a question: latents, each drawn independently of the others.

One thing depends on another: who refutes a distractor does not endorse the same one, because
nobody argues so. Whether somebody refutes and whether somebody endorses stay independent.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from schemas.errors import InputError
from stages.pure.prompts import distractor_texts
from stages.pure.sample_course import stream

# How often a student says what. Together .65 * .42 * .80 = .22 are fully good, so that there
# is room for a policy to improve.
NAMES_KEY_FRAC = 0.65
MECHANISM_FRACS = {"right": 0.42, "wrong": 0.22, "none": 0.36}
REFUTES_FRAC = 0.30
ENDORSES_WRONG_FRAC = 0.20
MISSED_FRAC = 0.50  # wrong mechanisms that raters take for right ones
FILLER_FRACS = [0.50, 0.25, 0.15, 0.10]  # no, one, two, three neutral clauses

# What the fact of a borrowed mechanism has in common with the question's, nearest first.
LENDER_LEVELS = (("split", "field", "topic"), ("split", "field"), ("split",), ())
Lenders = dict[tuple[object, ...], list[tuple[str, str]]]


def draw_latents(
    questions: pd.DataFrame, facts: pd.DataFrame, rows_per_question: float, seed: int
) -> pd.DataFrame:
    """One row per student: what the explanation will say. Adds the latents to the question.

    names_key, refutes_distractor, endorses_wrong, is_missed: bool; mechanism: right, wrong
    or none; mechanism_fact_id: whose mechanism is told, or null; refuted_option: the
    distractor that a refutation is about; wrong_option: the one that is endorsed, another
    if the first is refuted; fillers_n. Every question has at least one row.
    """
    fields = facts.set_index("fact_id")[["field", "topic", "distractor_1"]]
    fields = fields.rename(columns={"distractor_1": "refuted_option"})
    places = questions.merge(fields, left_on="fact_id", right_index=True)
    lenders = group_lenders(places)
    rows = []
    for question in places.to_dict("records"):
        count = 1 + stream(seed, "rows", question["question_id"]).poisson(rows_per_question - 1)
        for student in range(int(count)):
            rng = stream(seed, "latents", question["question_id"], student)
            rows.append(question | {"student": student} | one_student(question, lenders, rng))
    return pd.DataFrame(rows)


def one_student(
    question: Mapping[Any, Any], lenders: Lenders, rng: np.random.Generator
) -> dict[str, Any]:
    """The latents of one explanation. Always the same number of draws, so none moves another."""
    chances = rng.random(5)
    mechanism = str(rng.choice([*MECHANISM_FRACS], p=[*MECHANISM_FRACS.values()]))
    fillers_n = int(rng.choice(len(FILLER_FRACS), p=FILLER_FRACS))
    donor = lender(question, lenders, rng)
    refutes = bool(chances[2] < REFUTES_FRAC)
    refuted = question["refuted_option"] if refutes else None
    wrong = [text for text in distractor_texts(question) if text != refuted]
    return {
        "names_key": bool(chances[0] < NAMES_KEY_FRAC),
        "mechanism": mechanism,
        "mechanism_fact_id": {"right": question["fact_id"], "wrong": donor}.get(mechanism),
        "is_missed": bool(mechanism == "wrong" and chances[1] < MISSED_FRAC),
        "refutes_distractor": refutes,
        "endorses_wrong": bool(chances[3] < ENDORSES_WRONG_FRAC),
        "wrong_option": wrong[int(chances[4] * len(wrong))],
        "fillers_n": fillers_n,
    }


def group_lenders(places: pd.DataFrame) -> Lenders:
    """(fact_id, cluster_id) of all facts, by the values of each of LENDER_LEVELS."""
    lenders: Lenders = {}
    for fact in places.drop_duplicates("fact_id").to_dict("records"):
        for names in LENDER_LEVELS:
            group = lenders.setdefault(tuple(fact[name] for name in names), [])
            group.append((fact["fact_id"], fact["cluster_id"]))
    return lenders


def lender(question: Mapping[Any, Any], lenders: Lenders, rng: np.random.Generator) -> str:
    """Another fact whose mechanism is told by mistake: same split, if possible same topic.

    The same split, so that training texts hold no mechanism of a test or judge fact.
    """
    for names in LENDER_LEVELS:
        group = lenders[tuple(question[name] for name in names)]
        others = [fact_id for fact_id, cluster in group if cluster != question["cluster_id"]]
        if others:
            return others[int(rng.integers(len(others)))]
    raise InputError("stages/sample_course: all facts fall into one cluster. Make them differ.")
