"""Raw rows of exports -> usable rows with plain text, and rejected rows with their reason."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from schemas.questions import LETTERS

OPTIONS = [f"option_{letter.lower()}" for letter in LETTERS]
TEXTS = ["stem", *OPTIONS, "explanation"]
NAN = "nan"  # what a data frame library writes for a text that is missing

BLOCKS = (
    "address article blockquote br center dd div dl dt figure footer h1 h2 h3 h4 h5 h6 header "
    "hr li ol p pre section table tbody td tfoot th thead tr ul"
)
INLINE = (
    "a abbr acronym b bdo big body button caption cite code col colgroup del dfn em embed font "
    "form head html i img input ins kbd label link mark meta nobr object param q s samp small "
    "span strike strong sub sup svg tt u var video wbr"
)
BARE = "checked|compact|disabled|hidden|nowrap|noshade|selected"
ATTRIBUTE = rf"""\s+(?:[\w:.-]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+)|{BARE})"""
TAG = re.compile(
    rf"</?(?:{'|'.join((BLOCKS + ' ' + INLINE).split())}|[a-z]\w*:[a-z]\w*)(?:{ATTRIBUTE})*\s*/?>",
    re.IGNORECASE,
)
HIDDEN = re.compile(  # shown by no browser; Word's clipboard is full of it
    r"<!--.*?-->|<(script|style|iframe|title)\b[^>]*>.*?</\1\s*>"
    r"|<!(?:\[|doctype)[^>]*>|<\?xml[^>]*>",
    re.IGNORECASE | re.DOTALL,
)
INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff\x00"))  # soft hyphen, zero widths
ORDINAL = re.compile(r"(?<=\d)\^(st|nd|rd|th)\b")


def plain_text(text: str) -> str:
    """HTML of a student's editor -> one line of text: "CO<sub>2</sub>" is "CO2", 10^3 stays so.

    Only what has the form of a known HTML tag is one: "a<b and c>d" is a comparison and
    stays. Mojibake is repaired, white space (also the non-breaking one) becomes one blank.
    """
    import ftfy

    if "<" in text or "&" in text:
        text = without_markup(text)
    # entities are already read, and "&amp;lt;" must become "&lt;", not "<"
    text = ftfy.fix_text(text, unescape_html=False)
    return " ".join(text.translate(INVISIBLE).split())


def without_markup(text: str) -> str:
    """The text between the tags; a block is set off by a blank, an inline tag by nothing."""
    from bs4 import BeautifulSoup

    start, escaped, text = 0, "<span>", HIDDEN.sub("", text)
    for tag in TAG.finditer(text):
        escaped += text[start : tag.start()].replace("<", "&lt;") + tag.group()
        start = tag.end()
    escaped += text[start:].replace("<", "&lt;") + "</span>"
    soup = BeautifulSoup(escaped, "html.parser")
    for tag_name, sign in (("sup", "^"), ("sub", "_")):
        for found in soup.find_all(tag_name):
            found.replace_with(set_off(found.get_text().strip(), sign))
    for block in soup.find_all(BLOCKS.split()):
        block.insert_before(" ")
        block.insert_after(" ")
    return ORDINAL.sub(r"\1", soup.get_text())


def set_off(text: str, sign: str) -> str:
    """A raised or lowered text in one line: ^3, ^-3, ^2+, ^(a b); a lowered word as it is."""
    if not text:
        return ""
    if not re.fullmatch(r"[+\-\u2212]?\w+[+\-\u2212]?|[+\-\u2212]", text):
        return f"{sign}({text})"
    return text if sign == "_" else sign + text


def whole(text: str) -> int | None:
    """The whole number that `text` writes (also as 4.0), else None."""
    found = re.fullmatch(r"\s*(\d{1,6})(?:\.0*)?\s*", text)
    return int(found[1]) if found else None


def faults(raw: Mapping[Any, Any], clean: Mapping[str, str], min_ratings: float) -> Iterator[str]:
    """Every (reason, detail) against a row as "reason: detail", in the order of REASONS.

    raw: the row as exported; clean: its TEXTS as plain text. Order and rules follow the
    prior code, with `<img` in any case instead of lower case, and options that are empty
    or equal added. The string "nan" counts as empty. A missing ratings_n passes.
    """
    if raw["stem"].strip() == NAN:
        yield "question_is_nan: the question is the string nan"
    if images := [name for name in TEXTS if "<img" in raw[name].lower()]:
        yield f"has_image: in {images[0]}"
    if raw["ratings_n"] < min_ratings:
        yield f"few_ratings: {raw['ratings_n']:.0f}, fewer than {min_ratings:g}"
    if raw["is_deleted"]:
        yield "deleted: marked as deleted"
    if is_empty(clean["explanation"]):
        yield "empty_explanation: no text"
    options_n = whole(raw["options_n"])
    if options_n is None or not 1 <= options_n <= len(OPTIONS):
        shown = "not a whole number" if options_n is None else options_n
        yield f"options_count: {shown}, not 1 to {len(OPTIONS)}"
        return  # what follows is about the first options_n options
    given = [clean[name] for name in OPTIONS[:options_n]]
    if empty := [letter for letter, text in zip(LETTERS, given, strict=False) if is_empty(text)]:
        yield f"empty_option: {empty[0]} of {options_n}"
    if len(set(given)) < options_n:
        yield f"duplicate_options: {options_n - len(set(given))} of {options_n}"
    key = raw["key"].strip().upper()
    if key not in LETTERS[:options_n]:
        shown = key if key in LETTERS else "no letter A to E"
        yield f"key_not_an_option: {shown}, {options_n} options"
    if is_empty(clean["stem"]):
        yield "empty_stem: no text"


def is_empty(text: str) -> bool:
    """Nothing was written, or the string that stands for nothing."""
    return text in ("", NAN)


def sort_out(raw: pd.DataFrame, min_ratings: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(usable rows, rejects): every row of `raw` is in exactly one of them.

    raw: columns as of stages.runtime.exports.read_exports. Usable rows have plain texts,
    null options beyond options_n (int), key as a capital letter, explanation_words_n and
    ratings_n as int (missing is 0); all other columns pass. Rejects are as in the schema.
    """
    from tqdm import tqdm

    distinct = dict.fromkeys(text for name in TEXTS for text in raw[name])
    texts = {t: plain_text(t) for t in tqdm(distinct, desc="clean", unit="text", disable=None)}
    usable, rejects = [], []
    for row in raw.to_dict("records"):
        clean = {name: texts[row[name]] for name in TEXTS}
        fault = next(faults(row, clean, min_ratings), None)
        if fault is None:
            usable.append(row | clean_row(row, clean))
            continue
        reason, detail = fault.split(": ", 1)
        origin = {name: row[name] for name in ("row_id", "course", "source_file", "source_row")}
        rejects.append(origin | {"reason": reason, "detail": detail})
    columns = ["row_id", "course", "source_file", "source_row", "reason", "detail"]
    return (
        pd.DataFrame(usable, columns=[*raw, "explanation_words_n"]),
        pd.DataFrame(rejects, columns=columns),
    )


def clean_row(raw: Mapping[Any, Any], clean: Mapping[str, str]) -> dict[str, Any]:
    """The columns of a usable row that differ from the export's."""
    options_n = whole(raw["options_n"]) or 0
    ratings_n = 0 if pd.isna(raw["ratings_n"]) else int(raw["ratings_n"])
    return {
        **clean,
        **dict.fromkeys(OPTIONS[options_n:]),
        "options_n": options_n,
        "key": raw["key"].strip().upper(),
        "explanation_words_n": len(clean["explanation"].split()),
        "ratings_n": ratings_n,
        # the mean of no ratings, written as 0, says nothing of the question
        "rating_mean": None if raw["ratings_n"] == 0 else raw["rating_mean"],
    }
