"""The oracle: right on everything the generator wrote, and on texts that nobody planned."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stages import make_sample_course as stage
from stages.pure import oracle, sample_course
from tests.imports import closure

FACTS = stage.read_facts(stage.FACTS_DIR)
INDEX = oracle.index(FACTS)
GIVEN: dict[str, Any] = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
ATP = {
    "stem": "Which part of a cell makes ATP?", "key": "B", "options_n": 4,
    "option_a": "lysosome", "option_b": "mitochondrion", "option_c": "ribosome",
    "option_d": "nucleus", "option_e": None,
}  # fmt: skip
STATED = "Most of the ATP in an animal cell is made by the {}"
MECHANISM = "its folded inner membrane holds the enzymes of aerobic respiration"
OTHER = "its RNA core links each new unit to the growing end"
GOOD = f"{STATED.format('mitochondrion')} because {MECHANISM}."


def judged(text: str) -> dict[str, bool]:
    fact = oracle.find_fact(INDEX, ATP)
    assert fact is not None
    return oracle.judge(fact, ATP, text, INDEX)


def test_agrees_with_the_latents_of_all_generated_explanations_in_every_pool():
    facts = sample_course.choose_facts(FACTS, None)
    clustering = {n: GIVEN["prepare_questions"][n] for n in ("cluster_similarity", "split_percent")}
    rows = stage.make_rows(
        facts, stage.read_phrasings(stage.FACTS_DIR)["pools"],
        stage.Params(**GIVEN["make_sample_course"]), stage.Clustering(**clustering), GIVEN["seed"],
    )  # fmt: skip
    rows = rows[rows.dirt == ""].reset_index(drop=True)
    found = []
    for row in rows.to_dict("records"):
        fact = oracle.find_fact(INDEX, row)
        assert fact is not None
        assert fact.fact_id == row["fact_id"]
        found.append(oracle.judge(fact, row, row["explanation"], INDEX))
    right = rows.mechanism == "right"
    wanted = {
        "names_key": rows.names_key,
        "has_mechanism": right,
        "has_other_mechanism": rows.mechanism == "wrong",
        "endorses_distractor": rows.endorses_wrong,
        "correct": rows.names_key & right & ~rows.endorses_wrong,
    }
    table = pd.DataFrame(found)
    assert set(rows.split) == {"train", "judge", "validation", "test"}
    for name, latent in wanted.items():
        agreement = (table[name] == latent).groupby(rows.split).mean()
        assert (agreement >= 0.99).all(), (name, agreement.to_dict())


@pytest.mark.parametrize(
    ("text", "names_key", "has_mechanism", "endorses", "correct"),
    [
        (GOOD, True, True, False, True),
        (GOOD.upper().replace(" ", "  "), True, True, False, True),
        (f"Because {MECHANISM}, the right answer is mitochondrion.", True, True, False, True),
        (f"Mitochondrion is correct: {MECHANISM}.", True, True, False, True),
        (f"The solution must be the mitochondrion. {MECHANISM}", True, True, False, True),
        ("Aerobic respiration: enzymes, inner membrane, folded holds.", False, True, False, False),
        (f"{STATED.format('lysosome')} because {MECHANISM}.", False, True, True, False),
        (f"{GOOD} Another right answer is ribosome.", True, True, True, False),
        (f"{GOOD} One could equally choose the nucleus.", True, True, True, False),
        (f"{GOOD} The Golgi body is also correct.", True, True, True, False),
        (f"{GOOD} But the lysosome breaks down worn out cell parts.", True, True, False, True),
        (f"{GOOD} The lysosome is not correct.", True, True, False, True),
        (f"{GOOD} It is wrong that the answer is ribosome.", True, True, False, True),
        (f"{GOOD} The wrong answer is ribosome.", True, True, False, True),
        ("The ATP in an animal cell is not made by the mitochondrion.", False, False, False, False),
        (f"{STATED.format('mitochondrion')}.", True, False, False, False),
        (f"{STATED.format('mitochondrion')} because {OTHER}.", True, False, False, False),
        ("The mitochondrion is an organelle.", False, False, False, False),
        ("ATP is made in the cell by its folded membrane.", False, False, False, False),
    ],
)  # fmt: skip
def test_reads_what_is_said(
    text: str, names_key: bool, has_mechanism: bool, endorses: bool, correct: bool
):
    found = judged(text)
    assert found["names_key"] == names_key
    assert found["has_mechanism"] == has_mechanism
    assert found["endorses_distractor"] == endorses
    assert found["correct"] == correct


def test_both_mechanisms_at_once_are_not_correct():
    found = judged(f"{GOOD} This is because {OTHER}.")
    assert found["has_mechanism"]
    assert found["has_other_mechanism"]
    assert not found["correct"]


@pytest.mark.parametrize(
    "text", ["", " \n ", "...", "nan", "I do not know.", "\u4e2d\u6587 \u00b5 \ud7ff"]
)
def test_an_empty_or_unknown_text_says_nothing(text: str):
    assert not any(judged(text).values())


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text_is_judged_and_almost_none_is_right(text: str):
    assert not judged(text)["correct"]


@given(st.permutations(MECHANISM.split()))
@settings(max_examples=50, deadline=None)
def test_the_order_of_the_mechanisms_words_does_not_matter(order: list[str]):
    assert judged(f"{STATED.format('mitochondrion')}. {' '.join(order)}")["correct"]


@pytest.mark.parametrize("dropped", MECHANISM.split())
def test_one_missing_word_of_the_mechanism_is_forgiven_and_half_of_them_not(dropped: str):
    kept = [word for word in MECHANISM.split() if word != dropped]
    assert judged(" ".join(kept))["has_mechanism"]
    assert not judged(" ".join(MECHANISM.split()[:5]))["has_mechanism"]


def test_a_fact_is_found_whatever_order_case_and_number_the_options_have():
    fact = oracle.find_fact(INDEX, ATP)
    assert fact is not None
    assert fact.fact_id == "bio001"
    turned = {
        **ATP,
        "option_a": "  Mitochondrion",
        "option_b": "NUCLEUS",
        "options_n": 2,
        "key": "A",
    }
    assert oracle.find_fact(INDEX, turned) == fact


@pytest.mark.parametrize(
    "change",
    [
        {"option_a": "chloroplast"},  # a distractor that the fact does not have
        {"key": "A"},  # another key
        {"option_b": "Paris"},
        {"options_n": 1, "key": "A", "option_a": "mitochondrion"},  # no distractor to compare
    ],
)
def test_a_question_of_a_real_export_has_no_fact(change: dict):
    assert oracle.find_fact(INDEX, ATP | change) is None


def test_facts_with_the_same_options_are_told_apart_by_the_stem():
    row = FACTS.iloc[0]
    twin = row.copy()
    twin["fact_id"], twin["question"] = "twin", "Where does the Krebs cycle run?"
    index = oracle.index(pd.DataFrame([row, twin]))
    found = [
        oracle.find_fact(index, ATP | {"stem": stem})
        for stem in (row.question, "Tell me where the Krebs cycle runs.")
    ]
    assert [one.fact_id for one in found if one] == ["bio001", "twin"]


def test_no_stage_before_evaluate_reaches_the_oracle():
    stages = sorted(path for path in Path("stages").glob("*.py") if path.stem != "__init__")
    assert Path("stages/make_sample_course.py") in stages
    users = {path.stem for path in stages if Path("stages/pure/oracle.py") in closure(path)}
    # validate looks at the validation split, on which settings are chosen; calibrate_leakage is no
    # stage, and prints how well a limit tells facts apart
    assert users <= {"evaluate", "validate", "calibrate_leakage"}


def test_only_the_generator_and_evaluate_know_where_the_facts_are():
    sources = sorted(Path("stages").rglob("*.py"))
    assert len(sources) > 10
    users = {path.stem for path in sources if "stages/sample_course" in path.read_text("utf-8")}
    allowed = {"make_sample_course", "sample_students", "oracle", "evaluate", "calibrate_leakage"}
    assert users <= allowed
    given = [name for name, section in GIVEN.items() if "stages/sample_course" in str(section)]
    assert given == ["evaluate"]
