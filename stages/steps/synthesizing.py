"""Requests -> texts of a large language model: what came of each, and which are used."""

from collections.abc import Sequence

import pandas as pd

from schemas.synthetic import POSITIVE, Synthetic
from stages.pure import prompts, synthesis, synthetic_gates
from stages.pure.synthesis import Wanted
from stages.runtime.asking.prices import Model, dollars
from stages.runtime.asking.session import Asking
from stages.steps.answering import Answer, answers
from stages.steps.requesting import Settings, requests


def make(
    texts: Sequence[Wanted],
    questions: pd.DataFrame,
    model: Model,
    wording: Settings,
    ask: Asking,
) -> list[Answer]:
    """What becomes of each wanted text; an answer of the wrong form is asked for again."""
    form = wording.answer_format
    return answers(
        len(texts),
        lambda places, attempt: requests(
            [texts[i] for i in places], questions, model, wording, attempt
        ),
        lambda place, text: synthesis.parse(text, texts[place].kind, form),
        ask,
        wording.max_asks,
        may_be_cut=form == "plain",
    )


def gated(
    made: pd.DataFrame,
    questions: pd.DataFrame,
    candidates: pd.DataFrame,
    negatives: pd.DataFrame,
    given: Settings,
) -> pd.DataFrame:
    """`made` (Synthetic) with the reason of each text that is not used."""
    distinct = prompts.distinct_questions(questions).to_dict("records")
    keys = {row["question_id"]: prompts.key_text(row) for row in distinct}
    own = made[made.explanation.notna()]
    texts = own[["question_id"]].assign(
        text_id=own.question_id + "/" + own.candidate_index.astype("str"),
        text=own.explanation,
        key_text=own.question_id.map(keys),
        is_positive=own.kind == POSITIVE,
    )
    columns = ["question_id", "explanation"]
    there = pd.concat([candidates[columns], negatives[columns], questions[columns]])
    unseen = questions[questions.split != "train"].explanation
    limits = synthetic_gates.Limits(
        given.min_words, given.max_existing_similarity, given.max_held_out_similarity
    )
    reasons = synthetic_gates.explanation_reasons(
        texts, there.rename(columns={"explanation": "text"}), unseen, limits
    )
    return made.assign(reason=made.reason.fillna(reasons))


def table(texts: Sequence[Wanted], made: Sequence[Answer], model: Model | None) -> pd.DataFrame:
    """The rows of Synthetic, before the gates."""
    name = f"{model.provider} {model.name}" if model else ""
    rows = [
        {
            "question_id": text.question_id,
            "candidate_index": text.candidate_index,
            "kind": text.kind,
            "option": text.option,
            "explanation": one.text,
            "reason": one.reason,
            "model": name,
            "input_tokens": one.input_tokens,
            "output_tokens": one.output_tokens,
            "cost_usd": dollars(one.cost),
        }
        for text, one in zip(texts, made, strict=True)
    ]
    return pd.DataFrame(rows, columns=[*Synthetic.to_schema().columns])
