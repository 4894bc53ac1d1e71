"""An update learns from the rows that it would have drawn anyway, longest first."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.runtime.loading import checkpoints
from stages.runtime.tuning import training
from stages.runtime.tuning.length_groups import SortedUpdates
from tests.tiny_models import MODEL, TRAINING

pytest_plugins = ["tests.tiny_fixtures"]

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=40)


@settings(deadline=None)  # the first one imports torch
@given(lengths=LENGTHS, size=st.integers(1, 9), seed=st.integers(0, 99), epoch=st.integers(0, 3))
def test_an_update_has_the_rows_that_accelerate_draws(
    lengths: list[int], size: int, seed: int, epoch: int
):
    import torch
    from accelerate.data_loader import SeedableRandomSampler

    plain = SeedableRandomSampler(lengths, generator=torch.Generator(), data_seed=seed)
    own = SortedUpdates(lengths, size, seed)
    for sampler in (plain, own):
        sampler.set_epoch(epoch)
    drawn, read = list(plain), list(own)
    assert len(own) == len(read)
    for start in range(0, len(lengths), size):
        update = read[start : start + size]
        assert sorted(update) == sorted(drawn[start : start + size])
        assert [lengths[i] for i in update] == sorted((lengths[i] for i in update), reverse=True)


def test_of_rows_of_one_length_the_order_is_that_of_the_draw():
    assert list(SortedUpdates([7] * 20, 8, 3)) == list(SortedUpdates([7] * 20, 1, 3))


def rows(count: int) -> list[dict[str, Any]]:
    """Texts of 4 to 3 + count tokens, in an order that is not that of their length."""
    lengths = [4 + 7 * i % count for i in range(count)]
    return [
        {"input_ids": [5 + i, *[3] * (n - 1)], "completion_mask": [0] + [1] * (n - 1)}
        for i, n in enumerate(lengths)
    ]


def seen(batch_size: int, monkeypatch: pytest.MonkeyPatch) -> tuple[list[list[int]], int]:
    """The first tokens of the rows of each update of two epochs; and how many tokens were read."""
    from trl import SFTTrainer

    batches: list[Any] = []
    plain = SFTTrainer.compute_loss

    def watched(self: Any, model: Any, inputs: Any, *args: Any, **more: Any) -> Any:
        batches.append(inputs["input_ids"])
        return plain(self, model, inputs, *args, **more)

    monkeypatch.setattr(SFTTrainer, "compute_loss", watched)
    policy = training.fresh_lora(checkpoints.load_base(MODEL), MODEL, 1)
    tokenizer = checkpoints.load_tokenizer(MODEL)
    steps = 8 // batch_size
    how = replace(TRAINING, epochs=2, batch_size=batch_size, accumulation_steps=steps)
    training.fit_sft(policy, tokenizer, rows(16), [], how, MODEL, 1)
    firsts = [batch[:, 0].tolist() for batch in batches]
    updates = [
        [first for batch in firsts[start : start + steps] for first in batch]
        for start in range(0, len(firsts), steps)
    ]
    return updates, sum(batch.numel() for batch in batches)


def test_smaller_batches_read_the_same_updates_with_less_padding(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    whole, padded_n = seen(8, monkeypatch)
    parts, read_n = seen(2, monkeypatch)
    assert parts == whole
    assert len(whole) == 4  # updates, of which an epoch has two
    assert whole[:2] != whole[2:]
    real_n = 2 * sum(len(row["input_ids"]) for row in rows(16))
    assert real_n <= read_n < padded_n
    assert read_n - real_n < (padded_n - real_n) / 2
