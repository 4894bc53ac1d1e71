"""Drawing tokens: the distribution is that of transformers, and each row is on its own."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stages.runtime.sampling.drawing import Decoding, Drawer, Request, best, uniform

PLAIN = Decoding(temperature=1.0, top_k=0, top_p=1.0, repetition_penalty=1.0)
GREEDY = replace(PLAIN, temperature=None)
SLACK = 1e-6  # of a probability


def drawn(
    logits: list[float], how: Decoding, numbers: list[float], prompt: list[int] | None = None
) -> list[int]:
    """The token at each uniform number, for one and the same logits."""
    import torch

    rows = [Request(prompt or [0], how, seed=1)] * len(numbers)
    drawer = Drawer(rows, 1, len(logits), "cpu")
    drawer.state["uniform"] = torch.tensor(numbers, dtype=torch.float64)[:, None]
    found = drawer.draw(torch.tensor([logits] * len(numbers), dtype=torch.float32), 0)
    return [int(token) for (token,) in found]


# ---- derived by hand -----------------------------------------------------------------------

# shares 1/2, 1/4, 1/8, 1/8 of the tokens 2, 0, 3, 1; of equals the lower id is first
HALVES = [float(np.log(2)), 0.0, float(np.log(4)), 0.0]


@pytest.mark.parametrize(
    ("number", "token"),
    [(0.0, 2), (0.49, 2), (0.51, 0), (0.74, 0), (0.76, 1), (0.87, 1), (0.88, 3), (1 - 2**-53, 3)],
)
def test_a_token_is_where_the_shares_add_up_to_the_number(number: float, token: int):
    assert drawn(HALVES, PLAIN, [number]) == [token]


def test_a_lower_temperature_sharpens():
    # at 1/2 the shares are 16 : 4 : 1 : 1, so the first ends at 16/22
    cold = replace(PLAIN, temperature=0.5)
    assert drawn(HALVES, cold, [16 / 22 - SLACK, 16 / 22 + SLACK, 20 / 22 + SLACK]) == [2, 0, 1]


def test_of_the_first_k_only():
    # 2 : 1
    two = replace(PLAIN, top_k=2)
    assert drawn(HALVES, two, [2 / 3 - SLACK, 2 / 3 + SLACK, 1 - 2**-53]) == [2, 0, 0]
    assert set(drawn(HALVES, replace(PLAIN, top_k=1), [0.0, 0.5, 1 - 2**-53])) == {2}


@pytest.mark.parametrize(
    ("top_p", "last"), [(0.0, 2), (0.49, 2), (0.51, 0), (0.74, 0), (0.76, 1), (0.99, 3)]
)
def test_of_the_fewest_that_reach_top_p(top_p: float, last: int):
    assert drawn(HALVES, replace(PLAIN, top_p=top_p), [1 - 2**-53]) == [last]


def test_top_p_counts_after_top_k():
    # of the first two, 2/3 and 1/3: one is enough for .6, though it is half of all
    both = replace(PLAIN, top_k=2, top_p=0.6)
    assert drawn(HALVES, both, [0.99]) == [2]
    assert drawn(HALVES, replace(both, top_k=0), [0.99]) == [0]


def test_what_was_said_is_less_likely_below_zero_and_above():
    strict = replace(GREEDY, repetition_penalty=2.0)
    assert drawn([3.0, 2.0, 1.0], strict, [0.0], prompt=[2]) == [0]
    assert drawn([3.0, 2.0, 1.0], strict, [0.0], prompt=[0]) == [1]
    assert drawn([-1.0, -1.5, -3.0], strict, [0.0], prompt=[0]) == [1]
    assert drawn([3.0, 2.0, 1.0], strict, [0.0], prompt=[0, 1, 1]) == [0]  # 1.5, 1, 1


def test_a_drawn_token_counts_as_said():
    import torch

    drawer = Drawer([Request([2], replace(GREEDY, repetition_penalty=2.0), 0)], 3, 3, "cpu")
    logits = torch.tensor([[3.0, 2.0, 1.2]])
    assert [int(drawer.draw(logits, step)) for step in range(3)] == [0, 1, 0]


def test_a_greedy_row_says_the_first_of_the_best():
    assert drawn([1.0, 5.0, 5.0, -0.0], GREEDY, [0.0, 0.99]) == [1, 1]
    assert drawn([-1.0, -0.0, 0.0], GREEDY, [0.0]) == [1]


@settings(deadline=None)  # the first example loads torch
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_the_best_are_in_order_and_of_equals_the_lowest_is_first(values: list[float]):
    import torch

    logits = torch.tensor([values])
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))
    for limit in {1, len(values) // 2, len(values)} - {0}:
        highest, tokens = best(logits, limit)
        assert tokens[0].tolist() == order[:limit]
        assert highest[0].tolist() == [values[i] for i in order[:limit]]


# ---- against transformers ------------------------------------------------------------------


def reference(logits: list[float], how: Decoding, prompt: list[int]) -> np.ndarray:
    """Probabilities (V,) by the processors of transformers, in the order of its generate."""
    import torch
    from transformers import (
        LogitsProcessorList,
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    assert how.temperature is not None
    steps = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(how.repetition_penalty)])
    steps.append(TemperatureLogitsWarper(how.temperature))
    if how.top_k:
        steps.append(TopKLogitsWarper(how.top_k))
    if how.top_p < 1:
        steps.append(TopPLogitsWarper(how.top_p))
    scores = steps(torch.tensor([prompt], dtype=torch.long), torch.tensor([logits]))
    shares: np.ndarray = scores[0].double().softmax(0).numpy()
    return shares


def check_distribution(logits: list[float], how: Decoding, prompt: list[int]) -> None:
    """Every boundary between two tokens is where transformers' probabilities put it."""
    shares = reference(logits, how, prompt)
    order = np.argsort(-shares, kind="stable")
    order = order[shares[order] > 0]
    ends = np.cumsum(shares[order])
    seen = [token for token in order if shares[token] > 4 * SLACK]
    inside = [ends[i] - SLACK for i in range(len(seen))]
    after = [ends[i] - shares[token] + SLACK for i, token in enumerate(seen)]
    assert drawn(logits, how, inside, prompt) == seen
    assert drawn(logits, how, after, prompt) == seen
    assert set(drawn(logits, how, [0.0, 1 - 2**-53], prompt)) <= set(order.tolist())


DECODINGS = st.builds(
    Decoding,
    temperature=st.floats(0.1, 3.0),
    top_k=st.integers(0, 15),
    top_p=st.one_of(st.just(1.0), st.floats(0.05, 0.99)),
    repetition_penalty=st.sampled_from([1.0, 1.1, 1.7]),
)


def is_decided(logits: list[float], how: Decoding, prompt: list[int]) -> bool:
    """Whether no equal logits, and no sum near top_p, leave to rounding what is allowed."""
    every = reference(logits, replace(how, top_k=0, top_p=1.0), prompt)
    sums = np.cumsum(np.sort(reference(logits, replace(how, top_p=1.0), prompt))[::-1])
    is_clear = how.top_p == 1 or np.abs(sums - how.top_p).min() > 1e-5
    return len(np.unique(every)) == len(every) and bool(is_clear)


@settings(deadline=None)
@given(
    st.lists(st.integers(-800, 800), min_size=1, max_size=12, unique=True),
    DECODINGS,
    st.lists(st.integers(0, 11), min_size=1, max_size=6),
)
def test_the_distribution_is_that_of_transformers(
    hundredths: list[int], how: Decoding, said: list[int]
):
    logits, prompt = [n / 100 for n in hundredths], [i % len(hundredths) for i in said]
    assume(is_decided(logits, how, prompt))
    check_distribution(logits, how, prompt)


@pytest.mark.parametrize("seed", range(8))
def test_the_distribution_over_a_vocabulary_is_that_of_transformers(seed: int):
    random = np.random.default_rng(seed)
    logits = (random.normal(size=400) * 3).astype(np.float32).tolist()
    prompt = random.integers(0, 400, 100).tolist()
    for how in (PLAIN, Decoding(0.5, 50, 1.0, 1.1), Decoding(1.3, 20, 0.9, 1.2)):
        assert is_decided(logits, how, prompt)
        check_distribution(logits, how, prompt)


# ---- each row is on its own ----------------------------------------------------------------


def sequences(rows: list[Request], logits: Any) -> list[list[int]]:
    """Tokens of each row over some steps. logits: (steps, R, V)."""
    drawer = Drawer(rows, len(logits), logits.shape[2], "cpu")
    steps = [drawer.draw(own, step)[:, 0].tolist() for step, own in enumerate(logits)]
    return [list(tokens) for tokens in zip(*steps, strict=True)]


ROWS = st.lists(
    st.builds(
        Request,
        prompt=st.lists(st.integers(0, 39), min_size=1, max_size=5),
        decoding=st.one_of(DECODINGS, st.just(GREEDY), st.just(PLAIN)),
        seed=st.integers(0, 2**31 - 1),
    ),
    min_size=2,
    max_size=9,
)


@settings(deadline=None)
@given(ROWS, st.integers(0, 99), st.sampled_from([0.25, 2.0**-10]), st.randoms())
def test_a_row_draws_alone_what_it_draws_among_others(
    rows: list[Request], seed: int, grain: float, random: Any
):
    import torch

    numbers = np.random.default_rng(seed).normal(size=(4, len(rows), 40)) * 2
    # a coarse grain makes equal logits, as bfloat16 does
    logits = torch.tensor(np.round(numbers / grain) * grain, dtype=torch.float32)
    together = sequences(rows, logits)
    for i, row in enumerate(rows):
        assert sequences([row], logits[:, i : i + 1]) == [together[i]]
    order = random.sample(range(len(rows)), len(rows))
    shuffled = sequences([rows[i] for i in order], logits[:, order])
    assert shuffled == [together[i] for i in order]


@settings(deadline=None)
@given(ROWS, st.data())
def test_rows_that_leave_change_nothing_for_those_that_stay(rows: list[Request], data: Any):
    import torch

    kept = data.draw(st.lists(st.sampled_from(range(len(rows))), min_size=1, unique=True))
    logits = torch.tensor(np.random.default_rng(3).normal(size=(4, len(rows), 40)) * 2).float()
    whole = Drawer(rows, 4, 40, "cpu")
    fewer = Drawer(rows, 4, 40, "cpu")
    assert torch.equal(whole.draw(logits[0], 0), fewer.draw(logits[0], 0))
    fewer.keep(torch.tensor(kept))
    for step in range(1, 4):
        wanted = whole.draw(logits[step], step)[kept]
        assert torch.equal(fewer.draw(logits[step, kept], step), wanted)


def test_random_numbers_are_those_of_the_seed_and_even():
    row = Request([1], PLAIN, seed=5)
    numbers = uniform(row, 20000)
    assert (uniform(row, 20000) == numbers).all()
    assert (uniform(replace(row, prompt=[2, 3]), 100) == numbers[:100]).all()
    assert not (uniform(replace(row, seed=6), 100) == numbers[:100]).any()
    assert (numbers >= 0).all()
    assert (numbers < 1).all()
    tenths = np.histogram(numbers, bins=10, range=(0, 1))[0] / len(numbers)
    assert np.abs(tenths - 0.1).max() < 0.01  # five deviations are .0106
    assert (uniform(Request([1], GREEDY, seed=5), 3) == 0).all()


def test_what_is_drawn_is_as_frequent_as_it_is_likely():
    import torch

    rows = [Request([0], PLAIN, seed) for seed in range(8000)]
    found = Drawer(rows, 1, 4, "cpu").draw(torch.tensor([HALVES] * len(rows)), 0)
    shares = np.bincount(found[:, 0].numpy(), minlength=4) / len(rows)
    # three deviations of a share of a half are .017
    assert np.abs(shares - [0.25, 0.125, 0.5, 0.125]).max() < 0.017
