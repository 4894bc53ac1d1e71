"""Copying exercises for a model that is trained from nothing.

A language model that has met few questions learns them by heart and never learns to take
the key from the prompt. Questions of random words can only be answered by copying, so
they teach that and nothing else: no exercise holds a question of any split.
"""

import re

import numpy as np

from stages.pure.prompts import LETTERS, key_text, render_prompt

ANSWERS = ["The right answer is {key}.", "The answer is {key}.", "It is {key}.", "{key} is right."]


def words_of(texts: list[str]) -> list[str]:
    """The distinct words of `texts`, sorted."""
    return sorted({word for text in texts for word in re.findall(r"[A-Za-z][A-Za-z-]*", text)})


def copying(words: list[str], rng: np.random.Generator) -> tuple[str, str]:
    """One question of random words and the answer that copies its key: (prompt, answer)."""

    def phrase(shortest: int, longest: int) -> str:
        return " ".join(rng.choice(words, size=rng.integers(shortest, longest + 1)))

    options_n = int(rng.integers(4, 6))
    question: dict[str, object] = {
        f"option_{letter.lower()}": phrase(1, 3) for letter in LETTERS[:options_n]
    }
    question |= {"stem": phrase(3, 9) + "?", "options_n": options_n}
    question["key"] = LETTERS[int(rng.integers(options_n))]
    answer = ANSWERS[int(rng.integers(len(ANSWERS)))]
    return render_prompt(question), answer.format(key=key_text(question))
