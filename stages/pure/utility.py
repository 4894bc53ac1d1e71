"""Student utility: how much likelier an explanation makes the key in a student's eyes.

utility(e) = mean over students and exam questions x of P(key of x | x, e) - P(key of x | x)
(Saha et al. 2023, arXiv 2306.09299, section 3, with probabilities in place of right and
wrong; exam questions after Ning et al. 2024, arXiv 2406.14629). -1..1, 0 for a text that
changes nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from stages.pure import prompts
from stages.pure.metrics import Value
from stages.pure.scored import masking
from stages.pure.scored.solving import place_of_key

Question = Mapping[Any, Any]  # a row of `questions`
Choice = tuple[str, tuple[str, ...]]  # prompt and options, as stages/runtime/students.py reads it


class Test(NamedTuple):
    """One exam question asked twice: after the explanation and without it."""

    after: Choice
    before: Choice
    place: int  # of the key among the options


def choice(question: Question, explanation: str) -> Choice:
    """What a student is asked about a question."""
    return prompts.render_exam(question, explanation), tuple(prompts.options(question))


def tests_of(explanation: str, exam: Sequence[Question], is_masked: bool) -> list[Test]:
    """The tests of one explanation.

    exam: the taught question first, then the others. is_masked: the keys of the taught and of
    the asked question are hidden in the explanation, so that naming the key alone helps nobody.
    """
    found = []
    for question in exam:
        said = explanation
        if is_masked:
            said = masking.mask(said, masking.key_of(exam[0], question))
        found.append(Test(choice(question, said), choice(question, ""), place_of_key(question)))
    return found


def asked(tests: Sequence[Sequence[Test]]) -> list[Choice]:
    """Every distinct choice of the tests, sorted."""
    return sorted({c for each in tests for test in each for c in (test.after, test.before)})


def values(
    tests: Sequence[Sequence[Test]], answers: Sequence[Mapping[Choice, np.ndarray | None]]
) -> list[Value]:
    """One value per explanation. answers: of each student, P of the options of each choice.

    A choice that a student could not read is None and makes the value null: "too_long".
    """
    return [mean(list(gains(each, answers))) for each in tests]


def gains(
    tests: Sequence[Test], answers: Sequence[Mapping[Choice, np.ndarray | None]]
) -> Iterator[float | None]:
    """P(key | question, explanation) - P(key | question) per test and student."""
    for test in tests:
        for known in answers:
            after, before = known[test.after], known[test.before]
            if after is None or before is None:
                yield None
            else:
                yield float(after[test.place] - before[test.place])


def mean(found: Sequence[float | None]) -> Value:
    """Their mean; null if one is missing."""
    numbers = [number for number in found if number is not None]
    if len(numbers) < len(found):
        return Value(None, "too_long")
    return Value(float(np.mean(numbers)))
