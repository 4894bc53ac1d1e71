"""Questions, with an explanation, that a large language model was asked for."""

import pandas as pd
import pandera.pandas as pa

from schemas.base import Table
from schemas.questions import LETTERS
from schemas.synthetic import REASONS

REPHRASED, NEW = "rephrased_question", "new_question"
FIRST_DROPPED = 10_000  # index in `drops` of a source's item 0: above those of all texts
QUESTION_KINDS = [REPHRASED, NEW]
QUESTION_REASONS = [*REASONS, "key_not_found"]  # by a solver, in the explanation


class SyntheticQuestions(Table):
    """Grain: one row per (source question, question that was asked for). Written by synthesize.

    Empty where the provider is `none`. One without a reason is a train question like the students'
    from then on: it is imitated by SFT, sampled for, scored and paired. It lies in the cluster, the
    fold and the course of its source, so that no split is crossed.
    """

    source_question_id: str  # of `questions`, train split; never a synthetic one
    item_index: int = pa.Field(ge=0)  # within the source question
    round_index: int = pa.Field(ge=0)  # LLM2LLM: how many policies had been trained before, less 1
    kind: str = pa.Field(isin=QUESTION_KINDS)
    question_id: str = pa.Field(nullable=True)  # hash of (stem, options, key), as in `questions`
    stem: str = pa.Field(str_length={"min_value": 1}, nullable=True)
    option_a: str = pa.Field(nullable=True)
    option_b: str = pa.Field(nullable=True)
    option_c: str = pa.Field(nullable=True)
    option_d: str = pa.Field(nullable=True)
    option_e: str = pa.Field(nullable=True)
    options_n: int = pa.Field(ge=1, le=5)  # as many as the source has
    key: str = pa.Field(isin=LETTERS)  # letter that was asked for
    explanation: str = pa.Field(nullable=True)
    reason: str = pa.Field(isin=QUESTION_REASONS, nullable=True)  # why it is not used
    model: str  # provider and its name for the model
    input_tokens: int = pa.Field(ge=0)  # as billed, of all answers about this question
    output_tokens: int = pa.Field(ge=0)
    cost_usd: float = pa.Field(ge=0)

    class Config:
        name = "synthetic_questions"
        unique = ["source_question_id", "item_index"]

    @pa.dataframe_check
    @classmethod
    def no_question_has_a_reason(cls, df: pd.DataFrame) -> pd.Series:
        """A row without a question says why."""
        return df.explanation.notna() | df.reason.notna()

    @pa.dataframe_check
    @classmethod
    def a_used_question_is_there_once(cls, df: pd.DataFrame) -> bool:
        """Two sources may give the same question, and one of them is used."""
        return not df.question_id[df.reason.isna()].dropna().duplicated().any()
