"""Usable rows of the exports, split by cluster."""

import pandas as pd
import pandera.pandas as pa

from schemas.base import Table

SPLITS = ["train", "judge", "validation", "test"]
LETTERS = ["A", "B", "C", "D", "E"]
TAUGHT = "taught"  # item: the rows that models may learn from, data/questions_taught.parquet


class Questions(Table):
    """Grain: one row per student row that can be used. Written by prepare_questions.

    A question is the distinct (stem, options, key); several rows may share it. Rows of
    near-identical questions share a cluster, and a cluster lies in one split only. Trainings read
    the rows of the item TAUGHT alone, so that a course which came later runs none of them again.
    """

    row_id: str = pa.Field(unique=True)  # "<course>/<id in the export>"
    question_id: str  # hash of (stem, options, key)
    cluster_id: str  # hash of the cluster's content
    split: str = pa.Field(isin=SPLITS)
    fold: int = pa.Field(ge=0, le=1)  # for cross-fitting; constant within a cluster
    course: str
    stem: str = pa.Field(str_length={"min_value": 1})
    option_a: str
    option_b: str = pa.Field(nullable=True)
    option_c: str = pa.Field(nullable=True)
    option_d: str = pa.Field(nullable=True)
    option_e: str = pa.Field(nullable=True)
    options_n: int = pa.Field(ge=1, le=5)
    key: str = pa.Field(isin=LETTERS)  # letter of the right option
    explanation: str = pa.Field(str_length={"min_value": 1})  # the student's own
    explanation_words_n: int = pa.Field(ge=1)  # white-space words
    question_rating_mean: float = pa.Field(ge=0, le=5, nullable=True)  # stars
    question_ratings_n: int = pa.Field(ge=0)
    rated_object: str = pa.Field(isin=["question", "explanation"])  # what students rated
    is_sft_row: bool  # rated well and long enough to imitate
    is_training_row: bool  # models may learn from it; false for a course that came later
    user_hash: str = pa.Field(nullable=True)  # keyed hash, null unless asked for

    class Config:
        name = "questions"
        unique = ["row_id"]

    @pa.dataframe_check
    @classmethod
    def key_is_an_option(cls, df: pd.DataFrame) -> pd.Series:
        """The key's letter is among the first `options_n` letters."""
        positions = {letter: i for i, letter in enumerate(LETTERS)}
        return df.key.map(positions).astype(float) < df.options_n

    @pa.dataframe_check
    @classmethod
    def a_cluster_has_one_split_and_one_fold(cls, df: pd.DataFrame) -> bool:
        """Near-identical questions never stand on both sides of a split."""
        groups = df.groupby("cluster_id")[["split", "fold"]].nunique()
        return bool((groups == 1).all(axis=None))
