"""From logits to tokens: every row draws by its own decoding and its own seed.

R = rows (one per answer in the making), V = vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Decoding:
    """How a text is drawn. temperature None = greedy."""

    temperature: float | None
    top_k: int  # 0 = off
    top_p: float  # 1 = off
    repetition_penalty: float  # 1 = off; also counts the prompt's tokens, as prior code's


@dataclass(frozen=True)
class Request:
    """One answer that is wanted."""

    prompt: list[int]  # token ids, up to where the answer starts
    decoding: Decoding
    seed: int  # of its random numbers
    text: str = ""  # the user's message in words, for a server with a template of its own


class Drawer:
    """The state of R rows: what each has seen, how it draws, and its uniform numbers.

    The steps and their order are those of transformers' generate: repetition penalty,
    temperature, top-k, top-p. A token is the inverse of the cumulative distribution at a uniform
    number, so a row needs one number per token, whatever the other rows do.
    """

    def __init__(self, rows: Sequence[Request], steps: int, vocabulary: int, device: Any):
        import torch

        def column(values: list[float], dtype: Any = torch.float32) -> Any:
            return torch.tensor(values, dtype=dtype, device=device)[:, None]

        how = [row.decoding for row in rows]
        greedy = [one.temperature is None for one in how]
        limits = [min(one.top_k or vocabulary, vocabulary) for one in how]
        self.limit = 1 if all(greedy) else max(limits)
        self.is_penalised = any(one.repetition_penalty != 1 for one in how)
        self.state = {
            "seen": torch.zeros((len(rows), vocabulary), dtype=torch.bool, device=device),
            "penalty": column([one.repetition_penalty for one in how]),
            "temperature": column([one.temperature or 1.0 for one in how]),
            "greedy": column(greedy, torch.bool),  # type: ignore[arg-type]
            "top_k": column(limits, torch.long),  # type: ignore[arg-type]
            "top_p": column([one.top_p for one in how], torch.float64),
            "uniform": torch.from_numpy(np.stack([uniform(row, steps) for row in rows])).to(device),
        }
        for number, row in enumerate(rows):
            self.state["seen"][number, torch.tensor(row.prompt, device=device)] = True

    def draw(self, logits: Any, step: int) -> Any:
        """The next token of each row, int64 (R, 1). logits: float32 (R, V)."""
        import torch

        state = self.state
        if self.is_penalised:
            kept = torch.where(logits < 0, logits * state["penalty"], logits / state["penalty"])
            logits = torch.where(state["seen"], kept, logits)
        values, tokens = best(logits, self.limit)
        place = torch.zeros_like(tokens[:, :1])
        if self.limit > 1:
            place = self.places(values, step)
        drawn = tokens.gather(1, place)
        state["seen"].scatter_(1, drawn, True)
        return drawn

    def places(self, values: Any, step: int) -> Any:
        """Which of its best tokens each row draws, int64 (R, 1). values: (R, K), best first."""
        import torch

        state = self.state
        rank = torch.arange(values.shape[1], device=values.device)
        scaled = (values / state["temperature"]).double()
        weight = (scaled - scaled[:, :1]).exp().masked_fill(rank >= state["top_k"], 0.0)
        # sums from the left: the zeros behind a row's own top_k change no bit of them
        total = weight.cumsum(1)
        is_beyond = total - weight >= state["top_p"] * total[:, -1:]
        total = weight.masked_fill(is_beyond & (rank > 0), 0.0).cumsum(1)
        end = total[:, -1:]
        wanted = state["uniform"][:, step : step + 1] * end
        place = ((total <= wanted) & (total < end)).sum(1, keepdim=True)
        return place.masked_fill(state["greedy"], 0)

    def keep(self, index: Any) -> None:
        """Only these rows."""
        self.state = {name: value[index] for name, value in self.state.items()}


def best(logits: Any, limit: int) -> Any:
    """The highest logits and their tokens, (R, limit) each, best first; of equals the lowest id.

    topk alone leaves open which of equal logits it takes: that may depend on `limit`, and so on
    what other rows ask for. In bfloat16 equal logits are common.
    """
    import torch

    bits = (logits + 0.0).view(torch.int32)  # + 0.0: -0.0 is no other number
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # integers in the order of the floats
    unique = (ordered.long() << 32) - torch.arange(logits.shape[1], device=logits.device)
    tokens = unique.topk(limit)[1]
    return logits.gather(1, tokens), tokens


def uniform(row: Request, steps: int) -> np.ndarray:
    """The random numbers of one answer, (steps,), in [0, 1); zeros for a greedy one."""
    if row.decoding.temperature is None:
        return np.zeros(steps)
    return np.random.Generator(np.random.Philox(row.seed)).random(steps)
