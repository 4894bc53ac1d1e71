"""The nearest texts on two sides of a split."""

import pandera.pandas as pa

from schemas.base import Table
from schemas.questions import SPLITS

ITEMS = ["questions", "texts"]  # of questions that models learn from; of texts
SOURCES = ["questions", "candidates", "negatives"]


class Leakage(Table):
    """Grain: one row per (source, text_id, other_id). Written by check_leakage, one file per item.

    Only the nearest few of each combination of splits, by falling similarity. The texts stand
    in the tables that the ids are of: questions, and explanations of students.
    """

    source: str = pa.Field(isin=SOURCES)  # the table that text_id is of
    text_id: str  # question_id, or <question_id>/<candidate_index>
    other_id: str  # question_id, or the row_id of a student's explanation
    split: str = pa.Field(isin=SPLITS)  # of text_id
    other_split: str = pa.Field(isin=SPLITS)
    similarity: float = pa.Field(ge=-1, le=1)  # cosine of the encoder's vectors, four decimals
    is_same_text: bool  # equal but for case and white space

    class Config:
        name = "leakage"
        unique = ["source", "text_id", "other_id"]
