"""Rows that cannot be used, each with its reason."""

import pandera.pandas as pa

from schemas.base import Table

# In the order in which the filters run; a row is counted at the first that it fails.
REASONS = [
    "question_is_nan",
    "has_image",
    "few_ratings",
    "deleted",
    "empty_explanation",
    "options_count",
    "empty_option",
    "duplicate_options",
    "key_not_an_option",
    "empty_stem",
]


class Rejects(Table):
    """Grain: one row per unusable row of an export. Written by prepare_questions.

    Holds no student text: `detail` names the offending value's kind, not its words.
    """

    row_id: str = pa.Field(unique=True)
    course: str
    source_file: str
    source_row: int = pa.Field(ge=1)  # 1-based data row in the export
    reason: str = pa.Field(isin=REASONS)
    detail: str

    class Config:
        name = "rejects"
        unique = ["row_id"]
