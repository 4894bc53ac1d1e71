"""Exports in, questions and rejects out; or one line, and nothing is written."""

import json
import math
import operator
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import InputError
from schemas.questions import TAUGHT, Questions
from schemas.rejects import Rejects
from stages.prepare_questions import Params, main, prepare, sort_and_split
from stages.pure.cleaning import sort_out
from stages.runtime import artifacts, params, tracking
from tests.test_cleaning import CELLS, COURSE, raw_row
from tests.test_exports import COLUMNS_A, COLUMNS_B, ROW_A, ROW_B, csv_text

LONG = "Because sodium gives its outer electron away, it is shiny and conducts well."
PARAMS = Params(
    source="raw",
    exports=[{"course": "bio", "layout": "A", "file": "a.csv"}],
    rated_object="question",
    min_ratings=10,
    min_question_rating=3.0,
    min_explanation_words=10,
    quality_tier="default",
    min_top_rating_frac=0.1,
    users="drop",
    untaught_courses=[],
    cluster_similarity=0.6,
    split_percent={"train": 50, "judge": 15, "validation": 5, "test": 30},
)


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of exports in an empty repository; stages write beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


def write_a(raw: Path, *changes: dict[str, str]) -> None:
    """a.csv with one row per dict of changes, ids from 1."""
    rows = [
        ROW_A | {"id": str(i), "explanation": LONG} | one for i, one in enumerate(changes, start=1)
    ]
    (raw / "a.csv").write_text(csv_text(COLUMNS_A, *rows), encoding="utf-8")


def run_main(monkeypatch: pytest.MonkeyPatch, given: Params) -> None:
    """The stage as `dvc repro` runs it, without DVC and MLflow."""
    section = {"prepare_questions": asdict(given)}
    monkeypatch.setattr(params, "declared", lambda stage: section)
    monkeypatch.setattr(tracking, "record", lambda *arguments: None)
    main()


def prepared(**changes: Any) -> pd.DataFrame:
    """questions, validated, by row_id."""
    questions, rejects, _ = prepare(replace(PARAMS, **changes))
    Rejects.validate(artifacts.conform(Rejects, rejects), lazy=True)
    table = Questions.validate(artifacts.conform(Questions, questions), lazy=True)
    return table.sort_values("row_id", ignore_index=True)


def test_params_are_the_section_of_params_yaml():
    text = (Path(__file__).parents[1] / "params.yaml").read_text(encoding="utf-8")
    section = yaml.safe_load(text)["prepare_questions"]
    assert set(section) == set(asdict(PARAMS))


def test_the_stage_writes_both_tables_and_its_report(raw: Path, monkeypatch: pytest.MonkeyPatch):
    write_a(raw, {}, {"avg_rating": "2.9"}, {"explanation": "Too short."}, {"deleted": "1"})
    run_main(monkeypatch, PARAMS)
    questions, rejects = artifacts.read(Questions), artifacts.read(Rejects)
    assert questions.is_sft_row.tolist() == [True, False, False]
    assert questions.question_id.nunique() == 1
    assert rejects.row_id.tolist() == ["bio/4"]
    report = json.loads(Path("reports/prepare_questions.json").read_text())
    assert report["metrics"]["rows_n"] == 3
    assert report["metrics"]["rejects_deleted_n"] == 1
    assert report["metrics"]["sft_rows_n"] == 1
    assert report["metrics"]["questions_n"] == report["metrics"]["clusters_n"] == 1
    assert report["metrics"]["largest_cluster_frac"] == 1
    steps = report["details"]["waterfall"]["bio"]
    assert steps[0] == ["export", 4]
    assert ["without few_ratings", 4] in steps
    assert ["without deleted", 3] in steps
    assert steps[11:13] == [
        ["rated 3 stars or more, or unrated", 2],
        ["10 words or more", 1],
    ]


def test_the_same_exports_give_the_same_bytes(raw: Path, monkeypatch: pytest.MonkeyPatch):
    write_a(raw, *({"question": f"What is w{i}x?"} for i in range(20)), {"deleted": "1"})
    outputs = ["data/questions.parquet", "data/questions_taught.parquet", "data/rejects.parquet"]
    outputs += ["reports/prepare_questions.json"]
    run_main(monkeypatch, PARAMS)
    first = [Path(name).read_bytes() for name in outputs]
    run_main(monkeypatch, PARAMS)
    assert [Path(name).read_bytes() for name in outputs] == first


def test_rated_low_or_short_or_unrated_is_no_reject(raw: Path):
    rated = [{"avg_rating": "3.0"}, {"avg_rating": "2.99"}, {"avg_rating": ""}]
    write_a(
        raw, *rated, {"explanation": "two words " * 4 + "one"}, {"explanation": "two words " * 5}
    )
    questions = prepared()
    assert questions.is_sft_row.tolist() == [True, False, True, False, True]
    assert questions.question_rating_mean.isna().tolist() == [False, False, True, False, False]


def test_a_question_is_shared_by_the_rows_that_ask_it(raw: Path):
    same = {"user": "s2", "question": f"<p>{ROW_A['question']}</p>"}
    write_a(raw, {}, same, {"question": "Which ion leaves the salt lattice first?", "altB": "none"})
    questions = prepared()
    assert questions.question_id.nunique() == 2
    assert questions.question_id[0] == questions.question_id[1]
    assert questions.cluster_id.nunique() == 2


def test_rows_of_two_layouts_meet_in_one_cluster(raw: Path):
    write_a(raw, {})
    columns = f"{COLUMNS_B} Total_ratings Avg_rating"
    row = ROW_B | {"Total_ratings": "12", "Avg_rating": "4", "Explanation": LONG}
    (raw / "q.csv").write_bytes(csv_text(columns, row).encode("iso-8859-1"))
    exports = [*PARAMS.exports, {"course": "law", "layout": "B", "questions": "q.csv"}]
    questions = prepared(exports=exports, rated_object="explanation")
    assert questions.row_id.tolist() == ["bio/1", "law/007"]
    assert questions.question_id.nunique() == 1
    assert set(questions.rated_object) == {"explanation"}


def test_tiers_only_narrow_the_sft_rows(raw: Path):
    counts = [{"top_rating_count": text} for text in ("2", "1", "")]
    write_a(raw, *counts, {"top_rating_count": "9", "answer": "A"})
    answers = [{"Question_ID": str(i), "Answer": "B"} for i in range(1, 5)]
    (raw / "s.csv").write_text(csv_text("Question_ID Answer", *answers))
    exports = [PARAMS.exports[0] | {"answers": "s.csv"}]
    assert prepared().is_sft_row.tolist() == [True, True, True, True]
    assert prepared(quality_tier="B").is_sft_row.tolist() == [True, False, False, True]
    assert "tier C" not in str(prepare(PARAMS)[2]["details"])  # unknown is not 0 rows
    found = prepared(quality_tier="C", exports=exports)
    steps = prepare(replace(PARAMS, exports=exports))[2]["details"]["waterfall"]["bio"]
    assert [left for _, left in steps[-3:]] == [4, 2, 1]
    assert found.is_sft_row.tolist() == [True, False, False, False]


def test_an_untaught_course_changes_no_row_of_the_others(raw: Path):
    write_a(raw, {"question": "Which metal burns yellow?"}, {"question": "What is rust?"})
    before = prepared()
    assert before.is_training_row.all()
    later = [
        ROW_A | {"id": str(i), "question": text, "explanation": LONG}
        for i, text in enumerate(["Why is the sky blue?", "Which metal burns yellow?"], start=1)
    ]
    (raw / "b.csv").write_text(csv_text(COLUMNS_A, *later), encoding="utf-8")
    exports = [*PARAMS.exports, {"course": "chem", "layout": "A", "file": "b.csv"}]
    found = prepared(exports=exports, untaught_courses=["chem"])
    assert found.groupby("course").is_training_row.agg(set).to_dict() == {
        "bio": {True},
        "chem": {False},
    }
    assert found[found.course == "bio"].to_dict("records") == before.to_dict("records")
    assert len(found) == 4


def test_an_untaught_course_changes_no_byte_of_what_trainings_read(
    raw: Path, monkeypatch: pytest.MonkeyPatch
):
    write_a(raw, *({"question": f"What is w{i}x?"} for i in range(9)))
    run_main(monkeypatch, PARAMS)
    taught, everything = Questions.path(TAUGHT), Questions.path()
    before = taught.read_bytes()
    assert everything.read_bytes() == before
    later = ROW_A | {"id": "1", "question": "Why is the sky blue?", "explanation": LONG}
    (raw / "b.csv").write_text(csv_text(COLUMNS_A, later), encoding="utf-8")
    exports: list[Any] = [*PARAMS.exports, {"course": "chem", "layout": "A", "file": "b.csv"}]
    run_main(monkeypatch, replace(PARAMS, exports=exports, untaught_courses=["chem"]))
    assert taught.read_bytes() == before
    assert len(artifacts.read(Questions)) == 10


@pytest.mark.parametrize(
    ("untaught", "told"),
    [
        (["chem"], r"untaught_courses: 'chem' is no course of \['bio'\]\."),
        (["bio", "zoo"], r"untaught_courses: 'zoo' is no course of"),
        (["bio"], r"untaught_courses: no course of \['bio'\] is left to learn from"),
    ],
)
def test_an_unknown_untaught_course_and_no_taught_one_are_refused(
    raw: Path, untaught: list[str], told: str
):
    write_a(raw, {})
    with pytest.raises(InputError, match=told) as error:
        prepare(replace(PARAMS, untaught_courses=untaught))
    assert str(error.value).startswith("params.yaml: prepare_questions")


def test_no_identity_is_in_an_output(raw: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PEERWISE_USER_KEY", "a long random text")
    users = ["ada.l@uni.example", "ada.l@uni.example", "bob.b@uni.example", ""]
    write_a(raw, *({"user": user} for user in users), {"user": users[0], "deleted": "1"})
    run_main(monkeypatch, PARAMS)
    assert artifacts.read(Questions).user_hash.isna().all()
    run_main(monkeypatch, replace(PARAMS, users="hash"))
    hashes = artifacts.read(Questions).user_hash
    assert hashes[0] == hashes[1] != hashes[2]
    assert pd.isna(hashes[3])
    written = [artifacts.read(Questions).to_csv(), artifacts.read(Rejects).to_csv()]
    written.append(Path("reports/prepare_questions.json").read_text())
    assert not [text for text in written if "ada.l" in text or "bob.b" in text]
    monkeypatch.setenv("PEERWISE_USER_KEY", "another random text")
    assert prepared(users="hash").user_hash[0] != hashes[0]


Damage = Callable[[Path], object]
BAD_PARAMS: dict[str, tuple[dict[str, Any], str]] = {
    "layout": ({"exports": [{"course": "x", "layout": "Z"}]}, "unknown layout 'Z'"),
    "misspelt_key": (
        {"exports": [{"course": "x", "layout": "A", "flie": "a.csv"}]},
        "unknown key 'flie'. Did you mean 'file'?",
    ),
    "tier": ({"quality_tier": "D"}, "quality_tier: unknown value 'D'"),
    "tier_without_answers": ({"quality_tier": "C"}, "tier C needs a table of answers"),
    "users": ({"users": "keep"}, "users: unknown value 'keep'"),
    "rated_object": ({"rated_object": "stem"}, "rated_object: unknown value 'stem'"),
    "no_secret": ({"users": "hash"}, "PEERWISE_USER_KEY is not set or blank"),
    "not_a_percent": (
        {"split_percent": PARAMS.split_percent | {"test": math.nan}},
        "split_percent: [50, 15, 5, nan] must be at least 0 and sum to 100",
    ),
    "text_for_a_number": (
        {"min_ratings": "ten"},
        "min_ratings: Input should be a valid number, got 'ten'",
    ),
    "below_zero": ({"min_question_rating": -1}, "min_question_rating: -1 is not a number of"),
    "percents": ({"split_percent": {"train": 100}}, "split_percent: ['train']"),
    "similarity": ({"cluster_similarity": 60}, "cluster_similarity: 60"),
    "nothing_left": ({"min_ratings": 1000}, "no row of 1 is left: {'few_ratings': 1}"),
    "missing_file": (
        {"exports": [{"course": "x", "layout": "A", "file": "b.csv"}]},
        "b.csv does not exist; the folder has ['a.csv']",
    ),
    "missing_folder": ({"source": "elsewhere"}, "the folder has no files"),
}


def refused(monkeypatch: pytest.MonkeyPatch, given: Params) -> str:
    """The one line for bad input, after a look that nothing was written."""
    with pytest.raises(InputError) as error:
        run_main(monkeypatch, given)
    assert not [name for name in ("data", "reports") if Path(name).exists()]
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("secret", ["", " " * 20, "fifteen letters", "  fifteen letters  "])
def test_a_secret_that_can_be_guessed_is_refused_and_not_shown(
    raw: Path, monkeypatch: pytest.MonkeyPatch, secret: str
):
    monkeypatch.setenv("PEERWISE_USER_KEY", secret)
    write_a(raw, {})
    told = refused(monkeypatch, replace(PARAMS, users="hash"))
    assert "PEERWISE_USER_KEY" in told
    assert "fifteen" not in told


@pytest.mark.parametrize("fault", BAD_PARAMS)
def test_a_parameter_that_does_not_fit_writes_nothing(
    raw: Path, monkeypatch: pytest.MonkeyPatch, fault: str
):
    monkeypatch.delenv("PEERWISE_USER_KEY", raising=False)
    write_a(raw, {})
    changes, said = BAD_PARAMS[fault]
    assert said in refused(monkeypatch, replace(PARAMS, **changes))


BAD_FILES: dict[str, tuple[Damage, str]] = {
    "missing_column": (lambda raw: cut(raw, "altC"), "no column 'altC'"),
    "duplicate_column": (lambda raw: swap(raw, "course_id", "id"), "column 'id' is there twice"),
    "encoding": (lambda raw: recode(raw, "iso-8859-1"), "(0xe9) is not utf-8"),
    "ragged": (lambda raw: extend(raw, "1,2\n"), "data row 2 has 2 cells"),
    "unclosed": (lambda raw: extend(raw, '9,"open\n'), "data row 2 cannot be read"),
    "empty": (lambda raw: (raw / "a.csv").write_bytes(b""), "the file is empty"),
    "rating": (lambda raw: swap(raw, "3.6", "36"), "data row 1: avg_rating '36'"),
    "gone": (lambda raw: (raw / "a.csv").unlink(), "a.csv does not exist"),
    "count": (lambda raw: swap(raw, ",20,", ",1e20,"), "data row 1: total_ratings '1e20' is not"),
    "flag": (lambda raw: write_a(raw, {"deleted": "yes"}), "data row 1: deleted 'yes' is not"),
    "ids": (lambda raw: write_a(raw, {"id": "5"}, {"id": "5"}), "id occurs twice: 5"),
}


def swap(raw: Path, old: str, new: str) -> None:
    text = (raw / "a.csv").read_text(encoding="utf-8")
    assert old in text
    (raw / "a.csv").write_text(text.replace(old, new, 1), encoding="utf-8")


def cut(raw: Path, column: str) -> None:
    table = pd.read_csv(raw / "a.csv", dtype=str)
    table.drop(columns=column).to_csv(raw / "a.csv", index=False)


def recode(raw: Path, encoding: str) -> None:
    text = (raw / "a.csv").read_text(encoding="utf-8")
    (raw / "a.csv").write_text(text, encoding=encoding)


def extend(raw: Path, text: str) -> None:
    with (raw / "a.csv").open("a", encoding="utf-8") as file:
        file.write(text)


@pytest.mark.parametrize("fault", BAD_FILES)
def test_a_damaged_export_writes_nothing(raw: Path, monkeypatch: pytest.MonkeyPatch, fault: str):
    write_a(raw, {})
    damage, said = BAD_FILES[fault]
    damage(raw)
    assert said in refused(monkeypatch, PARAMS)


# one change a row, so that many are usable and reach the clusters
STEMS = ["What makes ATP?", "What makes ATP", "Which vessel leaves the heart?", "Who may sign?"]
CHANGES = st.one_of(st.just({}), *(st.fixed_dictionaries({k: v}) for k, v in CELLS.items()))
BASES = st.fixed_dictionaries(COURSE | {"stem": st.sampled_from(STEMS)})
CHANGED_ROWS = st.lists(st.builds(operator.or_, BASES, CHANGES), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(CHANGED_ROWS, st.sampled_from([0, 10]), st.sampled_from([0.3, 1.0]))
def test_every_row_of_any_export_is_a_question_or_a_reject(
    rows: list[dict], min_ratings: int, similarity: float
):
    origin = {"user_hash": None, "top_rating_frac": math.nan, "modal_answer": None}
    names = [f"{row['course']}/{i}" for i, row in enumerate(rows)]
    table = [
        raw_row(name) | origin | {"source_row": i} | row
        for i, (name, row) in enumerate(zip(names, rows, strict=True), start=1)
    ]
    params = replace(PARAMS, min_ratings=min_ratings, cluster_similarity=similarity)
    raw = pd.DataFrame(table)
    if sort_out(raw, min_ratings)[0].empty:
        with pytest.raises(InputError, match=f"no row of {len(rows)} is left"):
            sort_and_split(raw, params)
        return
    questions, rejects, report = sort_and_split(raw, params)
    questions = Questions.validate(artifacts.conform(Questions, questions), lazy=True)
    Rejects.validate(artifacts.conform(Rejects, rejects), lazy=True)
    assert sorted([*questions.row_id, *rejects.row_id]) == sorted(names)
    assert report["metrics"]["export_rows_n"] == len(rows)
    assert report["metrics"]["clusters_n"] == questions.cluster_id.nunique()
    asked = questions.groupby("question_id")[["cluster_id", "stem", "key"]].nunique()
    assert (asked == 1).to_numpy().all()
