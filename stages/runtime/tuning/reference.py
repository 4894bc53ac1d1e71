"""What the reference of DPO says of every pair, asked once before the training.

It is frozen, so asking it in each step of each epoch is the same work again. TRL has a setting
for it (precompute_ref_log_probs) that hashes the whole model and leaves a file; here the pairs
are asked in the order of their length, which pads less, and stay in memory.
"""

from typing import Any

COLUMNS = ("ref_chosen_logps", "ref_rejected_logps")  # what TRL 1.16 looks for in a batch


def ask_once(trainer: Any, known: list[list[float]] | None) -> None:
    """Give `trainer` (a DPOTrainer that has not trained) its reference's log-probabilities.

    known: those of an earlier run of the same training; asked if None. In nats, chosen and
    rejected, one per pair each. They are kept as trainer.reference.
    """
    trainer.reference = known or log_probabilities(trainer)
    for name, values in zip(COLUMNS, trainer.reference, strict=True):
        trainer.train_dataset = trainer.train_dataset.add_column(name, values)
    trainer.precompute_ref_logps = True  # where TRL's own setting is kept


def log_probabilities(trainer: Any) -> list[list[float]]:
    """Of the chosen and of the rejected texts, in the order of the rows."""
    rows, size = list(trainer.train_dataset), trainer.args.per_device_train_batch_size
    order = sorted(range(len(rows)), key=lambda i: length(rows[i]))
    found: list[list[float]] = [[0.0] * len(rows) for _ in COLUMNS]
    for start in range(0, len(rows), size):
        places = order[start : start + size]
        batch = trainer._prepare_inputs(trainer.data_collator([rows[i] for i in places]))
        both = trainer.compute_ref_log_probs(trainer.model, batch)
        for side, values in zip(found, both, strict=True):
            for place, value in zip(places, values.tolist(), strict=True):
                side[place] = value
    return found


def length(row: dict[str, Any]) -> int:
    """Tokens of a pair's longer sequence."""
    return len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"]))
