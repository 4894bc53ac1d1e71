"""Can a verifier tell which rationale belongs to which option? (MalAlgoQA, arXiv 2407.00938)

Of a question there are rationales for its key (reasoned positives) and for wrong options
(malgorithms). Asked as if an option were the key, a verifier that reads should rate that option's
own rationale highest. The share where it does is the algorithm identification accuracy (AIA) for
keys and the malgorithm identification accuracy (MIA) for wrong options.
"""

import numpy as np
import pandas as pd

from schemas.synthetic import POSITIVE
from stages.pure.prompts import distinct_questions

KEY = ["question_id", "candidate_index"]


def rationales(synthetic: pd.DataFrame, questions: pd.DataFrame) -> pd.DataFrame:
    """The first usable rationale of each option; only of questions with such options, two or more.

    Columns: those of distinct_questions, candidate_index, explanation, option (its letter).
    """
    own = synthetic[synthetic.reason.isna() & synthetic.kind.isin([POSITIVE, "malgorithm"])]
    rows = own.merge(distinct_questions(questions), on="question_id", validate="many_to_one")
    rows = rows.assign(option=rows.option.mask(rows.kind == POSITIVE, rows.key))
    first = rows.sort_values(KEY).drop_duplicates(["question_id", "option"])
    several = first.groupby("question_id").option.transform("size") >= 2
    return first[several].reset_index(drop=True)


def asked(rows: pd.DataFrame) -> pd.DataFrame:
    """Every rationale of a question with each option that has one in the key's place.

    Columns: those of `rationales`; key is the option that is asked about, is_own whether the
    rationale is of that option, right the true key.
    """
    options = rows[["question_id", "option"]].rename(columns={"option": "wanted"})
    both = rows.merge(options, on="question_id", validate="many_to_many")
    both = both.assign(right=both.key, key=both.wanted, is_own=both.option == both.wanted)
    return (
        both.drop(columns="wanted")
        .sort_values(["question_id", "key", "option"])
        .reset_index(drop=True)
    )


def accuracies(trials: pd.DataFrame, ratings: np.ndarray) -> dict[str, float]:
    """AIA and MIA beside what chance gives. trials: `asked`; ratings: stars, (n,), NaN unrated.

    An option counts as matched where its own rationale alone is rated highest; one with an
    unrated rationale is left out and counted.
    """
    own = trials.is_own
    by_option = ["question_id", "key"]
    rated = trials.assign(own=np.where(own, ratings, np.nan), other=np.where(own, np.nan, ratings))
    rated = rated.assign(is_missing=np.isnan(ratings), is_key=rated.key == rated.right)
    found = rated.groupby(by_option).agg(
        is_key=("is_key", "first"),
        is_missing=("is_missing", "any"),
        own=("own", "max"),
        other=("other", "max"),
        rationales_n=("own", "size"),
    )
    numbers: dict[str, float] = {}
    for name, is_key in (("aia", True), ("mia", False)):
        options = found[found.is_key == is_key]
        known = options[~options.is_missing]
        numbers |= {f"{name}_options_n": len(known), f"{name}_unrated_n": len(options) - len(known)}
        if len(known):
            numbers[f"{name}_frac"] = float((known.own > known.other).mean())
            numbers[f"{name}_chance_frac"] = float((1 / known.rationales_n).mean())
    return numbers
