"""Which texts and questions of a large language model are used, and why the others are not.

Words decide first, then a frozen encoder, with the limits of check_leakage: what the check would
refuse is dropped here, so that it stops no run. A solver may read new explanations.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from schemas.negatives import Negatives
from schemas.synthetic import ORIGIN, POSITIVE
from stages.pure import prompts, synthetic_questions, synthetic_texts
from stages.pure.scored import scoring
from stages.pure.synthetic_gates import Limits, explanation_reasons, question_reasons
from stages.runtime import artifacts
from stages.runtime.loading.profile import Encoder
from stages.scorers import recoverability
from stages.steps import nearness

HELD_OUT = "near_held_out"
MIN_STEM_WORDS = 3  # "What is osmosis?" asks something. ours


@dataclass(frozen=True)
class Meaning:
    """From where on an encoder finds a text, or a question, too near to a held-out one."""

    encoder: Encoder
    limits: nearness.Settings


def texts(
    made: pd.DataFrame,
    questions: pd.DataFrame,
    candidates: pd.DataFrame,
    negatives: pd.DataFrame,
    limits: Limits,
    meaning: Meaning,
) -> pd.DataFrame:
    """`made` (Synthetic) with the reason of each text that is not used."""
    distinct = prompts.distinct_questions(questions).to_dict("records")
    keys = {row["question_id"]: prompts.key_text(row) for row in distinct}
    own = made[made.reason.isna()]
    asked = own[["question_id"]].assign(
        text_id=own.question_id + "/" + own.candidate_index.astype("str"),
        text=own.explanation,
        key_text=own.question_id.map(keys),
        is_positive=own.kind == POSITIVE,
    )
    columns = ["question_id", "explanation"]
    there = pd.concat([candidates[columns], negatives[columns], questions[columns]])
    unseen = questions[questions.split != "train"].explanation
    there = there.rename(columns={"explanation": "text"})
    found = with_reasons(made, explanation_reasons(asked, there, unseen, limits))
    return without_near(found, questions, meaning)


def questions(
    made: pd.DataFrame,
    students: pd.DataFrame,
    limits: Limits,
    meaning: Meaning,
    min_recoverability: float | None,
) -> pd.DataFrame:
    """`made` (SyntheticQuestions) with the reason of each question that is not used.

    students: Questions. min_recoverability: of the explanation, 0..1; None = no solver is asked.
    What was kept in an earlier round stays: its rows come first.
    """
    is_train = students.split == "train"
    own = made[made.reason.isna()]
    number = made.round_index.astype("str").str.zfill(3) + "/" + made.source_question_id
    text_id = (number + "/" + made.item_index.astype("str")).loc[own.index]
    distinct = prompts.distinct_questions(students)
    of_train = distinct.split == "train"
    asked = own.assign(text_id=text_id)
    of_stem = limits._replace(min_words=MIN_STEM_WORDS)
    found = question_reasons(asked, distinct[of_train], distinct[~of_train], of_stem)
    rows: list[Any] = own.to_dict("records")
    explained = asked.assign(
        question_id=own.source_question_id,
        text=own.explanation,
        key_text=[row[f"option_{row['key'].lower()}"] for row in rows],
        is_positive=True,
    )
    there = students[["question_id", "explanation"]].rename(columns={"explanation": "text"})
    unseen = students[~is_train].explanation
    said = explanation_reasons(explained, there, unseen, limits)
    named = with_reasons(with_reasons(made, found), said)
    far = without_near_questions(named, students, meaning)
    return far if min_recoverability is None else readable(far, students, min_recoverability)


def with_reasons(made: pd.DataFrame, reasons: pd.Series) -> pd.DataFrame:
    """`made` with `reasons` (by its index) where there is none yet."""
    return made.assign(reason=made.reason.fillna(reasons))


def without_near(made: pd.DataFrame, questions: pd.DataFrame, meaning: Meaning) -> pd.DataFrame:
    """Synthetic without the texts that an encoder finds near to a held-out student's."""
    return with_reasons(made, near_texts(made[made.reason.isna()], questions, meaning))


def near_texts(own: pd.DataFrame, questions: pd.DataFrame, meaning: Meaning) -> pd.Series:
    """HELD_OUT or null for each explanation of `own`, by its index.

    own: question_id, candidate_index, explanation.
    """
    pairs = nearness.pairs_of_texts(
        questions, {ORIGIN: own}, meaning.limits.min_text_words, meaning.encoder
    )
    near = pairs[(pairs.similarity >= meaning.limits.max_text_similarity) | pairs.is_same_text]
    names = own.question_id + "/" + own.candidate_index.astype("str")
    return names.isin(near.text_id).map({True: HELD_OUT, False: None})


def without_near_questions(
    made: pd.DataFrame, students: pd.DataFrame, meaning: Meaning
) -> pd.DataFrame:
    """SyntheticQuestions without those that ask, or explain, what a held-out question does."""
    added = synthetic_questions.as_rows(students, made)
    pairs = nearness.held_out_pairs(students, added, meaning.encoder)
    near = pairs[(pairs.similarity >= meaning.limits.max_question_similarity) | pairs.is_same_text]
    is_near = made.reason.isna() & made.question_id.isin(near.text_id)
    kept = made.assign(reason=made.reason.mask(is_near, HELD_OUT))
    said = kept[kept.reason.isna()].assign(candidate_index=0)
    return with_reasons(kept, near_texts(said, students, meaning))


def readable(made: pd.DataFrame, students: pd.DataFrame, limit: float) -> pd.DataFrame:
    """SyntheticQuestions without those in whose explanation a solver does not find the key.

    That is, P(key) is below `limit`; where it cannot read the text, the question stays.
    """
    added = synthetic_questions.as_rows(students, made)
    if added.empty:
        return made
    rows = synthetic_texts.below(students, added)
    said = added[["question_id", "explanation"]].assign(
        candidate_index=0, origin=ORIGIN, is_stopped=True
    )
    asked = scoring.texts_to_score(rows, said, artifacts.empty(Negatives))
    likely = [value.value for value in recoverability.recoverability(asked)]
    is_below = np.array(likely, dtype=float) < limit
    is_out = made.reason.isna() & made.question_id.isin(asked.question_id[is_below])
    return made.assign(reason=made.reason.mask(is_out, "key_not_found"))
