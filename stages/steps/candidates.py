"""A policy -> candidates for the train questions: its samples, and the students' texts."""

import hashlib
from dataclasses import dataclass
from typing import Any

import pandas as pd

from schemas.errors import InputError
from schemas.synthetic import ORIGIN
from stages.pure import synthetic_questions
from stages.pure.prompts import distinct_questions, render_prompt
from stages.runtime.loading import checkpoints
from stages.runtime.sampling.drawing import Decoding
from stages.runtime.sampling.generation import Draw, Writer


@dataclass(frozen=True)
class Settings:
    """params.yaml: sample_candidates."""

    max_questions: int | None
    temperatures: list[float]
    top_p: float
    top_k: int
    repetition_penalty: float


def choose(questions: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """The train questions to sample for: the first `limit` by a hash of their id."""
    train = questions[questions.split == "train"]
    order = train.question_id.map(lambda name: hashlib.sha256(name.encode()).hexdigest())
    chosen = train.loc[order.sort_values(kind="stable").index[:limit]]
    return chosen.sort_values("question_id", ignore_index=True)


def sample(
    writer: Writer, questions: pd.DataFrame, settings: Settings, seed: int
) -> list[dict[str, Any]]:
    """One candidate per question and temperature."""
    prompts = [render_prompt(row) for row in questions.to_dict("records")]
    # the name fixes the random numbers: one more temperature leaves those of the others alone
    draws = [
        Draw(
            f"sample {index + 1}",
            Decoding(temperature, settings.top_k, settings.top_p, settings.repetition_penalty),
        )
        for index, temperature in enumerate(settings.temperatures)
    ]
    rows = []
    for question_id, answers in zip(
        questions.question_id, writer.answers(prompts, draws, seed), strict=True
    ):
        for index, (temperature, answer) in enumerate(
            zip(settings.temperatures, answers, strict=True)
        ):
            row = {"question_id": question_id, "candidate_index": index, "origin": "sft"}
            row |= {"row_id": None, "temperature": temperature, "seed": answer.seed}
            row |= {"explanation": answer.text, "tokens_n": answer.tokens_n}
            rows.append(row | {"is_stopped": answer.is_stopped})
    return rows


def written_texts(tokenizer: Any, rows: pd.DataFrame, first_index: int) -> list[dict[str, Any]]:
    """The students' explanations, or a synthetic question's own, numbered on after the samples."""
    ordered = rows.sort_values(["question_id", "row_id"])
    made = synthetic_questions.is_synthetic(ordered)
    place = ordered.groupby("question_id").cumcount() + first_index
    return [
        {
            "question_id": row["question_id"],
            "candidate_index": int(index),
            "origin": ORIGIN if is_made else "student",
            "row_id": row["row_id"],
            "temperature": None,
            "seed": -1,
            "explanation": row["explanation"],
            "tokens_n": len(checkpoints.encode_text(tokenizer, row["explanation"])),
            "is_stopped": True,
        }
        for row, index, is_made in zip(ordered.to_dict("records"), place, made, strict=True)
    ]


def candidates(writer: Writer, rows: pd.DataFrame, settings: Settings, seed: int) -> pd.DataFrame:
    """Questions (all rows) -> Candidates. Raises InputError if there is nothing to sample."""
    questions = choose(distinct_questions(rows), settings.max_questions)
    if questions.empty or not settings.temperatures:
        raise InputError(
            f"sample_candidates: {len(questions)} train questions and "
            f"{len(settings.temperatures)} temperatures give no sample. Raise max_questions "
            "or name temperatures."
        )
    sampled = sample(writer, questions, settings, seed)
    own = rows[rows.question_id.isin(questions.question_id)]
    written = written_texts(writer.tokenizer, own, len(settings.temperatures))
    return pd.DataFrame(sampled + written).astype({"temperature": float})
