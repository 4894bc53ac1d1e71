"""Copying exercises for a model that is trained from nothing.

A language model that has met few questions learns them by heart and never learns to take
the key from the prompt. A request about random words can only be answered by copying, so
it teaches that and nothing else: no exercise holds a question of any split.
"""

import re

import numpy as np

from stages.pure.prompts import render_task


def words_of(texts: list[str]) -> list[str]:
    """The distinct words of `texts`, sorted."""
    return sorted({word for text in texts for word in re.findall(r"[A-Za-z][A-Za-z-]*", text)})


def copying(words: list[str], rng: np.random.Generator) -> tuple[str, str]:
    """A request about one to three random words, and the answer that names them."""

    def phrase(shortest: int, longest: int) -> str:
        count = int(rng.integers(shortest, longest + 1))
        return " ".join(words[i] for i in rng.integers(len(words), size=count))

    key = phrase(1, 3)
    return f"{phrase(1, 6)}\n{render_task(key)}", f"The right answer is {key}."
