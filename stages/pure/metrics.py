"""Measures of an explanation that need no model: upstream's definitions beside hardened ones.

Each returns a Value: a float, or None with the reason. None is for "there is nothing to
measure"; a measured zero is 0.0. "Upstream" is github.com/14H034160212/Explanation-Generation:
its rl_evaluation.py (answer coverage, word BLEU) and its older evaluation (character BLEU).
"""

import functools
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

LOOP_WORDS = 6  # a loop is an n-gram of this many words that comes back
BLEU_ORDER = 4  # n-grams of 1 to 4 tokens
VERBOSE_CHARACTERS, VERBOSE_ENTAILED = 400, 0.05  # upstream's limits
METHOD1_EPSILON = 0.1  # nltk's SmoothingFunction().method1

# A signed or decimal number is one token, so that 6 is not found in 6.5 or -6.
TOKEN = re.compile(r"(?<![\w)])[-+]\d+(?:[.,]\d+)*|\d+(?:[.,]\d+)+|\w+")
URL = re.compile(r"https?://\S|\bwww\.\S|\b[\w-]+\.(?:com|org|net|edu|gov|info)\b", re.I)
# Function words. Words that decide what a key says (no, not, more, before) are absent on purpose;
# "above" is here so that "all of the above" counts as a phrase.
FUNCTION_WORDS = (
    "a about above all also an and any are as at be because been being both but by can could did "
    "do does each either for from had has have he her his how if in into is it its may might must "
    "none of on or our own same she should so some such than that the their them then there these "
    "they this those through to very was we were what when where which while who will with would "
    "you your"
)
STOP_WORDS = frozenset(FUNCTION_WORDS.split())


class Value(NamedTuple):
    """A number, or None and why there is none."""

    value: float | None
    reason: str | None = None


def tokens(text: str) -> list[str]:
    """Case-folded words and numbers of `text`, compatibility forms unified (NFKC)."""
    plain = unicodedata.normalize("NFKC", text).replace("\u2212", "-")
    return TOKEN.findall(plain.casefold())


def comparable(text: str) -> str:
    """The same string for texts that differ in case and white space only."""
    return " ".join(text.casefold().split())


@functools.lru_cache(maxsize=1 << 17)  # texts repeat their words: 2 million calls in evaluate
def stem(token: str) -> str:
    """`token` without plural, -ing, -ed and a final e: increases, increasing -> increas.

    A light stemmer in the spirit of Harman's S-stemmer (JASIS 42(1), 1991), with two more
    suffixes. It need not give words, only the same string for forms of one word.
    """
    if not token.isalpha():
        return token
    if token.endswith("ies") and len(token) > 4:
        return token[:-3] + "y"
    if re.search(r"(?:s|x|z|ch|sh)es$", token) and len(token) > 4:
        token = token[:-2]
    elif re.search(r"[^sui]s$", token) and len(token) > 3:
        token = token[:-1]
    if (match := re.fullmatch(r"(.{3,})(?:ing|(?<!e)ed)", token)) and re.search(
        "[aeiouy]", match[1]
    ):
        token = re.sub(r"([bdfgmnprt])\1$", r"\1", match[1])  # stopped -> stop
    return token[:-1] if token.endswith("e") and len(token) > 3 else token


def acr_upstream(text: str, key: str) -> Value:
    """Answer coverage rate as upstream computes it, 0..1.

    terms = `\\b\\w{4,}\\b` of the lower-cased key text, duplicates kept; a term is covered
    if it is a substring of the lower-cased text; covered / terms. Where there is no term
    upstream says 0; here the value is None.
    """
    terms = re.findall(r"\b\w{4,}\b", key.lower())
    if not terms:
        return Value(None, "key_has_no_long_word")
    return Value(sum(term in text.lower() for term in terms) / len(terms))


def acr(text: str, key: str) -> Value:
    """Answer coverage rate, hardened: the share of the key's distinct terms in the text, 0..1.

    Terms are tokens without stop-words, compared whole and stemmed, so that "ion" is not
    found in "ration". A key without a term of three letters ("6", "pH 7.4", "all of the
    above") counts as one phrase, found or not. None only for a key without a word character.
    """
    phrase, said = tokens(key), tokens(text)
    if not phrase:
        return Value(None, "key_has_no_word")
    terms = {stem(token) for token in phrase if token not in STOP_WORDS}
    if any(sum(c.isalpha() for c in term) >= 3 for term in terms):
        return Value(len(terms & {stem(token) for token in said}) / len(terms))
    starts = range(len(said) - len(phrase) + 1)
    return Value(float(any(said[i : i + len(phrase)] == phrase for i in starts)))


def is_evasive(text: str, key: str) -> Value:
    """1.0 if the text names nothing of the key (hardened ACR of 0), else 0.0."""
    coverage = acr(text, key)
    return coverage if coverage.value is None else Value(float(coverage.value == 0))


def words(text: str) -> Value:
    """The number of white-space words."""
    return Value(float(len(text.split())))


def is_loop(text: str) -> Value:
    """1.0 if a 6-gram of words occurs twice, else 0.0. Upstream's failure detector."""
    said = text.casefold().split()
    counts = Counter(tuple(said[i : i + LOOP_WORDS]) for i in range(len(said) - LOOP_WORDS + 1))
    return Value(float(any(n > 1 for n in counts.values())))


def has_url(text: str) -> Value:
    """1.0 if a web address occurs, else 0.0. Upstream's failure detector."""
    return Value(float(URL.search(text) is not None))


def is_verbose(text: str, entailed: float) -> Value:
    """1.0 for more than 400 characters of which P(entails the option) is below .05, else 0.0.

    Upstream's failure detector "verbose, low NLI". entailed: 0..1.
    """
    return Value(float(len(text) > VERBOSE_CHARACTERS and entailed < VERBOSE_ENTAILED))


def bleu(text: str, references: Sequence[str]) -> Value:
    """Sentence BLEU by sacrebleu, 0..1: tokenizer 13a, exponential smoothing, effective order.

    references: one or more texts; empty ones are left out.
    """
    from sacrebleu.metrics import BLEU

    wanted = [reference for reference in references if reference.strip()]
    if missing := _missing(text, wanted):
        return missing
    score = BLEU(effective_order=True).sentence_score(text, wanted).score
    return Value(min(1.0, score / 100))  # sacrebleu rounds to a little above 100


def corpus_bleu(texts: Sequence[str], references: Sequence[Sequence[str]]) -> Value:
    """Corpus BLEU by sacrebleu, 0..1: n-gram counts are summed over texts before dividing.

    texts: (n,); references: (n,) lists of one or more texts. An empty text stays in and
    costs brevity. Raises ValueError if the lengths differ.
    """
    from sacrebleu.metrics import BLEU

    wanted = [[r for r in given if r.strip()] for given in references]
    if len(texts) != len(wanted):
        raise ValueError(f"{len(texts)} texts and {len(wanted)} lists of references must align")
    if not wanted or not all(wanted):
        return Value(None, "no_reference" if wanted else "no_text")
    # Repeating a reference changes nothing; sacrebleu would take "" for one of length 0.
    most = max(map(len, wanted))
    streams = [[given[min(i, len(given) - 1)] for given in wanted] for i in range(most)]
    score = BLEU().corpus_score(list(texts), streams).score
    return Value(min(1.0, score / 100))


def bleu_upstream(text: str, references: Sequence[str]) -> Value:
    """Word BLEU as upstream computes it: white-space words, nltk's smoothing method 1, 0..1.

    sacrebleu's "floor" smoothing agrees from four words on; below that it is 0 where nltk
    counts a missing n-gram order as one unmatched n-gram, so the formula is written out.
    """
    wanted = [reference.split() for reference in references if reference.strip()]
    return _missing(text, wanted) or Value(_bleu(text.split(), wanted, METHOD1_EPSILON))


def bleu_characters_legacy(text: str, references: Sequence[str]) -> Value:
    """Upstream's older BLEU: strings were passed for word lists, so n-grams are of characters.

    Unsmoothed, 0..1; unrelated sentences score about .16. For comparison with old tables only.
    """
    wanted = [reference for reference in references if reference.strip()]
    return _missing(text, wanted) or Value(_bleu(text, wanted, 0.0))


def _missing(text: str, references: Sequence[Sequence[str]]) -> Value | None:
    """Why a BLEU is undefined, or None."""
    if not text.strip():
        return Value(None, "empty_text")
    return None if references else Value(None, "no_reference")


def _bleu(said: Sequence[str], references: Sequence[Sequence[str]], epsilon: float) -> float:
    """BLEU = min(1, e^(1 - r/c)) * (p_1 p_2 p_3 p_4)^(1/4) (Papineni et al. 2002, section 2.3).

    p_n: clipped n-gram precision; without a match epsilon / total (Chen and Cherry 2014,
    technique 1), except that no match of single tokens gives 0. c: tokens of the text,
    r: tokens of the reference nearest in length.
    """
    log_precision = 0.0
    for n in range(1, BLEU_ORDER + 1):
        counts, limits = _ngrams(said, n), Counter[tuple[str, ...]]()
        for reference in references:
            limits |= _ngrams(reference, n)
        matched = float((counts & limits).total())
        if matched == 0 and (n == 1 or epsilon == 0):
            return 0.0
        log_precision += math.log((matched or epsilon) / max(1, counts.total())) / BLEU_ORDER
    _, nearest = min((abs(len(reference) - len(said)), len(reference)) for reference in references)
    return min(1.0, math.exp(1 - nearest / len(said))) * math.exp(log_precision)


def _ngrams(said: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(said[i : i + n]) for i in range(len(said) - n + 1))
