"""Generation: what is cut, what fixes a text, what is kept of it, and what goes wrong."""

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import InputError
from stages.pure.prompts import render_prompt
from stages.runtime import classifiers, sources, store
from stages.runtime.loading import checkpoints, processor
from stages.runtime.sampling.drawing import Decoding, Request
from stages.runtime.sampling.generation import (
    TRIES,
    Draw,
    Generated,
    Local,
    Writer,
    all_answers,
    decodings,
    finish,
    generate,
    load_resident,
    load_writer,
    row_seed,
    writing,
)
from tests import tiny_models
from tests.imports import ROOT
from tests.tiny_models import GENERATION, MODEL, course

pytest_plugins = ["tests.tiny_fixtures"]

SAMPLED = Decoding(temperature=0.9, top_k=0, top_p=1.0, repetition_penalty=1.0)
GREEDY = replace(SAMPLED, temperature=None)
DRAWS = [Draw("one", SAMPLED), Draw("two", SAMPLED), Draw("best", GREEDY)]
POLICY = Path("models/sft")


@pytest.fixture
def tokenizer(checkout: Path) -> Any:
    return checkpoints.load_tokenizer(MODEL)


@pytest.fixture
def writer(checkout: Path) -> Writer:
    return load_writer(MODEL, GENERATION, POLICY)


def prompts(count: int = 5) -> list[str]:
    rows = course().drop_duplicates("question_id").head(count).to_dict("records")
    return [render_prompt(row)[: 40 + 9 * i] for i, row in enumerate(rows)]


def texts(answers: list[list[Generated]]) -> list[list[str]]:
    return [[one.text for one in row] for row in answers]


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """The requests that are computed from now on."""
    computed: list[Request] = []
    run = Local.run

    def watched(self: Local, requests: Sequence[Request], rows: int) -> Any:
        computed.extend(requests)
        return run(self, requests, rows)

    monkeypatch.setattr(Local, "run", watched)
    return computed


def anew() -> None:
    """Forget the store; the next answers go to another."""
    store.opened().close()
    (store.folder() / store.FILE).unlink()


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


def bend(writer: Writer, token: int, amount: float) -> None:
    """Raise the logit of one token, whatever was said before."""

    def raise_logit(_: Any, __: Any, logits: Any) -> Any:
        logits[..., token] += amount
        return logits

    writer.backend.model.get_output_embeddings().register_forward_hook(raise_logit)  # type: ignore


def test_at_the_limit_a_text_is_not_stopped(writer: Writer):
    bend(writer, writer.tokenizer.eos_token_id, -100.0)
    found = writer.answer(prompts(), SAMPLED, 1, "x")
    assert {(one.is_stopped, one.tokens_n) for one in found} == {(False, GENERATION.max_new_tokens)}


def test_a_policy_that_ends_at_once_stops_everywhere(writer: Writer):
    bend(writer, writer.tokenizer.eos_token_id, 100.0)
    found = writer.answer(prompts(), SAMPLED, 1, "x")
    assert {(one.text, one.tokens_n, one.is_stopped) for one in found} == {("", 0, True)}


# ---- seeds and names -----------------------------------------------------------------------


def test_a_row_seed_is_a_hash_of_what_names_the_row():
    first_bytes = hashlib.sha256(b"13/sample 1/Why?").hexdigest()[:8]
    assert row_seed(13, "sample 1", "Why?") == int(first_bytes, 16) // 2
    seeds = {row_seed(s, label, i) for s in (1, 2) for label in "ab" for i in range(50)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_the_same_seed_gives_the_same_texts_and_another_seed_or_name_others(writer: Writer):
    first = writer.answers(prompts(), [Draw("x", SAMPLED)], 1)
    anew()
    assert writer.answers(prompts(), [Draw("x", SAMPLED)], 1) == first
    other_seed = writer.answers(prompts(), [Draw("x", SAMPLED)], 2)
    other_name = writer.answers(prompts(), [Draw("y", SAMPLED)], 1)
    assert len({str(texts(found)) for found in (first, other_seed, other_name)}) == 3
    assert [row[0].seed for row in first] == [row_seed(1, "x", prompt) for prompt in prompts()]


def test_greedy_texts_depend_on_neither_seed_nor_name(writer: Writer):
    first = writer.answer(prompts(), GREEDY, 1, "x")
    anew()
    assert writer.answer(prompts(), GREEDY, 2, "y") == first
    assert {one.seed for one in first} == {0}
    assert len({one.text for one in first}) > 1


def test_an_answer_alone_is_the_answer_among_others(writer: Writer):
    together = writer.answers(prompts(), DRAWS, 1)
    anew()
    for prompt, row in zip(prompts()[::-1], together[::-1], strict=True):
        for draw, wanted in zip(DRAWS, row, strict=True):
            assert writer.answers([prompt], [draw], 1) == [[wanted]]


def test_one_more_draw_leaves_the_others_as_they_were(writer: Writer):
    two = writer.answers(prompts(), DRAWS[:2], 1)
    anew()
    assert [row[:2] for row in writer.answers(prompts(), DRAWS, 1)] == two


def test_rows_at_once_do_not_change_a_text(writer: Writer):
    few = writer.answers(prompts(), DRAWS, 1)
    anew()
    many = replace(writer, size=replace(GENERATION, batch_size=100))
    assert many.answers(prompts(), DRAWS, 1) == few


def test_what_a_model_ships_as_its_own_decoding_is_not_used(writer: Writer):
    plain = writer.answers(prompts(), DRAWS, 1)
    anew()
    own = {"temperature": 9.0, "top_k": 1, "top_p": 0.1, "repetition_penalty": 9.0}
    model = writer.backend.model  # type: ignore[attr-defined]
    model.generation_config.update(**own, do_sample=False, max_length=3)
    assert writer.answers(prompts(), DRAWS, 1) == plain


def test_no_prompts_have_no_answers(writer: Writer):
    assert writer.answers([], DRAWS, 1) == []


# ---- a writer ----------------------------------------------------------------------------


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
    load_writer(model, GENERATION, POLICY).answer(["Why?"], GREEDY, 1, "x")
    assert seen == [kwargs]


def test_prompts_longer_than_training_saw_are_counted_and_answered(
    writer: Writer, caplog: pytest.LogCaptureFixture
):
    encoded = [checkpoints.encode_prompt(writer.tokenizer, text, {}) for text in prompts()]
    lengths = sorted(len(ids) for ids in encoded)
    limit = lengths[2]
    wanted = writer.answers(prompts(), DRAWS, 1)
    assert caplog.messages == []
    longer = sum(length > limit for length in lengths)
    assert 0 < longer < 3  # one of exactly the limit is none
    narrow = replace(writer, model=replace(MODEL, max_length=limit))
    assert narrow.answers(prompts(), DRAWS, 1) == wanted
    assert caplog.messages == [
        f"one: {longer} of 5 prompts have more than {limit} tokens "
        "(model.max_length of the profile)."
    ]


# ---- the store -----------------------------------------------------------------------------


def test_what_was_answered_is_not_computed_again(writer: Writer, monkeypatch: pytest.MonkeyPatch):
    computed = counted(monkeypatch)
    first = writer.answers(prompts(3), DRAWS, 1)
    assert len(computed) == 9
    monkeypatch.setattr(Local, "run", lambda *_: pytest.fail("something was computed"))
    assert writer.answers(prompts(3), DRAWS, 1) == first
    store.opened().close()  # as another process would find it
    again = load_writer(MODEL, GENERATION, POLICY)
    assert again.answers(prompts(3)[::-1], DRAWS[::-1], 1) == [row[::-1] for row in first[::-1]]


def test_only_what_is_new_is_computed(writer: Writer, monkeypatch: pytest.MonkeyPatch):
    writer.answers(prompts(3), DRAWS[:2], 1)
    computed = counted(monkeypatch)
    writer.answers(prompts(4), DRAWS, 1)
    asked = sorted((prompts(4).index(one.text), one.decoding == GREEDY) for one in computed)
    assert asked == [(0, True), (1, True), (2, True), (3, False), (3, False), (3, True)]


def test_equal_requests_are_computed_once_and_each_is_answered(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
):
    computed = counted(monkeypatch)
    twice = [*prompts(2), *prompts(2)]
    found = writer.answers(twice, [Draw("a", GREEDY), Draw("b", GREEDY)], 1)
    assert len(computed) == 2
    assert len(found) == 4
    assert found[:2] == found[2:]
    assert [row[0] for row in found] == [row[1] for row in found]


def test_a_damaged_row_is_drawn_again(
    writer: Writer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    first = writer.answers(prompts(3), DRAWS, 1)
    store.opened().close()
    with sqlite3.connect(store.folder() / store.FILE) as connection:
        (key, value) = connection.execute("select key, value from rows limit 1").fetchone()
        said = json.loads(value) | {"text": "something else"}
        changed = json.dumps(said).encode()
        connection.execute("update rows set value = ? where key = ?", (changed, key))
    connection.close()
    computed = counted(monkeypatch)
    assert writer.answers(prompts(3), DRAWS, 1) == first
    assert len(computed) == 1
    assert "1 damaged row(s) of kind 'sample', computed again" in caplog.text
    writer.answers(prompts(3), DRAWS, 1)
    assert len(computed) == 1


def test_what_was_answered_before_an_interruption_is_kept(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
):
    run = Local.run

    def interrupted(self: Local, requests: Sequence[Request], rows: int) -> Any:
        yield next(iter(run(self, requests, rows)))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Local, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            writer.answers(prompts(), DRAWS, 1)
    computed = counted(monkeypatch)
    found = writer.answers(prompts(), DRAWS, 1)
    assert 0 < len(computed) < 15
    anew()
    assert writer.answers(prompts(), DRAWS, 1) == found


ONE = Request([5, 6, 7], SAMPLED, seed=3, text="Why?")

CHANGES: dict[str, Callable[[Writer, Request], tuple[Writer, Request]]] = {
    "weights": lambda w, r: (replace(w, weights="others"), r),
    "backend": lambda w, r: (replace(w, backend=Few(lambda _: [])), r),
    "machine": lambda w, r: (replace(w, machine=("a server",)), r),
    "seed": lambda w, r: (w, replace(r, seed=4)),
    "prompt": lambda w, r: (w, replace(r, prompt=[5, 6])),
    "temperature": lambda w, r: (w, replace(r, decoding=replace(SAMPLED, temperature=0.8))),
    "greedy": lambda w, r: (w, replace(r, decoding=GREEDY)),
    "top_k": lambda w, r: (w, replace(r, decoding=replace(SAMPLED, top_k=3))),
    "top_p": lambda w, r: (w, replace(r, decoding=replace(SAMPLED, top_p=0.9))),
    "penalty": lambda w, r: (w, replace(r, decoding=replace(SAMPLED, repetition_penalty=1.1))),
    "max_new_tokens": lambda w, r: (replace(w, size=replace(GENERATION, max_new_tokens=9)), r),
    "attention": lambda w, r: (replace(w, model=replace(MODEL, attention="eager")), r),
    "threads": lambda w, r: (replace(w, model=replace(MODEL, threads=2)), r),
    "dtype": lambda w, r: (replace(w, model=replace(MODEL, dtype="bfloat16")), r),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_can_change_an_answer_changes_its_key(writer: Writer, name: str):
    changed, request = CHANGES[name](writer, ONE)
    assert changed.keys([request]) != writer.keys([ONE])


def test_another_code_is_another_key(writer: Writer, monkeypatch: pytest.MonkeyPatch):
    before = writer.keys([ONE])
    monkeypatch.setattr(sources, "code_digest", lambda *_: "other")
    assert writer.keys([ONE]) != before


def test_what_cannot_change_an_answer_does_not_change_its_key(writer: Writer):
    (key,) = writer.keys([ONE])
    others = [replace(ONE, seed=i) for i in range(4, 8)]
    assert writer.keys([*others, ONE])[-1] == writer.keys([ONE, *others])[0] == key
    assert len(set(writer.keys([*others, ONE]))) == 5
    larger = replace(writer, size=replace(GENERATION, batch_size=99))
    longer = replace(writer, model=replace(MODEL, max_length=9, lora_dropout=0.5))
    assert larger.keys([ONE]) == longer.keys([ONE]) == [key]
    assert load_writer(MODEL, GENERATION, POLICY).keys([ONE]) == [key]


def test_another_adapter_or_base_has_other_keys(writer: Writer):
    before = writer.keys([ONE])
    tiny_models.make_policy(Path("models/dpo"), seed=9)
    assert load_writer(MODEL, GENERATION, Path("models/dpo")).keys([ONE]) != before
    tiny_models.make_base(seed=5)
    tiny_models.make_policy(POLICY, seed=1)
    assert load_writer(MODEL, GENERATION, POLICY).keys([ONE]) != before


# ---- backends that fail --------------------------------------------------------------------


@dataclass(frozen=True)
class Few:
    """A backend that answers the places that `choose` names."""

    choose: Callable[[Sequence[Request]], Sequence[int]]

    def run(self, requests: Sequence[Request], _: int) -> Iterator[list[tuple[int, Generated]]]:
        for place in self.choose(requests):
            yield [(place, Generated(str(requests[place].seed), 1, True, requests[place].seed))]


def asked(count: int) -> list[Request]:
    return [replace(ONE, seed=i) for i in range(count)]


def collected(backend: Any, requests: list[Request], rows: int = 4) -> list[str]:
    found = dict(pair for ended in all_answers(backend, requests, rows) for pair in ended)
    return [found[i].text for i in range(len(requests))]


def test_case_24_what_a_backend_leaves_out_is_asked_again(caplog: pytest.LogCaptureFixture):
    half = Few(lambda requests: range(0, len(requests), 2))
    assert collected(half, asked(6)) == ["0", "1", "2", "3", "4", "5"]
    assert caplog.messages == [
        "3 of 6 answers did not come: asked again.",
        "1 of 6 answers did not come: asked again.",
    ]


def test_case_24_what_never_comes_is_an_error_and_the_rest_is_kept(writer: Writer):
    without = replace(writer, backend=Few(lambda given: [i for i, r in enumerate(given) if r.seed]))
    with pytest.raises(
        InputError, match=rf"1 of 4 answers are missing after {TRIES} tries \(Few\)"
    ):
        generate(without, asked(4), "x")
    nothing = replace(writer, backend=Few(lambda _: []))
    assert [one.text for one in generate(nothing, asked(4)[1:], "x")] == ["1", "2", "3"]


def test_an_answer_to_nothing_that_was_asked_is_an_error():
    with pytest.raises(IndexError):
        collected(Few(lambda requests: [len(requests)]), asked(2))


def test_an_error_of_another_kind_is_not_taken_for_want_of_memory():
    def broken(_: Any) -> Any:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        collected(Few(broken), asked(2))


# ---- memory --------------------------------------------------------------------------------


def test_what_cannot_be_held_even_for_one_row_is_an_error(
    writer: Writer, caplog: pytest.LogCaptureFixture
):
    # 10^13 tokens: more than any address space holds
    backend = replace(writer.backend, max_new_tokens=10**13)  # type: ignore[type-var]
    with pytest.raises(InputError, match=r"out of memory with 1 answers at once .*allocate"):
        replace(writer, backend=backend).answer(["Why?"], GREEDY, 1, "x")
    assert [message.split(":")[0] for message in caplog.messages] == [
        "out of memory with 4 answers at once",
        "out of memory with 2 answers at once",
    ]


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (MemoryError(), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of range"), False),
    ],
)
def test_want_of_memory_is_recognised(error: Exception, is_it: bool):
    assert processor.is_out_of_memory(error) is is_it


CHILD = """
import json, logging, resource, sys
from dataclasses import replace
from pathlib import Path
from stages.runtime.sampling.generation import Draw, Decoding, load_writer
from tests.tiny_models import GENERATION, MODEL
from stages.runtime import store

logging.basicConfig(level=logging.WARNING)
rows, extra = int(sys.argv[1]), int(sys.argv[2])
size = replace(GENERATION, batch_size=rows, max_new_tokens=30)
writer = load_writer(MODEL, size, Path("models/sft"))
draws = [Draw("one", Decoding(0.9, 20, 1.0, 1.1)), Draw("best", Decoding(None, 0, 1.0, 1.1))]
prompts = [f"Where does animal number {i} live?" for i in range(200)]
with store.forgetful():
    writer.answers(["What loads every library?"], draws, 1)
    if extra:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + extra * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    found = writer.answers(prompts, draws, 1)
print(json.dumps([[one.text for one in row] for row in found]))
"""


def in_child(rows: int, extra_mib: int) -> tuple[list[list[str]], str]:
    """The answers to 200 prompts by a process with so much more memory than it begins with."""
    command = [sys.executable, "-c", CHILD, str(rows), str(extra_mib)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    found: list[list[str]] = json.loads(done.stdout)
    return found, done.stderr


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "MALLOC_ARENA_MAX": "1"}


@pytest.mark.usefixtures("checkout")
def test_case_32_out_of_memory_halves_the_rows_and_changes_no_answer():
    # 400 rows of 94 tokens need 400 * 94 * 2 * 32 * 4 bytes in each of two layers, 19 MB
    wanted, _ = in_child(rows=64, extra_mib=0)
    found, told = in_child(rows=400, extra_mib=14)
    assert "out of memory with 400 answers at once: going on with 200." in told
    assert found == wanted
    assert len({text for row in found for text in row}) > 100


# ---- a policy in memory --------------------------------------------------------------------


def bits(policy: Any) -> dict[str, Any]:
    return {name: weight.detach().clone() for name, weight in policy.state_dict().items()}


def are_equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    import torch

    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def test_a_policy_in_memory_says_what_its_folder_says_and_stays_as_it_was(writer: Writer):
    wanted = writer.answers(prompts(), DRAWS, 1)
    key = writer.keys([ONE])
    anew()
    policy = checkpoints.load_policy(MODEL, POLICY, trainable=True)
    before = bits(policy)
    with writing(policy, writer.tokenizer, MODEL, GENERATION) as own:
        assert not are_equal(bits(policy), before)  # merged
        assert own.keys([ONE]) == key
        assert own.answers(prompts(), DRAWS, 1) == wanted
    assert are_equal(bits(policy), before)
    trainable = [name for name, weight in policy.named_parameters() if weight.requires_grad]
    assert trainable
    assert all("lora_" in name for name in trainable)


def test_a_policy_is_put_back_after_an_error_too(checkout: Path, tokenizer: Any):
    policy = checkpoints.load_policy(MODEL, POLICY)
    before = bits(policy)
    with pytest.raises(KeyboardInterrupt), writing(policy, tokenizer, MODEL, GENERATION):
        raise KeyboardInterrupt
    assert are_equal(bits(policy), before)


def test_subtracting_the_adapter_again_would_not_put_the_bits_back(checkout: Path):
    # why `writing` keeps a copy
    policy = checkpoints.load_policy(MODEL, POLICY)
    before = bits(policy)
    policy.merge_adapter()
    policy.unmerge_adapter()
    assert not are_equal(bits(policy), before)


def test_merged_the_greedy_texts_are_those_of_base_and_adapter(writer: Writer):
    policy = checkpoints.load_policy(MODEL, POLICY)
    backend = Local(policy.get_base_model(), writer.tokenizer, GENERATION.max_new_tokens)
    unmerged = replace(writer, backend=backend, weights="unmerged")
    merged = writer.answer(prompts(), GREEDY, 1, "x")
    assert unmerged.answer(prompts(), GREEDY, 1, "x") == merged
    base = Local(checkpoints.load_base(MODEL), writer.tokenizer, GENERATION.max_new_tokens)
    without = replace(writer, backend=base, weights="base")
    assert without.answer(prompts(), GREEDY, 1, "x") != merged


def test_a_policy_that_shares_its_base_with_a_verifier_says_the_same(writer: Writer):
    wanted = [writer.answer(prompts(), how, 1, "x") for how in (SAMPLED, GREEDY)]
    anew()
    resident = load_resident(MODEL, GENERATION, POLICY)
    halves = classifiers.load_folds(Path("models/verifier_reward"), onto=resident.policy)
    found = []
    for how in (SAMPLED, GREEDY):
        halves[0].ratings(prompts(1), ["In the meadow."])  # its adapter is the active one now
        found.append(resident.answer(prompts(), how, 1, "x"))
    assert found == wanted


# ---- other work of the process -------------------------------------------------------------

AFTER_THE_ENCODER = """
import torch
from stages.runtime.loading import processor
from tests import test_shared_prefill as tests

model = tests.build("qwen")
asked = tests.requests_for(tests.prompts(20))
torch.set_num_threads(1)
wanted = tests.answers(model, asked, rows=400)
processor.prepare(2)
assert tests.answers(model, asked, rows=400) == wanted
assert tests.answers(model, asked[:3]) == wanted[:3]
assert torch.get_num_threads() == 2
large = torch.randn(256, 256)
from torch.profiler import ProfilerActivity, profile
def calls():
    with profile(activities=[ProfilerActivity.CPU]) as log:
        large @ large
    return sum(e.count for e in log.key_averages() if "_linear_pointwise" in e.key)
assert calls() == 1
with processor.usual_products():
    assert calls() == 0
assert calls() == 1
"""


def test_an_encoder_in_the_same_process_changes_no_answer():
    command = [sys.executable, "-c", AFTER_THE_ENCODER]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---- decodings -----------------------------------------------------------------------------


def test_every_policy_answers_as_the_params_say_and_greedily():
    assert decodings(SAMPLED) == {"sampled": SAMPLED, "greedy": GREEDY}


def test_the_most_likely_token_alone_is_the_greedy_text(writer: Writer):
    narrow = writer.answer(prompts(), replace(SAMPLED, top_k=1), 1, "x")
    greedy = writer.answer(prompts(), GREEDY, 1, "x")
    assert [one.text for one in narrow] == [one.text for one in greedy]


def test_a_penalty_for_repetition_changes_what_is_said(writer: Writer):
    strict = replace(GREEDY, repetition_penalty=5.0)
    assert writer.answer(prompts(), strict, 1, "x") != writer.answer(prompts(), GREEDY, 1, "x")
