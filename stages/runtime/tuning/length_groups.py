"""Rows of one update in the order of their length: batches of like rows have less padding.

Which rows an update learns from stays as it was: only the batches that it accumulates are composed
otherwise, and the loss with them only in an epoch's last, smaller update, where transformers takes
the mean of the batches' means. transformers 5 has "group_by_length", which composes other updates,
and "batch_rebalance", which sorts inside an update too, but makes batches of unequal size (a mean
over pairs would be another one) from a seed of its own.
"""

from collections.abc import Iterator
from typing import Any


class SortedUpdates:
    """The rows of an epoch, drawn as accelerate 1.15 draws them; longest first in each update.

    lengths: tokens per row; update_size: rows per update, of all processes.
    """

    def __init__(self, lengths: list[int], update_size: int, seed: int) -> None:
        self.lengths, self.update_size, self.seed = lengths, update_size, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer, at a resumed epoch too."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        import torch

        # accelerate.data_loader.SeedableRandomSampler: the data seed plus the epoch
        drawn = torch.Generator().manual_seed(self.seed + self.epoch)
        order = torch.randperm(len(self.lengths), generator=drawn).tolist()
        for start in range(0, len(order), self.update_size):
            update = order[start : start + self.update_size]
            yield from sorted(update, key=lambda row: -self.lengths[row])


def sort_updates(trainer: Any, lengths: list[int]) -> None:
    """Let `trainer` (of transformers, not yet training) read each update sorted by length."""
    given = trainer.args
    update_size = given.train_batch_size * given.gradient_accumulation_steps * given.world_size
    sampler = SortedUpdates(lengths, update_size, given.data_seed)
    trainer._get_train_sampler = lambda *_: sampler
