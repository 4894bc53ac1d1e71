"""Say the opposite of a text with a few rules: antonyms, negated verbs, "because".

English only, and not grammar: the words that decide most one-sentence claims.
"""

import re

ANTONYMS = [
    "increase decrease|increases decreases|increased decreased|increasing decreasing",
    "higher lower|highest lowest|high low|rise fall|rises falls",
    "more less|greater smaller|larger smaller|largest smallest|large small",
    "longer shorter|faster slower|stronger weaker|strong weak|positive negative",
    "before after|above below|inside outside|always never|gains loses|gain lose",
    "activates inhibits|activate inhibit|allows prevents|allow prevent|opens closes",
    "valid void|legal illegal|lawful unlawful|necessary unnecessary|possible impossible",
    "adds removes|add remove|starts stops|start stop|true false|correct incorrect",
]
AUXILIARIES = "is are was were can could does do did has have had must should will would may"


def _oppositions() -> dict[str, str]:
    """word -> its opposite, in both directions; the first pair that names a word decides."""
    pairs = [pair.split() for line in ANTONYMS for pair in line.split("|")]
    opposite: dict[str, str] = {}
    for left, right in pairs:
        opposite.setdefault(left, right)
        opposite.setdefault(right, left)
    return opposite


def _negations() -> dict[str, str]:
    """auxiliary -> its negated form, and back; contractions only back."""
    negated = {word: f"{word} not" for word in AUXILIARIES.split()} | {"can": "cannot"}
    back = {negative: word for word, negative in negated.items()} | {"can not": "can"}
    short = {f"{w}n't": w for w in AUXILIARIES.split() if w not in ("can", "will", "may")}
    return negated | back | short | {"can't": "can", "won't": "will"}


OPPOSITES, NEGATIONS = _oppositions(), _negations()
CONCESSIONS = {"because": "although", "although": "because"}


def invert(text: str) -> str:
    """Say the opposite, once per sentence: antonyms, else the first verb, else "because".

    One kind per sentence, because two inversions would cancel out.
    """
    parts = re.split(r"((?<=[.!?])\s+)", text)
    return "".join(part if part.isspace() else _invert_sentence(part) for part in parts)


def _invert_sentence(sentence: str) -> str:
    kinds = [(OPPOSITES, 0), (NEGATIONS, 1), (CONCESSIONS, 1)]  # 0 = every occurrence
    for table, count in kinds:
        # longest first: "is not" before "is"; "because of" has no concessive form of one word
        names = "|".join(map(re.escape, sorted(table, key=len, reverse=True)))
        pattern = rf"\b(?:{names})\b(?! of\b)" if table is CONCESSIONS else rf"\b(?:{names})\b"

        def put(match: re.Match[str], table: dict[str, str] = table) -> str:
            new = table[match[0].lower()]
            return new.capitalize() if match[0][0].isupper() else new

        changed, n = re.subn(pattern, put, sentence, count=count, flags=re.I)
        if n:
            return changed
    return sentence
