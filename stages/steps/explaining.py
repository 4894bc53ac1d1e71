"""A policy -> Explanations of the test questions, sampled and greedy."""

import pandas as pd

from schemas.errors import InputError
from schemas.explanations import Explanations
from stages.pure.prompts import distinct_questions, render_prompt
from stages.runtime import artifacts
from stages.runtime.sampling.drawing import Decoding
from stages.runtime.sampling.generation import Draw, Generated, Writer, decodings


def asked_questions(rows: pd.DataFrame, limit: int | None, stage: str) -> pd.DataFrame:
    """The distinct test questions, at most `limit`. Raises InputError if there is none."""
    questions = distinct_questions(rows)
    asked = questions[questions.split == "test"][:limit]
    if asked.empty:
        raise InputError(
            f"{stage}: no question in the split 'test', or max_questions {limit} takes none. "
            "Add exports or change split_percent."
        )
    return asked


def table(
    policy: str, training_seed: int, decoding: str, asked: pd.DataFrame, answers: list[Generated]
) -> pd.DataFrame:
    """Explanations rows of one decoding."""
    return pd.DataFrame(
        {
            "policy": policy,
            "training_seed": training_seed,
            "question_id": asked.question_id,
            "cluster_id": asked.cluster_id,
            "decoding": decoding,
            "explanation_index": 0,
            "round_index": 0,
            "is_final": True,
            "explanation": [answer.text for answer in answers],
            "tokens_n": [answer.tokens_n for answer in answers],
            "is_stopped": [answer.is_stopped for answer in answers],
            "verifier_rating": float("nan"),
        }
    )


def explain(
    writer: Writer, asked: pd.DataFrame, decoding: Decoding, policy: str, seed: int
) -> pd.DataFrame:
    """One answer per question and decoding, as Explanations. seed: of training and drawing."""
    prompts = [render_prompt(row) for row in asked.to_dict("records")]
    named = decodings(decoding)
    # the name fixes the random numbers: the same for every policy
    draws = [Draw(f"explain {name}", how) for name, how in named.items()]
    found = writer.answers(prompts, draws, seed)
    tables = [
        table(policy, seed, name, asked, [answers[number] for answers in found])
        for number, name in enumerate(named)
    ]
    return pd.concat(tables, ignore_index=True)


def nothing() -> pd.DataFrame:
    """Explanations without a row, where no other seed was asked for."""
    return artifacts.empty(Explanations)
