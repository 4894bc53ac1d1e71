"""The sample course's facts, dealt out to courses, and near-identical questions about each.

Every random choice comes from a stream named after what it is about, so adding or removing a
fact changes no other fact's questions.
"""

import re
from collections.abc import Mapping
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd

from schemas.errors import InputError
from stages.pure import clusters

FACT_COLUMNS = ["fact_id", "topic", "question", "key"]
FACT_COLUMNS += [f"distractor_{i}" for i in range(1, 5)]
FACT_COLUMNS += ["statement", "mechanism", "refutation"]
COURSES = {  # field: courses that share its facts
    "biology": ["biology_1", "biology_2"],
    "medicine": ["medicine_1", "medicine_2"],
    "law": ["law_1"],
}
MIN_FACTS = 10  # below this a split has no second fact whose mechanism could be borrowed
LIMITS = {  # of params.yaml: make_sample_course
    "rows_per_question": (1, 100),
    "questions_per_fact": (1, 20),
    "rater_noise_stars": (0, 100),
    "length_bonus_stars": (-1, 1),
    "dirt_frac": (0, 0.25),  # four kinds of harmless dirt, at most one per row
}

FOUR_OPTIONS_FRAC = 0.4  # questions with one distractor less
TYPO_FRAC = 0.1  # of the near-copies of a question
PREFIXES = ["In this course, ", "Quick check: ", "For the exam: ", "Easy one: "]
ENDINGS = ["??", " ?", "", " (choose one)"]


def stream(seed: int, *names: object) -> np.random.Generator:
    """The random stream of `seed` for one purpose, named by any values."""
    return np.random.default_rng([seed, crc32("|".join(map(str, names)).encode())])


def check_amounts(given: Mapping[str, Any]) -> None:
    """Raise InputError for a parameter of make_sample_course that no course can have."""
    for name, (low, high) in LIMITS.items():
        if not low <= given[name] <= high:
            raise InputError(
                f"params.yaml: make_sample_course.{name}: {given[name]} is not "
                f"in {low} to {high}. Change it."
            )


def check_facts(facts: pd.DataFrame, source: str) -> None:
    """Raise InputError unless the columns, ids, texts and placeholders are as documented."""
    if missing := sorted(set(FACT_COLUMNS) - set(facts.columns)):
        raise InputError(f"{source}: columns {missing} are missing. Add them.")
    repeated = facts.fact_id[facts.fact_id.duplicated()].tolist()
    if repeated:
        raise InputError(f"{source}: fact_id {repeated[0]!r} occurs twice. Make it unique.")
    for fact in facts.to_dict("records"):
        empty = [name for name in FACT_COLUMNS if not str(fact[name]).strip()]
        if empty:
            raise InputError(f"{source}: fact {fact['fact_id']}: {empty[0]} is empty. Fill it in.")
        if str(fact["statement"]).count("{option}") != 1:
            raise InputError(
                f"{source}: fact {fact['fact_id']}: statement {fact['statement']!r} needs "
                "{option} once. Put it where the answer goes."
            )


def check_ids(facts: pd.DataFrame, source: str) -> None:
    """Raise InputError for a fact_id that two files have, say of two fields (column `field`)."""
    for fact_id, fields in facts.groupby("fact_id").field.agg(list).items():
        if len(fields) > 1:
            raise InputError(
                f"{source}: fact_id {fact_id!r} occurs twice, in {' and '.join(fields)}. "
                "Make it unique."
            )


def choose_facts(facts: pd.DataFrame, max_facts: int | None) -> pd.DataFrame:
    """At most `max_facts` facts, evenly over fields, with their course; in order of the id.

    facts: FACT_COLUMNS and `field`. A fact's course is its rank in the field, modulo the
    field's courses. Raises InputError if max_facts is below MIN_FACTS.
    """
    if max_facts is not None and max_facts < MIN_FACTS:
        raise InputError(
            f"params.yaml: make_sample_course.max_facts: {max_facts} is less than {MIN_FACTS}."
        )
    facts = facts.sort_values("fact_id", ignore_index=True)
    rank = facts.groupby("field").cumcount()
    course = [
        COURSES[field][i % len(COURSES[field])] for field, i in zip(facts.field, rank, strict=True)
    ]
    facts = facts.assign(course=course, _draw=[crc32(one.encode()) for one in facts.fact_id])
    drawn = facts.sort_values(["_draw", "fact_id"])
    drawn = drawn.assign(_turn=drawn.groupby("course").cumcount()).sort_values(["_turn", "course"])
    drawn = drawn.assign(_turn=drawn.groupby("field").cumcount()).sort_values(["_turn", "field"])
    drawn = drawn.head(max_facts or len(facts))
    return drawn.sort_values("fact_id", ignore_index=True).drop(columns=["_draw", "_turn"])


def vary_stem(stem: str, options: list[str], rng: np.random.Generator) -> str:
    """A near-copy of `stem`: a prefix, another ending or question word, rarely a typo."""
    if rng.random() < TYPO_FRAC:
        offered = " ".join(options).lower()
        long = [w for w in re.findall(r"[a-z]{6,}", stem) if w not in offered]
        if long:
            word = long[int(rng.integers(len(long)))]
            i = int(rng.integers(1, len(word) - 2))
            return stem.replace(word, word[:i] + word[i + 1] + word[i] + word[i + 2 :], 1)
    kind = int(rng.integers(3))
    if kind == 0 and stem.startswith("Which "):
        return "What " + stem.removeprefix("Which ")
    if kind == 1:
        return stem.removesuffix("?") + ENDINGS[int(rng.integers(len(ENDINGS)))]
    return PREFIXES[int(rng.integers(len(PREFIXES)))] + stem[0].lower() + stem[1:]


def ask(fact: Mapping[Any, str], index: int, seed: int) -> dict[str, object]:
    """Question number `index` about a fact: 0 has the fact's own words, the others vary them.

    distractor_1 is always offered, because refutations speak of it.
    """
    rng = stream(seed, "question", fact["fact_id"], index)
    options = [fact["key"]] + [fact[f"distractor_{i}"] for i in range(1, 5)]
    if rng.random() < FOUR_OPTIONS_FRAC:
        options.pop(int(rng.integers(2, 5)))
    options = [options[i] for i in rng.permutation(len(options))]
    stem = fact["question"] if index == 0 else vary_stem(fact["question"], options, rng)
    texts = dict(zip("abcde", options, strict=False))
    return {
        "question_id": clusters.question_id(stem, options, fact["key"]),
        "fact_id": fact["fact_id"],
        "course": fact["course"],
        "stem": stem,
        **{f"option_{c}": texts.get(c) for c in "abcde"},
        "options_n": len(options),
        "key": "ABCDE"[options.index(fact["key"])],
    }


def make_questions(
    facts: pd.DataFrame,
    questions_per_fact: int,
    similarity: float,
    split_percent: Mapping[str, float],
    seed: int,
) -> pd.DataFrame:
    """One row per distinct question, with cluster_id and split. Raises if a fact has two splits."""
    asked = [
        ask(fact, i, seed) for fact in facts.to_dict("records") for i in range(questions_per_fact)
    ]
    questions = pd.DataFrame(asked).drop_duplicates("question_id", ignore_index=True)
    placed = clusters.assign(questions, similarity, split_percent)
    questions = questions.merge(placed, on="question_id", validate="one_to_one")
    splits = questions.groupby("fact_id").split.nunique()
    if (splits > 1).any():
        raise InputError(
            f"params.yaml: prepare_questions.cluster_similarity: {similarity} puts fact "
            f"{splits.idxmax()} in two splits. Lower it."
        )
    return questions
