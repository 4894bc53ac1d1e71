"""What computes, and how fast it can: its name, its bandwidth and its FLOP rates, probed."""

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stages.benches.measure import How, wait

TRIES = 5  # of each probe; the best counts, for a limit must not be beaten


def described(how: How) -> dict[str, Any]:
    """Processor or GPU by name, threads and versions."""
    import torch
    import transformers

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "device": how.device,
        "gpu": torch.cuda.get_device_name() if how.device == "cuda" else None,
        "processor": (names or [platform.processor() or platform.machine()])[0],
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def best_seconds(work: Callable[[], Any], device: str) -> float:
    """The shortest of some runs, after one to warm up."""
    work()
    times = []
    for _ in range(TRIES):
        wait(device)
        begun = time.perf_counter()
        work()
        wait(device)
        times.append(time.perf_counter() - begun)
    return min(times)


def probed(how: How) -> dict[str, float]:
    """bytes_per_second of a copy (read and write), and FLOPs per second of one big product."""
    size, width = (1 << 33, 8192) if how.device == "cuda" else (1 << 28, 2048)
    if how.is_small:
        size, width = 1 << 24, 512
    found = {"bytes_per_second": bandwidth(how, size)}
    for dtype in ("float32", "bfloat16"):
        found[f"{dtype}_flops_per_second"] = flop_rate(how, width, dtype)
    return found


def bandwidth(how: How, size: int) -> float:
    """Bytes read and written per second by a copy of `size` bytes."""
    import torch

    source = torch.ones(size // 4, device=how.device)
    target = torch.empty_like(source)
    return 2 * size / best_seconds(lambda: target.copy_(source), how.device)


def flop_rate(how: How, width: int, dtype: str) -> float:
    """FLOPs per second of a square product: torch's default, or on a CPU oneDNN's if faster."""
    import torch

    a = torch.randn(width, width, device=how.device).to(getattr(torch, dtype))
    seconds = [best_seconds(lambda: a @ a, how.device)]
    if how.device == "cpu" and torch.backends.mkldnn.is_available():
        onednn = torch.ops.mkldnn._linear_pointwise.default
        seconds.append(best_seconds(lambda: onednn(a, a, None, "none", [], ""), how.device))
    return 2 * width**3 / min(seconds)


def best(*probes: dict[str, float]) -> dict[str, float]:
    """The best of each number: another process may have been in the way of one probe."""
    return {name: max(probe[name] for probe in probes) for name in probes[0]}
