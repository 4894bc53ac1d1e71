"""The baselines: what each reads, and that it reads nothing else."""

import numpy as np
import pandas as pd
import pytest

from schemas.questions import Questions
from stages.pure import baselines
from tests import invented
from tests.tiny_models import course

WORDS = ["good", "fine", "poor", "bad"]


def split() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows to learn from and rows of other clusters to predict."""
    rows = course().query("question_rating_mean.notna()").reset_index(drop=True)
    return rows[rows.split == "train"], rows[rows.split == "test"].reset_index(drop=True)


def test_the_bag_of_words_finds_words_that_go_with_stars():
    known, asked = split()
    found = baselines.predict(known, asked)
    good = asked.explanation_words_n > 8
    assert found.bag_of_words[good].min() > found.bag_of_words[~good].max()


def test_the_question_alone_gives_all_explanations_of_a_question_the_same():
    known, asked = split()
    found = baselines.predict(known, asked)
    assert found.groupby("question_id").question_only.nunique().eq(1).all()
    other = baselines.predict(known.assign(explanation="x"), asked.assign(explanation="y"))
    assert other.question_only.tolist() == found.question_only.tolist()


def test_the_bag_of_words_does_not_read_the_question():
    known, asked = split()
    first = baselines.predict(known, asked).bag_of_words
    other = baselines.predict(known.assign(stem="a"), asked.assign(stem="b")).bag_of_words
    assert other.tolist() == first.tolist()


def test_the_asked_ratings_are_not_looked_at():
    known, asked = split()
    first = baselines.predict(known, asked)
    other = baselines.predict(known, asked.assign(question_rating_mean=0.0))
    for name in ("question_only", "bag_of_words"):
        assert other[name].tolist() == first[name].tolist()
        assert first[name].between(0, 5).all()


def test_rows_of_more_ratings_count_more():
    known, asked = split()
    heavy = known.assign(question_ratings_n=np.where(known.question_rating_mean > 3, 1000, 1))
    light = known.assign(question_ratings_n=np.where(known.question_rating_mean > 3, 1, 1000))
    high, low = (baselines.predict(rows, asked).question_only.mean() for rows in (heavy, light))
    assert high > low + 0.5


@pytest.mark.parametrize("keep", [0, 1])
def test_fewer_than_two_clusters_teach_nothing(keep: int):
    known, asked = split()
    few = known[known.cluster_id.isin(known.cluster_id.unique()[:keep])]
    found = baselines.predict(few, asked)
    assert found[["question_only", "bag_of_words"]].isna().all(axis=None)


@pytest.mark.parametrize("text", ["?", "é", "漢字", "a", "🙂", "<eos>"])
def test_any_visible_text_can_be_read(text: str):
    known, asked = split()
    found = baselines.predict(known.assign(explanation=text), asked.assign(explanation=text))
    assert found.bag_of_words.notna().all()


def test_nobody_asked_is_no_error():
    known, asked = split()
    assert len(baselines.predict(known, asked.head(0))) == 0


def test_the_rows_are_those_of_the_schema():
    found = baselines.predict(*split())
    assert set(invented.questions().columns) == set(Questions.to_schema().columns)
    assert set(found.columns) - set(Questions.to_schema().columns) == {
        "question_only",
        "bag_of_words",
    }
