"""A text's batch is of its own padded length, so its numbers are the same bits in any company."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.runtime import bertscore, store, students
from stages.runtime.encoding import alignment, buckets, encoder, similarity
from stages.runtime.encoding.alignment import Reader
from stages.runtime.encoding.buckets import LEAST_TOKENS, batches, room
from stages.runtime.loading import processor
from stages.runtime.pretraining import base_model
from tests.tiny_models import ENCODER, STUDENT, texts

pytest_plugins = ["tests.tiny_fixtures"]

WORDS = ["the", "owl", "finds", "its", "food", "in", "old", "trees", "because", "a", "river"]
TEXTS = [" ".join((WORDS * 5)[i : i + n]) for i, n in enumerate([1, 2, 3, 5, 6, 7, 9, 13, 21, 40])]
company = st.lists(st.sampled_from(TEXTS[1:]), max_size=30)
few = settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


# ---- the rule ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "step", "wanted"), [(1, 4, 4), (4, 4, 4), (5, 4, 8), (0, 4, 4), (17, 16, 32)]
)
def test_a_room_is_the_next_multiple(length: int, step: int, wanted: int):
    assert room(length, step) == wanted


@given(st.lists(st.integers(1, 90), max_size=60), st.integers(1, 9), st.sampled_from([4, 16]))
def test_every_place_is_in_one_batch_of_its_room(lengths: list[int], size: int, step: int):
    seen: list[int] = []
    for places, length in batches(lengths, size, step):
        own = list(dict.fromkeys(places))
        seen += own
        assert {room(lengths[i], step) for i in own} == {length}
        assert len(own) <= size
        assert len(places) * length >= LEAST_TOKENS
        assert places[len(own) :] == places[:1] * (len(places) - len(own))
    assert sorted(seen) == list(range(len(lengths)))


def test_no_texts_make_no_batch():
    assert list(batches([], 8)) == []


@pytest.fixture(autouse=True)
def _own_encoder() -> Iterator[None]:
    """No test gets the encoder of another one's checkout."""
    similarity.loaded.cache_clear()
    yield
    similarity.loaded.cache_clear()


# ---- bits ----------------------------------------------------------------------------------


def bits(values: Any) -> bytes:
    return np.ascontiguousarray(values).tobytes()


@few
@given(others=company, at=st.integers(0, 30))
def test_a_text_has_the_same_vectors_in_any_company(checkout: Path, others: list[str], at: int):
    reader = alignment.reader(ENCODER)
    together = [*dict.fromkeys([*others[:at], TEXTS[0], *others[at:]])]
    read = reader.read(together)
    for text in together:
        alone = reader.read([text])[text]
        assert bits(alone.whole) == bits(read[text].whole)
        assert bits(alone.tokens) == bits(read[text].tokens)


@few
@given(others=company)
def test_a_texts_unit_vector_is_the_same_in_any_company(checkout: Path, others: list[str]):
    together = [*others, *TEXTS]
    with store.forgetful():
        read = similarity.embed(ENCODER, together)
        alone = [similarity.embed(ENCODER, [text])[0] for text in TEXTS]
    assert [bits(one) for one in alone] == [bits(one) for one in read[len(others) :]]


@pytest.fixture(scope="module")
def packaged() -> tuple[Any, Any]:
    """The encoder of the profile `tiny`, whose products are oneDNN's."""
    processor.prepare(1)
    return bertscore.load("cpu")


@few
@given(others=st.lists(st.tuples(st.sampled_from(TEXTS), st.sampled_from(TEXTS)), max_size=20))
def test_a_bertscore_is_the_same_in_any_company(
    packaged: tuple[Any, Any], others: list[tuple[str, str]]
):
    pairs = [*others, *zip(TEXTS, TEXTS[::-1], strict=True)]
    found = bertscore.score(*packaged, [a for a, _ in pairs], [b for _, b in pairs])
    for pair, value in list(zip(pairs, found, strict=True))[-10:]:
        assert bertscore.score(*packaged, *[[side] for side in pair])[0] == value
    turned = bertscore.score(*packaged, [a for a, _ in pairs[::-1]], [b for _, b in pairs[::-1]])
    assert bits(turned[::-1]) == bits(found)


def test_a_block_of_pairs_changes_no_bertscore(
    packaged: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
):
    sides = [a for a in TEXTS for _ in TEXTS], TEXTS * len(TEXTS)
    whole = bertscore.score(*packaged, *sides)
    monkeypatch.setattr(bertscore, "BLOCK", 7)
    monkeypatch.setattr(bertscore, "BATCH", 3)
    assert bits(bertscore.score(*packaged, *sides)) == bits(whole)


@pytest.fixture(scope="module")
def student() -> students.Reader:
    """A student with random weights."""
    import torch

    torch.manual_seed(0)
    tokenizer = base_model.train_tokenizer(texts(), 400, STUDENT.max_length)
    assert STUDENT.size is not None
    network = base_model.build_model(base_model.Size(**STUDENT.size), STUDENT, tokenizer).eval()
    torch.nn.init.normal_(network.model.embed_tokens.weight, std=1.0)  # so that options differ
    return students.Reader(network, tokenizer, STUDENT)


CHOICES: list[students.Choice] = [
    (f"{text}? The right option is", tuple(options))
    for text, options in zip(
        TEXTS, [["owl"], ["a river", "old trees"], ["trees", "a", "food there"]] * 4, strict=False
    )
]


@few
@given(others=st.lists(st.sampled_from(CHOICES), max_size=30))
def test_a_students_answer_is_the_same_in_any_company(
    student: students.Reader, others: list[students.Choice]
):
    found = student.probabilities([*others, *CHOICES])[len(others) :]
    for choice, together in zip(CHOICES, found, strict=True):
        (alone,) = student.probabilities([choice])
        assert alone is not None
        assert bits(alone) == bits(together)


def test_the_batches_of_one_length_are_what_makes_it_so(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    """Beside longer texts, without the rule, a text's bits change: the tests above can fail."""
    packaged_folder = str(encoder.packaged_folder())
    monkeypatch.setattr(encoder, "source", lambda _: (packaged_folder, None))
    reader = Reader(ENCODER)
    alone = reader.read([TEXTS[6]])[TEXTS[6]]

    def all_at_once(
        lengths: Sequence[int], batch_size: int, step: int = 4
    ) -> list[tuple[list[int], int]]:
        return [(list(range(len(lengths))), room(max(lengths), step))]

    rule: Callable[..., Any] = buckets.batches
    monkeypatch.setattr(buckets, "batches", all_at_once)
    mixed = reader.read(TEXTS)[TEXTS[6]]
    monkeypatch.setattr(buckets, "batches", rule)
    assert np.allclose(alone.whole, mixed.whole, atol=1e-5)
    assert bits(alone.tokens) != bits(mixed.tokens)
