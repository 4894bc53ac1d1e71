"""(policy, prompts, draws, seed) -> texts: three backends behind one door, and the row store.

A text depends on its own prompt, decoding and seed alone, never on its neighbours, so each is
looked up in the store of rows before it is drawn, and kept as soon as it is there.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from schemas.errors import InputError, nearest
from stages.runtime import sources, store
from stages.runtime.loading import adapters, checkpoints, processor
from stages.runtime.loading.profile import Generation, Model
from stages.runtime.sampling import shared_prefill
from stages.runtime.sampling.drawing import Decoding, Request

TRIES = 3  # that a backend has to answer every request
BACKENDS = ("shared_prefill", "continuous", "server")
KIND = "sample"  # of rows in the store


@dataclass(frozen=True)
class Draw:
    """One answer that every prompt gets. `name` and the run's seed fix its random numbers."""

    name: str
    decoding: Decoding


@dataclass(frozen=True)
class Generated:
    """One answer."""

    text: str
    tokens_n: int  # generated tokens, without EOS
    is_stopped: bool  # EOS came before the limit
    seed: int  # of its random numbers; 0 for a greedy one


class Backend(Protocol):
    """Something that answers requests."""

    def run(self, requests: Sequence[Request], rows: int) -> Iterator[list[tuple[int, Generated]]]:
        """(place among `requests`, its answer), several at a time, as they finish.

        rows: answers in the making at once. May leave some out: they are asked again.
        """
        ...


def decodings(sampled: Decoding) -> dict[str, Decoding]:
    """The two ways in which every policy answers: as params say, and greedy beside it."""
    return {"sampled": sampled, "greedy": replace(sampled, temperature=None)}


def row_seed(seed: int, *names: object) -> int:
    """A seed for one answer: a hash of the run's seed and what names the answer, below 2^31."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


@dataclass(frozen=True)
class Local:
    """A policy in this process that reads each prompt once (shared_prefill.py)."""

    model: Any  # a causal language model of transformers
    tokenizer: Any
    max_new_tokens: int

    def run(self, requests: Sequence[Request], rows: int) -> Iterator[list[tuple[int, Generated]]]:
        """See Backend."""
        ends = [self.tokenizer.eos_token_id]
        for ended in shared_prefill.decode(self.model, requests, rows, self.max_new_tokens, ends):
            yield [(i, finish(self.tokenizer, ids, requests[i].seed)) for i, ids in ended]


@dataclass(frozen=True)
class Writer:
    """A policy with what it needs to answer prompts in words."""

    backend: Backend
    tokenizer: Any
    model: Model
    size: Generation
    weights: str  # digest of base and adapter
    machine: tuple[str, ...] | None = None  # what computes; None = this process

    def answer(
        self, prompts: list[str], decoding: Decoding, seed: int, label: str
    ) -> list[Generated]:
        """One answer per prompt, in the order of `prompts`."""
        return [row[0] for row in self.answers(prompts, [Draw(label, decoding)], seed)]

    def answers(
        self, prompts: list[str], draws: Sequence[Draw], seed: int
    ) -> list[list[Generated]]:
        """The answer of each draw (columns) to each prompt (rows).

        Warns of prompts longer than the profile's max_length: no training has seen such.
        """
        kwargs = self.model.chat_template_kwargs
        ids = [checkpoints.encode_prompt(self.tokenizer, text, kwargs) for text in prompts]
        if too_long := sum(len(row) > self.model.max_length for row in ids):
            logging.warning(
                f"{draws[0].name}: {too_long} of {len(ids)} prompts have more than "
                f"{self.model.max_length} tokens (model.max_length of the profile)."
            )
        requests = [
            Request(row, draw.decoding, seed_of(seed, draw, text), text)
            for row, text in zip(ids, prompts, strict=True)
            for draw in draws
        ]
        found = generate(self, requests, draws[0].name)
        return [found[i : i + len(draws)] for i in range(0, len(found), len(draws))]

    def keys(self, requests: Sequence[Request]) -> list[str]:
        """The keys of answers in the store of rows: all that can change them."""
        same = store.digest_of(
            weights=self.weights,
            backend=type(self.backend).__name__,
            max_new_tokens=self.size.max_new_tokens,
            attention=self.model.attention,
            machine=self.machine
            or processor.identity(self.model.dtype, self.model.device, self.model.threads),
            code=sources.code_digest("stages.runtime.sampling.generation"),
        )
        return [
            store.digest_of(
                same=same, prompt=one.prompt, decoding=asdict(one.decoding), seed=one.seed
            )
            for one in requests
        ]


def seed_of(seed: int, draw: Draw, prompt: str) -> int:
    """The seed of one answer, by the run's seed, the draw's name and the prompt; 0 if greedy."""
    return 0 if draw.decoding.temperature is None else row_seed(seed, draw.name, prompt)


def generate(writer: Writer, requests: Sequence[Request], label: str) -> list[Generated]:
    """The answer to each request: from the store, or drawn now and kept. `label` names the bar."""
    from tqdm import tqdm

    keys = writer.keys(requests)
    rows = store.opened()
    known = rows.find(KIND, keys)
    wanted = {key: one for key, one in zip(keys, requests, strict=True) if key not in known}
    names = list(wanted)
    with tqdm(total=len(names), desc=label, unit="answer", disable=None) as bar:
        for ended in all_answers(writer.backend, list(wanted.values()), writer.size.batch_size):
            fresh = {names[place]: asdict(answer) for place, answer in ended}
            rows.add(KIND, fresh)
            known |= fresh
            bar.update(len(fresh))
    return [Generated(**known[key]) for key in keys]


def all_answers(
    backend: Backend, requests: Sequence[Request], rows: int
) -> Iterator[list[tuple[int, Generated]]]:
    """`backend.run` until every request is answered: what it left out is asked again.

    Out of memory halves `rows` and goes on. Raises InputError if one row is too many, or if a
    backend keeps leaving requests out.
    """
    left, tries = list(range(len(requests))), 0
    while left:
        answered = set[int]()
        try:
            for ended in backend.run([requests[i] for i in left], rows):
                answered |= {left[place] for place, _ in ended}
                yield [(left[place], answer) for place, answer in ended]
        except (RuntimeError, MemoryError) as error:
            rows = processor.halved(rows, error, "answers at once")
        else:
            tries += 1
        left = [i for i in left if i not in answered]
        if left and tries == TRIES:
            raise InputError(
                f"{len(left)} of {len(requests)} answers are missing after {TRIES} tries "
                f"({type(backend).__name__}). The others are kept: run the same command again."
            )
        if left and tries:
            logging.warning(f"{len(left)} of {len(requests)} answers did not come: asked again.")


def load_writer(model: Model, size: Generation, adapter: Path) -> Writer:
    """The policy of an adapter folder (models/sft, models/dpo), ready to answer.

    Its one adapter is merged into the weights: fewer products per token. A server has the
    weights; then none are loaded here, but the folder is checked like any other.
    """
    check_backend(size.backend)
    tokenizer = checkpoints.load_tokenizer(model)
    if size.backend == "server":
        from stages.runtime.sampling import server

        served = server.of_policy(size, adapter, tokenizer)
        checkpoints.check_manifest(adapter, model)
        weights = f"{checkpoints.adapter_digest(adapter)}/served"
        return Writer(served, tokenizer, model, size, weights, (served.url, served.name))
    policy = checkpoints.load_policy(model, adapter)
    weights = f"{checkpoints.policy_digest(policy)}/merged"
    backend = in_process(policy.merge_and_unload(), tokenizer, size)
    return Writer(backend, tokenizer, model, size, weights)


def check_backend(name: str) -> None:
    """Raise InputError for a backend that is none."""
    if name not in BACKENDS:
        raise InputError(
            f"generation.backend of the profile: unknown {name!r}. {nearest(name, BACKENDS)}"
        )


def in_process(network: Any, tokenizer: Any, size: Generation) -> Backend:
    """What answers with weights of this process; also beside a server, which has not these."""
    if size.backend == "continuous":
        from stages.runtime.sampling.continuous import Continuous

        return Continuous(network, tokenizer, size.max_new_tokens)
    return Local(network, tokenizer, size.max_new_tokens)


@contextmanager
def writing(policy: Any, tokenizer: Any, model: Model, size: Generation) -> Iterator[Writer]:
    """A policy in memory as a writer like that of load_writer; afterwards it is as it was.

    Its adapter is merged for the length of the block; then the weights are put back, bit by bit.
    """
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer

    weights = f"{checkpoints.policy_digest(policy)}/merged"
    layers = [one for one in policy.modules() if isinstance(one, BaseTunerLayer)]
    kept = [one.get_base_layer().weight.detach().to("cpu", copy=True) for one in layers]
    torch.set_num_threads(model.threads)  # as load_base does; an encoder may have set its own
    policy.eval()
    policy.merge_adapter()
    try:
        backend = in_process(policy.get_base_model(), tokenizer, size)
        yield Writer(backend, tokenizer, model, size, weights)
    finally:
        policy.unmerge_adapter()
        for one, weight in zip(layers, kept, strict=True):
            one.get_base_layer().weight.data.copy_(weight)


@dataclass(frozen=True)
class Resident:
    """A policy whose base serves verifiers as well (classifiers.load, onto=policy).

    Each call of `answer` switches to the policy's adapter, and merges it while it is asked, so
    that its answers are those of load_writer.
    """

    policy: Any
    tokenizer: Any
    model: Model
    size: Generation

    def answer(
        self, prompts: list[str], decoding: Decoding, seed: int, label: str
    ) -> list[Generated]:
        """One answer per prompt, in the order of `prompts`."""
        adapters.activate(self.policy, "default")
        with writing(self.policy, self.tokenizer, self.model, self.size) as writer:
            return writer.answer(prompts, decoding, seed, label)


def load_resident(model: Model, size: Generation, adapter: Path) -> Resident:
    """The policy of an adapter folder on a base that others may share."""
    policy = checkpoints.load_policy(model, adapter)
    return Resident(policy, checkpoints.load_tokenizer(model), model, size)


def finish(tokenizer: Any, ids: list[int], seed: int) -> Generated:
    """Cut at EOS and decode; special tokens inside the answer are dropped."""
    is_stopped = tokenizer.eos_token_id in ids
    kept = ids[: ids.index(tokenizer.eos_token_id)] if is_stopped else ids
    text = tokenizer.decode(kept, skip_special_tokens=True).strip()
    return Generated(text, len(kept), is_stopped, seed)
