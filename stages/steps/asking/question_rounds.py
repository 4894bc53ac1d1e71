"""Rounds of LLM2LLM: what a fresh policy fails is asked about, and what comes is learned next.

Lee et al. 2024 (arXiv 2403.15042), algorithm 1. Without `only_explained_below` there is one round
about all sources, and no policy is trained.
"""

from dataclasses import dataclass

import pandas as pd

from schemas.synthetic_questions import QUESTION_KINDS, SyntheticQuestions
from stages.pure import synthetic_questions
from stages.pure.question_synthesis import WantedQuestion
from stages.pure.synthetic_gates import Limits
from stages.runtime import artifacts
from stages.runtime.asking.calls import Ask
from stages.runtime.asking.prices import Model
from stages.runtime.asking.session import Asking
from stages.steps.asking import admitting, failing, questioning, requesting
from stages.steps.asking.requesting import Settings
from stages.steps.asking.synthesizing import Tell


@dataclass(frozen=True)
class QuestionRounds:
    """Questions with an explanation, rephrased or new."""

    students: pd.DataFrame  # Questions, all splits
    taught: pd.DataFrame  # those that models may learn from
    given: Settings
    tuning: failing.Tuning
    meaning: admitting.Meaning

    def sources(self) -> pd.DataFrame:
        """The questions that may be asked about."""
        return requesting.sources(self.taught, self.given.max_questions)

    def failed(self, made: pd.DataFrame) -> pd.DataFrame:
        """The sources that a policy fails which has learned what is used of `made`.

        All of them where no limit says what it is to fail. made: SyntheticQuestions so far.
        """
        below = self.given.only_explained_below
        if below is None:
            return self.sources()
        lessons = synthetic_questions.joined(self.taught, made)
        return failing.unexplained(lessons, self.sources(), self.tuning, below)

    def wanted(
        self, made: pd.DataFrame, left: dict[str, float], number: int
    ) -> tuple[list[WantedQuestion], dict[str, float]]:
        """The questions of round `number` (from 0), and how often each kind may still ask."""
        if not any(left.values()):
            return [], left
        counts = requesting.asked_for(self.given, QUESTION_KINDS)
        items = questioning.wanted(self.failed(made), counts, number)
        return questioning.within(items, left)

    def planned(self, model: Model) -> dict[str, float]:
        """How often a source may be asked about by each kind, in all rounds."""
        return questioning.planned(self.sources(), self.taught, model, self.given)

    def first(self, model: Model) -> tuple[list[Ask], dict[str, int]]:
        """The requests of the first round, and what is masked in them."""
        nothing = artifacts.empty(SyntheticQuestions)
        items, _ = self.wanted(nothing, self.planned(model), 0)
        asks = questioning.requests(items, self.taught, model, self.given, 0)
        return asks, self.masked_for({item.source_question_id for item in items})

    def run(self, model: Model, ask: Asking, tell: Tell) -> pd.DataFrame:
        """SyntheticQuestions of all rounds. They end early where nothing is failed, or planned."""
        made, left = artifacts.empty(SyntheticQuestions), self.planned(model)
        given = self.given
        limits = Limits(
            given.min_words, given.max_existing_similarity, given.max_held_out_similarity
        )
        for number in range(1 if given.only_explained_below is None else given.rounds):
            items, left = self.wanted(made, left, number)
            if not items:
                break
            tell(questioning.requests(items, self.taught, model, given, 0))
            answers = questioning.make(items, self.taught, model, given, ask)
            new = questioning.table(items, answers, model)
            both = pd.concat([made, new], ignore_index=True) if len(made) else new
            made = admitting.questions(
                both, self.students, limits, self.meaning, given.min_recoverability
            )
        return made

    def masked(self, table: pd.DataFrame) -> dict[str, int]:
        """How often personal data is masked in what was sent for the rows of `table`, by kind."""
        return self.masked_for({*table.source_question_id})

    def masked_for(self, sources: set[str]) -> dict[str, int]:
        """The same for sources; each is shown samples."""
        return requesting.masked_counts(sources, sources, self.taught, self.given)
