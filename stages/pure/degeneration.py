"""Ways in which a text goes wrong that need no model: restating, echoing, breaking off, endorsing.

Each detector returns 1.0, 0.0, or None with the reason (metrics.Value). They read words and
understand nothing, so they are made to miss rather than to accuse. Loops, web addresses and
evasion, which upstream counts too, are in stages/pure/metrics.py.
"""

import re
from collections.abc import Sequence

from stages.pure import prompts
from stages.pure.metrics import STOP_WORDS, Value, stem, tokens

# Words that one can say of any answer to any question: about answers, and light verbs.
ANSWER_WORDS = (
    "answer answered answers ask asked asks best call called calls choice choices choose clear "
    "clearly come comes correct correctly else explain explains explanation false given gives "
    "hence here however incorrect indeed know let like made make makes must need never no not "
    "nothing obvious obviously one ones only option options other others otherwise pick "
    "question questions reason reasons right s say says select simply since solution therefore "
    "thing think thus true way why wrong yes"
)
SAID_OF_ANY_ANSWER = frozenset(map(stem, [*ANSWER_WORDS.split(), *STOP_WORDS, *"abcde"]))

ECHO_WORDS = 12  # consecutive words of the stem: who states the fact takes up to eleven over
ASKING_WORDS = 5  # so many are enough if they ask: a statement has no question word of the stem
QUESTION_WORDS = frozenset(["how", "what", "when", "where", "which", "who", "whom", "whose", "why"])
SCAFFOLDING = re.compile(  # labels of stages/pure/prompts.py, which no writer has a reason to use
    r"(?:^|\n)\s*Question:|\bLast explanation:|\bRating: \d|\bBetter: Explain|"
    + re.escape(prompts.render_task("").strip())
)
SENTENCE_END = re.compile("[.!?\u2026][\"')\\]\u201d\u2019]*$")

BE = r"(?:is|are|must be|has to be|have to be|should be|would be|can only be)"
ADVERBS = r"(?:also|again|clearly|definitely|indeed|obviously|of course|therefore|thus|option)"
CLAIM = re.compile(  # what stands before an option that is called right
    rf"(?:\b(?:answer|choice|solution|(?:correct|right) (?:one|option))(?: here)? {BE}"
    r"|\bit (?:must|has to|can only) be|\b(?:i|must|should|to|we|would|you) (?:choose|pick|select)"
    rf"|\b(?:same|this) holds(?: also)? for)(?: {ADVERBS})*(?: the| an?)?$"
)
PRAISE = re.compile(  # what stands behind it
    rf"^{BE}(?: {ADVERBS})*(?: (?:the|an?|another)(?: only)? (?:correct|right|best|true) "
    r"(?:answer|choice|option|one)\b| the (?:answer|correct one)\b| (?:correct|right|true)"
    r"(?: too| here| as well)?(?: (?:and|as|because|but|for|if|since|so)\b|$))"
)
DOUBT = re.compile(  # in front of either
    r"\b(?:although|assume[ds]?|believe[ds]?|cannot|could|false|if|incorrect|may|might|neither|never"
    r"|no|nobody|nor|not|said|say|says|seems?|suppose|t|think|thinks|thought|unless|whether|why"
    r"|wrong)\b"
)
DOUBT_WORDS = 6  # so far before the claim a doubt still belongs to it
LETTER_CLAIM = re.compile(
    r"(?:\b(?:[Aa]nswer|[Cc]hoice|[Ss]olution)(?: here)?(?: is| must be| has to be|:)"
    r"(?: clearly| option)? \(?([A-E])\b\)?(?= ?(?:[.,;:!\n]|$|because|since))"
    r"|\b[Oo]ption \(?([A-E])\)? (?:is|must be) (?:(?:the )?(?:correct|right)|the answer)\b)"
)
SENTENCE_BREAK = re.compile(r"[.!?;:](?:\s|$)|\n")


def restates_answer(text: str, question_stem: str, options: Sequence[str]) -> Value:
    """1.0 if the text has no word of its own beyond stem, options and talk about answers.

    Words are compared stemmed. 0.0 for a blank text, which restates nothing and is evasive, and
    for a text with an equation: a calculation is a reason in the question's own numbers.
    """
    given = {stem(token) for source in (question_stem, *options) for token in tokens(source)}
    said = {stem(token) for token in tokens(text)}
    is_bare = bool(said) and "=" not in text
    return Value(float(is_bare and said <= given | SAID_OF_ANY_ANSWER))


def echoes_prompt(text: str, question_stem: str) -> Value:
    """1.0 if the text holds a label of our prompts or many consecutive words of the stem.

    Many are 12, or 5 with a question word among them. Labels are compared with their case, as
    a model would copy them, words without.
    """
    asked, said = tokens(question_stem), tokens(text)
    asking = {run for run in _runs(asked, ASKING_WORDS) if QUESTION_WORDS & {*run}}
    is_echo = asking & _runs(said, ASKING_WORDS) or _runs(asked, ECHO_WORDS) & _runs(
        said, ECHO_WORDS
    )
    return Value(float(bool(is_echo) or SCAFFOLDING.search(text) is not None))


def _runs(words: Sequence[str], size: int) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}


def is_truncated(text: str, is_stopped: bool | None = None) -> Value:
    """1.0 if the text breaks off: no end token, or where that is unknown, no sentence end.

    is_stopped: whether the model ended the text itself; None for a text that no model wrote,
    where the end of a formula counts as none. None for a blank text of unknown end.
    """
    if is_stopped is not None:
        return Value(float(not is_stopped))
    said = text.strip()
    if not said:
        return Value(None, "empty_text")
    return Value(float(SENTENCE_END.search(said) is None))


def endorses_distractor(text: str, options: Sequence[str], key: str) -> Value:
    """1.0 if a wrong option is called right, by its words or its letter, else 0.0.

    "The answer is X", "it must be X", "pick X", "X is correct", "option B is right": directly
    at the option, and without a doubt ("not", "if", "one might think") in the six words before.
    A wrong option that is only stated as a fact is not seen. options: texts in the order of
    their letters; key: the right letter.
    """
    wrong = {letter for letter in prompts.LETTERS[: len(options)] if letter != key}
    if not wrong:
        return Value(None, "no_distractor")
    by_words = _claimed(text, options)
    return Value(float(bool(wrong & (by_words | _claimed_letters(text)))))


def _claimed(text: str, options: Sequence[str]) -> set[str]:
    """Letters of the options whose words are called right; of nested ones the longest."""
    lettered = zip(prompts.LETTERS, map(tokens, options), strict=False)
    longest_first = sorted(((o, c) for c, o in lettered if o), key=lambda pair: -len(pair[0]))
    found = set()
    for sentence in SENTENCE_BREAK.split(text):
        said, start = tokens(sentence), 0
        while start < len(said):
            size = 1
            for option, letter in longest_first:
                if said[start : start + len(option)] == option:
                    size = len(option)
                    if _is_called_right(said[:start], said[start + size :]):
                        found.add(letter)
                    break
            start += size
    return found


def _is_called_right(before: Sequence[str], after: Sequence[str]) -> bool:
    left = " ".join(before)
    claim = CLAIM.search(left)
    if claim:
        left = left[: claim.start()]
    return bool(claim or PRAISE.search(" ".join(after))) and not _is_doubted(left)


def _is_doubted(left: str) -> bool:
    return DOUBT.search(" ".join(left.split()[-DOUBT_WORDS:])) is not None


def _claimed_letters(text: str) -> set[str]:
    found = set()
    for match in LETTER_CLAIM.finditer(text):
        left = SENTENCE_BREAK.split(text[: match.start()])[-1]
        if not _is_doubted(" ".join(tokens(left))):
            found.add(match[1] or match[2])
    return found
