"""What of a question may leave this machine: chosen columns, with personal data masked.

A pattern knows shapes, not persons. Not found: names of people; addresses that are spelled out
("ann at uni dot edu"); phone numbers without an area code, unless a word like "phone" comes
before; ids that look like a term of science (two or three capitals and up to six digits, letters
of NAMES), that stand in a calculation, or that are six digits, with one letter or none.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from stages.pure.metrics import STOP_WORDS
from stages.pure.prompts import LETTERS

KINDS = ("url", "email", "phone", "id", "handle")  # replaced by "[url]", "[email]" and so on
OPTIONS = [f"option_{letter.lower()}" for letter in LETTERS]
# No ids, no ratings and no counts: nothing of who wrote a row or of how others judged it.
ALLOWED_COLUMNS = ["stem", *OPTIONS, "options_n", "key", "explanation"]
COURSE = "course"  # only where it is asked for: a course's name may hold a place and a year

# What stands before the digits in a term and not in an id: genes and cells, elements, functions
# and units, standards and programs, parts of a document.
NAMES_OF_SCIENCE = """
    abo akap ca ccdc cd cep cfap cyp defb flj gp gpr grp hct hek hla hsp hspc ighv igkv iglv kiaa
    linc lnc loc mda mgc mir mirn mirna mstp ncrna pmc rnf rs snora snord tmem trp zfp znf
    ag am au ba bi br co cr cs cu fe hg ir kr la mo ni np pb po pu ra rn sr tc th ti xe zn zr
    abs bar cos cot cm deg eur exp ft gbp hz inr kg khz kj km kpa lim ln log max mg mhz min ml mm
    mod mol nm nzd aud pi ppm rad sec sin sqrt tan usd
    aes aisi arm ascii astm base bit cmd col covid cpu crc ecma ieee error es float gsm hash hex
    html http int ipv iso key lte mp naca port ram rfc rgb rgba rsa sars sha sql uint usb utf win
    ch chap eq fig item line note page part pp room row step table unit year
"""
NAMES = frozenset(NAMES_OF_SCIENCE.split()) | STOP_WORDS  # "in2019": only a space is missing
# Words after an @ that belong to style sheets, decorators and comments of programs.
WORDS_AFTER_AT = """
    abstractmethod author autowired bean charset classmethod component container dataclass
    deprecated extends fixture font foreach function import include injectable input interface
    keyframes layer media method namespace output override page param patch post property
    repository return returns see service since staticmethod supports test this throws type
"""
AT_WORDS = frozenset(WORDS_AFTER_AT.split())

WEB = re.compile(
    r"(?P<start>\b(?:https?|ftp)://|\bwww\.|(?<![\w@./-])(?=(?:[\w-]+\.)+[a-z]{2,}/))"
    r"(?P<user>[^\s/?#<>\"@]*@)?(?P<host>[\w.-]*\w(?::\d+)?)"
    r"(?P<rest>[/?#][^\s<>\"]*[^\s<>\".,;:!?)\]}'])?"
)
TELLS_WHO = re.compile(r"[@?~]|\d{7}")  # in an address, after its host
EMAIL = re.compile(
    r"(?<![\w.+'-])[\w.+'-]*\w(?:[@＠]|\s?[(\[{]\s?at\s?[)\]}]\s?)"
    r"[\w-]+(?:\.[\w-]+)*\.[^\W\d_][\w-]+"
)
UUID = re.compile(r"(?<!\w)[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}(?!\w)", re.I)
NAMED = re.compile(
    r"\b(?:(?:student|user|uni|candidate|staff|login)[ _-]?(?:id|number|no|name)|upi|unikey|zid)\b"
    r"[\s.:=#-]*(?:(?:is|was)\s+)?(?P<value>[a-z]{0,8}\d{5,}|[a-z]{2,8}\d{3,})(?!\w)",
    re.I,
)
CALLED = re.compile(
    r"\b(?:tele?phone|phone|tel|mobile|whatsapp|fax|(?:call|text|ring)\s(?:me|us))\b"
    r"(?:[ :.]+(?:me|us|on|at|is|no|number|num))*[ :.#]*"
    r"(?P<value>\(?\+?\d[\d ()\u00a0-]{4,}\d)(?!\w)",
    re.I,
)
GAP = r"[ \u00a0.\u2013-]"
INTERNATIONAL = re.compile(
    rf"(?<![\w+.])(?:\+|00)\d{{1,3}}(?:{GAP}?\(\d{{1,4}}\))?(?:{GAP}?\d{{1,5}}){{2,5}}(?!\w)"
)
NATIONAL = re.compile(  # with an area code: 09 123 4567, (02) 9351 2222, 07700 900123, 555-123-4567
    rf"(?<![\w.,+-])(?:(?:\(0\d{{1,4}}\)|0\d{{1,4}}){GAP}?\d{{3,4}}{GAP}?\d{{3,4}}"
    r"|(?:\(\d{3}\) ?|\d{3}[.-])\d{3}[.-]\d{4})(?!\w)"
)
RUN = re.compile(
    r"(?<![\w./#^$£€-])(?P<letters>[A-Za-z]{0,3})(?P<digits>\d{7,})(?!\w|[.-]\d|,\d{1,6}(?!\d))"
)
WORD = re.compile(
    r"(?<![\w.#@/\\-])(?P<letters>[a-z]{2,5}|[A-Z][a-z]{3,4}|[A-Z]{4,5})\d{3,6}(?![\w(]|[.-]\w)"
)
HANDLE = re.compile(r"(?<![\w@＠./\]])[@＠](?P<word>[A-Za-z_]\w{2,}+)(?:\.\w+)*+(?![(/-])")

# What makes a number part of a calculation or of a quantity, and what does so for a phone number.
BEFORE = re.compile(r"(?:[=+*×÷/^<>≤≥≈~$£€¥₹√±]|\brs\.?|[\d)\]]\s*[-\u2212–x])\s*$", re.I)
AFTER = re.compile(
    r"\s*(?:[=+*×÷/^<>≤≥≈%°]|[-\u2212–x]\s*[\d(]|(?:[kMGcmnµμ]?(?:m|g|J|W|V|Hz|Pa|L|l|s|bp|B|eV)"
    r"|people|ways|years|bytes|bits|base|copies|cells|times|dollars|rupees|units)\b)"
)
CALCULATED = re.compile(r"[=*×÷^$£€]\s*$"), re.compile(r"\s*[=*×÷^%]")
SUM = re.compile(r"[\d)\]]\s*$")  # before a plus


def masked(text: str) -> tuple[str, dict[str, int]]:
    """`text` with personal data replaced, and how often each of KINDS was; 0 is left out.

    Masking a masked text changes nothing. Of a web address with a user, a query, a home folder or
    a long number the host is kept. Numbers in calculations and with units stay, so do years,
    ranges, doses and names of genes; a text that is a number as a whole is an option and stays.
    """
    counts: Counter[str] = Counter()
    before = ""
    while before != text:  # what is left may read in another way; each round removes characters
        before = text
        for kind, pattern, is_personal in RULES:
            text = _replaced(text, kind, pattern, is_personal, counts)
    return text, dict(counts)


def _replaced(
    text: str,
    kind: str,
    pattern: re.Pattern[str],
    is_personal: Callable[[re.Match[str]], bool],
    counts: Counter[str],
) -> str:
    def instead(match: re.Match[str]) -> str:
        if not is_personal(match):
            return match[0]
        counts[kind] += 1
        if kind == "url":
            return f"{match['start']}{match['host']}/[url]"
        at = match.start("value") if "value" in pattern.groupindex else match.start()
        return f"{match.string[match.start() : at]}[{kind}]"

    return pattern.sub(instead, text)


def _before(match: re.Match[str]) -> str:
    return match.string[max(0, match.start() - 8) : match.start()]


def _is_phone(match: re.Match[str], least: int, most: int) -> bool:
    digits = re.sub(r"\D", "", match[0])
    is_sum = match[0].startswith("+") and SUM.search(_before(match))
    before, after = CALCULATED
    is_number = is_sum or before.search(_before(match)) or after.match(match.string, match.end())
    return least <= len(digits) <= most and not set(digits) <= {"0", "1"} and not is_number


def _is_student_number(match: re.Match[str]) -> bool:
    digits = match["digits"]
    if match["letters"]:
        return match["letters"].casefold() not in NAMES
    is_round = digits.endswith("000") or set(digits) <= {"0", "1"}
    n = int(digits) if len(digits) <= 20 else 3
    is_computed = 0 in (n & (n - 1), n & (n + 1))  # a power of two, or one below it
    is_option = match.string.strip() == digits
    is_number = BEFORE.search(_before(match)) or AFTER.match(match.string, match.end())
    return not (is_round or is_computed or is_option or is_number)


RULES: list[tuple[str, re.Pattern[str], Callable[[re.Match[str]], bool]]] = [
    ("url", WEB, lambda m: bool(m["user"] or TELLS_WHO.search(m["rest"] or ""))),
    ("email", EMAIL, lambda m: True),
    ("id", UUID, lambda m: True),
    ("id", NAMED, lambda m: True),
    ("phone", CALLED, lambda m: 6 <= len(re.sub(r"\D", "", m["value"])) <= 15),
    ("phone", INTERNATIONAL, lambda m: _is_phone(m, 8, 15)),
    ("phone", NATIONAL, lambda m: _is_phone(m, 8, 11)),
    ("id", RUN, _is_student_number),
    ("id", WORD, lambda m: m["letters"].casefold() not in NAMES),
    ("handle", HANDLE, lambda m: m["word"].casefold() not in AT_WORDS),
]


def allowed(
    row: Mapping[Any, Any], with_course: bool = False
) -> tuple[dict[str, Any], dict[str, int]]:
    """A row of `questions` -> what of it may leave, masked, and the counts of `masked`.

    Only ALLOWED_COLUMNS, and the course if asked for; columns that the row lacks, null ones and
    options beyond options_n are left out. The row itself stays as it is.
    """
    found, counts = dict[str, Any](), Counter[str]()
    beyond = OPTIONS[int(row["options_n"]) :]
    for name in [*ALLOWED_COLUMNS, *([COURSE] if with_course else [])]:
        if name in beyond or name not in row or pd.isna(row[name]):
            continue
        if name in ("options_n", "key"):
            found[name] = row[name]
        else:
            found[name], more = masked(str(row[name]))
            counts.update(more)
    return found, dict(counts)


def quoted(value: object) -> str:
    """`value` as JSON to put between two delimiters of a prompt, where it can only be data.

    <, > and & are escapes, so no closing tag is in it; so is every character that does not show
    (line breaks, invisible ones, lone surrogates), so it is one line. json.loads gives the value
    back. Raises TypeError or ValueError for what JSON does not hold, NaN too.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return "".join(
        f"\\u{ord(c):04x}" if c in "<>&" else c if c.isprintable() else json.dumps(c)[1:-1]
        for c in text
    )
