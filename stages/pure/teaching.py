"""Which rows a model may learn from."""

import pandas as pd


def training_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of Questions whose course was not kept from training, numbered as before.

    A course that came later (prepare_questions.untaught_courses) is sampled, scored and paired,
    but changes no model: what the others were trained on stays what it was.
    """
    return rows[rows.is_training_row]
