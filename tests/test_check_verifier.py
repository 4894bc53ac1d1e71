"""The check of a verifier: what is compared with what, and what is said when it fails."""

import json
import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from schemas.errors import InputError
from schemas.fitness import Fitness
from schemas.predictions import Predictions
from schemas.questions import Questions
from stages import check_verifier, train_verifier
from stages.pure import baselines, fitness, swaps
from stages.runtime import artifacts
from tests.tiny_models import TRAINING, Stage, course, reported, write_course

pytest_plugins = ["tests.tiny_fixtures"]

SECTION: dict[str, Any] = {
    "check_verifier": {
        "min_spearman_corr": 0.0,
        "min_partial_spearman_corr": None,
        "min_pair_accuracy_frac": 0.5,
        "min_swap_spearman_drop_corr": 0.0,
        "min_swap_accuracy_frac": None,
        "pair_gaps": [0.5, 4.0],
        "reliability_bins": 2,
    }
}


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitness, "SAMPLES", 50)


def rated() -> pd.DataFrame:
    rows = course().query("split == 'train' and question_rating_mean.notna()")
    return rows.reset_index(drop=True)


def by_words(_: pd.DataFrame, texts: list[str]) -> np.ndarray:
    """A verifier that rates by length: right about this course."""
    return np.array([min(5.0, len(text.split()) / 4) for text in texts])


def by_question(rows: pd.DataFrame, _: list[str]) -> np.ndarray:
    """A verifier that does not read the explanation."""
    return rows.stem.str.len().to_numpy(float) / 10


def write(rate: swaps.Rate, item: str = "reward") -> None:
    artifacts.write(Predictions, swaps.predictions(rated(), rate), item)


@pytest.mark.parametrize("item", ["reward", "judge"])
def test_a_verifier_that_orders_the_texts_is_fit(checkout: Path, run_stage: Stage, item: str):
    write(by_words, item)
    recorded = run_stage(check_verifier.main, item, **SECTION)
    table = artifacts.read(Fitness, item)
    assert fitness.passed(table)
    assert recorded.inputs == [Predictions.path(item), Questions.path()]
    assert recorded.outputs[0] == Fitness.path(item)
    numbers = reported(f"check_verifier_{item}")
    assert numbers["is_fit_n"] == 1
    assert numbers["pair_accuracy_gap_0_5_frac"] == 1
    assert numbers["rows_n"] == 15
    assert not [name for name in numbers if name.startswith("pair_accuracy_gap_4_")]


def test_one_that_reads_the_question_alone_is_named_in_one_line_and_the_stage_goes_on(
    checkout: Path, run_stage: Stage, caplog: pytest.LogCaptureFixture
):
    write(by_question)
    with caplog.at_level(logging.WARNING):
        run_stage(check_verifier.main, "reward", **SECTION)
    table = artifacts.read(Fitness, "reward")
    assert not fitness.passed(table)
    (said,) = [record.getMessage() for record in caplog.records]
    verdict = fitness.verdict(table)
    assert "swap_spearman_drop 0.000 (0.000 to 0.000) is not clearly above 0" in verdict
    assert said == f"check_verifier@reward: the verifier may not rank: {verdict}"
    assert "\n" not in said
    report = json.loads(Path("reports/check_verifier_reward.json").read_text())
    assert report["details"]["verdict"] == verdict
    assert report["metrics"]["is_fit_n"] == 0


def test_the_reliability_curve_is_in_the_report(checkout: Path, run_stage: Stage):
    write(by_words)
    run_stage(check_verifier.main, "reward", **SECTION)
    curve = json.loads(Path("reports/check_verifier_reward.json").read_text())["details"]
    assert sum(b["rows_n"] for b in curve["reliability"]) == 15
    assert curve["verdict"] == "fit"


def test_rows_that_could_not_be_scored_are_counted(checkout: Path, run_stage: Stage):
    found = swaps.predictions(rated(), by_words)
    found.loc[0, "predicted"] = np.nan
    artifacts.write(Predictions, found, "reward")
    run_stage(check_verifier.main, "reward", **SECTION)
    numbers = reported("check_verifier_reward")
    assert (numbers["rows_n"], numbers["unscored_n"]) == (15, 1)


def test_a_verifier_that_scored_nothing_is_unfit(checkout: Path, run_stage: Stage):
    write(lambda _, texts: np.full(len(texts), np.nan))
    run_stage(check_verifier.main, "reward", **SECTION)
    assert "no interval" in fitness.verdict(artifacts.read(Fitness, "reward"))


def test_baselines_learn_from_the_rows_that_the_verifier_learned_from(
    checkout: Path, run_stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    taught: list[tuple[set[str], set[str]]] = []
    plain = baselines.predict

    def spied(known: pd.DataFrame, asked: pd.DataFrame) -> pd.DataFrame:
        taught.append((set(known.row_id), set(asked.row_id)))
        return plain(known, asked)

    monkeypatch.setattr(baselines, "predict", spied)
    for item in ("reward", "judge"):
        write(by_words, item)
        run_stage(check_verifier.main, item, **SECTION)
    folds = [set(rated().query("fold == @f").row_id) for f in (0, 1)]
    judged = set(course().query("split == 'judge'").row_id)
    assert taught == [(folds[1], folds[0]), (folds[0], folds[1]), (judged, folds[0] | folds[1])]


def test_the_same_predictions_give_the_same_bytes(checkout: Path, run_stage: Stage):
    def outputs() -> list[bytes]:
        run_stage(check_verifier.main, "reward", **SECTION)
        report = Path("reports/check_verifier_reward.json")
        return [Fitness.path("reward").read_bytes(), report.read_bytes()]

    write(by_question)
    assert outputs() == outputs()


@pytest.mark.parametrize("gaps", [[], [0.0], [-1.0], [0.5, 0.5]])
def test_gaps_that_make_no_groups_are_refused(checkout: Path, run_stage: Stage, gaps: list[float]):
    write(by_words)
    section = {"check_verifier": SECTION["check_verifier"] | {"pair_gaps": gaps}}
    with pytest.raises(InputError, match=r"check_verifier\.pair_gaps"):
        run_stage(check_verifier.main, "reward", **section)
    assert not Fitness.path("reward").exists()


def test_an_unknown_item_is_refused_with_the_known_ones(checkout: Path, run_stage: Stage):
    with pytest.raises(InputError, match=r"unknown item 'jury'.*\['reward', 'judge'\]"):
        run_stage(check_verifier.main, "jury", **SECTION)


# ---- trained for the test ----------------------------------------------------------------------

REASON, NONE = "because it finds food", "as the book tells us"  # of equal length
FILLERS = ["", " Read it again.", " This was in the lecture of week two."]


def rated_course(shuffle: bool) -> pd.DataFrame:
    """Forty questions with four rated explanations each: a reason is worth a star and a half.

    shuffle: the texts are permuted among the rows, ratings stay. Words are worth a little.
    """
    random = np.random.default_rng(0)
    start = course().query("split == 'train' and question_rating_mean.notna()").iloc[0]
    rows = []
    for n in range(160):
        has_reason, filler = n % 2, FILLERS[random.integers(3)]
        text = f"The answer is the meadow {REASON if has_reason else NONE}.{filler}"
        words = len(text.split())
        stars = 2 + 1.5 * has_reason + 0.02 * words + random.normal(scale=0.3)
        question = n // 4
        found: dict[str, Any] = {
            "row_id": f"farm/{n}",
            "question_id": f"r{question}",
            "cluster_id": f"d{question}",
        }
        found |= {"fold": question % 2, "explanation": text, "explanation_words_n": words}
        rows.append(start.to_dict() | found | {"question_rating_mean": stars})
    table = pd.DataFrame(rows)
    if shuffle:
        texts = ["explanation", "explanation_words_n"]
        table[texts] = table[texts].iloc[random.permutation(len(table))].to_numpy()
        table["explanation_words_n"] = table.explanation_words_n.astype("int64")
    return pd.concat([table, course().query("split != 'train'")], ignore_index=True)


@pytest.mark.parametrize("shuffle", [False, True])
def test_the_gate_passes_a_training_on_texts_and_fails_one_on_shuffled_texts(
    checkout: Path, run_stage: Stage, shuffle: bool
):
    write_course(artifacts.conform(Questions, rated_course(shuffle)))
    how = asdict(replace(TRAINING, epochs=6))
    weights = {"min_weight_ratings": 1}
    run_stage(train_verifier.main, "reward", train_verifier=weights, verifier=how)
    section = SECTION["check_verifier"] | {"min_partial_spearman_corr": 0.0}
    run_stage(check_verifier.main, "reward", check_verifier=section)
    table = artifacts.read(Fitness, "reward")
    assert fitness.passed(table) != shuffle, fitness.verdict(table)
