"""C6 and G4: steps of DPO.

Naive: TRL's DPOTrainer as it comes. Strong: no checkpointing, and TRL's own setting that asks
the reference first. Ours: training.fit_dpo, which sorts the pairs of an update by length.
"""

from typing import Any

import numpy as np

from stages.benches import shapes
from stages.benches.measure import Case, How, Phase
from stages.benches.training_steps import Plan, Row, body_of, case_of, settings, trl_arguments
from stages.runtime.tuning import training

C6 = Plan(shapes.DECODER_7M, 64, 4, (60, 160), (20, 120), 1.5, at_once=1)
G4 = Plan(shapes.LLAMA3_8B, 160, 8, (512, 512), (256, 256), 1.0, 0.4)
SCIENCE: dict[str, Any] = {"beta": 0.1, "loss_type": ["sigmoid"], "logging_steps": 1}


def pairs_of(plan: Plan, seed: int) -> list[Row]:
    """Random preference pairs, as training.fit_dpo reads them."""
    rng = np.random.default_rng(seed)
    return [
        {
            "prompt_ids": shapes.ids(rng, plan.size, *plan.prompt_tokens),
            "chosen_ids": shapes.ids(rng, plan.size, *plan.text_tokens),
            "rejected_ids": shapes.ids(rng, plan.size, *plan.text_tokens),
        }
        for _ in range(plan.rows_n)
    ]


def dpo_case(plan: Plan, how: How) -> Case:
    """training.fit_dpo beside TRL's DPOTrainer."""
    tokenizer, rows = shapes.tokenizer_of(plan.size), pairs_of(plan, how.seed)

    def ours(policy: Any) -> Any:
        given = settings(plan, False, plan.at_once), shapes.backbone(how), how.seed
        return training.fit_dpo(policy, tokenizer, rows, *given, **SCIENCE)

    def trl(policy: Any, is_checkpointing: bool, **given: Any) -> Any:
        from datasets import Dataset
        from trl import DPOConfig, DPOTrainer

        class EncodedDPOTrainer(DPOTrainer):
            """Takes the same encoded rows."""

            def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
                return dataset

        arguments = trl_arguments(plan, how, is_checkpointing) | SCIENCE | given
        trainer = EncodedDPOTrainer(
            model=policy,
            args=DPOConfig(**arguments, max_length=None),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
        )
        trainer.train()
        return trainer.state.log_history

    fits = {
        "ours": ours,
        "TRL's defaults": lambda policy: trl(policy, True),
        "TRL, reference first": lambda p: trl(p, False, precompute_ref_log_probs=True),
    }
    tokens = sum(2 * len(r["prompt_ids"]) + len(r["chosen_ids"] + r["rejected_ids"]) for r in rows)
    # forward and backward through frozen weights, and the reference's forward: 6 P per token
    work = [Phase(6 * body_of(plan.size) * tokens)]
    return case_of(plan, how, fits, work)
