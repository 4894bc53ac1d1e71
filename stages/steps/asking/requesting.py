"""Questions -> requests: which texts a large language model is asked for, in which words."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from schemas.errors import InputError, nearest
from schemas.synthetic import FIRST_FLAWED, FIRST_POSITIVE, FLAWED, KINDS, POSITIVE
from schemas.synthetic_questions import QUESTION_KINDS
from stages.pure import budget_plan, privacy, prompts, synthesis
from stages.pure.synthesis import Wanted
from stages.runtime.asking import asker
from stages.runtime.asking.calls import Ask
from stages.runtime.asking.prices import NANO, Model
from stages.steps.asking.leaving import askable
from stages.steps.asking.samples import good_rows, samples_for

MOST_OPTIONS = len(prompts.LETTERS)
PER_KIND = 100  # indices of each kind


@dataclass(frozen=True)
class Settings:
    """params.yaml: synthesize, what decides what is asked for and what is used."""

    kinds: dict[str, int]
    ratio_rephrase: float
    ratio_new: float
    only_explained_below: float | None
    rounds: int
    max_questions: int | None
    answer_format: str
    samples: int
    temperature: float | None
    max_tokens: int
    max_asks: int
    budget_usd: float
    min_words: int
    min_recoverability: float | None
    max_existing_similarity: float
    max_held_out_similarity: float


def check(given: Settings) -> None:
    """Raise InputError for parameters that cannot be meant."""
    where = "params.yaml: synthesize"
    for kind, count in given.kinds.items():
        if kind not in (known := KINDS + QUESTION_KINDS):
            raise InputError(f"{where}.kinds: unknown '{kind}'. {nearest(kind, known)}")
        if not 0 <= count <= PER_KIND // MOST_OPTIONS:
            most = PER_KIND // MOST_OPTIONS
            raise InputError(f"{where}.kinds: {kind}: {count}. Give 0 to {most} per question.")
    if given.answer_format not in synthesis.FORMATS:
        hint = nearest(given.answer_format, synthesis.FORMATS)
        raise InputError(f"{where}.answer_format: unknown '{given.answer_format}'. {hint}")
    asked = {kind for kind, count in given.kinds.items() if count}
    if given.answer_format == "plain" and (odd := sorted(asked - synthesis.PLAIN)):
        raise InputError(
            f"{where}.kinds: {odd[0]}: a model that only continues (answer_format plain) cannot "
            f"be asked for it. Set all but {sorted(synthesis.PLAIN)} to 0."
        )
    budget_plan.check({}, budget_plan.Ratios(given.ratio_rephrase, given.ratio_new))
    for name in ("only_explained_below", "min_recoverability"):
        share = getattr(given, name)
        if share is not None and not 0 < share <= 1:
            raise InputError(f"{where}.{name}: {share}. Give null, or 0 to 1.")
    least_of = {"samples": 0, "max_tokens": 1, "max_asks": 1, "budget_usd": 0, "rounds": 1}
    for name, least in least_of.items():
        if not getattr(given, name) >= least:
            raise InputError(f"{where}.{name}: {getattr(given, name)}. Give {least} or more.")


def asked_for(given: Settings, kinds: Sequence[str]) -> dict[str, int]:
    """Those of `kinds` that are asked for, and how many per question."""
    return {kind: count for kind, count in given.kinds.items() if count and kind in kinds}


def sources(rows: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """The distinct train questions that may be asked about, at most `limit`."""
    return askable(prompts.distinct_questions(rows[rows.split == "train"]))[:limit]


def planned(
    questions: pd.DataFrame, candidates: pd.DataFrame, model: Model, given: Settings
) -> list[Wanted]:
    """The texts that are asked for: as many as the whole budget is likely to pay for.

    Planned from the cap and not from what is left of it, so that a second run plans alike.
    """
    has_candidates = questions.question_id.isin(candidates.question_id)
    chosen = sources(questions[has_candidates], given.max_questions)
    kinds = asked_for(given, KINDS)
    texts = wanted(chosen, kinds)
    asks = requests(texts, questions, model, given, 0)
    if (calls := affordable(asks, model, given)) is None:
        return texts
    ratios = budget_plan.Ratios(given.ratio_rephrase, given.ratio_new)
    shares = budget_plan.plan(per_question(texts, kinds), len(chosen), calls, ratios)
    served = {kind: {*chosen.question_id[: share.questions_n]} for kind, share in shares.items()}
    return [text for text in texts if text.question_id in served[text.kind]]


def affordable(asks: Sequence[Ask], model: Model, given: Settings) -> int | None:
    """The calls like `asks` that the budget is likely to pay for; None where they are free."""
    price = sum(map(model.price.likely, asks)) / max(1, len(asks))
    return budget_plan.affordable_calls(given.budget_usd, price / NANO) if price else None


def per_question(texts: Sequence[Wanted], kinds: Iterable[str]) -> dict[str, int]:
    """The most calls that one question takes, per kind that any question takes one for."""
    calls = Counter((text.kind, text.question_id) for text in texts)
    most = dict.fromkeys(kinds, 0)
    for (kind, _), n in calls.items():
        most[kind] = max(most[kind], n)
    return {kind: n for kind, n in most.items() if n}


def wanted(questions: pd.DataFrame, counts: Mapping[str, int]) -> list[Wanted]:
    """The texts to ask for, question by question. counts: texts per question and kind.

    A malgorithm is asked for once per wrong option, `counts` times.
    """
    found = []
    for question in questions.to_dict("records"):
        letters = prompts.LETTERS[: int(question["options_n"])].replace(question["key"], "")
        for kind, count in counts.items():
            options = [*letters] if kind == "malgorithm" else [None]
            asked = [option for option in options for _ in range(count)]
            found += [
                Wanted(question["question_id"], first_index(kind) + i, kind, option)
                for i, option in enumerate(asked)
            ]
    return found


def first_index(kind: str) -> int:
    """Where the indices of a kind's texts begin."""
    if kind == POSITIVE:
        return FIRST_POSITIVE
    return FIRST_FLAWED + PER_KIND * FLAWED.index(kind)


def requests(
    texts: Sequence[Wanted], questions: pd.DataFrame, model: Model, wording: Settings, attempt: int
) -> list[Ask]:
    """One request per wanted text. attempt: 0 at first; another makes it another request.

    questions: all rows; only those of the train split are read.
    """
    good = good_rows(questions)
    distinct = prompts.distinct_questions(questions[questions.split == "train"])
    rows: dict[str, Any] = {row["question_id"]: row for row in distinct.to_dict("records")}
    asked = sorted({text.question_id for text in texts})
    leaving = {name: privacy.allowed(rows[name])[0] for name in asked}
    samples = {
        name: [privacy.allowed(row)[0] for row in samples_for(rows[name], good, wording.samples)]
        for name in asked
    }
    return [
        asker.named(
            model,
            sample=attempt * PER_KIND * 100 + text.candidate_index,
            system=synthesis.system_text(text.kind, text.option, wording.answer_format),
            user=synthesis.user_text(
                leaving[text.question_id],
                text.kind,
                text.option,
                wording.answer_format,
                samples[text.question_id] if text.kind == POSITIVE else [],
            ),
            schema=synthesis.schema_of(text.kind)
            if wording.answer_format == "json_schema"
            else None,
            max_tokens=wording.max_tokens,
            temperature=wording.temperature,
        )
        for text in texts
    ]


def masked_counts(
    asked: Collection[str], shown: Collection[str], questions: pd.DataFrame, given: Settings
) -> dict[str, int]:
    """How much of each kind of personal data is masked in the rows that are asked about or shown.

    Each row counts once, however often it is sent. asked: question_ids; shown: those of them
    that samples are shown with.
    """
    good = good_rows(questions)
    distinct = prompts.distinct_questions(questions[questions.question_id.isin(asked)])
    counts: Counter[str] = Counter()
    samples: dict[str, Any] = {}
    for row in distinct.to_dict("records"):
        counts.update(privacy.allowed(row)[1])
        if row["question_id"] in shown and given.answer_format != "plain":
            samples |= {one["row_id"]: one for one in samples_for(row, good, given.samples)}
    for row in samples.values():
        counts.update(privacy.masked(row["explanation"])[1])
    return dict(counts)
