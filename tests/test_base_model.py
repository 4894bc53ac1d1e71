"""The tiny base: what a batch holds, what the optimizer does, and that training learns."""

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InputError
from stages.runtime.loading import checkpoints
from stages.runtime.pretraining import base_model
from stages.runtime.pretraining.muon import Optimizer, muon_step, orthogonalize
from stages.runtime.pretraining.packing import LENGTH_STEP, Document, Stream, one_per_row, pack
from tests import tiny_models

pytest_plugins = ["tests.tiny_fixtures"]

PAD, IGNORED = 0, -100
LENGTH = 12


def documents(*sizes: int, loss_from: int = 0) -> list[Document]:
    """Document k holds the ids 100k, 100k + 1, ...: an id says whose it is and where it stood."""
    return [
        Document([100 * k + i for i in range(size)], min(loss_from, size))
        for k, size in enumerate(sizes, start=1)
    ]


def packed(given: list[Document], seed: int = 0) -> np.ndarray:
    return pack(given, LENGTH, PAD, np.random.default_rng(seed))


# ---- batches -------------------------------------------------------------------------------


@given(st.lists(st.integers(1, LENGTH), min_size=1, max_size=20), st.integers(0, 99))
def test_a_pass_holds_every_document_once_and_whole(sizes: list[int], seed: int):
    given = documents(*sizes)
    rows = packed(given, seed)
    assert rows.shape[1:] == (2, LENGTH)
    found = [token for ids in rows[:, 0].tolist() for token in ids if token != PAD]
    assert Counter(found) == Counter(token for document in given for token in document.ids)
    for ids in rows[:, 0].tolist():  # whole: the ids of a document follow each other in one row
        starts = [i for i, token in enumerate(ids) if token and token % 100 == 0]
        for start in starts:
            size = sizes[ids[start] // 100 - 1]
            assert ids[start : start + size] == given[ids[start] // 100 - 1].ids


def test_documents_share_a_row_while_they_fit():
    assert len(packed(documents(6, 6))) == 1
    assert len(packed(documents(6, 7))) == 2
    assert len(packed(documents(4, 4, 4, 4, 4, 4))) == 2


def test_a_document_that_is_longer_than_a_row_is_left_out():
    rows = packed(documents(LENGTH + 1, 3))
    assert rows[0, 0].tolist() == [200, 201, 202] + [PAD] * (LENGTH - 3)


@given(st.lists(st.integers(1, LENGTH), min_size=1, max_size=10), st.integers(0, LENGTH))
def test_the_loss_counts_on_the_answers_and_nowhere_else(sizes: list[int], loss_from: int):
    given = documents(*sizes, loss_from=loss_from)
    rows = packed(given)
    counted = {token for d in given for token in d.ids[d.loss_from :]}
    for token, label in zip(rows[:, 0].ravel(), rows[:, 1].ravel(), strict=True):
        assert label == (token if token in counted else IGNORED)


def test_an_exercise_stands_alone_in_its_row():
    rows = one_per_row(documents(2, 4, 3, loss_from=1), PAD)
    filled = [PAD] * (LENGTH_STEP - 4)
    assert rows[:, 0].tolist() == [
        [100, 101, PAD, PAD, *filled],
        [200, 201, 202, 203, *filled],
        [300, 301, 302, PAD, *filled],
    ]
    assert rows[0, 1].tolist() == [IGNORED, 101, *[IGNORED] * (LENGTH_STEP - 2)]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_exercises_have_few_lengths_and_none_is_cut(sizes: list[int]):
    length = one_per_row(documents(*sizes), PAD).shape[2]
    assert length % LENGTH_STEP == 0
    assert max(sizes) <= length < max(sizes) + LENGTH_STEP


def test_a_stream_goes_on_for_ever_and_repeats_a_document_once_per_pass():
    stream = Stream(documents(LENGTH, LENGTH, LENGTH), LENGTH, PAD, seed=1)
    taken = np.concatenate([stream.take(count) for count in (2, 3, 1, 3)])
    firsts = taken[:, 0, 0].tolist()
    assert [sorted(firsts[i : i + 3]) for i in (0, 3, 6)] == [[100, 200, 300]] * 3
    assert len({tuple(firsts[i : i + 3]) for i in (0, 3, 6)}) > 1  # packed anew


def test_texts_that_all_need_longer_rows_are_refused():
    with pytest.raises(InputError, match="sequence_length 12 is shorter than each of 2 texts"):
        Stream(documents(LENGTH + 1, LENGTH + 5), LENGTH, PAD, seed=1)


# ---- optimizer -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(24, 24), (16, 48), (48, 16)])
def test_orthogonalize_makes_all_singular_values_about_one(shape: tuple[int, int]):
    generator = torch.Generator().manual_seed(1)
    gradient = torch.randn(shape, generator=generator)
    found = torch.linalg.svdvals(orthogonalize(gradient))
    # the coefficients are chosen for speed: five rounds end between about 0.7 and 1.2
    assert ((found > 0.65) & (found < 1.25)).all()


def test_orthogonalize_keeps_the_directions_and_forgets_the_size():
    gradient = torch.diag(torch.tensor([5.0, 2.0, 1.0]))
    found = orthogonalize(gradient)
    assert torch.allclose(found, torch.diag(torch.diag(found)), atol=1e-5)
    assert (torch.diag(found) > 0.65).all()
    assert torch.allclose(orthogonalize(1000 * gradient), found, atol=1e-5)
    assert torch.allclose(orthogonalize(-gradient), -found, atol=1e-5)


def test_a_zero_gradient_is_no_update():
    assert not orthogonalize(torch.zeros(3, 4)).any()


def test_a_muon_step_moves_against_the_gradient_by_the_rate():
    weight = torch.nn.Parameter(torch.zeros(8, 8))
    weight.grad = torch.eye(8)
    muon_step([weight], [torch.zeros(8, 8)], rate=0.1)
    assert torch.diag(weight.detach()).tolist() == pytest.approx([-0.1] * 8, rel=0.35)
    assert (weight - torch.diag(torch.diag(weight))).abs().max() < 1e-5


def test_the_rate_is_full_in_the_first_half_and_falls_to_a_twentieth():
    assert [base_model.schedule(step, 100) for step in (-40, 0, 49, 50)] == [1.0] * 4
    assert base_model.schedule(75, 100) == pytest.approx(1 - 0.95 / 2)
    assert base_model.schedule(100, 100) == pytest.approx(0.05)


def test_matrices_of_the_layers_are_muons_and_the_rest_is_adams(checkout: Path):
    network = checkpoints.load_base(tiny_models.MODEL)
    optimizer = Optimizer(network, 0.02, 0.003)
    adams = {id(p) for group in optimizer.adam.param_groups for p in group["params"]}
    muons = {id(p) for p in optimizer.matrices}
    assert adams | muons == {id(p) for p in network.parameters()}
    assert adams & muons == set()
    assert id(network.get_input_embeddings().weight) in adams


# ---- training ------------------------------------------------------------------------------


def prepared(tokenizer: Any) -> list[Document]:
    """The train questions of the course as documents."""
    rows = tiny_models.course().query("split == 'train'").to_dict("records")
    found = []
    for row in rows:
        ids = checkpoints.encode_prompt(tokenizer, f"Where does {row['stem'].split()[2]} live", {})
        said = checkpoints.encode_completion(tokenizer, row["explanation"])
        found.append(Document(ids + said, len(ids)))
    return found


def trained(**changed: Any) -> list[dict[str, float]]:
    """The log of a short training of models/base of the checkout."""
    tokenizer = checkpoints.load_tokenizer(tiny_models.MODEL)
    network = checkpoints.load_base(tiny_models.MODEL)
    given = prepared(tokenizer)
    base = replace(tiny_models.BASE, **changed)
    return base_model.train(network, given, [], lambda: given[0], base, seed=1)


def test_the_loss_is_the_mean_over_the_counted_tokens(checkout: Path):
    tokenizer = checkpoints.load_tokenizer(tiny_models.MODEL)
    network = checkpoints.load_base(tiny_models.MODEL)
    document = prepared(tokenizer)[0]
    rows = one_per_row([document], tokenizer.pad_token_id)
    with torch.no_grad():
        logits = network(input_ids=torch.tensor([document.ids])).logits[0]
    log_probabilities = torch.log_softmax(logits, dim=-1)
    # token t is predicted from the tokens before it
    said = [
        -log_probabilities[t - 1, document.ids[t]].item()
        for t in range(document.loss_from, len(document.ids))
    ]
    assert base_model.learn(network, rows) == pytest.approx(np.mean(said), rel=1e-4)


def test_blocks_of_the_head_change_no_gradient(checkout: Path, monkeypatch: pytest.MonkeyPatch):
    tokenizer = checkpoints.load_tokenizer(tiny_models.MODEL)
    rows = one_per_row(prepared(tokenizer), tokenizer.pad_token_id)

    def gradients(block: int) -> list[torch.Tensor]:
        network = checkpoints.load_base(tiny_models.MODEL)
        monkeypatch.setattr(base_model, "HEAD_BLOCK", block)
        base_model.learn(network, rows)
        return [weight.grad for weight in network.parameters()]

    network = checkpoints.load_base(tiny_models.MODEL)
    ids, labels = torch.from_numpy(rows).unbind(1)
    network(input_ids=ids, labels=labels).loss.backward()  # as the library has it
    for block in (7, 10_000):
        for found, weight in zip(gradients(block), network.parameters(), strict=True):
            assert torch.allclose(found, weight.grad, atol=1e-6)


def test_training_lowers_the_loss(checkout: Path):
    log = trained(copy_steps=0, steps=60, copy_every=1000)
    assert log[-1]["step"] == 60
    assert log[-1]["loss"] < log[0]["loss"] / 2
    assert log[-1]["learning_rate"] < 0.1 < log[0]["learning_rate"] == 1


def test_the_same_seed_gives_the_same_log(checkout: Path):
    assert trained() == trained()


def test_exercises_come_first_and_then_at_their_interval(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    made: list[int] = []
    seen: list[bool] = []
    real = base_model.learn

    def loss(network: Any, rows: np.ndarray) -> Any:
        seen.append(bool(made))
        made.clear()
        return real(network, rows)

    monkeypatch.setattr(base_model, "learn", loss)
    tokenizer = checkpoints.load_tokenizer(tiny_models.MODEL)
    given = prepared(tokenizer)

    def exercise() -> Document:
        made.append(1)
        return given[0]

    network = checkpoints.load_base(tiny_models.MODEL)
    base_model.train(network, given, [], exercise, tiny_models.BASE, seed=1)
    assert seen == [True] * 2 + [step % 5 == 0 for step in range(2, 12)]


def test_a_loss_that_is_no_number_is_refused(checkout: Path):
    with pytest.raises(InputError, match="gradient is nan at step 2"):
        trained(adam_learning_rate=1e30)


# ---- vocabulary ----------------------------------------------------------------------------


def test_the_chat_template_marks_who_speaks_and_ends_the_answer(checkout: Path):
    tokenizer = checkpoints.load_tokenizer(tiny_models.MODEL)
    talk = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    shown = tokenizer.apply_chat_template(talk, tokenize=False)
    assert shown == "<|user|>Why?<|assistant|>So.<|eos|>"
    asked = tokenizer.apply_chat_template(talk[:1], tokenize=False, add_generation_prompt=True)
    assert shown.startswith(asked)
    assert len(tokenizer) <= tiny_models.BASE.vocabulary


@given(st.text())
def test_any_text_survives_the_vocabulary(text: str):
    tokenizer = small_vocabulary()
    assert tokenizer.decode(checkpoints.encode_text(tokenizer, text)) == text


@cache
def small_vocabulary() -> Any:
    return base_model.train_tokenizer(tiny_models.texts(), 300, 64)
