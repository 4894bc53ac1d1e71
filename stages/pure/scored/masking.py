"""Hide an answer in a text: what is left must speak for it by its reasons.

A phrase is looked for as a row of whole tokens, case-folded and stemmed as in the answer
coverage rate (stages/pure/metrics.py), so that "increase" is found in "Increased" and "ion"
not in "ration". A letter is hidden only where it can be nothing but an option's letter:
"vitamin D" and "A cell is" stay.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from stages.pure import metrics, prompts

MARKER = "..."
ARTICLES = frozenset(("a", "an", "the"))
NAMED_BEFORE = r"(?:[Oo]ptions?|[Cc]hoices?|[Aa]lternatives?|[Aa]nswers?|[Kk]ey)"
VERDICT = r"(?:correct|right|true|wrong|incorrect|false|the\s+(?:correct|right|best|answer|key))"


class Hidden(NamedTuple):
    """What is to be hidden: letters of options ("B") and the options' texts."""

    letters: tuple[str, ...]
    phrases: tuple[str, ...]


def key_of(*questions: Mapping[Any, Any]) -> Hidden:
    """The keys of rows of `questions`: what a student must not simply copy."""
    letters = tuple(dict.fromkeys(question["key"] for question in questions))
    return Hidden(letters, tuple(dict.fromkeys(prompts.key_text(q) for q in questions)))


def options_of(question: Mapping[Any, Any]) -> Hidden:
    """All options of a row of `questions`.

    With the key alone hidden, a solver trained on such texts learns that an option which is
    named is never the key.
    """
    texts = prompts.options(question)
    return Hidden(tuple(prompts.LETTERS[: len(texts)]), tuple(texts))


def mask(text: str, hidden: Hidden) -> str:
    """`text` with MARKER where a hidden letter or phrase stood; without any, `text` itself.

    Masking a masked text changes nothing, and no hidden phrase is left in it.
    """
    while spans := hidden_spans(text, hidden):  # what is left may read in another way
        text = replaced(text, [(start, end, MARKER) for start, end in spans])
    return text


def hidden_spans(text: str, hidden: Hidden) -> list[tuple[int, int]]:
    """Where something hidden stands, in order; what overlaps is one span."""
    spans = [span for letter in hidden.letters for span in letter_spans(text, letter)]
    spans += [span for phrase in hidden.phrases for span in phrase_spans(text, phrase)]
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def substitute(text: str, instead: Mapping[str, str]) -> str:
    """`text` with each phrase of `instead` replaced, longer phrases first, in one pass."""
    order = sorted(instead, key=lambda phrase: (-len(phrase), phrase))
    spans = [(*span, instead[phrase]) for phrase in order for span in phrase_spans(text, phrase)]
    return replaced(text, spans)


def replaced(text: str, spans: Sequence[tuple[int, int, str]]) -> str:
    """`text` with each (start, end, new text) put in; of two that overlap the first given."""
    kept: list[tuple[int, int, str]] = []
    for start, end, new in spans:
        if all(end <= other[0] or start >= other[1] for other in kept):
            kept.append((start, end, new))
    for start, end, new in sorted(kept, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def phrase_spans(text: str, phrase: str) -> list[tuple[int, int]]:
    """Where `phrase` stands in `text` as whole tokens, inflected or not; none overlap.

    A leading article of the phrase is not asked for. Tokens on two sides of MARKER are no
    neighbours. A phrase without a word character is found nowhere.
    """
    wanted = [metrics.stem(token) for token in metrics.tokens(phrase)]
    while len(wanted) > 1 and wanted[0] in ARTICLES:
        wanted = wanted[1:]
    found = list(metrics.TOKEN.finditer(text))
    said = [metrics.stem(unicodedata.normalize("NFKC", token[0]).casefold()) for token in found]
    spans, start = list[tuple[int, int]](), 0
    while wanted and start + len(wanted) <= len(said):
        last = start + len(wanted)
        first_char, last_char = found[start].start(), found[last - 1].end()
        is_here = said[start:last] == wanted and MARKER not in text[first_char:last_char]
        spans += [(first_char, last_char)] if is_here else []
        start = last if is_here else start + 1
    return spans


def letter_spans(text: str, letter: str) -> list[tuple[int, int]]:
    """Where `letter` ("B") is said as an option: option B, answer is B, (B), B) and B is right."""
    before = rf"\b{NAMED_BEFORE}\s*(?:\s(?:is|was|would\s+be|must\s+be|should\s+be))?\s*:?\s*\(?"
    patterns = (
        rf"{before}(?P<letter>{letter})\b(?![-'\u2019]\w)",
        rf"\((?P<letter>{letter}|{letter.lower()})\)",
        rf"(?:^|(?<=\s))(?P<letter>{letter})(?=[):])",
        rf"\b(?P<letter>{letter})(?=\s+(?:is|was)\s+(?:not\s+)?{VERDICT}\b)",
    )
    return [match.span("letter") for pattern in patterns for match in re.finditer(pattern, text)]
