"""Nothing that trains a model repeats what is held out, whatever words it uses."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from schemas.base import Table
from schemas.candidates import Candidates
from schemas.errors import InputError
from schemas.leakage import Leakage
from schemas.negatives import Negatives
from schemas.preferences import Preferences
from schemas.questions import SPLITS, Questions
from schemas.scores import Scores
from schemas.synthetic import Synthetic
from stages import calibrate_leakage, check_leakage
from stages.check_leakage import Params, check_splits
from stages.pure import clusters, leakage
from stages.runtime import artifacts, params, store, tracking
from stages.runtime.encoding import similarity
from stages.runtime.loading.profile import Encoder
from stages.steps import nearness
from stages.steps.nearness import pairs_of_questions, pairs_of_texts
from tests import invented
from tests.imports import ROOT
from tests.paraphrases import PARAPHRASES, questions
from tests.tiny_models import reported, write_course

SECTION = yaml.safe_load((ROOT / "params.yaml").read_text())["check_leakage"]
ENCODER = yaml.safe_load((ROOT / "stages/profiles/tiny.yaml").read_text())["encoder"]
PARAMS = Params(**SECTION)
READER = Encoder(**ENCODER)
TRAINING: tuple[type[Table], ...] = (
    Candidates,
    Negatives,
    Synthetic,
    Scores,
    Preferences,
)
SIMILARITY = yaml.safe_load((ROOT / "params.yaml").read_text())["prepare_questions"]
PLANTED = "Most of the ATP of a cell is made in the mitochondrion because its inner membrane works"


def message(call: Any) -> str:
    with pytest.raises(InputError) as raised:
        call()
    assert "\n" not in str(raised.value)
    return str(raised.value)


def check_questions(rows: pd.DataFrame) -> None:
    limit = PARAMS.max_question_similarity
    leakage.check(pairs_of_questions(rows, READER), limit, "max_question_similarity", "Do.")


# ---- questions ------------------------------------------------------------------------------


def test_minhash_takes_every_paraphrase_for_another_question():
    rows = questions(*[(one, "train") for pair in PARAPHRASES for one in pair])
    placed = clusters.assign(rows, SIMILARITY["cluster_similarity"], SIMILARITY["split_percent"])
    assert placed.cluster_id.nunique() == len(rows) == 2 * len(PARAPHRASES)


def test_the_encoder_finds_every_paraphrase_and_nothing_else():
    rows = questions(
        *[(asked, "train") for asked, _ in PARAPHRASES],
        *[(said, "test") for _, said in PARAPHRASES],
    )
    found = pairs_of_questions(rows, READER)
    near = found[found.similarity >= PARAMS.max_question_similarity]
    train, test = rows[rows.split == "train"], rows[rows.split == "test"]
    expected = set(zip(train.question_id, test.question_id, strict=True))
    assert set(zip(near.text_id, near.other_id, strict=True)) == expected


@pytest.mark.parametrize("splits", [("train", "test"), ("test", "train"), ("judge", "validation")])
def test_a_paraphrase_across_any_two_splits_stops_the_run_with_both_texts(splits: tuple[str, str]):
    asked, said = PARAPHRASES[0]
    rows = questions((asked, splits[0]), (PARAPHRASES[3][0], splits[0]), (said, splits[1]))
    told = message(lambda: check_questions(rows))
    assert asked[0] in told
    assert said[0] in told
    assert "check_leakage.max_question_similarity is 0.8 (1 such pairs)" in told


def test_a_paraphrase_within_a_split_is_no_leak():
    asked, said = PARAPHRASES[0]
    check_questions(questions((asked, "test"), (said, "test"), (PARAPHRASES[3][0], "train")))


def test_two_questions_with_one_key_or_one_stem_are_different():
    iron = ("Which metal rusts in wet air?", "iron", ["zinc", "copper", "lead"])
    blood = ("What binds oxygen in haemoglobin?", "iron", ["zinc", "copper", "lead"])
    which = "Which of these statements is right?"
    cells = (which, "Ribosomes join amino acids.", ["a", "b", "c"])
    courts = (which, "A jury decides the facts.", ["a", "b", "c"])
    check_questions(questions((iron, "train"), (blood, "test")))
    check_questions(questions((cells, "train"), (courts, "test")))


def test_each_question_stands_beside_its_nearest_of_each_later_split():
    rows = questions(*[(asked, SPLITS[i % 4]) for i, (asked, _) in enumerate(PARAPHRASES)])
    found = pairs_of_questions(rows, READER)
    assert len(found) == 3 * (3 + 2 + 1)  # three questions of each split
    assert not found.duplicated(["text_id", "other_split"]).any()
    order = found[["split", "other_split"]].map(SPLITS.index)
    assert (order.split < order.other_split).all()


def test_questions_of_one_split_cannot_be_compared():
    rows = questions(*[(asked, "train") for asked, _ in PARAPHRASES])
    assert "split_percent" in message(lambda: check_questions(rows))


# ---- texts ----------------------------------------------------------------------------------


def rows_with(split: str, text: str) -> pd.DataFrame:
    """The invented course with `text` as the explanation of a student of `split`."""
    rows = invented.questions()
    first = rows.index[rows.split == split][0]
    texts = rows.explanation.mask(rows.index == first, text)
    return rows.assign(explanation=texts, explanation_words_n=[len(text.split()) for text in texts])


def check_texts(rows: pd.DataFrame, **changed: pd.DataFrame) -> None:
    tables = {"candidates": invented.candidates(), "negatives": invented.negatives()} | changed
    found = pairs_of_texts(rows, tables, PARAMS.min_text_words, READER)
    leakage.check(found, PARAMS.max_text_similarity, "max_text_similarity", "Do.")


@pytest.mark.parametrize("split", leakage.HELD_OUT)
@pytest.mark.parametrize(
    "text", [PLANTED, PLANTED.upper(), f" {PLANTED}\n", f"Clearly, {PLANTED}", PLANTED + "."]
)
def test_a_planted_text_among_negatives_stops_the_run_with_both_texts(split: str, text: str):
    negatives = invented.negatives()
    planted = negatives.assign(explanation=negatives.explanation.mask(negatives.index == 0, text))
    told = message(lambda: check_texts(rows_with(split, PLANTED), negatives=planted))
    assert "negatives q1/1000 (train)" in told
    assert told.count("ATP") == 2
    assert f"({split}): {PLANTED[:50]!r}"[:-1] in told


def test_a_planted_text_among_candidates_is_found_too():
    table = invented.candidates()
    planted = table.assign(explanation=table.explanation.mask(table.index == 5, PLANTED))
    told = message(lambda: check_texts(rows_with("test", PLANTED), candidates=planted))
    assert told.startswith("candidates q2/1 (train)")


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_text_of_a_split_that_is_not_held_out_may_be_used(split: str):
    negatives = invented.negatives().assign(explanation=PLANTED)
    rows = invented.questions()
    rows = rows.assign(split=rows.split.mask(rows.question_id == "q3", "validation"))
    first = rows.index[rows.split == split][0]
    check_texts(
        rows.assign(explanation=rows.explanation.mask(rows.index == first, PLANTED)),
        negatives=negatives,
    )


def test_a_short_text_is_nobodys():
    check_texts(rows_with("test", "NA"), negatives=invented.negatives().assign(explanation="NA"))


def test_another_text_about_the_same_subject_is_no_copy():
    other = "The cell gets ATP from the mitochondrion, where electrons flow and protons are pumped"
    check_texts(
        rows_with("test", PLANTED), negatives=invented.negatives().assign(explanation=other)
    )


def test_equal_texts_are_refused_even_if_the_encoder_found_them_different():
    pair = pd.DataFrame(
        [("negatives", "q/1", "train", "A  b", "a/1", "test", "a B", 0.1, True)],
        columns=[
            *leakage.TEXTS,
            "other_id",
            "other_split",
            "other_text",
            "similarity",
            "is_same_text",
        ],
    )
    assert "similarity 0.1000" in message(lambda: leakage.check(pair, 0.9, "x", "Do."))
    leakage.check(pair.assign(is_same_text=False), 0.9, "x", "Do.")


def test_without_long_texts_nothing_is_compared_and_the_table_is_empty():
    rows = invented.questions().assign(explanation="short")
    tables = {"candidates": invented.candidates(), "negatives": invented.negatives()}
    found = pairs_of_texts(rows, tables, 10, READER)
    assert found.empty
    table = leakage.top(found, 5)[[*Leakage.to_schema().columns]]
    artifacts.validate(Leakage, artifacts.conform(Leakage, table), Path("leakage"))


def test_only_texts_that_share_words_are_read():
    left = pd.DataFrame(
        {"text": [PLANTED, "courts decide what the law means in one case", PLANTED]}
    )
    right = pd.DataFrame({"text": ["leaves fall in autumn when days get short", f"So {PLANTED}"]})
    is_left, is_right = leakage.shares_words(left, right)
    assert (is_left.tolist(), is_right.tolist()) == ([True, False, True], [False, True])
    is_left, is_right = leakage.shares_words(left.iloc[:0], right)
    assert (is_left.tolist(), is_right.tolist()) == ([], [False, False])


def test_shared_words_are_found_across_blocks(monkeypatch: pytest.MonkeyPatch):
    left = pd.DataFrame({"text": [f"{PLANTED} {i}" for i in range(5)] + ["nothing alike ... !"]})
    right = pd.DataFrame({"text": [f"{PLANTED} 4", "... ! ?"]})
    whole = leakage.shares_words(left, right)
    monkeypatch.setattr(leakage, "BLOCK", 2)
    for own, expected in zip(leakage.shares_words(left, right), whole, strict=True):
        assert own.tolist() == expected.tolist()
    assert whole[0].tolist() == [True] * 6


@pytest.mark.parametrize("name", ["max_question_similarity", "max_text_similarity"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_a_limit_that_nothing_is_below_is_refused(name: str, value: float):
    changed = Params(**(SECTION | {name: value}))
    assert f"check_leakage.{name}: {value}" in message(lambda: nearness.check(changed))


def test_a_long_text_is_named_by_its_start():
    assert leakage.short("a b\n" * 100) == ("a b " * 25)[:99] + "…"
    assert leakage.short(" a\n b ") == "a b"


# ---- splits ---------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["judge", "validation", "test"])
@pytest.mark.parametrize("schema", TRAINING)
def test_a_row_of_any_training_table_outside_train_is_named(schema: type[Table], split: str):
    rows, name = invented.questions(), schema.table_name()
    check_splits({t.table_name(): invented.tables()[t, None] for t in TRAINING}, rows)
    moved = rows.assign(split=rows.split.mask(rows.question_id == "q1", split))
    told = message(lambda: check_splits({name: invented.tables()[schema, None]}, moved))
    assert f"question q1 of data/{name}.parquet" in told
    assert f"split '{split}'" in told


def test_a_row_whose_cluster_is_tested_is_named_although_its_question_is_not():
    rows = invented.questions()
    moved = rows.assign(cluster_id=rows.cluster_id.mask(rows.question_id == "q4", "c1"))
    told = message(lambda: check_splits({"preferences": invented.preferences()}, moved))
    assert "question q1 of data/preferences.parquet" in told
    assert "split 'test'" in told


def test_a_row_of_no_known_question_is_named():
    scores = invented.scores().assign(question_id="q9")
    told = message(lambda: check_splits({"scores": scores}, invented.questions()))
    assert "question q9 of data/scores.parquet" in told


# ---- similarity -----------------------------------------------------------------------------


def test_a_text_has_one_vector_whatever_stands_beside_it():
    with store.forgetful():
        alone = similarity.embed(READER, [PLANTED])
        among = similarity.embed(READER, ["short", PLANTED, PLANTED * 3, PLANTED])
    np.testing.assert_allclose(among[[1, 3]], np.repeat(alone, 2, axis=0), atol=1e-5)
    assert np.linalg.norm(among, axis=1) == pytest.approx(np.ones(4), abs=1e-5)


def test_the_cosine_of_parts_is_the_mean_of_the_cosines_of_the_parts():
    parts = [["a cell", "the court"], ["a leaf", "a jury"]]
    both = similarity.embed_parts(READER, parts)
    own = [similarity.embed(READER, part) for part in parts]
    expected = np.mean([vectors @ vectors.T for vectors in own], axis=0)
    np.testing.assert_allclose(both @ both.T, expected, atol=1e-5)


def test_the_nearest_is_what_a_full_search_finds_also_across_blocks(
    monkeypatch: pytest.MonkeyPatch,
):
    rng = np.random.default_rng(0)
    left, right = (rng.normal(size=(n, 5)).astype(np.float32) for n in (7, 4))
    left, right = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (left, right))
    right[2] = right[1]  # of equally near ones the first
    monkeypatch.setattr(similarity, "BLOCK", 3)
    places, near = similarity.nearest(left, right)
    full = np.round(left.astype(float) @ right.T.astype(float), 4)
    assert places.tolist() == full.argmax(axis=1).tolist()
    assert 2 not in places
    np.testing.assert_allclose(near, full.max(axis=1), atol=1.1e-4)


@pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0)])
def test_the_nearest_of_nothing_is_nothing(n: int, m: int):
    places, near = similarity.nearest(np.zeros((n, 5)), np.zeros((m, 5)))
    assert len(places) == len(near) == 0


# ---- stage ----------------------------------------------------------------------------------


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    given = {"check_leakage": SECTION, "encoder": ENCODER}
    monkeypatch.setattr(params, "declared", lambda _: given)
    monkeypatch.setattr(tracking, "record", lambda *_: None)
    invented.write_all()
    return tmp_path


def test_both_items_write_the_same_bytes_twice(stage: Path):
    write_course(questions(*[(a, SPLITS[i % 4]) for i, (a, _) in enumerate(PARAPHRASES)]))
    outputs = (Leakage.path("questions"), Path("reports/check_leakage_questions.json"))
    check_leakage.main("questions")
    first = [path.read_bytes() for path in outputs]
    check_leakage.main("questions")
    assert [path.read_bytes() for path in outputs] == first
    write_course(invented.questions())
    check_leakage.main("texts")
    assert Leakage.path("texts").exists()


def test_a_later_course_is_checked_and_changes_no_byte_that_trainings_depend_on(stage: Path):
    taught = questions(*[(a, SPLITS[i % 4]) for i, (a, _) in enumerate(PARAPHRASES[1:])])
    write_course(taught)
    check_leakage.main("questions")
    table = Leakage.path("questions")
    before, asked_n = table.read_bytes(), reported("check_leakage_questions")["questions_n"]
    asked, said = PARAPHRASES[0]

    def with_later(*rows: Any) -> pd.DataFrame:
        later = questions(*rows)
        moved = {name: "later" + later[name] for name in ("row_id", "question_id", "cluster_id")}
        later = artifacts.conform(Questions, later.assign(**moved, is_training_row=False))
        return pd.concat([taught, later], ignore_index=True)

    write_course(with_later((asked, "train")))
    check_leakage.main("questions")
    assert table.read_bytes() == before
    assert reported("check_leakage_questions")["questions_n"] == asked_n + 1
    write_course(with_later((asked, "train"), (said, "test")))
    assert "similarity" in message(lambda: check_leakage.main("questions"))


def test_the_stage_leaves_nothing_behind_when_it_stops(stage: Path):
    Leakage.path("questions").unlink(missing_ok=True)
    asked, said = PARAPHRASES[0]
    write_course(questions((asked, "train"), (said, "test")))
    message(lambda: check_leakage.main("questions"))
    assert not Leakage.path("questions").exists()
    assert not (stage / "reports").exists()


def test_an_unknown_item_is_named():
    assert "unknown item 'answers'" in message(lambda: check_leakage.main("answers"))


def test_every_training_waits_for_the_check():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for name in ("prepare_base", "train_verifier", "train_entailment", "train_sft"):
        deps = stages[name].get("do", stages[name])["deps"]
        assert "data/leakage_questions.parquet" in deps
    assert "data/leakage_texts.parquet" in stages["train_dpo"]["deps"]


# ---- calibration ----------------------------------------------------------------------------


def test_the_calibration_tells_recall_from_false_alarms():
    facts = pd.read_csv(ROOT / "stages/sample_course/facts_biology.csv", dtype=str).head(6)
    asked = [
        (
            (prefix + fact["question"], fact["key"], [fact[f"distractor_{i}"] for i in (1, 2, 3)]),
            split,
        )
        for fact in facts.to_dict("records")
        for prefix, split in (("", "train"), ("Easy one: ", "test"))
    ]
    table = calibrate_leakage.question_table(questions(*asked), READER)
    assert set(table.same_fact_pairs_n) == {6}
    assert set(table.different_fact_pairs_n) == {60}  # 12 * 11 / 2 - 6
    chosen = table[table.max_question_similarity == 0.80].to_dict("records")[0]
    assert (chosen["found_frac"], chosen["false_alarms_n"]) == (1.0, 0)
    assert table.found_frac.is_monotonic_decreasing
    assert table.false_alarms_n.is_monotonic_decreasing
