"""Numbers as a reader wants them, and what a comparison says in words.

Units are those of schemas/metrics.py. A missing number is an en dash, never 0.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from schemas.metrics import METRIC_NAME
from stages.pure.catalogue import METRICS

NONE = "–"
MINUS = "−"
SIGNIFICANCE = 0.05
POLICY = {"student": "Students", "sft": "SFT", "dpo": "DPO", "ilearner": "ILearner"}
POLICY |= {"api": "API model"}  # its name is told once (page/api.py)
DIGITS = {"stars": 2, "words": 1, "tokens": 1, "score": 3, "corr": 2, "n": 0, "nats": 3}
DIGITS |= {"stars2": 3, "seconds": 1, "usd": 4, "temperature": 2}  # a temperature is no metric
SPACE = "\u00a0"  # keeps a number and its unit on one line
AFTER = {"stars": " stars", "words": " words", "tokens": " tokens", "nats": " nats"}
AFTER |= {"seconds": " s", "usd": " dollars"}
SHORT = {"mse": "MSE", "ece": "ECE"}
SAID = {"sft": "own sample"}  # what an origin of a text is called on the page


def is_missing(value: float | None) -> bool:
    """True for None and NaN."""
    return value is None or value != value


def number(value: float | None, unit: str, after: bool = False) -> str:
    """`value` with the digits of its unit; a share as percent. after: with the unit's word."""
    if value is None or is_missing(value):
        return NONE
    if unit == "frac":
        return f"{percent(value)}{SPACE}%".replace("-", MINUS)
    text = f"{value:,.{DIGITS[unit]}f}".replace(",", "\u202f").replace("-", MINUS)
    return text + (AFTER.get(unit, "") if after else "")


def percent(share: float) -> str:
    """A share as percent: whole from 10 on, else with one digit."""
    points = 100 * share
    digits = 0 if abs(points) >= 9.95 or points == 0 else 1
    return f"{points:.{digits}f}"


def change(value: float | None, unit: str, after: bool = False) -> str:
    """A difference with its sign; of shares in percent points."""
    if value is None or is_missing(value):
        return NONE
    digits = f"{100 * value:.1f}" if unit == "frac" else f"{value:.{DIGITS[unit]}f}"
    if float(digits) == 0:
        text = digits.lstrip("-")  # neither +0 nor -0
    else:
        text = digits.replace("-", MINUS) if value < 0 else f"+{digits}"
    return text + ((" points" if unit == "frac" else AFTER.get(unit, "")) if after else "")


def limits(low: float | None, high: float | None, unit: str, signed: bool = False) -> str:
    """An interval: 54 to 68, in the unit of the number that it follows; empty if missing."""
    if is_missing(low) or is_missing(high):
        return ""
    if signed:
        return f"{change(low, unit)} to {change(high, unit)}"
    return f"{number(low, unit).removesuffix(SPACE + '%')} to {number(high, unit)}"


def level(share: float) -> str:
    """A confidence level: 95 %."""
    return f"{100 * share:g}{SPACE}%"


def p_value(value: float | None) -> str:
    """Three digits, or < 0.001."""
    if value is None or is_missing(value):
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def title(text: str) -> str:
    """`text` with a capital first letter, the others untouched."""
    return text[:1].upper() + text[1:]


def named(name: Any) -> str:
    """An identifier in words."""
    return SAID.get(name, str(name).replace("_", " "))


def measure(name: str) -> tuple[str, str]:
    """A measure in words, and its unit if its name ends in one (schemas/metrics.py)."""
    match = re.match(METRIC_NAME, name)
    label = name.removesuffix(f"_{match[1]}") if match else name
    spoken = " ".join(SHORT.get(word, word) for word in label.split("_"))
    return spoken, match[1] if match else "score"


def role(name: str) -> str:
    """What the role of a scorer is called on the page."""
    return {"heldout": "held out"}.get(name, name)


def trainings(row: Mapping[str, Any]) -> int:
    """How many trainings a row of Comparisons is over; 1 if it does not say."""
    return 1 if is_missing(row.get("seeds_n")) else int(row["seeds_n"])


def verdict(row: Mapping[str, Any]) -> tuple[str, str]:
    """What a row of Comparisons says, and its tone: up, down, flat or none.

    A difference is clear if its interval excludes 0 and, where the row is one of several
    tests, its p value after Holm's correction is below 0.05. A diagnostic metric has no
    better side, so its tone is none.
    """
    if is_missing(row["difference"]):
        return "not measured", "none"
    if is_missing(row["low"]):
        return "no interval: fewer than 2 clusters", "none"
    if row["low"] <= 0 <= row["high"]:
        return "no clear difference", "flat"
    if not is_missing(row["p_value_holm"]) and row["p_value_holm"] >= SIGNIFICANCE:
        return "no clear difference after correction", "flat"
    said, tone = ("higher", "up") if row["difference"] > 0 else ("lower", "down")
    return said, "none" if row["role"] == "diagnostic" else tone


def sentence(row: Mapping[str, Any], confidence: str) -> str:
    """One comparison as a sentence: verdict, both means, the difference with its interval."""
    metric = METRICS[row["metric"]]
    names = POLICY[row["policy_a"]], POLICY[row["policy_b"]]
    return compared(row, metric.label, metric.unit, names, confidence)


def compared(
    row: Mapping[str, Any], label: str, unit: str, names: tuple[str, str], confidence: str
) -> str:
    """`sentence` for anything with two values. row: what `verdict` reads, mean_a and mean_b."""
    said, _ = verdict(row)
    if is_missing(row["difference"]):
        return f"{title(label)}: {said}."
    a, b = (number(row[side], unit) for side in ("mean_a", "mean_b"))
    text = f"{title(label)}: {said}. {names[0]} {a}, {names[1]} {b}, difference "
    text += change(row["difference"], unit, after=True)
    if between := limits(row["low"], row["high"], unit, signed=True):
        many = trainings(row)
        over = f", over questions and {many} trainings" if many > 1 else ""
        text += f" ({confidence} interval {between}{over})"
    return f"{text}."


def as_text(value: object) -> str:
    """A parameter as it would stand in params.yaml."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
