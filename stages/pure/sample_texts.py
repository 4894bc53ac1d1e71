"""What is to be said -> sentences: explanations of students, and statements to read."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from stages.pure.sample_course import stream

MIN_WORDS, MAX_WORDS = 8, 35  # short, so that a model of two million parameters can learn them
BEFORE_FRAC, ALONE_FRAC = 0.15, 0.15  # where the mechanism stands if an option is named as well
PHRASING_DRAWS = 24  # of which the first that fits into MAX_WORDS is taken
FRONT_FRAC = 0.3  # fillers before the content instead of after it

Pool = Mapping[str, Sequence[str]]


def pool_of(split: str) -> str:
    """The pool of phrasings of a split; train and validation share one."""
    return {"validation": "train"}.get(split, split)


def pick(templates: Sequence[str], rng: np.random.Generator) -> str:
    """One of the templates; repeated templates are more frequent."""
    return templates[int(rng.integers(len(templates)))]


def sentence(text: str) -> str:
    """`text` with a capital letter and a full stop."""
    return f"{text[0].upper()}{text[1:]}."


def words_n(text: str) -> int:
    """White-space words."""
    return len(text.split())


def named(fact: Mapping[Any, Any], option: str, template: str) -> str:
    """`template` with an option, or with the fact's statement that holds the option."""
    return template.format(option=option, statement=fact["statement"].format(option=option))


def content(
    row: Mapping[Any, Any],
    fact: Mapping[Any, Any],
    mechanism: str | None,
    pool: Pool,
    rng: np.random.Generator,
) -> list[str]:
    """The sentences that the latents ask for, without fillers. May be empty."""
    names = None
    if row["names_key"] or row["endorses_wrong"]:
        option = fact["key"] if row["names_key"] else row["wrong_option"]
        names = named(fact, option, pick(pool["names"], rng))
    sentences = []
    place = rng.random()
    if names and mechanism and place >= ALONE_FRAC:
        kind = "before" if place < ALONE_FRAC + BEFORE_FRAC else "after"
        template = pick(pool[f"mechanism_{kind}"], rng)
        sentences.append(template.format(names=names, mechanism=mechanism))
    else:
        sentences += [names] if names else []
        if mechanism:
            sentences.append(pick(pool["mechanism_alone"], rng).format(mechanism=mechanism))
    if row["names_key"] and row["endorses_wrong"]:
        sentences.append(named(fact, row["wrong_option"], pick(pool["names_also"], rng)))
    if row["refutes_distractor"]:
        sentences.append(pick(pool["refutes"], rng).format(refutation=fact["refutation"]))
    return [sentence(text) for text in sentences]


def explain(
    row: Mapping[Any, Any],
    fact: Mapping[Any, Any],
    mechanism: str | None,
    pool: Pool,
    rng: np.random.Generator,
) -> str:
    """One explanation of about MIN_WORDS to MAX_WORDS words.

    Where it gets too long, shorter phrasings are sought and fillers yield, never the content:
    the latents stay independent.
    """
    body = content(row, fact, mechanism, pool, rng)
    for _ in range(PHRASING_DRAWS - 1):
        if words_n(" ".join(body)) <= MAX_WORDS:
            break
        again = content(row, fact, mechanism, pool, rng)
        body = min(body, again, key=lambda found: words_n(" ".join(found)))
    fillers = [sentence(pool["fillers"][i]) for i in rng.permutation(len(pool["fillers"]))]
    front: list[str] = []
    back: list[str] = []
    for i, filler in enumerate(fillers):
        total = words_n(" ".join([*front, *body, *back]))
        wanted = i < row["fillers_n"] or total < MIN_WORDS
        if not wanted or total + words_n(filler) > MAX_WORDS:
            break
        (front if rng.random() < FRONT_FRAC else back).append(filler)
    return " ".join([*front, *body, *back])


def write_explanations(
    rows: pd.DataFrame, facts: pd.DataFrame, pools: Mapping[str, Pool], seed: int
) -> pd.DataFrame:
    """`rows` (draw_latents) with `explanation` and `words_n`."""
    known = {fact["fact_id"]: fact for fact in facts.to_dict("records")}
    texts = []
    for row in rows.to_dict("records"):
        told = row["mechanism_fact_id"]
        mechanism = known[told]["mechanism"] if isinstance(told, str) else None
        rng = stream(seed, "text", row["question_id"], row["student"])
        pool = pools[pool_of(row["split"])]
        texts.append(explain(row, known[row["fact_id"]], mechanism, pool, rng))
    return rows.assign(explanation=texts, words_n=[words_n(text) for text in texts])


def background(facts: pd.DataFrame, templates: Sequence[str]) -> list[str]:
    """Statements to read, one per line: every fact in every template, in order of the facts."""
    lines = []
    for fact in facts.to_dict("records"):
        for template in templates:
            text = template.format(
                statement=named(fact, fact["key"], "{statement}"),
                mechanism=fact["mechanism"],
                refutation=fact["refutation"],
                option=fact["key"],
            )
            lines.append(" ".join(sentence(part) for part in re.split(r"\. ", text)))
    return lines
