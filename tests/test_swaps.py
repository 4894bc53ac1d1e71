"""Which explanation a row borrows, and what a model is asked with it."""

from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from schemas.predictions import Predictions
from stages.pure import swaps
from stages.runtime import artifacts
from tests.tiny_models import course

ROWS = st.lists(st.tuples(st.sampled_from("pq"), st.sampled_from("abcd")), min_size=1, max_size=25)


def table(found: list[tuple[str, str]]) -> pd.DataFrame:
    """Rows of (course, cluster); a cluster has one fold."""
    rows = pd.DataFrame(found, columns=["course", "cluster_id"])
    fold = rows.cluster_id.isin(["c", "d"]).astype(int)
    return rows.assign(row_id=[f"{c}/{i}" for i, (c, _) in enumerate(found)], fold=fold)


@given(ROWS)
def test_a_partner_is_of_another_cluster_of_the_same_course_and_fold(found: list[tuple[str, str]]):
    rows = table(found)
    for row, partner in zip(rows.itertuples(), swaps.partners(rows), strict=True):
        peers = rows[(rows.course == row.course) & (rows.fold == row.fold)]
        if partner < 0:
            assert set(peers.cluster_id) == {row.cluster_id}
        else:
            assert partner in peers.index
            assert rows.cluster_id[partner] != row.cluster_id


@given(ROWS, st.randoms())
def test_partners_do_not_depend_on_the_order_of_the_rows(found: list[tuple[str, str]], random: Any):
    rows = table(found)
    shuffled = rows.iloc[random.sample(range(len(rows)), len(rows))].reset_index(drop=True)

    def names(given: pd.DataFrame) -> dict[str, str]:
        ids = [*given.row_id, ""]  # -1 is the last
        return {ids[i]: ids[p] for i, p in enumerate(swaps.partners(given))}

    assert names(shuffled) == names(rows)


def test_texts_are_lent_once_where_no_cluster_stands_beside_itself():
    rows = table([("p", letter) for letter in "ab"] * 1)
    assert swaps.partners(rows).tolist() == [1, 0]
    alone = table([("p", f"c{i}") for i in range(30)]).assign(fold=0)
    assert sorted(swaps.partners(alone)) == list(range(30))


def test_a_model_is_asked_with_the_own_and_with_the_borrowed_text():
    rows = course().query("split == 'train' and question_rating_mean.notna()")
    asked: list[tuple[list[str], list[str]]] = []

    def rate(given: pd.DataFrame, texts: list[str]) -> np.ndarray:
        asked.append((given.question_id.tolist(), texts))
        return np.array([len(text.split()) / 10 for text in texts])

    found = swaps.predictions(rows, rate)
    artifacts.validate(Predictions, found, Predictions.path("reward"))
    assert found.predicted.tolist() == (rows.explanation_words_n / 10).tolist()
    assert found.swapped.tolist() == (found.swapped_words_n / 10).tolist()
    assert {tuple(questions) for questions, _ in asked} == {tuple(rows.question_id)}
    swapped, own = sorted(asked, key=lambda pair: pair[1] == rows.explanation.tolist())
    assert own[1] == rows.explanation.tolist()
    of_text = dict(zip(rows.explanation, rows.cluster_id, strict=True))
    for cluster, text in zip(rows.cluster_id, swapped[1], strict=True):
        # a short text may be the same in two clusters
        assert of_text[text] != cluster or list(rows.explanation).count(text) > 1


def test_a_row_without_a_partner_has_no_swapped_rating():
    rows = course().query("split == 'train' and question_rating_mean.notna()").head(2)
    one = rows[rows.cluster_id == rows.cluster_id.iloc[0]]
    found = swaps.predictions(one, lambda _, texts: np.full(len(texts), 3.0))
    assert found.swapped.isna().all()
    assert found.swapped_words_n.isna().all()
    assert (found.predicted == 3.0).all()
