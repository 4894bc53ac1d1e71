"""Requests -> answers of the form that was asked for; one of another form is asked for again."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from schemas.errors import InputError, nearest
from stages.runtime import params
from stages.runtime.asking import session
from stages.runtime.asking.asker import Outcome
from stages.runtime.asking.calls import Ask
from stages.runtime.asking.prices import Model, dollars
from stages.runtime.asking.session import Api, Asking, Who

AGAIN = ("cut_off", "unparsed")  # reasons for which the same is asked once more

Requests = Callable[[list[int], int], list[Ask]]  # places, attempt from 0 -> one request each
Parse = Callable[[int, str], str | None]  # place, what was written -> what counts of it


@dataclass
class Answer:
    """What became of one thing that was asked for."""

    text: str | None = None  # as far as it counts
    reason: str | None = None  # why there is none
    is_stopped: bool = False  # it ended by itself
    input_tokens: int = 0  # as billed, of all tries
    output_tokens: int = 0
    cost: int = 0  # billionths of a dollar


def answers(
    count: int, requests: Requests, parse: Parse, ask: Asking, most: int, may_be_cut: bool = False
) -> list[Answer]:
    """What becomes of `count` things that are asked for, each at most `most` times.

    may_be_cut: a text that ran into its limit counts as far as it goes.
    """
    found = [Answer() for _ in range(count)]
    places = list(range(count))
    for attempt in range(most):
        asks = requests(places, attempt)
        outcomes = ask(asks) if asks else {}
        for place, one in zip(places, asks, strict=True):
            take(found[place], outcomes[one.name], place, parse, may_be_cut)
        places = [place for place in places if found[place].reason in AGAIN]
    return found


def take(answer: Answer, outcome: Outcome, place: int, parse: Parse, may_be_cut: bool) -> None:
    """Enter an outcome: what counts of a whole answer, or the reason why there is none."""
    answer.reason = outcome.reason
    if (reply := outcome.reply) is None:
        return
    answer.cost += outcome.cost
    answer.input_tokens += reply.input_tokens
    answer.output_tokens += reply.output_tokens
    answer.is_stopped = reply.end == "stop"
    if reply.end == "refusal":
        answer.reason = "refused"
    elif reply.end == "length" and not may_be_cut:
        answer.reason = "cut_off"
    else:
        answer.text = parse(place, reply.text)
        answer.reason = "unparsed" if answer.text is None else None


@dataclass(frozen=True)
class Settings:
    """What every stage that asks about test questions is given; a part of its section."""

    provider: str
    model: str | None
    base_url: str | None
    answer_format: str
    temperature: float | None
    max_tokens: int
    max_asks: int
    max_questions: int | None
    budget_usd: float
    is_batch: bool


def check(section: str, given: Settings, formats: list[str]) -> None:
    """Raise InputError for what cannot be meant. section: of params.yaml; formats: known ones."""
    if given.answer_format not in formats:
        hint = nearest(given.answer_format, formats)
        raise InputError(
            f"params.yaml: {section}.answer_format: unknown '{given.answer_format}'. {hint}"
        )
    counts = {name: getattr(given, name) for name in ("max_tokens", "max_asks", "max_questions")}
    least = {name: 1 for name, value in counts.items() if value is not None} | {"budget_usd": 0}
    for name, bound in least.items():
        value = getattr(given, name)
        if not value >= bound:  # a NaN is no sum
            raise InputError(f"params.yaml: {section}.{name}: {value}. Give {bound} or more.")


def priced(stage: str, given: Settings, declared: dict[str, Any]) -> tuple[Model, Api]:
    """Whom to ask, and how. Raises InputError where the model or its price is missing.

    declared: all parameters of the stage, with the section api.
    """
    api = params.section(Api, "api", declared)
    who = Who(given.provider, given.model, given.base_url, given.is_batch)
    return session.priced(stage, who, api), api


def spent(found: list[Answer]) -> dict[str, float]:
    """What all answers cost, as it was billed when they were given."""
    return {
        "input_tokens": sum(one.input_tokens for one in found),
        "output_tokens": sum(one.output_tokens for one in found),
        "cost_usd": dollars(sum(one.cost for one in found)),
    }


def counted(reasons: Iterable[str | None]) -> dict[str, float]:
    """How often there is no answer, by reason, as numbers of a report."""
    counts = Counter(reason for reason in reasons if reason)
    return {f"{reason}_n": n for reason, n in sorted(counts.items())}
