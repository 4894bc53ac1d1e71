"""The solver is a conditional logit: by hand, by symmetry, and found again in simulated choices."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.pure.metrics import Value
from stages.pure.scored import solving
from stages.runtime import solver
from stages.runtime.encoding import alignment
from stages.runtime.loading import checkpoints
from stages.runtime.solver import Choices, Solver, softmax
from stages.scorers import recoverability as scorer
from tests.tiny_models import ENCODER, PLACES, course, tree_bytes

pytest_plugins = ["tests.tiny_fixtures"]

WEIGHTS = np.array([2.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0])


def simulated(count: int, weights: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Choices among 2 to 5 options with normal features, and keys drawn by the model."""
    rng = np.random.default_rng(0)
    asked = [rng.normal(size=(int(rng.integers(2, 6)), len(weights))) for _ in range(count)]
    keys = [rng.choice(len(rows), p=softmax(rows @ weights)) for rows in asked]
    return asked, np.array(keys)


def test_weights_are_found_again():
    found = solver.minimize(*simulated(3000, WEIGHTS), penalty=1e-3)
    assert found == pytest.approx(WEIGHTS, abs=0.15)


def test_one_feature_by_hand():
    # two options with x = 1 and 0: P(first) = 1 / (1 + exp(-w)) is 3/4 at w = log 3
    asked = [np.array([[1.0], [0.0]])] * 4
    found = solver.minimize(asked, np.array([0, 0, 0, 1]), penalty=0.0)
    assert found == pytest.approx([np.log(3)], abs=1e-3)
    assert solver.nats(asked, np.array([0, 0, 0, 1]), found) == pytest.approx(
        -(3 * np.log(0.75) + np.log(0.25)) / 4
    )


def test_a_strong_penalty_leaves_a_guess_and_a_constant_feature_no_weight():
    asked, keys = simulated(50, WEIGHTS)
    assert solver.minimize(asked, keys, penalty=1e9) == pytest.approx(np.zeros(7), abs=1e-6)
    same = [np.column_stack([rows[:, :1], np.ones(len(rows))]) for rows in asked]
    assert solver.minimize(same, keys, penalty=1.0)[1] == 0


def test_what_all_options_share_changes_nothing():
    asked, keys = simulated(50, WEIGHTS)
    moved = [rows + 5 for rows in asked]
    assert solver.minimize(moved, keys, 1.0) == pytest.approx(solver.minimize(asked, keys, 1.0))


# ---- over an encoder -----------------------------------------------------------------------

OPTIONS = [tuple(PLACES), tuple(PLACES[:2])]
TEXTS = ["It lives in old trees because of food.", "A river."]


@pytest.mark.usefixtures("checkout")
def test_features_are_those_of_each_option_and_explanation():
    reader = alignment.reader(ENCODER)
    first, second = solver.features(reader, OPTIONS, TEXTS)
    assert (first.shape, second.shape) == ((4, 7), (2, 7))
    read = reader.embed([*PLACES, *TEXTS])
    wanted = alignment.agreement.agreement(read["a river"], read[TEXTS[1]])
    assert second[1] == pytest.approx(wanted, abs=1e-5)


@pytest.mark.usefixtures("checkout")
def test_beside_an_empty_text_every_option_is_as_likely():
    found = Solver(ENCODER, np.arange(7.0)).probabilities([OPTIONS[0]], [" "])
    assert found[0].tolist() == [0.25] * 4


@pytest.mark.usefixtures("checkout")
def test_the_order_of_options_and_of_rows_does_not_matter():
    trained = Solver(ENCODER, np.arange(7.0))
    one, two = trained.probabilities(OPTIONS, TEXTS)
    turned = trained.probabilities([OPTIONS[1][::-1], OPTIONS[0]], TEXTS[::-1])
    assert turned[0] == pytest.approx(two[::-1])
    assert np.array_equal(turned[1], one)


@pytest.mark.usefixtures("checkout")
def test_the_penalty_is_chosen_on_other_clusters_and_the_solver_comes_back(tmp_path: Path):
    texts = [f"The {place} is it, see {i}" for i in range(6) for place in PLACES[:2]]
    told = Choices([OPTIONS[1]] * 12, texts, np.arange(12) % 2, np.arange(12) // 2)
    trained, curve = solver.fit(ENCODER, told)
    assert curve.penalty.tolist() == solver.PENALTIES
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        solver.save(solver.fit(ENCODER, told)[0], folder, {"data": {}})
    assert tree_bytes(tmp_path / "a") == tree_bytes(tmp_path / "b")
    again = solver.load(tmp_path / "a")
    assert again.encoder == ENCODER
    assert np.array_equal(again.weights, trained.weights)


@pytest.mark.usefixtures("checkout")
def test_the_nearest_to_the_stem_is_a_cosine():
    (found,) = solver.nearest_to_stem(ENCODER, ["a river"], [OPTIONS[0]])
    assert found[1] == pytest.approx(1, abs=1e-6)
    assert (found <= 1 + 1e-6).all()


# ---- accuracy ------------------------------------------------------------------------------

ROWS = [
    {"key": "A", "options_n": 2, "course": "x", "cluster_id": "c0", "row_id": "r0"},
    {"key": "B", "options_n": 4, "course": "x", "cluster_id": "c1", "row_id": "r1"},
    {"key": "A", "options_n": 4, "course": "y", "cluster_id": "c2", "row_id": "r2"},
]


def test_accuracy_by_hand():
    likely = [np.array([0.7, 0.3]), np.array([0.4, 0.2, 0.2, 0.2]), np.full(4, 0.25)]
    assert solving.accuracy(likely, ROWS) == pytest.approx((1 + 0 + 0.25) / 3)
    assert solving.accuracy([likely[0], None, None], ROWS) == 1
    assert np.isnan(solving.accuracy([None], ROWS[:1]))


def test_guessing_is_right_once_in_as_many_as_there_are_options():
    assert solving.chance(ROWS) == pytest.approx((0.5 + 0.25 + 0.25) / 3)


def test_a_misleading_text_is_of_another_cluster_of_the_course():
    rows = [row | {"explanation": f"text {row['cluster_id']}"} for row in ROWS]
    near = rows[0] | {"explanation": "near-identical", "row_id": "r3"}
    found = solving.misleading([*rows, near])
    assert found[0] == "text c1"
    assert found[1] in {"text c0", "near-identical"}
    assert found[2:] == ["", "text c1"]  # a course of one question has none to lend


def test_rows_are_those_of_the_splits_that_are_rated_well():
    rows = course()
    found = solving.rated_at_least(rows, ["judge"], 3.0)
    wanted = rows.query("split == 'judge' and question_rating_mean >= 3").row_id
    assert [row["row_id"] for row in found] == sorted(wanted)


def test_one_row_per_question_is_the_first():
    rows = course().to_dict("records")
    found = solving.one_per_question(rows)
    assert [row["row_id"] for row in found] == [f"zoo/{n:02d}0" for n in range(20)]


# ---- the scorer ----------------------------------------------------------------------------


@pytest.mark.usefixtures("checkout")
def test_recoverability_is_the_probability_of_the_key_without_any_option():
    folder = checkpoints.scratch_outputs(scorer.FOLDER)
    solver.save(Solver(ENCODER, np.arange(7.0)), folder, {})
    row = course().iloc[0].to_dict()
    said = ["", "It is the meadow because of food.", "It is the river because of food."]
    found = scorer.recoverability(pd.DataFrame([row | {"explanation": text} for text in said]))
    assert found[0] == Value(None, "empty_text")
    assert found[1] == found[2]  # only the named option differed
    assert found[1].value is not None
    (wanted,) = solver.load(scorer.FOLDER).probabilities(
        [tuple(PLACES)], ["It is the ... because of food."]
    )
    assert found[1].value == pytest.approx(wanted[0])
