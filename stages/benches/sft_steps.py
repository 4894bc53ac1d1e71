"""C7: steps of SFT on rows of very different length.

Naive: TRL's SFTTrainer as it comes. Strong: no checkpointing. Ours: training.fit_sft, which
sorts the rows of an update by length and reads a few at once. Beside them updates of rows of like
length, which are other updates and so have other losses.
"""

from typing import Any

import numpy as np

from stages.benches import shapes
from stages.benches.measure import Case, How, Phase
from stages.benches.training_steps import Plan, Row, body_of, case_of, settings, trl_arguments
from stages.runtime.tuning import training

C7 = Plan(shapes.DECODER_7M, 200, 8, (20, 60), (10, 400), 1.0, at_once=2)


def texts_of(plan: Plan, seed: int) -> list[Row]:
    """Prompts with texts, most of them short and a few long, as training.fit_sft reads them."""
    rng = np.random.default_rng(seed)
    low, high = plan.text_tokens
    rows = []
    for _ in range(plan.rows_n):
        prompt = shapes.ids(rng, plan.size, *plan.prompt_tokens)
        size = low + int((high - low) * rng.random() ** 3)
        text = shapes.ids(rng, plan.size, size, size)
        mask = [0] * len(prompt) + [1] * len(text)
        rows.append({"input_ids": prompt + text, "completion_mask": mask})
    return rows


def sft_case(plan: Plan, how: How) -> Case:
    """training.fit_sft beside TRL's SFTTrainer."""
    tokenizer, rows = shapes.tokenizer_of(plan.size), texts_of(plan, how.seed)

    def ours(policy: Any) -> Any:
        given = settings(plan, False, plan.at_once), shapes.backbone(how), how.seed
        return training.fit_sft(policy, tokenizer, rows, [], *given, logging_steps=1)

    def trl(policy: Any, is_checkpointing: bool, **more: Any) -> Any:
        from datasets import Dataset
        from trl import SFTConfig, SFTTrainer

        arguments = trl_arguments(plan, how, is_checkpointing)
        trainer = SFTTrainer(
            model=policy,
            args=SFTConfig(**arguments, **more, max_length=None, completion_only_loss=True),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
        )
        trainer.train()
        return trainer.state.log_history

    fits = {
        "ours": ours,
        "TRL's defaults": lambda policy: trl(policy, True),
        "TRL, no checkpointing": lambda policy: trl(policy, False),
        "TRL, rows of like length together": lambda policy: trl(
            policy, False, train_sampling_strategy="group_by_length"
        ),
    }
    # forward and backward through frozen weights: 4 P per token
    work = [Phase(4 * body_of(plan.size) * sum(len(row["input_ids"]) for row in rows))]
    return case_of(plan, how, fits, work)
