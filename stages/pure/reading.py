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

from stages.pure import prompts
from stages.pure.prompts import LETTERS
from stages.pure.scored import masking

Row = Mapping[Any, Any]  # of `questions`
Exercise = tuple[dict[Any, Any], str, str]  # question, explanation ("" for none), answer
INVENTED_FRAC = 0.1  # of options: pieces of words put together, which no vocabulary holds
SCRAMBLED_FRAC = 0.15  # of explanations: all words but the options are drawn anew
ANNOUNCED_FRAC = 0.5  # of explanations: the sentence that names the key is one of ANNOUNCED
MAX_WORDS = 3  # of an option made of drawn words
FRAME_WORDS = (6, 3)  # kept before and after the key in a short exercise
# How an answer is announced in English; students of a course know more ways than its notes show.
ANNOUNCED = (
    "the answer is {}",
    "the right answer is {}",
    "the correct answer is {}",
    "the correct option is {}",
    "the answer would be {}",
    "the right one is {}",
    "it is {}",
    "it has to be {}",
    "it must be {}",
    "this is {}",
    "so it is {}",
    "that is why {} is right",
    "{} is correct",
    "{} is the right answer",
    "{} is the best answer",
    "therefore {} fits best",
    "only {} fits here",
    "I chose {}",
    "choose {}",
    "I would take {}",
    "you can only pick {}",
    "it is called {}",
    "this is known as {}",
    "we call it {}",
    "the term for this is {}",
    "what is meant here is {}",
)


@dataclass(frozen=True)
class Material:
    """What exercises are made of."""

    rows: list[Row]  # whose explanation names the key
    phrases: list[str]  # options of all rows
    words: list[str]  # of the phrases
    frames: list[tuple[str, str]]  # what stands before and after a key
    said: list[str]  # words of explanations


def material(rows: Sequence[Row], others: Sequence[Row]) -> Material:
    """What rows of `questions` give; a row whose explanation names no key is no exercise.

    others: questions whose options are more words to copy. Which of them is right is not read.
    """
    found = [(row, frames_of(row)) for row in rows]
    phrases = sorted({option for row in (*rows, *others) for option in prompts.options(row)})
    frames = [frame for _, own in found for frame in own]
    for text in ANNOUNCED:
        before, after = text.split("{}")
        frames.append((before.strip(), after.strip()))
    return Material(
        rows=[row for row, own in found if own],
        phrases=phrases,
        words=sorted({word for phrase in phrases for word in phrase.split()}),
        frames=frames,
        said=sorted({word for row in rows for word in row["explanation"].split()}),
    )


def frames_of(row: Row) -> list[tuple[str, str]]:
    """The words before and after the key in each sentence that names it once."""
    found = []
    for sentence in sentences(row["explanation"]):
        spans = masking.phrase_spans(sentence, prompts.key_text(row))
        if len(spans) == 1:
            ((start, end),) = spans
            before, after = sentence[:start].split(), sentence[end:].split()
            kept = " ".join(before[-FRAME_WORDS[0] :]), " ".join(after[: FRAME_WORDS[1]])
            found.append(kept)
    return found


def sentences(text: str) -> list[str]:
    """`text` cut after each full stop, question mark and exclamation mark."""
    return re.split(r"(?<=[.?!]) ", text)


def short_exercise(given: Material, rng: np.random.Generator) -> Exercise:
    """Two or three words to choose from, and a few words that name one of them.

    Copying is learnt on these in a hundred batches, and hardly at all on whole explanations.
    """
    options = [given.words[i] for i in rng.choice(len(given.words), 3, replace=False)]
    options = options[: int(rng.integers(2, 4))]
    right = int(rng.integers(len(options)))
    before, after = given.frames[int(rng.integers(len(given.frames)))]
    question = {"stem": "?", "options_n": len(options), "key": LETTERS[right]}
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
    text = announced(moved(row["explanation"], place), before[right], rng)
    text = scrambled(text, before, given, rng)
    return question, masking.substitute(text, instead), after[right]


def announced(text: str, key: str, rng: np.random.Generator) -> str:
    """`text`, or as often with one of ANNOUNCED in place of the first sentence that names `key`."""
    if rng.random() >= ANNOUNCED_FRAC:
        return text
    found = sentences(text)
    named = [i for i, sentence in enumerate(found) if masking.phrase_spans(sentence, key)]
    if named:
        said = ANNOUNCED[int(rng.integers(len(ANNOUNCED)))].format(key)
        found[named[0]] = f"{said[0].upper()}{said[1:]}."
    return " ".join(found)


def scrambled(text: str, options: Sequence[str], given: Material, rng: np.random.Generator) -> str:
    """`text`, or as often other words around its options.

    So a student learns to look for an option in the text, and not for the words by which the
    students of one course announce it.
    """
    if rng.random() >= SCRAMBLED_FRAC:
        return text
    found, spans = [], sorted(span for o in options for span in masking.phrase_spans(text, o))
    place = 0
    for start, end in [*spans, (len(text), len(text))]:
        count = len(text[place:start].split())
        found += [given.said[i] for i in rng.integers(len(given.said), size=count)]
        found += [text[start:end]] if end > start >= place else []
        place = max(place, end)
    return " ".join(found)


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
            option = "".join(piece(given, rng) for _ in range(int(rng.integers(2, 5))))
        elif kind < (1 + INVENTED_FRAC) / 2:
            option = given.phrases[int(rng.integers(len(given.phrases)))]
        else:
            chosen = rng.integers(len(given.words), size=int(rng.integers(1, MAX_WORDS + 1)))
            option = " ".join(given.words[i] for i in chosen)
        found += [option] if option not in found else []
    return found


def piece(given: Material, rng: np.random.Generator) -> str:
    """Two to four letters out of a word, case-folded."""
    word = given.words[int(rng.integers(len(given.words)))].casefold()
    size = int(rng.integers(2, 5))
    start = int(rng.integers(max(1, len(word) - size + 1)))
    return word[start : start + size]
