"""The oracle of the sample course: does an explanation agree with the facts it was made from?

It stands for the truth that no rater and no scorer sees. Only `make_sample_course` knows the
facts, and only `evaluate` and `validate` may ask the oracle (tests/test_oracle.py). It reads
words, not templates, so that it can judge texts that a model wrote; it understands no
paraphrase.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from stages.pure.prompts import distractor_texts, key_text

MECHANISM_COVERAGE = 0.8  # share of a mechanism's content words that a text must hold
STATEMENT_COVERAGE = 0.6  # the same for the statement around an option
JOINT = 2  # words next to the option that must be the statement's own
SLACK = 4  # words by which a stated fact may be longer than the statement
OWN_WORDS = 2  # matched words that another mechanism must have for itself

STOP_WORDS_TEXT = """
    a about all an and any are as at be been before but by can could do does each for from had
    has have her his how if in into is it its may more most must no not of off on one only or
    other our out own over so some such than that the their them then there these they this
    those through to too under up was were what when where which while who will with would
"""
STOP_WORDS = frozenset(STOP_WORDS_TEXT.split())
BE = r"(?:is|are|was|must be|has to be|have to be|should be|would be|can be|can only be)"
CLAIM = re.compile(  # what stands before an option that is called right
    rf"(?:\b(?:answer|choice|option|solution|(?:correct|right) one)(?: here)? {BE}"
    rf"|\bit (?:must|has to) be|\b(?:choose|pick|select)|\bholds (?:also )?for)"
    r"(?: also| clearly| the| a| an)*$"
)
PRAISE = re.compile(  # what stands behind it
    rf"^{BE}(?: also| clearly| indeed| equally| just as| the| a| only)*"
    r" (?:correct|true|best|answer|solution|possible|fine|accepted|right(?! to| over| of| in))\b"
)
DENIAL = re.compile(r"\b(?:not|never|no|wrong|incorrect|false)\b(?: that| the| an?| best)*$")
NEGATIONS = frozenset({"not", "never", "no", "cannot", "nor", "wrong", "incorrect", "false"})


@dataclass(frozen=True)
class Fact:
    """What the oracle knows of one fact, as lower-case words."""

    fact_id: str
    options: tuple[tuple[str, ...], ...]  # the key first
    question: frozenset[str]
    before: tuple[str, ...]  # the statement up to the option
    after: tuple[str, ...]  # the statement behind it
    statement: frozenset[str]  # content words
    mechanism: frozenset[str]  # content words
    own: frozenset[str]  # all content words of the fact's texts


@dataclass(frozen=True)
class Index:
    """All facts, and where to find them by the words of their key."""

    facts: tuple[Fact, ...]
    by_key: Mapping[tuple[str, ...], tuple[Fact, ...]]


def words(text: str) -> list[str]:
    """Lower-case words of `text`, without punctuation."""
    return re.findall(r"[^\W_]+", text.lower())


def content(text: str) -> frozenset[str]:
    """The words of `text` that are no stop words; all of them if none is left."""
    found = words(text)
    return frozenset(w for w in found if w not in STOP_WORDS) or frozenset(found)


def read_fact(row: Mapping[Any, Any]) -> Fact:
    """A row of facts_<field>.csv as a Fact."""
    before, _, after = str(row["statement"]).partition("{option}")
    texts = [str(row["key"]), *(str(row[f"distractor_{i}"]) for i in range(1, 5))]
    own = " ".join([before, after, *texts, str(row["mechanism"]), str(row["refutation"])])
    return Fact(
        fact_id=str(row["fact_id"]),
        options=tuple(tuple(words(text)) for text in texts),
        question=content(str(row["question"])),
        before=tuple(words(before)),
        after=tuple(words(after)),
        statement=content(before + after),
        mechanism=content(str(row["mechanism"])),
        own=content(own),
    )


def index(facts: pd.DataFrame) -> Index:
    """The facts of stages/sample_course (columns of facts_<field>.csv), ready to be asked."""
    known = tuple(read_fact(row) for row in facts.to_dict("records"))
    by_key: dict[tuple[str, ...], tuple[Fact, ...]] = {}
    for fact in known:
        by_key[fact.options[0]] = (*by_key.get(fact.options[0], ()), fact)
    return Index(known, by_key)


def find_fact(index: Index, question: Mapping[Any, Any]) -> Fact | None:
    """The fact that a row of `questions` asks about, or None: key and all distractors match.

    Where two facts share key and distractors, the words of the stem decide.
    """
    wrong = [tuple(words(text)) for text in distractor_texts(question)]
    candidates = [
        fact
        for fact in index.by_key.get(tuple(words(key_text(question))), ())
        if wrong and all(option in fact.options[1:] for option in wrong)
    ]
    stem = content(str(question["stem"]))
    return max(candidates, key=lambda fact: len(fact.question & stem), default=None)


def is_stated(fact: Fact, before: Sequence[str], after: Sequence[str]) -> bool:
    """Does an option between these words of one sentence complete the fact's statement?"""
    left, right = len(fact.before), len(fact.after)
    tail, head = fact.before[-JOINT:], fact.after[:JOINT]
    if tuple(before[len(before) - len(tail) :]) != tail or tuple(after[: len(head)]) != head:
        return False
    if NEGATIONS & {*before[max(0, len(before) - left) :]} - {*fact.before}:
        return False
    near = {*before[max(0, len(before) - left - SLACK) :], *after[: right + SLACK if right else 0]}
    return len(fact.statement & near) >= STATEMENT_COVERAGE * len(fact.statement)


def is_called_right(before: Sequence[str], after: Sequence[str]) -> bool:
    """Is an option between these words of one sentence called the answer?"""
    left, right = " ".join(before), " ".join(after)
    claim = CLAIM.search(left)
    if claim:
        return DENIAL.search(left[: claim.start()].rstrip()) is None
    return PRAISE.search(right) is not None


def claimed_options(fact: Fact, explanation: str) -> set[int]:
    """Positions in fact.options of all options that the text states or calls right."""
    found = set()
    longest_first = sorted(enumerate(fact.options), key=lambda pair: -len(pair[1]))
    for sentence in re.split(r"[.!?;:](?:\s|$)|\n", explanation):
        said = words(sentence)
        start = 0
        while start < len(said):
            size = 1
            for i, option in longest_first:
                if tuple(said[start : start + len(option)]) == option:
                    size = len(option)
                    before, after = said[:start], said[start + size :]
                    if is_stated(fact, before, after) or is_called_right(before, after):
                        found.add(i)
                    break
            start += size
    return found


def tells(mechanism: frozenset[str], said: frozenset[str] | set[str]) -> bool:
    """Are enough of the mechanism's content words among the words said, in any order?"""
    return len(mechanism & said) >= MECHANISM_COVERAGE * len(mechanism)


def tells_another(fact: Fact, index: Index, said: set[str]) -> bool:
    """Is another fact's mechanism told? Words that are this fact's own do not count against it."""
    return any(
        tells(other.mechanism, said) and len((other.mechanism & said) - fact.own) >= OWN_WORDS
        for other in index.facts
        if other.fact_id != fact.fact_id
    )


def judge(
    fact: Fact, question: Mapping[Any, Any], explanation: str, index: Index
) -> dict[str, bool]:
    """What an explanation of `question` says, held against its fact.

    names_key: states the fact with the key, or calls the key right. has_mechanism: tells this
    fact's mechanism. has_other_mechanism: tells another's. endorses_distractor: states or
    calls right any wrong option. correct: the first two and neither of the last two.
    """
    said = set(words(explanation))
    claimed = claimed_options(fact, explanation)
    found = {
        "names_key": 0 in claimed,
        "has_mechanism": tells(fact.mechanism, said),
        "has_other_mechanism": tells_another(fact, index, said),
        "endorses_distractor": bool(claimed - {0}),
    }
    correct = found["names_key"] and found["has_mechanism"]
    correct = correct and not (found["has_other_mechanism"] or found["endorses_distractor"])
    return {**found, "correct": correct}
