"""What a large language model is asked for a question of its own, and what counts as an answer.

Two kinds, after Chan et al. 2024 (arXiv 2409.19759): the source question in other words, and a
new one on the same matter as in LLM2LLM (Lee et al. 2024, arXiv 2403.15042), each with its
explanation. All words here are ours; the source is quoted as data, as in pure/synthesis.py.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.synthetic import POSITIVE
from schemas.synthetic_questions import NEW, REPHRASED
from stages.pure import clusters, prompts, synthesis

EXPLAINED = (
    "Then write the explanation that a student should learn from, in {length}: the fact that "
    "decides, the mechanism, the right option in its own words, and of every wrong option why it "
    "is wrong. Name no letter in it. Think it through first."
)
TASKS = {
    REPHRASED: (
        "Write this question again in other words: another wording of the stem and of every "
        "option, the same meaning, the same order of options. {letter} stays the right option."
    ),
    NEW: (
        "Write a new question of the same field and difficulty, which needs the same idea and "
        "asks for another fact: a student who can answer it understands this one better. It has "
        "{count} options; {letter} is right, and the others are mistakes that students make."
    ),
}


@dataclass(frozen=True)
class WantedQuestion:
    """One question that is asked for."""

    source_question_id: str
    item_index: int
    round_index: int
    kind: str
    options_n: int
    key: str  # letter of the right option


def wanted(
    sources: Sequence[Mapping[Any, Any]], counts: Mapping[str, int], round_index: int, first: int
) -> list[WantedQuestion]:
    """The questions to ask for, source by source. counts: questions per source and kind.

    first: index of a source's first item in this round.
    """
    found = []
    for source in sources:
        kinds = [kind for kind, count in counts.items() for _ in range(count)]
        for index, kind in enumerate(kinds, start=first):
            name, options_n = source["question_id"], int(source["options_n"])
            key = drawn_key(name, index, options_n) if kind == NEW else source["key"]
            found.append(WantedQuestion(name, index, round_index, kind, options_n, key))
    return found


def drawn_key(question_id: str, index: int, options_n: int) -> str:
    """A letter by digest: a model left to itself puts the right option where it likes."""
    drawn = int(hashlib.sha256(f"{question_id} {index}".encode()).hexdigest(), 16)
    return prompts.LETTERS[drawn % options_n]


def letters(item: WantedQuestion) -> list[str]:
    """The letters of its options."""
    return list(prompts.LETTERS[: item.options_n])


def schema_of(item: WantedQuestion) -> dict[str, Any]:
    """JSON schema of an answer; both vendors want every field required and no other."""

    def strict(fields: Mapping[str, Any]) -> dict[str, Any]:
        shape = {"type": "object", "properties": dict(fields), "required": list(fields)}
        return shape | {"additionalProperties": False}

    text = {"type": "string"}
    options = strict(dict.fromkeys(letters(item), text))
    return strict({"reasoning": text, "question": text, "options": options, "explanation": text})


def system_text(item: WantedQuestion, form: str) -> str:
    """What the model is told before it sees the source question."""
    task = TASKS[item.kind].format(letter=item.key, count=item.options_n)
    told = f"{synthesis.ROLE}\n\n{task} {EXPLAINED.format(length=synthesis.LENGTH)}"
    of_options = f"options (an object of {', '.join(letters(item))})"
    if form == "json_schema":
        return f"{told}\n\nAnswer with a JSON object of reasoning, question, {of_options} and " + (
            "explanation."
        )
    return f"{told}\n\nThen write {synthesis.TAG} and after it only a JSON object of question, " + (
        f"{of_options} and explanation."
    )


def user_text(source: Mapping[Any, Any], samples: Sequence[Mapping[Any, Any]]) -> str:
    """The source question as data, and rows of others with their explanations as samples."""
    return synthesis.user_text(source, POSITIVE, None, "tag", samples)


def parse(text: str, item: WantedQuestion, form: str) -> dict[str, Any] | None:
    """stem, option_a.., and explanation of an answer; None if it is no question.

    One that is: every text is there, and no two options say the same.
    """
    if form == "tag":
        _, mark, text = text.rpartition(synthesis.TAG)
        if not mark:
            return None
    try:
        answer = json.loads(text)
    except ValueError:
        return None
    fields = {"question", "options", "explanation"} | ({"reasoning"} if form != "tag" else set())
    if not isinstance(answer, dict) or set(answer) != fields:
        return None
    options = answer["options"]
    if not isinstance(options, dict) or set(options) != {*letters(item)}:
        return None
    texts = [answer["question"], answer["explanation"], *(options[one] for one in letters(item))]
    if not all(isinstance(one, str) and one.strip() for one in texts):
        return None
    stem, explanation, *said = (" ".join(one.split()) for one in texts)
    if len({*said}) < len(said):  # case can be all that tells two apart: aa and Aa
        return None
    named = {f"option_{letter.lower()}": one for letter, one in zip("ABCDE", said, strict=False)}
    key = said[prompts.LETTERS.index(item.key)]
    name = clusters.question_id(stem, said, key)
    return {"question_id": name, "stem": stem, **named, "explanation": explanation}
