"""An explanation as the verifier reads it: options are named by what they are.

A small verifier does not learn from some hundred ratings to look an option up in the question:
it rated a text of another question like the own one (reports/log.md). Whether a text speaks for
the key or for a distractor is then a word in it.
"""

import re
from collections.abc import Mapping
from typing import Any

from stages.pure.prompts import key_text, options
from stages.pure.scored.orders import without_orders

RIGHT, WRONG = "correct", "wrong"


def mark_options(question: Mapping[Any, Any], text: str) -> str:
    """`text` with each option of the question in it replaced: the key by RIGHT, others by WRONG.

    Whole words in any case; the longest option first, so that "iron oxide" is not "iron", and
    the key before a distractor that differs from it in case alone. Orders to a rater are left out
    (pure/scored/orders.py). question: a row of `questions`. Other text stays as it is.
    """
    text = without_orders(text)
    key = key_text(question)
    given = {option for option in options(question) if option.strip()}
    named = sorted(given, key=lambda option: (-len(option), option != key, option))
    if not named:
        return text
    groups = "|".join(f"({re.escape(option)})" for option in named)
    whole = re.compile(rf"(?<!\w)(?:{groups})(?!\w)", re.IGNORECASE)
    return whole.sub(lambda m: RIGHT if named[(m.lastindex or 1) - 1] == key else WRONG, text)
