"""Explanations of train questions that may become chosen or rejected."""

import pandera.pandas as pa

from schemas.base import Table
from schemas.synthetic import ORIGIN


class Candidates(Table):
    """Grain: one row per (question, candidate). Written by sample_candidates.

    Samples of the SFT policy come first, the students' own texts after them; of a synthetic
    question its own explanation.
    """

    question_id: str
    candidate_index: int = pa.Field(ge=0, lt=1000)  # 0-based within the question
    origin: str = pa.Field(isin=["sft", "student", ORIGIN])
    row_id: str = pa.Field(nullable=True)  # of the row that a text is from which is no sample
    temperature: float = pa.Field(gt=0, nullable=True)  # null for what is no sample
    seed: int = pa.Field(nullable=False)  # seed of the batch; -1 for what is no sample
    explanation: str  # may be empty: a model can say nothing
    tokens_n: int = pa.Field(ge=0)  # tokens generated, or of the student's text
    is_stopped: bool  # ended with EOS; true for a student's text

    class Config:
        name = "candidates"
        unique = ["question_id", "candidate_index"]
