"""Sampling on a GPU: transformers' continuous batching, with random numbers of our own.

The loop of transformers decodes the answers, takes a new one in as soon as another has ended,
and keeps keys and values in pages. It is driven through its manager and not `generate_batch`,
which hands everything over at the end, swallows what went wrong, has one decoding and one seed
for all, and leaves a repetition penalty out. Here every answer draws by its own decoding and
seed (stages/runtime/sampling/drawing.py), so that requests of all decodings share one session.

R = answers of a session, B = answers that get a token in a step, V = vocabulary.
"""

import copy
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from stages.runtime.sampling.drawing import Decoding, Drawer, Request
from stages.runtime.sampling.generation import Generated, finish

SESSION_ROUNDS = 16  # answers of a session, as a multiple of those in the making
PAGE = 256  # tokens of keys and values that are reserved at once; what flash attention takes
SMALL_PAGE = 32  # with another attention: shorter beginnings can be shared
BATCH_TOKENS = 4096  # of prompts and answers in one step
SMALL_BATCH_TOKENS = 512  # with another attention: its mask is these times all tokens in memory
WAIT_SECONDS = 1.0  # for an answer, before looking whether the loop still runs

Finished = list[tuple[int, list[int]]]  # place of the request, token ids up to and with the end


@dataclass(frozen=True)
class Continuous:
    """A policy in this process whose answers come and go in one running batch."""

    model: Any  # a causal language model of transformers
    tokenizer: Any
    max_new_tokens: int

    def run(self, requests: Sequence[Request], rows: int) -> Iterator[list[tuple[int, Generated]]]:
        """See Backend. Raises what stopped the loop, as RuntimeError or MemoryError."""
        order = sharing_order(requests, rows)
        size = rows * SESSION_ROUNDS
        for start in range(0, len(order), size):
            places = order[start : start + size]
            own = [requests[place] for place in places]
            for ended in self.session(own, rows):
                yield [(places[i], finish(self.tokenizer, ids, own[i].seed)) for i, ids in ended]

    def session(self, requests: list[Request], rows: int) -> Iterator[Finished]:
        """The answers, as they finish; what the loop gave up on is left out."""
        ends = self.tokenizer.eos_token_id
        with managed(self.model, requests, rows, self.max_new_tokens, ends) as manager:
            for place, request in enumerate(requests):
                manager.add_request(
                    request.prompt,
                    request_id=str(place),
                    max_new_tokens=self.max_new_tokens,
                    eos_token_id=ends,
                )
            left = len(requests)
            while left and (ended := arrived(manager)):
                left -= len(ended)
                good = [one for one in ended if one.error is None]
                if good:
                    yield [(int(one.request_id), one.generated_tokens) for one in good]


def sharing_order(requests: Sequence[Request], rows: int) -> list[int]:
    """Places of requests: among `rows` prompts, first one answer to each, then the second ones.

    The loop finds the keys and values of a prompt again once they are computed, so a prompt's
    second answer must not start together with its first. Long prompts come first.
    """
    of_prompt: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, request in enumerate(requests):
        of_prompt[tuple(request.prompt)].append(place)
    prompts = sorted(of_prompt, key=lambda prompt: (-len(prompt), prompt))
    order: list[int] = []
    for start in range(0, len(prompts), rows):
        part = [of_prompt[prompt] for prompt in prompts[start : start + rows]]
        for number in range(max(map(len, part))):
            order += [places[number] for places in part if number < len(places)]
    return order


def arrived(manager: Any) -> list[Any]:
    """The next answers (transformers' GenerationOutput), at least one; none if the loop is over."""
    found: list[Any] = []
    while True:
        answer = manager.get_result(timeout=WAIT_SECONDS if not found else 0.0)
        if answer is not None:
            found.append(answer)
        elif found or not manager.is_running():
            return found


@contextmanager
def managed(
    model: Any, requests: list[Request], rows: int, max_new_tokens: int, end: int
) -> Iterator[Any]:
    """A running loop for `requests`, ended and taken down afterwards.

    Raises what stopped the loop, if something did.
    """
    from transformers import GenerationConfig

    greedy = GenerationConfig(
        max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=end, use_cache=False
    )
    drawn = draws(model, requests, max_new_tokens)
    manager = model.init_continuous_batching(greedy, limits(model, requests, rows, max_new_tokens))
    manager.logit_processor = drawn
    manager.start()
    try:
        yield manager
    finally:
        manager.stop(block=True, hard_stop=True)  # all answers are here, or nobody waits for them
        manager.destroy()
    if (error := manager.background_thread_status.fatal_error) is not None:
        raise error


def limits(model: Any, requests: Sequence[Request], rows: int, max_new_tokens: int) -> Any:
    """Room for `rows` answers, the longest prompt each; nothing depends on what memory is free.

    Attention is what the profile names. Recorded CUDA graphs and steps that overlap are left
    off: they are not tested here.
    """
    from transformers import ContinuousBatchingConfig

    is_flash = "flash" in model.config._attn_implementation
    page = PAGE if is_flash else SMALL_PAGE
    longest = max(len(request.prompt) for request in requests) + max_new_tokens
    return ContinuousBatchingConfig(
        page_size=page,
        num_blocks=rows * (-(-longest // page) + 1),
        max_batch_tokens=max(rows, BATCH_TOKENS if is_flash else SMALL_BATCH_TOKENS),
        max_requests_per_batch=rows,
        safety_margin=0.0,
        auto_switch_to_flash=False,
        use_cuda_graph=False,
        use_async_batching=False,
    )


def draws(model: Any, requests: list[Request], max_new_tokens: int) -> Any:
    """What the loop calls on the logits of each step: leaves each row the token that it draws."""
    import torch
    from transformers.generation.continuous_batching.cb_logits_processors import (
        ContinuousBatchingLogitsProcessorList,
    )
    from transformers.generation.logits_process import LogitsProcessorList

    # one row more: what a place without an answer would draw
    nobody = Request([0], Decoding(None, 0, 1.0, 1.0), 0)
    drawer = Drawer([*requests, nobody], max_new_tokens, model.config.vocab_size, model.device)

    class Draws(ContinuousBatchingLogitsProcessorList):
        """Two numbers go with each token that is wanted: whose it is, and its step."""

        def __init__(self) -> None:
            super().__init__(LogitsProcessorList())
            self.tensors_required, self.do_processing = 2, True
            self.steps = [0] * len(requests)

        def fill_defaults(self, int32_tensor: Any) -> None:
            """(2, 1): of a place without an answer."""
            int32_tensor[0], int32_tensor[1] = len(requests), 0

        def prepare_tensor_args(self, requests_in_batch: Any, arg_storage: Any) -> Any:
            """Fill (2, B) of `arg_storage`, in the order of the answers that get a token."""
            own = [int(one.state.request_id) for one in requests_in_batch if one.has_new_token]
            steps = [self.steps[place] for place in own]
            for place in own:
                self.steps[place] += 1
            arg_storage[:2, : len(own)] = torch.tensor([own, steps], dtype=torch.int32)
            return arg_storage

        def __call__(self, input_ids: Any, scores: Any, logits_processor_args: Any) -> Any:
            """float32 (B, V): 1 for the token that a row draws, 0 for all others."""
            own, steps = logits_processor_args[:, : scores.shape[0]].long()
            part = copy.copy(drawer)
            part.state = {name: value[own] for name, value in drawer.state.items()}
            part.state["uniform"] = part.state["uniform"].gather(1, steps[:, None])
            drawn = part.draw(scores, 0)
            drawer.state["seen"][own] = part.state["seen"]
            return torch.zeros_like(scores).scatter_(1, drawn, 1.0)

    return Draws()
