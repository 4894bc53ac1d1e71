"""A model of somebody else -> Explanations of the test questions, one answer each."""

import pandas as pd

from schemas.explanations import API, NO_TRAINING
from schemas.synthetic import POSITIVE
from stages.pure import privacy, synthesis
from stages.runtime.asking import asker
from stages.runtime.asking.calls import Ask
from stages.runtime.asking.prices import Model
from stages.runtime.asking.session import Asking
from stages.steps.asking import answering
from stages.steps.asking.answering import Answer, Settings


def requests(questions: pd.DataFrame, model: Model, given: Settings, attempt: int) -> list[Ask]:
    """Of each question the reasoned positive of synthesize, without samples.

    attempt: 0 at first; another makes it another request.
    """
    form = given.answer_format
    return [
        asker.named(
            model,
            sample=attempt,
            system=synthesis.system_text(POSITIVE, None, form),
            user=synthesis.user_text(privacy.allowed(question)[0], POSITIVE, None, form, []),
            schema=synthesis.schema_of(POSITIVE) if form == "json_schema" else None,
            max_tokens=given.max_tokens,
            temperature=given.temperature,
        )
        for question in questions.to_dict("records")
    ]


def explain(questions: pd.DataFrame, model: Model, given: Settings, ask: Asking) -> list[Answer]:
    """What becomes of each question; an answer of the wrong form is asked for again."""
    form = given.answer_format
    return answering.answers(
        len(questions),
        lambda places, attempt: requests(questions.iloc[places], model, given, attempt),
        lambda _, text: synthesis.parse(text, POSITIVE, form),
        ask,
        given.max_asks,
        may_be_cut=form == "plain",  # as a text of our own policies that ran into their limit
    )


def table(questions: pd.DataFrame, found: list[Answer]) -> pd.DataFrame:
    """The rows of Explanations; a question without an answer has none."""
    everything = pd.DataFrame(
        {
            "policy": API,
            "training_seed": NO_TRAINING,
            "question_id": questions.question_id,
            "cluster_id": questions.cluster_id,
            "decoding": "sampled",
            "explanation_index": 0,
            "round_index": 0,
            "is_final": True,
            "explanation": [one.text for one in found],
            "tokens_n": [one.output_tokens for one in found],
            "is_stopped": [one.is_stopped for one in found],
            "verifier_rating": float("nan"),
        }
    )
    return everything[everything.explanation.notna()]
