"""Texts of two policies -> what a judge of pairs is asked about them, and what it said."""

from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from schemas.errors import InputError, nearest
from schemas.explanations import POLICIES
from schemas.judgements import ORDERS
from stages.pure import privacy, verdicts, winrates
from stages.runtime.asking import asker
from stages.runtime.asking.calls import Ask
from stages.runtime.asking.prices import Model, dollars
from stages.runtime.asking.session import Asking
from stages.steps.asking import answering
from stages.steps.asking.answering import Answer
from stages.steps.asking.leaving import Leaving, leaving, masked_counts

SECTION = "judge_test_api"
TEXT = ["policy", "training_seed", "question_id", "decoding", "explanation_index"]


@dataclass(frozen=True)
class Settings(answering.Settings):
    """params.yaml: judge_test_api."""

    policies: list[str]


def check(given: Settings) -> None:
    """Raise InputError for parameters that cannot be meant."""
    where = f"params.yaml: {SECTION}.policies"
    for name in given.policies:
        if name not in POLICIES:
            raise InputError(f"{where}: unknown '{name}'. {nearest(name, POLICIES)}")
    if len(given.policies) != 2 or len(set(given.policies)) != 2:
        raise InputError(f"{where}: {given.policies}. Name two policies, e.g. [dpo, sft].")
    answering.check(SECTION, given, verdicts.FORMATS)


def first_texts(explanations: pd.DataFrame) -> pd.DataFrame:
    """The first final text of a policy on each question, not greedy."""
    wanted = explanations[explanations.is_final & (explanations.decoding != "greedy")]
    ordered = wanted.sort_values("explanation_index", kind="stable")
    return ordered.drop_duplicates("question_id")[[*TEXT, "explanation"]]


def pairs(questions: pd.DataFrame, a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """The questions that both policies explain, with text_a and text_b, in their order.

    a, b: Explanations of one policy each. Raises InputError where there is no such question.
    """
    found = questions
    for side, texts in (("a", a), ("b", b)):
        own = first_texts(texts)[["question_id", "explanation"]]
        found = found.merge(own.rename(columns={"explanation": f"text_{side}"}), on="question_id")
    if found.empty:
        raise InputError(
            f"{SECTION}: no question has a text of both policies. Name others in params.yaml, or "
            "ask for their texts first."
        )
    return found


def leaving_pairs(
    questions: pd.DataFrame, limit: int | None, a: pd.DataFrame, b: pd.DataFrame
) -> Leaving:
    """The `pairs` of test questions to judge, at most `limit`, and how many questions stay here."""
    sent = leaving(questions, None, SECTION)
    return replace(sent, questions=pairs(sent.questions, a, b)[:limit])


def differing(found: pd.DataFrame) -> pd.DataFrame:
    """The pairs that are asked about: two equal texts are a tie unasked."""
    return found[found.text_a != found.text_b]


def places(found: pd.DataFrame) -> list[tuple[dict[Any, Any], str]]:
    """Question and order of everything that is asked."""
    return [(row, order) for row in differing(found).to_dict("records") for order in ORDERS]


def masked(found: pd.DataFrame) -> dict[str, int]:
    """How much of each kind of personal data is masked in the pairs that are asked about."""
    asked = differing(found)
    return masked_counts(asked, [*asked.text_a, *asked.text_b])


def requests(
    asked: list[tuple[dict[Any, Any], str]], model: Model, given: Settings, attempt: int
) -> list[Ask]:
    """Which of the two texts is better, for each of `asked`, which are of `places`.

    attempt: 0 at first; another makes it another request.
    """
    form = given.answer_format
    sides = {ORDERS[0]: ("text_a", "text_b"), ORDERS[1]: ("text_b", "text_a")}
    return [
        asker.named(
            model,
            sample=attempt,
            system=verdicts.system_text(form),
            user=verdicts.user_text(privacy.allowed(row)[0], *(row[one] for one in sides[order])),
            schema=verdicts.SCHEMA if form == "json_schema" else None,
            max_tokens=given.max_tokens,
            temperature=given.temperature,
        )
        for row, order in asked
    ]


def judge(found: pd.DataFrame, model: Model, given: Settings, ask: Asking) -> list[Answer]:
    """What becomes of each of `places`; an answer of the wrong form is asked for again."""
    asked = places(found)
    return answering.answers(
        len(asked),
        lambda chosen, attempt: requests([asked[i] for i in chosen], model, given, attempt),
        lambda _, text: verdicts.parse(text, given.answer_format),
        ask,
        given.max_asks,
    )


def table(
    found: pd.DataFrame, answers: list[Answer], model: Model, policies: list[str]
) -> pd.DataFrame:
    """The rows of Judgements. answers: one per row of `places`."""
    said = {
        (row["question_id"], order): answer
        for (row, order), answer in zip(places(found), answers, strict=True)
    }
    unasked = Answer(text="tie")
    rows = []
    for question, cluster in zip(found.question_id, found.cluster_id, strict=True):
        for order in ORDERS:
            one = said.get((question, order), unasked)
            rows.append(
                {
                    "question_id": question,
                    "cluster_id": cluster,
                    "policy_a": policies[0],
                    "policy_b": policies[1],
                    "order": order,
                    "winner": one.text,
                    "reason": one.reason,
                    "model": f"{model.provider} {model.name}",
                    "input_tokens": one.input_tokens,
                    "output_tokens": one.output_tokens,
                    "cost_usd": dollars(one.cost),
                }
            )
    return pd.DataFrame(rows)


def compared(judgements: pd.DataFrame, found: pd.DataFrame, stars: pd.DataFrame) -> pd.DataFrame:
    """What verdicts.summarize reads: both orders, words and the held-out judge, per question.

    Beside it is_same: both texts are equal, and nobody was asked. stars: question_id, a and b,
    the held-out judge's stars of both texts, NaN or no row = none.
    """
    words = [found[side].str.split().map(len) for side in ("text_a", "text_b")]
    longer = found[["question_id"]].assign(
        longer=(words[0] - words[1]).astype(float), is_same=found.text_a == found.text_b
    )
    table = verdicts.side_by_side(judgements).merge(longer, on="question_id")
    table = table.merge(stars, on="question_id", how="left")
    return table.assign(heldout=winrates.verdicts((table.a - table.b).to_numpy(float)))


def heldout_stars(evaluations: pd.DataFrame, a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """The held-out judge's stars of the same two texts: question_id, a, b."""
    rated = evaluations[evaluations.metric == "judge"][[*TEXT, "value"]]
    sides = [
        first_texts(texts)
        .merge(rated, on=TEXT)[["question_id", "value"]]
        .rename(columns={"value": name})
        for name, texts in (("a", a), ("b", b))
    ]
    return sides[0].merge(sides[1], on="question_id").astype({"a": float, "b": float})
