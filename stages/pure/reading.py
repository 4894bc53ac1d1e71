"""Exercises in reading: a question that nobody can know, and which option its text speaks for.

The options of a real question are replaced by other words wherever they occur, in the stem
and in its explanation too, anew in each exercise. What is left to learn is how explanations
name an answer, and no fact of any course.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.pure import masking, prompts
from stages.pure.prompts import LETTERS

Row = Mapping[Any, Any]  # of `questions`
Exercise = tuple[dict[Any, Any], str, str]  # question, explanation ("" for none), answer
SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in ("a", "e", "i", "o", "u", "an", "er", "is")]
INVENTED_FRAC = 0.3  # options made of syllables: words that no vocabulary holds
MAX_WORDS = 3  # of an option made of drawn words
FRAME_WORDS = (6, 3)  # kept before and after the key


@dataclass(frozen=True)
class Material:
    """What exercises are made of."""

    rows: list[Row]  # whose explanation names the key
    phrases: list[str]  # options of all rows
    words: list[str]  # of the phrases
    frames: list[tuple[str, str]]  # what stands before and after a key


def material(rows: Sequence[Row]) -> Material:
    """The material that rows of `questions` give; those that name no key by its text give none."""
    found = [(row, frames_of(row)) for row in rows]
    phrases = sorted({option for row in rows for option in prompts.options(row)})
    return Material(
        rows=[row for row, frames in found if frames],
        phrases=phrases,
        words=sorted({word for phrase in phrases for word in phrase.split()}),
        frames=[frame for _, frames in found for frame in frames],
    )


def frames_of(row: Row) -> list[tuple[str, str]]:
    """The words before and after the key in each sentence that names it once."""
    found = []
    for sentence in re.split(r"(?<=[.?!]) ", row["explanation"]):
        spans = masking.phrase_spans(sentence, prompts.key_text(row))
        if len(spans) == 1:
            ((start, end),) = spans
            before, after = sentence[:start].split(), sentence[end:].split()
            kept = " ".join(before[-FRAME_WORDS[0] :]), " ".join(after[: FRAME_WORDS[1]])
            found.append(kept)
    return found


def short_exercise(given: Material, rng: np.random.Generator) -> Exercise:
    """Two or three words to choose from, and a few words that name one of them.

    Copying is learnt on these in a hundred batches, and hardly at all on whole explanations.
    """
    count = int(rng.integers(2, 4))
    options = [given.words[i] for i in rng.choice(len(given.words), count, replace=False)]
    right = int(rng.integers(count))
    before, after = given.frames[int(rng.integers(len(given.frames)))]
    question = {"stem": "?", "options_n": count, "key": LETTERS[right]}
    question |= {f"option_{LETTERS[i].lower()}": text for i, text in enumerate(options)}
    return question, f"{before} {options[right]} {after}".strip(), options[right]


def exercise(given: Material, explained_frac: float, rng: np.random.Generator) -> Exercise:
    """A row with other options in another order.

    With 1 - explained_frac there is no explanation, and the answer is any of the options: then
    there is nothing to know.
    """
    row = given.rows[int(rng.integers(len(given.rows)))]
    before = prompts.options(row)
    count, right = len(before), LETTERS.index(row["key"])
    after = drawn(count, given, rng)
    instead = dict(zip(before, after, strict=True))
    order = rng.permutation(count)
    question = dict(row) | {"stem": masking.substitute(row["stem"], instead)}
    question |= {f"option_{LETTERS[i].lower()}": after[j] for i, j in enumerate(order)}
    place = {LETTERS[j]: LETTERS[i] for i, j in enumerate(order)}
    question["key"] = place[row["key"]]
    if rng.random() >= explained_frac:
        return question, "", after[int(rng.integers(count))]
    text = masking.substitute(moved(row["explanation"], place), instead)
    return question, text, after[right]


def moved(text: str, place: Mapping[str, str]) -> str:
    """`text` with each letter that names an option replaced by the option's new letter."""
    spans = [(*span, new) for old, new in place.items() for span in masking.letter_spans(text, old)]
    return masking.replaced(text, spans)


def drawn(count: int, given: Material, rng: np.random.Generator) -> list[str]:
    """`count` distinct options: whole phrases, words of phrases, or invented words."""
    found: list[str] = []
    while len(found) < count:
        kind = rng.random()
        if kind < INVENTED_FRAC:
            parts = rng.integers(len(SYLLABLES), size=int(rng.integers(2, 5)))
            option = "".join(SYLLABLES[i] for i in parts)
        elif kind < (1 + INVENTED_FRAC) / 2:
            option = given.phrases[int(rng.integers(len(given.phrases)))]
        else:
            chosen = rng.integers(len(given.words), size=int(rng.integers(1, MAX_WORDS + 1)))
            option = " ".join(given.words[i] for i in chosen)
        found += [option] if option not in found else []
    return found
