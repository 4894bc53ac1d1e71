"""Texts of a large language model about questions that have candidates: asked for, and admitted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import pandas as pd

from schemas.synthetic import POSITIVE, Synthetic
from stages.pure import synthesis
from stages.pure.synthesis import Wanted
from stages.pure.synthetic_gates import Limits
from stages.runtime import artifacts
from stages.runtime.asking.calls import Ask
from stages.runtime.asking.prices import Model, dollars
from stages.runtime.asking.session import Asking
from stages.steps.asking import admitting, failing, requesting
from stages.steps.asking.answering import Answer, answers
from stages.steps.asking.requesting import Settings, requests

Tell = Callable[[list[Ask]], None]  # hears of requests before they are sent


class Job(Protocol):
    """One item of synthesize: what is asked for, and what is used of it."""

    def first(self, model: Model) -> tuple[list[Ask], dict[str, int]]:
        """The requests of a first run, and how often personal data is masked in them, by kind."""

    def run(self, model: Model, ask: Asking, tell: Tell) -> pd.DataFrame:
        """The table of what came of every request."""

    def masked(self, table: pd.DataFrame) -> dict[str, int]:
        """How often personal data is masked in what was sent for the rows of `table`, by kind."""


@dataclass(frozen=True)
class Texts:
    """Explanations, good and flawed, of questions that have candidates."""

    questions: pd.DataFrame
    candidates: pd.DataFrame
    negatives: pd.DataFrame
    given: Settings
    meaning: admitting.Meaning

    def wanted(self, model: Model) -> list[Wanted]:
        """The texts that are asked for."""
        asked, below = self.candidates, self.given.only_explained_below
        if below is not None:
            asked = failing.failed(self.questions, asked, below)
        return requesting.planned(self.questions, asked, model, self.given)

    def first(self, model: Model) -> tuple[list[Ask], dict[str, int]]:
        """As Job.first."""
        texts = self.wanted(model)
        rows = pd.DataFrame([(text.question_id, text.kind) for text in texts])
        masked = self.masked(rows.set_axis(["question_id", "kind"], axis=1)) if texts else {}
        return requests(texts, self.questions, model, self.given, 0), masked

    def run(self, model: Model, ask: Asking, tell: Tell) -> pd.DataFrame:
        """As Job.run; Synthetic."""
        texts = self.wanted(model)
        tell(requests(texts, self.questions, model, self.given, 0))
        made = table(texts, make(texts, self.questions, model, self.given, ask), model)
        limits = Limits(
            self.given.min_words,
            self.given.max_existing_similarity,
            self.given.max_held_out_similarity,
        )
        there = self.questions, self.candidates, self.negatives
        return admitting.texts(made, *there, limits, self.meaning)

    def masked(self, table: pd.DataFrame) -> dict[str, int]:
        """As Job.masked."""
        shown = {*table.question_id[table.kind == POSITIVE]}
        return requesting.masked_counts({*table.question_id}, shown, self.questions, self.given)


def make(
    texts: Sequence[Wanted],
    questions: pd.DataFrame,
    model: Model,
    wording: Settings,
    ask: Asking,
) -> list[Answer]:
    """What becomes of each wanted text; an answer of the wrong form is asked for again."""
    form = wording.answer_format
    return answers(
        len(texts),
        lambda places, attempt: requests(
            [texts[i] for i in places], questions, model, wording, attempt
        ),
        lambda place, text: synthesis.parse(text, texts[place].kind, form),
        ask,
        wording.max_asks,
        may_be_cut=form == "plain",
    )


def table(texts: Sequence[Wanted], made: Sequence[Answer], model: Model) -> pd.DataFrame:
    """The rows of Synthetic, before the gates."""
    rows = [
        {
            "question_id": text.question_id,
            "candidate_index": text.candidate_index,
            "kind": text.kind,
            "option": text.option,
            "explanation": one.text,
            "reason": one.reason,
            "model": f"{model.provider} {model.name}",
            "input_tokens": one.input_tokens,
            "output_tokens": one.output_tokens,
            "cost_usd": dollars(one.cost),
        }
        for text, one in zip(texts, made, strict=True)
    ]
    columns = [*Synthetic.to_schema().columns]
    return artifacts.conform(Synthetic, pd.DataFrame(rows, columns=columns))
