"""Near-identical questions are one cluster, and nothing else decides where a cluster goes."""

import math
import random

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InputError
from schemas.questions import LETTERS, SPLITS
from stages.pure.clusters import (
    assign,
    bands,
    candidate_pairs,
    components,
    fold_of,
    jaccard,
    question_id,
    shingles,
    split_of,
)

PERCENT = {"train": 50, "judge": 15, "validation": 5, "test": 30}
ATP = "Which part of a cell makes most of its ATP?"
ATP_OPTIONS = ["mitochondrion", "lysosome", "ribosome", "nucleus", "Golgi body"]


def question(stem: str, *given: str, key: str = "A") -> dict[str, object]:
    """One distinct question; `key` is the letter of the right one of the given options."""
    row: dict[str, object] = {f"option_{c.lower()}": None for c in LETTERS}
    row |= {f"option_{c.lower()}": text for c, text in zip(LETTERS, given, strict=False)}
    identity = question_id(stem, given, given[LETTERS.index(key)])
    return row | {"question_id": identity, "stem": stem, "options_n": len(given), "key": key}


def places(*questions: dict[str, object], similarity: float = 0.6) -> pd.DataFrame:
    """What assign says of each question, in the order given."""
    found = assign(pd.DataFrame(questions), similarity, PERCENT).set_index("question_id")
    return found.loc[[str(one["question_id"]) for one in questions]]


def invented(n: int) -> list[dict[str, object]]:
    """n questions that share no content word."""
    return [question(f"What does w{i}x do?", f"k{i}x", f"d{i}x", f"e{i}x") for i in range(n)]


@pytest.mark.parametrize(
    "other",
    [
        question(ATP, "nucleus", "Golgi body", "ribosome", "mitochondrion", "lysosome", key="D"),
        question(ATP, *ATP_OPTIONS[:4]),
        question("Select the part of the cell that makes most ATP.", *ATP_OPTIONS),
        question("Which of the following parts of a cell makes most ATP?", *ATP_OPTIONS[:4]),
        question("WHICH PART OF A CELL MAKES MOST OF ITS ATP", *ATP_OPTIONS),
        question(ATP, *ATP_OPTIONS, key="B"),  # the author keyed another option
    ],
    ids=["reordered", "one_less", "other_words", "other_words_and_one_less", "case", "other_key"],
)
def test_near_identical_questions_share_cluster_split_and_fold(other: dict[str, object]):
    found = places(question(ATP, *ATP_OPTIONS), other)
    assert found.cluster_id.nunique() == 1
    assert found[["split", "fold"]].drop_duplicates().shape == (1, 2)


@pytest.mark.parametrize(
    "other",
    [
        question("Where in the cell are amino acids joined?", *ATP_OPTIONS, key="C"),
        question("Which part of a cell digests worn out parts?", *ATP_OPTIONS, key="B"),
        question("What is the capital of Spain?", *ATP_OPTIONS),
    ],
    ids=["same_options", "same_options_and_alike_stem", "another_stem"],
)
def test_other_facts_about_the_same_options_are_other_clusters(other: dict[str, object]):
    assert places(question(ATP, *ATP_OPTIONS), other).cluster_id.nunique() == 2


def test_a_template_with_another_key_is_another_fact():
    capitals = ["Madrid", "Paris", "Rome", "Berlin"]
    spain = question("What is the capital of Spain?", *capitals, key="A")
    france = question("What is the capital of France?", *capitals, key="B")
    # stem: 1 of 3 shared, options 4 of 4, key 0 of 2 + 2: 5 / 11
    assert jaccard(shingles(spain), shingles(france)) == 5 / 11
    assert places(spain, france).cluster_id.nunique() == 2


def test_clusters_are_connected_components():
    # a-b and b-c are alike (4/6 each), a-c is not (3/7): one cluster all the same
    sets = [frozenset("12345"), frozenset("23456"), frozenset("34567"), frozenset("xyz")]
    assert components(sets, 0.6) == [0, 0, 0, 3]
    assert components([sets[0], sets[2]], 0.6) == [0, 1]


def test_the_threshold_itself_is_inside():
    sets = [frozenset("1234"), frozenset("123")]  # 3 / 4
    assert components(sets, 0.75) == [0, 0]
    assert components(sets, 0.76) == [0, 1]


def test_the_net_is_as_narrow_as_it_may_be():
    # at 0.6: 3 rows and 42 bands miss (1 - .216)^42 = 3.6e-5; 4 and 32 miss 1.2e-2
    assert bands(0.6) == (42, 3)
    assert bands(1.0) == (8, 16)


def test_minhash_finds_every_pair_at_the_threshold():
    drawn = random.Random(3)
    sets = []
    for i in range(60):
        words = [f"{i} {j}" for j in range(12)]
        sets += [frozenset(words), frozenset(drawn.sample(words, 8))]  # 8 / 12
    found = set(candidate_pairs(sets, 0.6))
    assert {(i, i + 1) for i in range(0, 120, 2)} <= found


def test_the_order_of_the_rows_changes_nothing():
    rows = [*invented(30), question(ATP, *ATP_OPTIONS), question(ATP, *ATP_OPTIONS[:4])]
    shuffled = random.Random(1).sample(rows, len(rows))
    first = assign(pd.DataFrame(rows), 0.6, PERCENT)
    pd.testing.assert_frame_equal(first, assign(pd.DataFrame(shuffled), 0.6, PERCENT))


def test_unrelated_rows_move_no_other_row():
    few, many = places(*invented(20)), places(*invented(60))
    pd.testing.assert_frame_equal(few, many.head(20))


def test_a_question_that_lost_a_distractor_moves_its_cluster_nowhere():
    for i in range(40):
        stem = f"What does w{i}x do?"
        alone = places(question(stem, f"k{i}x", "d", "e", "f"))
        joined = places(
            question(stem, f"k{i}x", "d", "e", "f"),
            question(f"Which of the following does w{i}x do?", "e", f"k{i}x", "f", key="B"),
        )
        assert joined.cluster_id.nunique() == 1
        assert joined.iloc[0][["split", "fold"]].tolist() == [
            alone.split.iloc[0],
            alone.fold.iloc[0],
        ]


def test_clusters_fall_in_splits_by_percent_and_in_folds_by_half():
    names = [split_of(str(i), PERCENT) for i in range(4000)]
    folds = [fold_of(str(i)) for i in range(4000)]
    for name in SPLITS:  # 4 standard deviations of a share are at most 3.2 points
        assert abs(100 * names.count(name) / 4000 - PERCENT[name]) < 3.2
    train = [fold for name, fold in zip(names, folds, strict=True) if name == "train"]
    assert abs(sum(folds) / 4000 - 0.5) < 0.032
    assert abs(sum(train) / len(train) - 0.5) < 0.045  # folds do not follow splits


def test_a_split_of_zero_percent_stays_empty():
    only_test = {"train": 0, "judge": 0, "validation": 0, "test": 100}
    assert {split_of(str(i), only_test) for i in range(200)} == {"test"}


def test_thousands_of_copies_are_one_cluster_in_no_time():
    # same words, other white space inside the key text would be the same question: case differs
    copies = [question(f"{ATP}{'!' * i}", *ATP_OPTIONS) for i in range(3000)]
    assert assign(pd.DataFrame(copies), 0.6, PERCENT).cluster_id.nunique() == 1


def test_a_question_is_its_stem_options_in_order_and_key():
    first = question_id("s", ["a", "b"], "a")
    others = [("t", ["a", "b"], "a"), ("s", ["b", "a"], "a"), ("s", ["a", "b"], "b")]
    others += [("s", ["a"], "a"), ("s", ["A", "b"], "A"), ("s", ["ab", ""], "a")]
    assert len({first, *(question_id(*other) for other in others)}) == 7
    assert question_id(" s\n", ["a ", "\tb"], "a") == first
    assert len(first) == 16


@given(st.text(), st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_any_text_has_a_place(stem: str, given_options: list[str]):
    found = places(question(stem, *given_options))
    assert found.split.isin(SPLITS).all()
    assert found.fold.isin([0, 1]).all()


@pytest.mark.parametrize(
    ("similarity", "percent", "said"),
    [
        (0.0, PERCENT, "cluster_similarity: 0.0"),
        (1.1, PERCENT, "cluster_similarity: 1.1"),
        (0.6, PERCENT | {"test": 31}, "sum to 100, not 101"),
        (0.6, PERCENT | {"train": 90, "test": -10}, "at least 0"),
        (0.6, PERCENT | {"test": math.nan}, "at least 0"),
        (0.6, PERCENT | {"train": math.inf}, "at least 0"),
        (math.nan, PERCENT, "cluster_similarity: nan"),
        (0.6, {"train": 60, "test": 40}, "split_percent: ['test', 'train']"),
    ],
)
def test_a_senseless_parameter_is_an_input_error(similarity: float, percent: dict, said: str):
    with pytest.raises(InputError) as error:
        assign(pd.DataFrame(invented(2)), similarity, percent)
    assert said in str(error.value)
