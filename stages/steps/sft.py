"""Questions -> rows to imitate -> an SFT adapter in memory."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from schemas.errors import InputError
from stages.pure.prompts import render_prompt
from stages.pure.refinements import refinements
from stages.runtime import resume
from stages.runtime.loading import checkpoints
from stages.runtime.loading.profile import Model, Training
from stages.runtime.tuning import training as trainers


@dataclass(frozen=True)
class Settings:
    """params.yaml: train_sft."""

    refinement_frac: float
    min_refinement_gap: float


@dataclass(frozen=True)
class Lessons:
    """Encoded rows of the train and the validation split, and where they are from."""

    rows: list[dict[str, Any]]
    validation: list[dict[str, Any]]
    plain_n: int
    refinements_n: int

    @property
    def too_long_n(self) -> int:
        """Train rows that were left out."""
        return self.plain_n + self.refinements_n - len(self.rows)


def plain_texts(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """(prompt, explanation) of rows good enough to imitate."""
    good = rows[rows.is_sft_row].sort_values("row_id").to_dict("records")
    return [(render_prompt(row), row["explanation"]) for row in good]


def encode(tokenizer: Any, texts: list[tuple[str, str]], model: Model) -> list[dict[str, Any]]:
    """Token ids with a mask of the completion; a row longer than max_length is left out.

    Cutting it would cut its EOS, and teach the model not to stop.
    """
    rows = []
    for prompt, answer in texts:
        asked = checkpoints.encode_prompt(tokenizer, prompt, model.chat_template_kwargs)
        said = checkpoints.encode_completion(tokenizer, answer)
        if len(asked) + len(said) <= model.max_length:
            mask = [0] * len(asked) + [1] * len(said)
            rows.append({"input_ids": asked + said, "completion_mask": mask})
    return rows


def lessons(questions: pd.DataFrame, settings: Settings, tokenizer: Any, model: Model) -> Lessons:
    """What SFT learns from. Raises InputError if that is nothing."""
    train = questions[questions.split == "train"]
    plain = plain_texts(train)
    better = refinements(train, settings.min_refinement_gap)
    better = better[: round(settings.refinement_frac * len(plain))]
    if not plain:
        raise InputError(
            "data/questions.parquet: no train row has is_sft_row. Lower "
            "prepare_questions.min_question_rating or min_explanation_words."
        )
    rows = encode(tokenizer, plain + better, model)
    if not rows:
        raise InputError(
            f"stages/profiles: model.max_length {model.max_length} is shorter than each of "
            f"{len(plain)} rows of data/questions.parquet. Raise it."
        )
    seen = plain_texts(questions[questions.split == "validation"])
    return Lessons(rows, encode(tokenizer, seen, model), len(plain), len(better))


def train(
    taught: Lessons, tokenizer: Any, model: Model, training: Training, seed: int
) -> tuple[Any, list[dict[str, float]]]:
    """A policy with a new adapter, trained; and its log. A killed training goes on."""
    policy = trainers.fresh_lora(checkpoints.load_base(model), model, seed)
    rows, seen, often = taught.rows, taught.validation, resume.SECONDS
    log = trainers.fit_sft(policy, tokenizer, rows, seen, training, model, seed, often)
    return policy, log
