"""Train questions -> questions of a large language model, each with its explanation."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from schemas.synthetic import KINDS
from schemas.synthetic_questions import QUESTION_KINDS, SyntheticQuestions
from stages.pure import budget_plan, privacy, prompts, question_synthesis
from stages.pure.question_synthesis import WantedQuestion
from stages.runtime import artifacts
from stages.runtime.asking import asker
from stages.runtime.asking.calls import Ask
from stages.runtime.asking.prices import Model, dollars
from stages.runtime.asking.session import Asking
from stages.steps.asking import requesting
from stages.steps.asking.answering import Answer, answers
from stages.steps.asking.requesting import PER_KIND, Settings
from stages.steps.asking.samples import good_rows, samples_for

CONTENT = ["question_id", "stem", *privacy.OPTIONS, "explanation"]


def planned(
    sources: pd.DataFrame, rows: pd.DataFrame, model: Model, given: Settings
) -> dict[str, float]:
    """How often a source may be asked about by each kind, in all rounds; endless if calls are free.

    Texts about the sources come first (pure/budget_plan.py): what synthesize@texts is likely to
    need is not spent here. rows: those of the train split that samples are drawn from.
    """
    kinds = requesting.asked_for(given, KINDS)
    texts = requesting.wanted(sources, kinds)
    counts = requesting.asked_for(given, QUESTION_KINDS)
    items = wanted(sources, counts, 0)
    asks = requesting.requests(texts, rows, model, given, 0)
    asks += requests(items, rows, model, given, 0)
    if (calls := requesting.affordable(asks, model, given)) is None:
        return dict.fromkeys(counts, float("inf"))
    ratios = budget_plan.Ratios(given.ratio_rephrase, given.ratio_new)
    rounds = 1 if given.only_explained_below is None else given.rounds
    needed = {kind: count * rounds for kind, count in counts.items()}
    needed = requesting.per_question(texts, kinds) | needed
    shares = budget_plan.plan(needed, len(sources), calls, ratios)
    return {kind: shares[kind].calls_n // count for kind, count in counts.items()}


def wanted(
    sources: pd.DataFrame, counts: Mapping[str, int], round_index: int
) -> list[WantedQuestion]:
    """The questions of one round, source by source."""
    first = PER_KIND * round_index
    return question_synthesis.wanted(sources.to_dict("records"), counts, round_index, first)


def within(
    items: Sequence[WantedQuestion], left: Mapping[str, float]
) -> tuple[list[WantedQuestion], dict[str, float]]:
    """The items of the first sources that each kind has `left`, and what is left then."""
    found = list[WantedQuestion]()
    taken = {kind: set[str]() for kind in left}
    for item in items:
        own = taken[item.kind]
        if item.source_question_id in own or len(own) < left[item.kind]:
            own.add(item.source_question_id)
            found.append(item)
    return found, {kind: left[kind] - len(own) for kind, own in taken.items()}


def requests(
    items: Sequence[WantedQuestion],
    rows: pd.DataFrame,
    model: Model,
    wording: Settings,
    attempt: int,
) -> list[Ask]:
    """One request per wanted question. attempt: 0 at first; another makes it another request.

    rows: Questions; only those of the train split are read.
    """
    good = good_rows(rows)
    distinct = prompts.distinct_questions(rows[rows.split == "train"])
    of_id: dict[str, Any] = {row["question_id"]: row for row in distinct.to_dict("records")}
    form = wording.answer_format
    asks = []
    for item in items:
        source = of_id[item.source_question_id]
        drawn = samples_for(source, good, wording.samples)
        ask = asker.named(
            model,
            sample=attempt * PER_KIND * 1000 + item.item_index,
            system=question_synthesis.system_text(item, form),
            user=question_synthesis.user_text(
                privacy.allowed(source)[0], [privacy.allowed(row)[0] for row in drawn]
            ),
            schema=question_synthesis.schema_of(item) if form == "json_schema" else None,
            max_tokens=wording.max_tokens,
            temperature=wording.temperature,
        )
        asks.append(ask)
    return asks


def make(
    items: Sequence[WantedQuestion],
    rows: pd.DataFrame,
    model: Model,
    wording: Settings,
    ask: Asking,
) -> list[Answer]:
    """What becomes of each wanted question; its text is JSON, as question_synthesis.parse gives."""

    def parsed(place: int, text: str) -> str | None:
        found = question_synthesis.parse(text, items[place], wording.answer_format)
        return None if found is None else json.dumps(found)

    return answers(
        len(items),
        lambda places, attempt: requests([items[i] for i in places], rows, model, wording, attempt),
        parsed,
        ask,
        wording.max_asks,
    )


def table(items: Sequence[WantedQuestion], made: Sequence[Answer], model: Model) -> pd.DataFrame:
    """The rows of SyntheticQuestions, before the gates."""
    rows = []
    for item, one in zip(items, made, strict=True):
        found = dict.fromkeys(CONTENT) | (json.loads(one.text) if one.text else {})
        row = {"source_question_id": item.source_question_id, "item_index": item.item_index}
        row |= {"round_index": item.round_index, "kind": item.kind, **found}
        row |= {"options_n": item.options_n, "key": item.key, "reason": one.reason}
        row |= {"model": f"{model.provider} {model.name}", "input_tokens": one.input_tokens}
        rows.append(row | {"output_tokens": one.output_tokens, "cost_usd": dollars(one.cost)})
    columns = [*SyntheticQuestions.to_schema().columns]
    return artifacts.conform(SyntheticQuestions, pd.DataFrame(rows, columns=columns))
