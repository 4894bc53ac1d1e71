"""Generation: what is cut, what fixes a text, and what must not change it."""

import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stages.pure.prompts import render_prompt
from stages.runtime import checkpoints, generation
from stages.runtime.generation import (
    Decoding,
    Generated,
    Writer,
    batch_seed,
    decodings,
    finish,
    load_writer,
)
from tests.tiny_models import GENERATION, MODEL, course

pytest_plugins = ["tests.tiny_fixtures"]

SAMPLED = Decoding(temperature=0.9, top_k=0, top_p=1.0, repetition_penalty=1.0)
GREEDY = replace(SAMPLED, temperature=None)
TOKENS = 6


@pytest.fixture
def tokenizer(checkout: Path) -> Any:
    return checkpoints.load_tokenizer(MODEL)


@pytest.fixture
def policy(checkout: Path) -> Any:
    return checkpoints.load_policy(MODEL, Path("models/sft"))


@pytest.fixture
def prompts(tokenizer: Any) -> list[list[int]]:
    """Ten prompts of different lengths."""
    rows = course().drop_duplicates("question_id").head(10).to_dict("records")
    asked = [render_prompt(row)[: 40 + 9 * i] for i, row in enumerate(rows)]
    return [checkpoints.encode_prompt(tokenizer, text, {}) for text in asked]


@pytest.fixture
def answer(policy: Any, tokenizer: Any) -> Any:
    """answer(prompts, decoding): texts of the tiny policy."""

    def run(
        prompts: list[list[int]],
        decoding: Decoding = SAMPLED,
        batch_size: int = 4,
        seed: int = 1,
        label: str = "x",
    ) -> list[Generated]:
        limits = (batch_size, TOKENS)
        return generation.generate(policy, tokenizer, prompts, decoding, *limits, seed, label)

    return run


# ---- the end of a text ---------------------------------------------------------------------


def test_a_text_is_cut_at_its_end_token(tokenizer: Any):
    ids = [*checkpoints.encode_text(tokenizer, "It lives."), tokenizer.eos_token_id]
    more = [*ids, *checkpoints.encode_text(tokenizer, " Not this."), tokenizer.pad_token_id]
    for given in (ids, more):
        assert finish(tokenizer, given, 7) == Generated("It lives.", len(ids) - 1, True, 7)


def test_a_text_without_an_end_was_not_stopped(tokenizer: Any):
    ids = checkpoints.encode_text(tokenizer, " It lives in")
    assert finish(tokenizer, ids, 7) == Generated("It lives in", len(ids), False, 7)


def test_a_model_can_say_nothing(tokenizer: Any):
    assert finish(tokenizer, [tokenizer.eos_token_id], 7) == Generated("", 0, True, 7)


def test_marks_of_the_template_are_not_part_of_a_text(tokenizer: Any):
    user = tokenizer.convert_tokens_to_ids("<|user|>")
    ids = [user, *checkpoints.encode_text(tokenizer, "So."), tokenizer.eos_token_id]
    assert finish(tokenizer, ids, 7).text == "So."


def bend(policy: Any, token: int, amount: float) -> None:
    """Raise the logit of one token, whatever was said before."""

    def raise_logit(_: Any, __: Any, logits: Any) -> Any:
        logits[..., token] += amount
        return logits

    policy.get_output_embeddings().register_forward_hook(raise_logit)


def test_at_the_limit_a_text_is_not_stopped(
    policy: Any, tokenizer: Any, prompts: list[list[int]], answer: Any
):
    bend(policy, tokenizer.eos_token_id, -100.0)
    found = answer(prompts)
    assert {(one.is_stopped, one.tokens_n) for one in found} == {(False, TOKENS)}


def test_a_policy_that_ends_at_once_stops_everywhere(
    policy: Any, tokenizer: Any, prompts: list[list[int]], answer: Any
):
    bend(policy, tokenizer.eos_token_id, 100.0)
    assert {(one.text, one.tokens_n, one.is_stopped) for one in answer(prompts)} == {("", 0, True)}


# ---- seeds ---------------------------------------------------------------------------------


def test_a_batch_seed_is_a_hash_of_what_names_the_batch():
    first_bytes = hashlib.sha256(b"13/sample 1 of 6/64").hexdigest()[:8]
    assert batch_seed(13, "sample 1 of 6", 64) == int(first_bytes, 16) // 2
    seeds = {batch_seed(s, label, i) for s in (1, 2) for label in "ab" for i in range(50)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_the_same_seed_gives_the_same_texts(prompts: list[list[int]], answer: Any):
    assert answer(prompts) == answer(prompts)


def test_another_seed_or_label_gives_other_texts(prompts: list[list[int]], answer: Any):
    texts = [
        tuple(one.text for one in answer(prompts, **other))
        for other in ({}, {"seed": 2}, {"label": "y"})
    ]
    assert len(set(texts)) == 3


def test_greedy_texts_do_not_depend_on_the_seed(prompts: list[list[int]], answer: Any):
    texts = [[one.text for one in answer(prompts, GREEDY, seed=seed)] for seed in (1, 2)]
    assert texts[0] == texts[1]


def test_earlier_random_numbers_do_not_matter(prompts: list[list[int]], answer: Any):
    import torch

    first = answer(prompts)
    torch.rand(17)
    assert answer(prompts) == first


# ---- what must not change a text -----------------------------------------------------------


@pytest.mark.parametrize("decoding", [SAMPLED, GREEDY])
def test_the_order_of_the_prompts_does_not_matter(
    prompts: list[list[int]], answer: Any, decoding: Decoding
):
    order = [7, 2, 9, 0, 4, 1, 8, 3, 6, 5]
    shuffled = answer([prompts[i] for i in order], decoding)
    assert shuffled == [answer(prompts, decoding)[i] for i in order]


def test_a_greedy_text_is_the_same_alone_and_beside_longer_prompts(
    prompts: list[list[int]], answer: Any
):
    together = [one.text for one in answer(prompts, GREEDY, batch_size=10)]
    assert [one.text for one in answer(prompts, GREEDY, batch_size=1)] == together
    assert len(set(together)) > 1


def test_what_a_model_ships_as_its_own_decoding_is_not_used(
    policy: Any, prompts: list[list[int]], answer: Any
):
    plain = answer(prompts), answer(prompts, GREEDY)
    own = {"temperature": 9.0, "top_k": 1, "top_p": 0.1, "repetition_penalty": 9.0}
    policy.generation_config.update(**own, do_sample=False, max_length=3)
    assert (answer(prompts), answer(prompts, GREEDY)) == plain


def test_no_prompts_have_no_answers(answer: Any):
    assert answer([]) == []


# ---- a writer ----------------------------------------------------------------------------


def asked_in_words() -> list[str]:
    rows = course().drop_duplicates("question_id").head(5).to_dict("records")
    return [render_prompt(row) for row in rows]


def writer(max_length: int = MODEL.max_length) -> Writer:
    return load_writer(replace(MODEL, max_length=max_length), GENERATION, Path("models/sft"))


@pytest.mark.usefixtures("checkout")
def test_a_writer_answers_as_generate_does_to_the_encoded_prompts():
    own, texts = writer(), asked_in_words()
    encoded = [checkpoints.encode_prompt(own.tokenizer, text, {}) for text in texts]
    limits = (GENERATION.batch_size, GENERATION.max_new_tokens, 3, "x")
    wanted = generation.generate(own.policy, own.tokenizer, encoded, SAMPLED, *limits)
    assert own.answer(texts, SAMPLED, 3, "x") == wanted
    assert len({one.text for one in wanted}) > 1
    assert max(one.tokens_n for one in wanted) <= GENERATION.max_new_tokens


@pytest.mark.usefixtures("checkout")
def test_a_writer_asks_in_the_template_of_the_profile(monkeypatch: pytest.MonkeyPatch):
    seen: list[dict[str, Any]] = []
    encode = checkpoints.encode_prompt

    def encoded(tokenizer: Any, text: str, kwargs: dict[str, Any]) -> list[int]:
        seen.append(kwargs)
        return encode(tokenizer, text, kwargs)

    monkeypatch.setattr(checkpoints, "encode_prompt", encoded)
    kwargs = {"enable_thinking": False}
    model = replace(MODEL, chat_template_kwargs=kwargs)
    load_writer(model, GENERATION, Path("models/sft")).answer(["Why?"], GREEDY, 1, "x")
    assert seen == [kwargs]


@pytest.mark.usefixtures("checkout")
def test_prompts_longer_than_training_saw_are_counted_and_answered(
    caplog: pytest.LogCaptureFixture,
):
    own, texts = writer(), asked_in_words()
    lengths = sorted(len(checkpoints.encode_prompt(own.tokenizer, text, {})) for text in texts)
    limit = lengths[2]
    wanted = own.answer(texts, GREEDY, 1, "explain")
    assert caplog.messages == []
    longer = sum(length > limit for length in lengths)
    assert 0 < longer < 3  # one of exactly the limit is none
    assert writer(limit).answer(texts, GREEDY, 1, "explain") == wanted
    assert caplog.messages == [
        f"explain: {longer} of 5 prompts have more than {limit} tokens "
        "(model.max_length of the profile)."
    ]


# ---- decodings -----------------------------------------------------------------------------


def test_every_policy_answers_as_the_params_say_and_greedily():
    assert decodings(SAMPLED) == {"sampled": SAMPLED, "greedy": GREEDY}


def test_the_most_likely_token_alone_is_the_greedy_text(prompts: list[list[int]], answer: Any):
    narrow = replace(SAMPLED, top_k=1)
    texts = [one.text for one in answer(prompts, narrow)]
    assert texts == [one.text for one in answer(prompts, GREEDY)]


def test_a_penalty_for_repetition_changes_what_is_said(prompts: list[list[int]], answer: Any):
    strict = replace(GREEDY, repetition_penalty=5.0)
    ask = partial(answer, prompts)
    assert [one.text for one in ask(strict)] != [one.text for one in ask(GREEDY)]
