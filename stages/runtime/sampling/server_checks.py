"""Whether a server does what a decoding says: one that ignores a part answers all the same.

The first words of a few answers are compared with the greedy ones. A part that narrows down to
the best token must not change them, and a part at an extreme must. Known cases:

- vLLM takes all parts beside OpenAI's own fields;
- `transformers serve` refuses top_k as a field, and takes all parts in `generation_config`;
- with `--continuous-batching` it decodes everything like its first request;
- servers that spell repetition_penalty in another way pass over ours.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from schemas.errors import InputError
from stages.runtime.sampling.drawing import Decoding, Request

PROMPTS = 3  # that are asked
TOKENS = 16  # of each answer
HOT = 2.0  # a temperature at which hardly two answers begin alike; the interface's highest
STRONG = 100.0  # a repetition penalty that no prompt's token passes
NARROW = 1e-6  # a top_p that leaves the best token alone

GREEDY = Decoding(temperature=None, top_k=0, top_p=1.0, repetition_penalty=1.0)
WARM = replace(GREEDY, temperature=HOT)

Trial = tuple[str, Decoding, bool]  # part, how to ask, whether the greedy answers must come


def trials(wanted: Collection[Decoding]) -> list[Trial]:
    """What to try for the parts that these decodings use."""
    sampled = [one for one in wanted if one.temperature is not None]
    found: list[Trial] = [("temperature 0", GREEDY, True)]
    if sampled:
        found.append(("temperature", WARM, False))
    if any(one.top_k for one in sampled):
        found.append(("top_k", replace(WARM, top_k=1), True))
    if any(one.top_p < 1 for one in sampled):
        found.append(("top_p", replace(WARM, top_p=NARROW), True))
    if any(one.repetition_penalty != 1 for one in wanted):
        found.append(("repetition_penalty", replace(GREEDY, repetition_penalty=STRONG), False))
    return found


def check(
    url: str,
    requests: Sequence[Request],
    wanted: Collection[Decoding],
    said: Callable[[list[Request], int], list[str]],
) -> None:
    """Raise InputError for a part of `wanted` that the server does not follow.

    said: (requests, tokens) -> the first tokens of their answers as text. Answers that are empty
    show nothing; if all are, nothing can be checked.
    """
    texts = sorted({tuple(one.prompt): one for one in requests}.items())[:PROMPTS]
    asked = [replace(one, decoding=GREEDY, seed=1) for _, one in texts]
    plain = said(asked, TOKENS)
    for part, decoding, is_same in trials(wanted):
        answers = said([replace(one, decoding=decoding) for one in asked], TOKENS)
        pairs = [(a, b) for a, b in zip(plain, answers, strict=True) if a]
        equal = sum(a == b for a, b in pairs)
        if pairs and (2 * equal > len(pairs)) is not is_same:
            raise InputError(
                f"{url}: the server does not follow decoding.{part}: {equal} of {len(pairs)} "
                f"answers were those of greedy decoding, {'most' if is_same else 'few'} should be. "
                "Take another server, or switch this part off in params.yaml."
            )
