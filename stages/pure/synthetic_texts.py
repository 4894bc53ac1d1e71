"""Synthetic texts beside candidates and negatives: from there on they are texts like the others."""

import pandas as pd

from schemas.synthetic import ORIGIN, POSITIVE


def joined(
    candidates: pd.DataFrame, negatives: pd.DataFrame, synthetic: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Candidates with the usable positives, negatives with the usable flawed texts.

    Only of questions that have candidates; both tables come back as they are where there is none.
    """
    asked = synthetic.question_id.isin(candidates.question_id)
    own = synthetic[synthetic.reason.isna() & asked]
    is_positive = own.kind == POSITIVE
    good = own[is_positive][["question_id", "candidate_index", "explanation"]].assign(
        origin=ORIGIN, row_id=None, temperature=None, seed=-1, tokens_n=0, is_stopped=True
    )
    flawed = own[~is_positive][["question_id", "candidate_index", "kind", "explanation"]].assign(
        source_question_id=None
    )
    return below(candidates, good), below(negatives, flawed)


def below(table: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` under `table`, in its columns and types."""
    if rows.empty:
        return table
    both = pd.concat([table, rows[table.columns].astype(table.dtypes)], ignore_index=True)
    return both.astype(table.dtypes)


def unusable(synthetic: pd.DataFrame) -> pd.DataFrame:
    """The rows of `drops` for texts that never came, or that are not used."""
    out = synthetic[synthetic.reason.notna()]
    origin = out.kind.map(lambda name: ORIGIN if name == POSITIVE else "negative")
    return out[["question_id", "candidate_index"]].assign(origin=origin, reason=out.reason)
