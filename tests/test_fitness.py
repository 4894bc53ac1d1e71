"""The gate: which intervals let a verifier rank, and what is said of the others."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.pure import fitness, verifier_measures
from tests.invented import fitness as invented_fitness

NAN = float("nan")
LIMITS: dict[str, float | None] = {
    "min_spearman_corr": 0.0,
    "min_partial_spearman_corr": 0.0,
    "min_pair_accuracy_frac": 0.5,
    "min_swap_spearman_drop_corr": 0.0,
    "min_swap_accuracy_frac": 0.5,
}
GAP = "gap_0.5"


def measured(**low: float) -> pd.DataFrame:
    """One row per check, well above its limit but for the lower limits that are given."""
    lows = {name: 0.6 for name in fitness.CHECKS.values()} | low
    rows = [
        ("model", name, GAP if name == "pair_accuracy" else "all", value + 0.1, value, value + 0.2)
        for name, value in lows.items()
    ]
    columns = ["predictor", "measure", "group", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns).assign(n=9, clusters_n=4)


def gated(table: pd.DataFrame, **limits: float | None) -> pd.DataFrame:
    return fitness.with_limits(table, LIMITS | limits, GAP)


def test_a_verifier_above_every_limit_is_fit():
    table = gated(measured())
    assert (fitness.passed(table), fitness.verdict(table)) == (True, "fit")
    assert table.limit.tolist() == [0.0, 0.0, 0.5, 0.0, 0.5]


@pytest.mark.parametrize("measure", fitness.CHECKS.values())
def test_each_check_alone_keeps_a_verifier_from_ranking(measure: str):
    table = gated(measured(**{measure: -0.02}))
    assert not fitness.passed(table)
    assert table[~table.is_met].measure.tolist() == [measure]


def test_the_verdict_names_check_value_interval_and_limit_in_one_line():
    table = gated(measured(swap_accuracy=0.4741, pair_accuracy=0.5))
    assert fitness.verdict(table) == (
        "unfit: pair_accuracy (gap 0.5 stars) 0.600 (0.500 to 0.700) is not clearly above 0.5; "
        "swap_accuracy 0.574 (0.474 to 0.674) is not clearly above 0.5"
    )


def test_a_check_without_an_interval_is_not_met():
    table = gated(measured(partial_spearman=NAN))
    assert not fitness.passed(table)
    assert fitness.verdict(table) == "unfit: partial_spearman has no interval on 4 clusters"


def test_a_limit_of_null_asks_for_nothing():
    table = gated(measured(swap_accuracy=0.3), min_swap_accuracy_frac=None)
    assert fitness.passed(table)
    (row,) = table[table.measure == "swap_accuracy"].to_dict("records")
    assert np.isnan(row["limit"])
    assert pd.isna(row["is_met"])


def test_without_a_check_nothing_may_rank():
    table = gated(measured(), **dict.fromkeys(LIMITS, None))
    assert not fitness.passed(table)
    assert fitness.verdict(table) == "unfit: nothing was checked"


def test_only_the_model_on_all_rows_and_at_the_named_gap_is_checked():
    other = pd.concat(
        [
            measured().assign(predictor="words"),
            measured().assign(group="length_matched"),
            measured().query("measure == 'pair_accuracy'").assign(group="gap_1"),
        ]
    )
    assert gated(other.assign(low=-1.0)).limit.isna().all()


def test_a_table_from_disk_is_read_alike():
    table = invented_fitness()
    assert not fitness.passed(table)
    assert fitness.verdict(table).count(";") == 1  # two of three checks failed
    assert fitness.passed(table.head(1))


# ---- invented verifiers ------------------------------------------------------------------------

KINDS = ("good", "length", "question", "shuffled_explanations", "shuffled_ratings")


def predictions(kind: str, seed: int, clusters: int = 60) -> pd.DataFrame:
    """Six rated texts in each cluster, as a verifier of a kind would predict them.

    A rating is quality + match with the question + length + question effect + noise, and every
    text is also asked with a question of another cluster, where its match is another.
    """
    random = np.random.default_rng(seed)
    n = 6 * clusters
    effect = np.repeat(random.normal(size=clusters), 6)
    quality, match, other_match, noise, own = random.normal(size=(5, n))
    words = random.integers(10, 30, n).astype(float)
    lent = np.roll(np.arange(n), 6)
    rating = 3 + 0.2 * (quality + match + 0.5 * effect + 1.5 * noise) + 0.02 * (words - 20)
    other = np.minimum(other_match, 0) - 1  # a borrowed text fits worse
    stars = {
        "good": (quality + match + own, quality[lent] + other + own[lent]),
        "length": (words / 10 - 2, words[lent] / 10 - 2),
        "question": (effect, effect),
        # learned the question's effect, and noise where the text should have been
        "shuffled_explanations": (effect + own, effect + own[lent]),
        "shuffled_ratings": (own, own[lent]),
    }[kind]
    predicted, swapped = (np.clip(3 + 0.1 * values, 0, 5) for values in stars)
    names: dict[str, Any] = {"cluster_id": np.repeat([f"c{i:03d}" for i in range(clusters)], 6)}
    return pd.DataFrame(
        names
        | {
            "rating": np.clip(rating, 0, 5),
            "predicted": predicted,
            "swapped": swapped,
            "words_n": words,
            "ratings_n": 9,
            "swapped_words_n": words[lent],
            "question_only": 3 + 0.1 * effect,
            "bag_of_words": 3 + 0.1 * quality,
        }
    )


def gate(rows: pd.DataFrame, samples: int = 100) -> pd.DataFrame:
    return gated(verifier_measures.measure(rows, [0.5], 5, samples, fitness.LEVEL, seed=1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_verifier_that_learned_from_texts_passes_and_one_from_shuffled_ones_does_not(kind: str):
    is_fit = [fitness.passed(gate(predictions(kind, seed))) for seed in range(4)]
    assert is_fit == [kind == "good"] * 4


def test_the_order_of_the_rows_changes_nothing():
    rows = predictions("length", 3, clusters=8)
    first, second = (gate(table, 20) for table in (rows, rows.sample(frac=1, random_state=1)))
    pd.testing.assert_frame_equal(first, second)
