"""Flags of a degenerate text: 1 is bad. Rules, no model.

Prior code counts four failures of its SFT outputs (answer evasion, loops, web addresses, long
without entailing); `is_evasive` is in coverage.py and `is_verbose` in entailment.py, whose
signals they repeat.
"""

from pathlib import Path

import pandas as pd

from stages.pure import degeneration as rules
from stages.pure import metrics, prompts
from stages.pure.metrics import Value
from stages.pure.scored.scoring import rows_of

MODELS: tuple[Path, ...] = ()


def is_loop(texts: pd.DataFrame) -> list[Value]:
    """1 for each text (n,) in which a 6-gram occurs twice."""
    return [metrics.is_loop(text) for text in texts.explanation]


def has_url(texts: pd.DataFrame) -> list[Value]:
    """1 for each text (n,) with a web address."""
    return [metrics.has_url(text) for text in texts.explanation]


def restates_answer(texts: pd.DataFrame) -> list[Value]:
    """1 for each text (n,) without a word beyond stem, options and talk about answers."""
    return [
        rules.restates_answer(row["explanation"], row["stem"], prompts.options(row))
        for row in rows_of(texts)
    ]


def echoes_prompt(texts: pd.DataFrame) -> list[Value]:
    """1 for each text (n,) with a label of the prompt or many words of the stem in a row."""
    rows = zip(texts.explanation, texts.stem, strict=True)
    return [rules.echoes_prompt(text, stem) for text, stem in rows]


def is_truncated(texts: pd.DataFrame) -> list[Value]:
    """1 for each text (n,) that its model did not end itself; null where no model wrote it."""
    return [
        rules.is_truncated(text, bool(stopped)) if written else Value(None, "not_generated")
        for text, stopped, written in zip(
            texts.explanation, texts.is_stopped, texts.is_generated, strict=True
        )
    ]


def endorses_distractor(texts: pd.DataFrame) -> list[Value]:
    """1 for each text (n,) that calls a wrong option right."""
    return [
        rules.endorses_distractor(row["explanation"], prompts.options(row), row["key"])
        for row in rows_of(texts)
    ]


SCORERS = {
    "is_loop": is_loop,
    "has_url": has_url,
    "restates_answer": restates_answer,
    "echoes_prompt": echoes_prompt,
    "is_truncated": is_truncated,
    "endorses_distractor": endorses_distractor,
}
