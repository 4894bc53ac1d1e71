"""C8 and G6: from one adapter to another.

Ours: both adapters stay in memory and the active one is named (stages/runtime/loading/adapters.py).
Strong: PEFT's set_adapter, which does that too. Naive: the model is wrapped anew with the
adapter of a file. Beside them: the file is loaded as a further adapter and the one before
deleted; hotswap copies the file's numbers into the adapter that is there.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from stages.benches import shapes
from stages.benches.measure import Case, Check, Goal, How, Laps, Phase, Way, wait
from stages.benches.shapes import Size
from stages.runtime.loading import adapters

LIMIT_MS = 10.0  # of the median swap
PROMPT = [7, 8, 9, 10, 11, 12, 13, 14]
NAMES = ("first", "second")


@dataclass(frozen=True)
class Plan:
    """How often is swapped, on what."""

    size: Size
    swaps_n: dict[str, int]  # per way


C8 = Plan(
    shapes.NARROW_224,
    {"activate": 40, "set_adapter": 40, "rebuild": 4, "load and delete": 6, "hotswap": 20},
)
G6 = Plan(
    shapes.LLAMA3_8B,
    {"activate": 40, "set_adapter": 40, "rebuild": 3, "load and delete": 4, "hotswap": 10},
)
SMALL = Plan(
    shapes.TINY, {"activate": 4, "set_adapter": 4, "rebuild": 2, "load and delete": 2, "hotswap": 2}
)


class Swapped:
    """A base, two adapters in files, and a model that holds one or both."""

    def __init__(self, plan: Plan, how: How):
        from peft import PeftModel

        self.how, self.dtype = how, shapes.dtype_of(how)
        self.folders = [how.scratch / name for name in NAMES]
        base = shapes.llama(plan.size, how, self.dtype)
        for number, folder in enumerate(self.folders):
            policy = shapes.with_lora(base, how.seed + number)
            policy.save_pretrained(str(folder))
            base = policy.unload()
        self.model: Any = PeftModel.from_pretrained(base, str(self.folders[0]), NAMES[0])
        self.model.load_adapter(str(self.folders[1]), NAMES[1])
        self.model.eval()

    def logits(self) -> Any:
        """Of the next token of a prompt, (V,)."""
        import torch

        with torch.inference_mode():
            ids = torch.tensor([PROMPT], device=self.model.device)
            return self.model(input_ids=ids, use_cache=False).logits[0, -1].float().cpu()

    def name(self, number: int) -> None:
        """Both adapters are there: PEFT is told which one answers."""
        self.model.set_adapter(NAMES[number % 2])

    def activate(self, number: int) -> None:
        """The same without PEFT's walk through all modules."""
        adapters.activate(self.model, NAMES[number % 2])

    def rebuild(self, number: int) -> None:
        """Take the adapter off and wrap the base anew."""
        from peft import PeftModel

        base = self.model.unload()
        self.model = PeftModel.from_pretrained(base, str(self.folders[number % 2]), NAMES[0])
        self.model.eval()

    def load_and_delete(self, number: int) -> None:
        """Load the file as a further adapter, and delete the one before."""
        (before,) = self.model.peft_config
        name = f"swap_{number}"
        self.model.load_adapter(str(self.folders[number % 2]), name)
        self.model.set_adapter(name)
        self.model.delete_adapter(before)

    def hotswap(self, number: int) -> None:
        """Copy the file's numbers into the adapter that is there."""
        from peft.utils.hotswap import hotswap_adapter

        (name,) = self.model.peft_config
        hotswap_adapter(self.model, str(self.folders[number % 2]), name)

    def keep_one(self) -> "Swapped":
        """Only the first adapter: the ways that read files have room for one."""
        self.rebuild(0)
        return self

    def keep_both(self) -> "Swapped":
        """Both adapters."""
        self.rebuild(0)
        self.model.load_adapter(str(self.folders[1]), NAMES[1])
        return self


def timed(swapped: Swapped, swap: Callable[[int], None], count: int) -> list[dict[str, float]]:
    """Milliseconds of each swap, and of the next token's logits after it."""
    rows = []
    for number in range(1, count + 1):
        wait(swapped.how.device)
        begun = time.perf_counter()
        swap(number)
        wait(swapped.how.device)
        swapped_at = time.perf_counter()
        swapped.logits()
        ended = time.perf_counter()
        rows.append({"swap": 1e3 * (swapped_at - begun), "token": 1e3 * (ended - swapped_at)})
    return rows


def logit_checks(swapped: Swapped, plan: Plan, swaps: dict[str, Any]) -> list[Check]:
    """The next token after each way's swap beside that of a fresh model with that adapter."""
    found = []
    fresh = Swapped(plan, swapped.how)
    wanted = []
    for number in (1, 2):
        fresh.rebuild(number)
        wanted.append(fresh.logits())
    differ = float((wanted[0] - wanted[1]).abs().max())
    found.append(Check("adapters that answer alike", float(differ == 0), 0))
    for name, (prepare, swap) in swaps.items():
        prepare()
        for number, right in zip((1, 2), wanted, strict=True):
            swap(number)
            difference = float((swapped.logits() - right).abs().max())
            found.append(Check(f"{name} {number}: logit difference", difference, 0))
    return found


def swap_case(plan: Plan, how: How) -> Case:
    """Five ways to swap; an item is a swap with the next token after it."""
    swapped = Swapped(plan, how)
    swaps: dict[str, Any] = {
        "activate": (swapped.keep_both, swapped.activate),
        "set_adapter": (swapped.keep_both, swapped.name),
        "rebuild": (swapped.keep_one, swapped.rebuild),
        "load and delete": (swapped.keep_one, swapped.load_and_delete),
        "hotswap": (swapped.keep_one, swapped.hotswap),
    }
    roles = dict(zip(swaps, ("ours", "strong", "naive", "other", "other"), strict=True))
    most = max(plan.swaps_n.values())
    ways = [
        Way(
            name,
            roles[name],
            partial(timed, swap=swap, count=plan.swaps_n[name]),
            prepare=prepare,
            dtype=swapped.dtype,
            scale=most / plan.swaps_n[name],
        )
        for name, (prepare, swap) in swaps.items()
    ]
    numbers = sum(w.numel() for n, w in swapped.model.named_parameters() if "lora_" in n) / 2
    modules = sum("lora_A" in n for n, _ in swapped.model.named_parameters()) // 2
    return Case(
        items=most,
        unit="swaps",
        ways=ways,
        checks=lambda: logit_checks(swapped, plan, swaps),
        work=[Phase(0.0, 2 * numbers, most)],  # read and write the adapter once per swap
        goals=lambda laps: [Goal("median of a swap, ms", p50(laps), LIMIT_MS, is_at_most=True)],
        details=told,
        facts={"lora_modules": modules, "adapter_numbers": numbers},
    )


def milliseconds(laps: Laps, name: str, part: str) -> list[float]:
    """Of every swap, or of every next token, of all rounds."""
    return [row[part] for lap in laps[name] for row in lap.output]


def p50(laps: Laps) -> float:
    """The median of our swaps, in ms."""
    return float(np.median(milliseconds(laps, "activate", "swap")))


def told(laps: Laps) -> dict[str, Any]:
    """Per way: the median and the 95th percentile of a swap and of the next token, in ms."""
    return {
        "milliseconds": {
            name: {
                f"{part}_p{level}": float(np.percentile(milliseconds(laps, name, part), level))
                for part in ("swap", "token")
                for level in (50, 95)
            }
            for name in laps
        }
    }
