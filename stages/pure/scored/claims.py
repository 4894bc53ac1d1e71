"""Question -> claims: an option, said to be right, as judge and entailment scorer read it."""

from collections.abc import Mapping
from typing import Any

from stages.pure import prompts

# The hypothesis ("The correct answer to Q is X"), the option, the stem, then the other options.
Claim = tuple[str, ...]


def claim(question: Mapping[Any, Any], option: str) -> Claim:
    """`option` of a row of `questions` as a claim."""
    others = tuple(text for text in prompts.options(question) if text != option)
    return (prompts.declarative(question["stem"], option), option, question["stem"], *others)


def claim_key(question: Mapping[Any, Any]) -> Claim:
    """The right option of a row of `questions` as a claim."""
    return claim(question, prompts.key_text(question))
