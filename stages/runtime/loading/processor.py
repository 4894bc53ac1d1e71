"""Threads and matrix products of a process that computes on a CPU."""

import contextlib
import functools
import logging
import warnings
from collections.abc import Iterator
from typing import Any

from schemas.errors import InputError

# Multiplications per row from which the other library is worth a call from Python. Rows do not
# count: a text would have other last bits alone than among others.
SMALLEST = 1 << 12
is_left_to_torch = False  # see usual_products


def halved(size: int, error: BaseException, of: str) -> int:
    """Half of `size` after an error for want of memory, with a warning; any other is raised again.

    Raises InputError where nothing is left to halve. of: what is counted, for the message.
    """
    if not is_out_of_memory(error):
        raise error
    reason = str(error).strip().partition("\n")[0]
    if size < 2:
        raise InputError(
            f"out of memory with {size} {of} ({reason}). Lower the sizes of the profile, or take a "
            "device with more memory."
        ) from error
    logging.warning(f"out of memory with {size} {of}: going on with {size // 2}.")
    return size // 2


@functools.cache
def identity(dtype: str, device: str, threads: int) -> list[str]:
    """What computes: another kind of processor or library may give other last bits."""
    import importlib.metadata
    import platform

    import torch

    libraries = [
        f"{name} {importlib.metadata.version(name)}"
        for name in ("torch", "transformers", "peft", "tokenizers")
    ]
    if device == "cpu":
        features = [
            platform.machine(),
            torch.backends.cpu.get_cpu_capability(),
            f"{threads} threads",
        ]
    else:
        features = [torch.cuda.get_device_name()]
    return [*libraries, dtype, device, *features]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that fewer rows at once would have worked."""
    from accelerate.utils.memory import should_reduce_batch_size

    is_small = "bad_alloc" in str(error)  # of C++, for less than a tensor
    return isinstance(error, MemoryError) or is_small or should_reduce_batch_size(error)


def prepare(threads: int) -> None:
    """Fix the number of threads, and let oneDNN do the matrix products in float32.

    torch's default for them is MKL, which leaves AVX-512 unused on processors of another
    maker; oneDNN is in the same torch and uses what the processor has. Both compute in
    float32 and round in another order. Nothing changes for other types, on a GPU, and in a
    build of torch without oneDNN.

    For work of few shapes (the base's training, the encoder): oneDNN makes and keeps code for
    each new shape, which costs a millisecond and up to some MB. The other trainings, whose
    batches are all of different lengths, keep torch's default.
    """
    import torch

    torch.set_num_threads(threads)
    if torch.backends.mkldnn.is_available():
        multiply_with_onednn()


@contextlib.contextmanager
def usual_products() -> Iterator[None]:
    """For the length of the block torch's default library computes, as in an unprepared process.

    For what some processes compute beside an encoder and others without: it has the same bits.
    """
    global is_left_to_torch
    before, is_left_to_torch = is_left_to_torch, True
    try:
        yield
    finally:
        is_left_to_torch = before


@functools.cache
def multiply_with_onednn() -> Any:
    """Register the products with torch's dispatcher, once per process."""
    import torch

    library = torch.library.Library("aten", "IMPL")
    usual = {name: torch.library.get_kernel(f"aten::{name}", "CPU") for name in ("mm", "addmm")}
    product = torch.ops.mkldnn._linear_pointwise.default

    def is_worth_it(a: Any, b: Any) -> bool:
        if is_left_to_torch or a.dtype is not torch.float32 or a.dim() != 2 or b.dim() != 2:
            return False
        return bool(a.shape[0] and a.shape[1] * b.shape[1] >= SMALLEST)

    def is_row(bias: Any, b: Any) -> bool:
        # the product reads a term of any other shape or stride as if it were one
        return bool(bias.shape == b.shape[1:] and bias.is_contiguous())

    def mm(keys: Any, a: Any, b: Any) -> Any:
        if is_worth_it(a, b):
            return product(a, b.t(), None, "none", [], "")
        return usual["mm"].call_boxed(keys, a, b)

    def addmm(keys: Any, bias: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
        if is_worth_it(a, b) and is_row(bias, b) and beta == 1 and alpha == 1:
            return product(a, b.t(), bias, "none", [], "")
        return usual["addmm"].call_boxed(keys, bias, a, b, beta=beta, alpha=alpha)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Oo]verrid", category=UserWarning)
        for name, kernel in (("mm", mm), ("addmm", addmm)):
            library.impl(name, kernel, "CPU", with_keyset=True)
    return library  # it undoes its registrations when it goes
