"""What a verifier says of rated rows that it did not learn from."""

import pandera.pandas as pa

from schemas.base import Table

VERIFIERS = ["reward", "judge"]  # one file each


class Predictions(Table):
    """Grain: one row per rated train row, one file per verifier. Written by train_verifier.

    The reward verifier rates each row by the half that did not learn from its fold; the judge
    learned from another split. Null: the model does not read as many tokens, or, for
    `swapped`, no other cluster of the course and fold has an explanation.
    """

    row_id: str
    question_id: str
    cluster_id: str
    fold: int = pa.Field(ge=0, le=1)
    rating: float = pa.Field(ge=0, le=5)  # stars, what students gave
    ratings_n: int = pa.Field(ge=0)
    words_n: int = pa.Field(ge=1)  # of the row's own explanation
    predicted: float = pa.Field(ge=0, le=5, nullable=True)  # stars
    swapped: float = pa.Field(ge=0, le=5, nullable=True)  # stars, with another cluster's text
    swapped_words_n: float = pa.Field(ge=1, nullable=True)  # words of that text

    class Config:
        name = "predictions"
        unique = ["row_id"]
