"""Which train questions does a policy still fail? (LLM2LLM, Lee et al. 2024, arXiv 2403.15042)

LLM2LLM augments only what the student model gets wrong, and never what is synthetic itself: here
only students' questions are asked about. A text explains its question as far as it names the
key and a solver finds the key in it with the options hidden.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from schemas.negatives import Negatives
from stages.pure.scored import scoring
from stages.runtime import artifacts
from stages.runtime.loading import checkpoints
from stages.runtime.loading.profile import Generation, Model, Training
from stages.runtime.sampling import generation
from stages.runtime.sampling.drawing import Decoding
from stages.scorers import coverage, recoverability
from stages.steps import explaining, sft

MODELS = recoverability.MODELS


@dataclass(frozen=True)
class Tuning:
    """How a fresh policy is trained and asked: as by train_sft and explain_test."""

    lessons: sft.Settings
    model: Model
    training: Training
    size: Generation
    decoding: Decoding
    seed: int


def explained(questions: pd.DataFrame, samples: pd.DataFrame) -> "pd.Series[float]":
    """How well samples explain each question that they are of, 0..1, by question_id.

    samples: question_id, candidate_index, origin, explanation, is_stopped. The mean over them of
    P(key) by the solver, 0 where the key is not named. One that cannot be read explains nothing.
    """
    texts = scoring.texts_to_score(questions, samples, artifacts.empty(Negatives))
    named = [value.value or 0.0 for value in coverage.acr(texts)]
    found = [value.value or 0.0 for value in recoverability.recoverability(texts)]
    shown = [p if share > 0 else 0.0 for share, p in zip(named, found, strict=True)]
    return texts.assign(shown=shown).groupby("question_id").shown.mean()


def failed(questions: pd.DataFrame, candidates: pd.DataFrame, below: float) -> pd.DataFrame:
    """The candidates of the questions that the policy's samples explain to less than `below`."""
    is_own = candidates.question_id.isin(questions.question_id)  # and not a synthetic one's
    share = explained(questions, candidates[is_own & (candidates.origin == "sft")])
    return candidates[candidates.question_id.isin(share.index[share < below])]


def fresh_samples(
    lessons: pd.DataFrame, sources: pd.DataFrame, how: Tuning, tokenizer: Any
) -> pd.DataFrame:
    """What a policy that is trained on `lessons` says of `sources`; what `explained` reads.

    lessons: Questions; sources: distinct ones of them. The base is fresh: nothing of an earlier
    policy is left (LLM2LLM, algorithm 1).
    """
    taught = sft.lessons(lessons, how.lessons, tokenizer, how.model)
    policy, _ = sft.train(taught, tokenizer, how.model, how.training, how.seed)
    with generation.writing(policy, tokenizer, how.model, how.size) as writer:
        said = explaining.explain(writer, sources, how.decoding, "sft", how.seed)
    place = said.groupby("question_id").cumcount()  # sampled and greedy
    return said.assign(candidate_index=place, origin="sft")


def unexplained(
    lessons: pd.DataFrame, sources: pd.DataFrame, how: Tuning, below: float
) -> pd.DataFrame:
    """The sources that a fresh policy, trained on `lessons`, explains to less than `below`."""
    tokenizer = checkpoints.load_tokenizer(how.model)
    share = explained(lessons, fresh_samples(lessons, sources, how, tokenizer))
    return sources[sources.question_id.isin(share.index[share < below])]
