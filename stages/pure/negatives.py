"""Texts that are wrong on purpose, made from students' texts and the question itself.

Each function yields versions in order of preference, so that the caller can skip one that
is already there. Nothing is drawn: a digest of the question decides between equals. That a
version is worse is an intention; the scorers measure it.
"""

import bisect
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from schemas.negatives import KINDS
from stages.pure import prompts
from stages.pure.inversion import invert
from stages.pure.metrics import STOP_WORDS, comparable, tokens

STEM_WORDS = 20  # words of a stem that a circular text repeats

CIRCULAR = [
    "{key} is the answer because the right answer to this question is {key}.",
    'The question is "{stem}", and what answers it is {key}, so {key} is correct.',
    "Of the options given only {key} is the correct one, which is why {key} is right.",
    "When it comes to {a} and {b} the answer is {key}, because {key} is what is right here.",
    "{key} is correct. The other options are not {key}, and so they are not correct.",
    "This asks about {a} and {b}. The answer to that is {key}, since {key} is the answer.",
    'It has to be {key}, because "{stem}" is answered by {key} and by nothing else.',
    "The reason for {key} is that {a} and {b} call for {key}, and that makes {key} true.",
]
ENDORSEMENTS = [
    "The correct answer is {wrong}. {text}",
    "{wrong} is right here. {text}",
    "The answer is {wrong}, for this reason. {text}",
]


def digest(text: str) -> int:
    """A 64-bit number that depends on `text` alone, on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big")


def rotated(values: list[Any], text: str) -> list[Any]:
    """`values` in their order, starting where the digest of `text` says."""
    start = digest(text) % len(values) if values else 0
    return values[start:] + values[:start]


def wrong_option_texts(question: Mapping[str, Any], texts: list[str]) -> Iterator[str]:
    """`texts` with key and distractor exchanged; then `texts` opened by "<distractor> is right".

    texts: explanations of this question, best first. Yields nothing without a distractor.
    """
    key = prompts.key_text(question)
    distractors = rotated(prompts.distractor_texts(question), f"wrong {question['question_id']}")
    for text in texts:
        for wrong in distractors:
            if (exchanged := exchange(text, key, wrong)) is not None:
                yield exchanged
    for wrong in distractors:
        for frame in rotated(ENDORSEMENTS, f"frame {question['question_id']}"):
            for text in texts:
                yield _sentence(frame.format(wrong=wrong, text=text))


def exchange(text: str, key: str, wrong: str) -> str | None:
    """`text` with `key` and `wrong` in each other's place, or None if `key` does not occur.

    Both ways, since "X, not Y" must become "Y, not X". Whole words; case is ignored unless
    an option has fewer than four characters ("A", "no").
    """
    flags = re.I if min(len(key), len(wrong)) > 3 else 0
    if not re.search(_whole(key), text, flags):
        return None

    def other(match: re.Match[str]) -> str:
        found = match[0]
        is_key = found == key or (found != wrong and found.casefold() == key.casefold())
        put = wrong if is_key else key
        if found in (key, wrong) or put[1:2].isupper():
            return put
        return (put[0].upper() if found[0].isupper() else put[0].lower()) + put[1:]

    longest_first = sorted((key, wrong), key=len, reverse=True)
    return re.sub("|".join(map(_whole, longest_first)), other, text, flags=flags)


def _whole(option: str) -> str:
    # the 6 in 6.5 is not the option 6
    return rf"(?<!\w)(?<!\d[.,]){re.escape(option)}(?!\w)(?![.,]\d)"


def circular_texts(question: Mapping[str, Any]) -> Iterator[str]:
    """The key is the answer because it is the answer, in the question's own words."""
    stem, key = str(question["stem"]), prompts.key_text(question)
    shown = " ".join(stem.split()[:STEM_WORDS]).rstrip(" .?:")
    content = [t for t in tokens(stem) if t not in STOP_WORDS and not t.isnumeric()]
    longest = sorted(dict.fromkeys(content), key=len, reverse=True)[:2] or ["this"]
    a, b = longest[0], longest[1] if len(longest) > 1 else "the question"
    for frame in rotated(CIRCULAR, f"circular {question['question_id']}"):
        yield _sentence(frame.format(key=key, stem=shown, a=a, b=b))


def inverted_texts(texts: list[str]) -> Iterator[str]:
    """`texts` with the claim of every sentence inverted, where a text has one to invert."""
    for text in texts:
        if (inverted := invert(text)) != text:
            yield inverted


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


class Source(NamedTuple):
    """A student's text that may serve another question."""

    position: int  # digest of its row id: where it lies on the ring
    question_id: str
    cluster_id: str
    text: str


def ring(rows: Iterable[Mapping[str, Any]]) -> list[Source]:
    """Rows of `questions` as sources in the order of their digests."""
    return sorted(
        Source(digest(r["row_id"]), r["question_id"], r["cluster_id"], r["explanation"])
        for r in rows
    )


def other_question_texts(question: Mapping[str, Any], sources: list[Source]) -> Iterator[Source]:
    """Sources of other clusters, from the question's own place on the ring on.

    Consistent hashing (Karger et al. 1997): a new row changes few questions' choice.
    """
    start = bisect.bisect(sources, (digest(f"other {question['question_id']}"),))
    for source in sources[start:] + sources[:start]:
        if source.cluster_id != question["cluster_id"]:
            yield source


def versions(
    question: Mapping[str, Any], texts: list[str], sources: list[Source]
) -> dict[str, Iterator[tuple[str | None, str]]]:
    """kind -> (source question or None, text) in order of preference.

    texts: the students' texts of the question, best first; sources: ring of its course.
    """
    own = {
        "endorses_wrong_option": wrong_option_texts(question, texts),
        "circular": circular_texts(question),
        "inverted_claim": inverted_texts(texts),
    }
    others = ((s.question_id, s.text) for s in other_question_texts(question, sources))
    return {"other_question": others} | {
        kind: ((None, text) for text in made) for kind, made in own.items()
    }


def new_texts(
    made: Mapping[str, Iterator[tuple[str | None, str]]], taken: Iterable[str]
) -> dict[str, tuple[str | None, str]]:
    """The first version of each kind that equals no text of `taken` and no other kind's."""
    new: dict[str, tuple[str | None, str]] = {}
    seen = {comparable(text) for text in taken}
    for kind in KINDS:
        for version in made[kind]:
            if comparable(version[1]) not in seen:
                new[kind] = version
                seen.add(comparable(version[1]))
                break
    return new
