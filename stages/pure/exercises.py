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


def copying(words: list[str], lines: list[str], rng: np.random.Generator) -> tuple[str, str]:
    """A request about one to three words, and the answer that names them.

    Half of the time the words are drawn one by one, else they are neighbours in a line of
    `lines`: a phrase that the model half knows is the harder one to copy.
    """

    def phrase(shortest: int, longest: int) -> str:
        count = int(rng.integers(shortest, longest + 1))
        return " ".join(words[i] for i in rng.integers(len(words), size=count))

    def neighbours(count: int) -> str:
        line = lines[int(rng.integers(len(lines)))].rstrip(".").split()
        first = int(rng.integers(max(1, len(line) - count + 1)))
        return " ".join(line[first : first + count])

    key = phrase(1, 3) if rng.random() < 0.5 else neighbours(int(rng.integers(1, 4)))
    return f"{phrase(1, 6)}\n{render_task(key)}", f"The right answer is {key}."
