"""Question -> text. The only place where a prompt is written.

SFT, sampling, scoring and evaluation all call these functions, so that a model is never
asked in other words than it was trained on; tests/test_prompts.py pins the bytes. Chat
templates and special tokens are added by stages/runtime/loading/checkpoints.py, where the text
of a student is always encoded as plain text.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

LETTERS = "ABCDE"


def options(question: Mapping[Any, Any]) -> list[str]:
    """The options of a row of `questions`, in order; as many as options_n says."""
    return [str(question[f"option_{c.lower()}"]) for c in LETTERS[: int(question["options_n"])]]


def key_text(question: Mapping[Any, Any]) -> str:
    """The text of the right option."""
    return options(question)[LETTERS.index(question["key"])]


def distractor_texts(question: Mapping[Any, Any]) -> list[str]:
    """The texts of the wrong options, in order."""
    right = LETTERS.index(question["key"])
    return [text for i, text in enumerate(options(question)) if i != right]


def render_question(question: Mapping[Any, Any]) -> str:
    """Stem, lettered options and the letter of the key, one per line."""
    lines = [f"Question: {question['stem']}"]
    # A space follows the colon and nothing precedes the letter, so that "\nA" is one token
    # for byte-pair vocabularies whatever the option's text is.
    lines += [f"{letter}: {text}" for letter, text in zip(LETTERS, options(question), strict=False)]
    lines.append(f"Answer: {question['key']}")
    return "\n".join(lines)


def render_task(key: str) -> str:
    """The request itself. It ends with the key's text, right before the answer starts.

    A small model learns to take the key over when the words before it stand nowhere else
    in the prompt and nothing follows it; after "Answer: B: <key>" in the middle it did not
    (reports/log.md, 2026-11-20).
    """
    return f"Explain why it is {key}"


def render_prompt(question: Mapping[Any, Any]) -> str:
    """What the generator is asked: the question with its key, then the task."""
    return f"{render_question(question)}\n{render_task(key_text(question))}"


def render_refinement(question: Mapping[Any, Any], previous: str, rating: float) -> str:
    """What ILearner asks from round 1 on: the question, the last text and its rating.

    Structure after ILearner-LLM's feedback prompt (arXiv 2309.10444): score and previous
    explanation, then the same task; unlike its stored batch script the question is there.
    rating: stars, 0..5, shown with one decimal.
    """
    return (
        f"{render_question(question)}\nLast explanation: {previous}\n"
        f"Rating: {rating:.1f}\nBetter: {render_task(key_text(question))}"
    )


def render_exam(question: Mapping[Any, Any], explanation: str) -> str:
    """What a student is asked: the question without its key, after an explanation or none.

    The explanation comes last, so that a student who cannot know the answer reads it there.
    """
    lines = render_question(question).split("\n")[:-1]
    lines += [f"Explanation: {explanation}"] if explanation else []
    return "\n".join([*lines, "The right option is"])


def declarative(stem: str, option: str) -> str:
    """The hypothesis of the entailment scorer: the correct answer to Q is X."""
    return f'The correct answer to "{stem}" is {option}.'


def distinct_questions(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per question_id (the first by row_id) with the question's own columns."""
    columns = ["question_id", "cluster_id", "split", "fold", "course", "stem"]
    columns += [f"option_{c.lower()}" for c in LETTERS] + ["options_n", "key"]
    ordered = rows.sort_values("row_id", kind="stable")
    first = ordered.drop_duplicates("question_id")[columns]
    return first.sort_values("question_id", kind="stable", ignore_index=True)
