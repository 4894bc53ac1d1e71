"""Negatives are wrong on purpose, typed, made of real words, and never a candidate's text."""

import json
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.candidates import Candidates
from schemas.errors import InputError
from schemas.negatives import KINDS, Negatives
from schemas.questions import Questions
from schemas.synthetic_questions import SyntheticQuestions
from stages import make_negatives as stage
from stages.make_negatives import summarize
from stages.pure.inversion import NEGATIONS, OPPOSITES, invert
from stages.pure.metrics import comparable
from stages.pure.negative_table import make_negatives
from stages.pure.negatives import (
    CIRCULAR,
    circular_texts,
    digest,
    exchange,
    ring,
    rotated,
    wrong_option_texts,
)
from stages.runtime import artifacts, params, tracking
from tests import invented

FACTS = {
    "atp": ("Which part makes most ATP?", "mitochondrion", "lysosome", "It is built for energy."),
    "wall": ("What keeps a plant cell firm?", "cell wall", "tonoplast", "It can resist pressure."),
    "rna": ("Where are proteins joined?", "ribosome", "nucleolus", "It always holds the RNA core."),
}


def row(
    name: str, student: int, rating: float | None, text: str, split: str = "train", **changes: Any
) -> dict[str, Any]:
    """A row of `questions` about one of FACTS."""
    stem, key, wrong, _ = FACTS[name]
    return {
        "row_id": f"bio/{name}{student}",
        "question_id": name,
        "cluster_id": f"c_{name}",
        "split": split,
        "fold": 0,
        "course": "bio",
        "stem": stem,
        "option_a": wrong,
        "option_b": key,
        "option_c": None,
        "option_d": None,
        "option_e": None,
        "options_n": 2,
        "key": "B",
        "explanation": text,
        "explanation_words_n": len(text.split()),
        "question_rating_mean": rating,
        "question_ratings_n": 12,
        "rated_object": "question",
        "is_sft_row": rating is not None and rating >= 3,
        "is_training_row": True,
        "user_hash": None,
    } | changes


def good_text(name: str) -> str:
    _, key, wrong, mechanism = FACTS[name]
    return f"The {key} is right. {mechanism} The {wrong} is elsewhere."


def questions(*extra: dict[str, Any]) -> pd.DataFrame:
    rows = [row(name, 1, 4.0, good_text(name)) for name in FACTS]
    rows.append(row("atp", 2, 1.0, "A poor text."))
    columns = Questions.to_schema().columns
    table = pd.DataFrame([*rows, *extra], columns=[*columns])
    return table.astype({name: str(column.dtype) for name, column in columns.items()})


def candidates(*rows: tuple[str, int, str]) -> pd.DataFrame:
    return invented.table(
        Candidates, [(q, i, "sft", None, 0.5, 7, text, 3, True) for q, i, text in rows]
    )


def texts_of(table: pd.DataFrame, name: str) -> dict[str, str]:
    rows = table[table.question_id == name]
    return dict(zip(rows.kind, rows.explanation, strict=True))


ASKED = candidates(("atp", 0, "a sample"), ("wall", 0, "a sample"))


# ---- the table ----------------------------------------------------------------------------


def test_each_sampled_question_gets_one_text_of_each_kind():
    table = make_negatives(questions(), ASKED, 4)
    artifacts.validate(Negatives, artifacts.conform(Negatives, table), Negatives.path())
    assert table.groupby("question_id").kind.agg(set).to_dict() == {
        "atp": set(KINDS),
        "wall": set(KINDS),
    }
    assert set(table.candidate_index) == {1000, 1001, 1002, 1003}


def test_the_kinds_by_hand():
    texts = texts_of(make_negatives(questions(), ASKED, 4), "atp")
    assert texts["endorses_wrong_option"] == (
        "The lysosome is right. It is built for energy. The mitochondrion is elsewhere."
    )
    assert texts["inverted_claim"] == (
        "The mitochondrion is not right. It is not built for energy. The lysosome is not elsewhere."
    )
    assert texts["other_question"] in (good_text("wall"), good_text("rna"))
    assert texts["circular"].casefold().count("mitochondrion") >= 1


@pytest.mark.parametrize("per_question", [0, 1, 2, 3])
def test_fewer_per_question_are_a_choice_among_the_kinds(per_question: int):
    table = make_negatives(questions(), ASKED, per_question)
    assert len(table) == 2 * per_question
    # a kind keeps its index and its text, whatever else is made
    pd.testing.assert_frame_equal(
        table,
        table[["question_id", "kind"]].merge(make_negatives(questions(), ASKED, 4))[
            [*table.columns]
        ],
        check_dtype=False,
    )


def test_the_order_of_the_rows_does_not_matter():
    table = make_negatives(questions(), ASKED, 3)
    turned = make_negatives(questions()[::-1], ASKED[::-1], 3)
    pd.testing.assert_frame_equal(table, turned)


def test_no_negative_is_a_candidate_of_its_question_in_other_case_or_space():
    first = make_negatives(questions(), ASKED, 4)
    shouted = [
        ("atp", i, f" {text.upper()}\n")
        for i, text in enumerate(first[first.question_id == "atp"].explanation)
    ]
    table = make_negatives(questions(), candidates(*shouted), 4)
    taken = {comparable(text) for _, _, text in shouted}
    assert len(table)
    assert taken.isdisjoint(map(comparable, table.explanation))


def test_the_negatives_of_a_question_differ():
    table = make_negatives(questions(), ASKED, 4)
    assert (
        not table.assign(key=table.explanation.map(comparable))
        .duplicated(["question_id", "key"])
        .any()
    )


def test_only_train_texts_of_the_course_and_of_other_clusters_are_borrowed():
    near = row("rna", 5, 5.0, "near copy", cluster_id="c_atp", question_id="atp2")
    law = row("rna", 6, 5.0, "another course", course="law", question_id="law1", cluster_id="l1")
    tested = row("rna", 7, 5.0, "tested", split="test", question_id="t1", cluster_id="t1")
    poor = row("rna", 8, 1.0, "poor", question_id="p1", cluster_id="p1")
    table = make_negatives(questions(near, law, tested, poor), ASKED, 4)
    borrowed = table[table.kind == "other_question"].set_index("question_id")
    assert borrowed.source_question_id["atp"] in ("wall", "rna")
    assert borrowed.source_question_id["wall"] in ("atp", "atp2", "rna")
    assert table.source_question_id[table.kind != "other_question"].isna().all()


def test_a_course_with_one_cluster_has_no_other_question_and_it_is_counted():
    table = questions()
    alone = table[table.question_id == "atp"]
    asked = ASKED[ASKED.question_id == "atp"]
    made = make_negatives(alone, asked, 4)
    assert set(made.kind) == set(KINDS) - {"other_question"}
    numbers = summarize(asked, made)
    assert numbers["other_question_missing_n"] == 1
    assert numbers["other_question_n"] == 0
    assert numbers["circular_missing_n"] == 0


def test_a_question_without_a_distractor_endorses_none():
    alone = row("rna", 9, 4.0, "The ribosome is right.", question_id="one", cluster_id="one")
    alone |= {"option_a": "ribosome", "option_b": None, "options_n": 1, "key": "A"}
    made = make_negatives(questions(alone), candidates(("one", 0, "x")), 4)
    assert set(made.kind) == set(KINDS) - {"endorses_wrong_option"}


def test_a_text_with_nothing_to_invert_leaves_the_kind_out():
    flat = row("rna", 9, 4.0, "Ribosome, by its core.", question_id="flat", cluster_id="flat")
    made = make_negatives(questions(flat), candidates(("flat", 0, "x")), 4)
    assert set(made.kind) == set(KINDS) - {"inverted_claim"}


def test_the_best_rated_text_is_the_one_that_is_turned():
    better = row("atp", 3, 5.0, "Its folds show the mitochondrion is it.")
    texts = texts_of(make_negatives(questions(better), ASKED, 4), "atp")
    assert texts["endorses_wrong_option"] == "Its folds show the lysosome is it."
    unrated = row("atp", 0, None, "Unrated mitochondrion is last.")
    assert texts == texts_of(make_negatives(questions(better, unrated), ASKED, 4), "atp")


@pytest.mark.parametrize("number", [-1, 5])
def test_a_number_of_kinds_that_does_not_exist_is_refused(number: int):
    with pytest.raises(InputError, match=f"negatives_per_question: {number} .*Use 0 to 4"):
        make_negatives(questions(), ASKED, number)


@pytest.mark.parametrize("split", ["test", "judge", "validation"])
def test_a_candidate_outside_the_train_split_is_named(split: str):
    table = questions()
    moved = table.assign(split=table.split.mask(table.question_id == "atp", split))
    with pytest.raises(InputError, match=r"question atp .*no train question"):
        make_negatives(moved, ASKED, 4)


def test_the_stage_writes_its_table_and_report_and_again_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tracking, "record", lambda *args: None)
    section = {"make_negatives": {"negatives_per_question": 4}}
    monkeypatch.setattr(params, "declared", lambda name: section)
    artifacts.write(Questions, questions())
    artifacts.write(SyntheticQuestions, artifacts.empty(SyntheticQuestions))
    artifacts.write(Candidates, ASKED)
    written = []
    for _ in range(2):
        stage.main()
        report = tmp_path / "reports/make_negatives.json"
        written.append(((tmp_path / Negatives.path()).read_bytes(), report.read_bytes()))
    assert written[0] == written[1]
    assert json.loads(written[0][1])["metrics"]["negatives_n"] == 8


def test_no_negatives_at_all_are_a_valid_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = artifacts.conform(Negatives, make_negatives(questions(), ASKED, 0))
    artifacts.write(Negatives, made)
    assert artifacts.read(Negatives).empty
    assert summarize(ASKED, made)["negatives_n"] == 0


# ---- the kinds ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key", "wrong", "expected"),
    [
        ("X is right, Y is not.", "X", "Y", "Y is right, X is not."),
        ("The Cell Wall holds.", "cell wall", "tonoplast", "The Tonoplast holds."),
        ("the cell wall holds", "Cell wall", "Tonoplast", "the tonoplast holds"),
        ("It is rna.", "RNA", "DNA", None),  # short options keep their case
        ("It is RNA.", "RNA", "DNA", "It is DNA."),
        ("a protein", "A", "B", None),
        ("6.5 is near 6, not 6.", "6", "7", "6.5 is near 7, not 7."),
        (
            "mitosis comes before",
            "mitosis",
            "mitosis and meiosis",
            "mitosis and meiosis comes before",
        ),
        ("excellent", "cell", "wall", None),
        ("use C++ here", "C++", "Java", "use Java here"),
    ],
)
def test_exchange_by_hand(text: str, key: str, wrong: str, expected: str | None):
    assert exchange(text, key, wrong) == expected


@given(st.lists(st.sampled_from(["alpha", "beta", "is", "not", "because"]), max_size=9))
def test_exchanging_twice_gives_the_text_back(words: list[str]):
    text = " ".join(words)
    once = exchange(text, "alpha", "beta")
    assert (once is None) == ("alpha" not in words)
    if once is not None:
        assert once.split().count("alpha") == words.count("beta")
        if "beta" in words:
            assert exchange(once, "alpha", "beta") == text


def test_a_text_that_does_not_name_the_key_is_opened_by_a_distractor():
    question = row("atp", 1, 4.0, "")
    versions = list(wrong_option_texts(question, ["It makes energy."]))
    assert versions
    for version in versions:
        assert "lysosome" in version.casefold()
        assert version.endswith("It makes energy.")


def test_circular_texts_vary_with_the_question_and_use_its_words():
    made = {}
    for n in range(100):
        question = row("atp", 1, 4.0, "", question_id=f"q{n}", stem=f"Why does organ{n} glow?")
        made[n] = next(circular_texts(question))
        assert "mitochondrion" in made[n].casefold()
        assert len(list(circular_texts(question))) == len(set(circular_texts(question)))
    frames = {text.replace(f"organ{n}", "") for n, text in made.items()}
    assert len(frames) == len(CIRCULAR)  # every frame is used somewhere
    with_own_words = sum(f"organ{n}" in text.casefold() for n, text in made.items())
    assert with_own_words > 40


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is so.", "It is not so."),
        ("It is not so.", "It is so."),
        ("Cells can divide", "Cells cannot divide"),
        ("They cannot divide", "They can divide"),
        ("It doesn't matter", "It does matter"),
        ("Pressure increases here.", "Pressure decreases here."),
        ("It goes up because it expands.", "It goes up although it expands."),
        ("It moves because of heat.", "It moves because of heat."),
        # one inversion per sentence: two would cancel out
        ("It is higher because it expands.", "It is lower because it expands."),
        ("It is so. It was so.", "It is not so. It was not so."),
        ("Is it so?", "Is not it so?"),
        ("This island", "This island"),  # whole words
        ("", ""),
    ],
)
def test_inversion_by_hand(text: str, expected: str):
    assert invert(text) == expected


@given(
    st.lists(
        st.sampled_from(["it", "is", "can", "not", "higher", "falls", "so.", "Because", "heat\n"]),
        max_size=12,
    )
)
def test_inversion_keeps_the_rest_of_the_text(words: list[str]):
    text = " ".join(words)
    inverted = invert(text)
    fixed = {"it", "so.", "heat"}
    assert [w for w in inverted.split() if w in fixed] == [w for w in text.split() if w in fixed]
    assert (inverted == text) == {"is", "can", "higher", "falls", "Because"}.isdisjoint(words)


def test_every_opposite_is_another_word_and_every_negation_too():
    assert all(word != opposite for word, opposite in OPPOSITES.items())
    assert all(word != negated for word, negated in NEGATIONS.items())
    assert NEGATIONS["can"] == "cannot"
    assert NEGATIONS["won't"] == "will"


def test_digests_are_the_same_on_every_machine():
    # sha256 of "q": 8e35c2cd3bf6641b...
    assert digest("q") == 0x8E35C2CD3BF6641B
    assert sorted(rotated(KINDS, "any")) == sorted(KINDS)
    assert {rotated(KINDS, str(n))[0] for n in range(50)} == set(KINDS)
    assert rotated([], "any") == []


def test_a_new_row_changes_few_borrowed_texts():
    rows = [
        row("rna", n, 4.0, f"text {n}", question_id=f"s{n}", cluster_id=f"s{n}") for n in range(50)
    ]
    asked = [row("atp", n, 4.0, "", question_id=f"q{n}") for n in range(200)]
    from stages.pure.negatives import other_question_texts

    before = [next(other_question_texts(q, ring(rows[:-1]))).text for q in asked]
    after = [next(other_question_texts(q, ring(rows))).text for q in asked]
    moved = [b for a, b in zip(before, after, strict=True) if a != b]
    assert set(moved) <= {"text 49"}
    assert len(moved) < 40
