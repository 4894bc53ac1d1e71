"""What the headline test is worth: how often it calls a difference that is none, or misses one.

As many questions and clusters as the sample course has in its test split; every policy is right
or wrong on each, and questions of a cluster are alike.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from stages.pure import comparison, metrics, stats, winrates
from stages.pure.comparison import Resampling, all_pairs
from stages.pure.mcnemar import mcnemar_p

REPETITIONS, CLUSTERS, PER_CLUSTER = 200, 154, 2
HOW = Resampling(samples=1000, level=0.95, seed=13)
HEADLINE = ["acr", "judge", "words"]
METRICS = ["oracle", "acr", "entailment", "judge"]


def chances(random: np.random.Generator) -> np.ndarray:
    """P(right) of two policies on each question, (2, 308), .05 to .75.

    A cluster is easy or hard for both, and each policy knows some clusters better: what one
    policy gains on a question it gains on its twin.
    """
    shared = random.uniform(0.25, 0.55, CLUSTERS)
    own = random.uniform(-0.2, 0.2, (2, CLUSTERS))
    return np.repeat(shared + own, PER_CLUSTER, axis=1)


def compared(effect: float, seed: int) -> Iterator[pd.DataFrame]:
    """What comparison.difference reads, once per repetition: policy a is right more often."""
    random = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(CLUSTERS), PER_CLUSTER)
    for _ in range(REPETITIONS):
        chance = chances(random) + np.array([[effect], [0.0]])
        a, b = (random.random(chance.shape) < chance).astype(float)
        table = pd.DataFrame({"value_a": a, "value_b": b, "cluster_id": clusters})
        yield table.assign(question_id=table.index, training_seed=13)


def called(effect: float, seed: int) -> float:
    """The share of repetitions with p < .05."""
    p_values = [comparison.difference(table, HOW)["p_value"] for table in compared(effect, seed)]
    return float(np.mean(np.array(p_values) < 0.05))


def detectable() -> float:
    """The minimum detectable effect that the table states for such data, mean over repetitions."""
    found = [comparison.difference(t, HOW)["minimum_detectable_effect"] for t in compared(0, 1)]
    return float(np.mean(found))


def test_two_policies_that_are_the_same_differ_in_about_5_of_100_runs():
    # 200 runs: one standard error is 1.5 percent points. An exact test of whole numbers of right
    # answers stays a little below its level: about 3.6 % in 2,000 runs.
    assert 0.02 <= called(0.0, seed=13) <= 0.09


def test_the_stated_detectable_effect_is_found_in_about_80_of_100_runs():
    effect = detectable()  # for the same reason 75 % in 2,000 runs
    assert 0.08 < effect < 0.13
    assert 0.70 <= called(effect, seed=13) <= 0.90
    assert called(effect / 2, seed=13) < 0.50  # half of it is not


def test_mcnemar_keeps_its_level_too():
    p_values = [
        mcnemar_p(*(table[name].to_numpy() for name in ("value_a", "value_b", "cluster_id")))
        for table in compared(0.0, seed=14)
    ]
    assert 0.02 <= np.mean(np.array(p_values) < 0.05) <= 0.09


def test_of_four_headline_metrics_holm_calls_any_in_at_most_about_5_of_100_runs():
    random, clusters = np.random.default_rng(15), np.repeat(np.arange(CLUSTERS), PER_CLUSTER)
    called_n = {"corrected": 0, "as they are": 0}
    for _ in range(REPETITIONS):
        chance = chances(random)[:, None]  # (2, 1, 308)
        right = random.random((2, len(METRICS), len(clusters))) < chance
        differences = right[0].astype(float) - right[1]
        p = np.array([stats.sign_flip_p(d, clusters, HOW.samples, HOW.seed) for d in differences])
        called_n["corrected"] += int((stats.holm(p) < 0.05).any())
        called_n["as they are"] += int((p < 0.05).any())
    assert called_n["corrected"] / REPETITIONS <= 0.09
    assert called_n["as they are"] / REPETITIONS > 0.10  # 1 - .95^4 = .19


# ---- a policy that only writes more ------------------------------------------------------

KEYS = ["cell wall", "amylase", "proton pump", "sinus node", "outlier"]
PADDING = "It was in the second lecture. I hope this helps. Good luck with the exam."


def texts(random: np.random.Generator) -> list[tuple[str, str]]:
    """(text, key) of 308 questions, of which about half name their key."""
    keys = [KEYS[i % len(KEYS)] for i in range(CLUSTERS * PER_CLUSTER)]
    wrong = "because it is the largest of them"
    return [
        (f"The answer is {key if random.random() < 0.5 else 'the other one'} {wrong}.", key)
        for key in keys
    ]


def pad(text: str, random: np.random.Generator) -> str:
    """The same text with 0 to 15 more words that say nothing."""
    words = PADDING.split()[: int(random.integers(0, 16))]
    return " ".join([text, *words])


def judge(text: str, key: str, random: np.random.Generator) -> float:
    """Stars of a judge who likes the key and, by mistake, words."""
    coverage = metrics.acr(text, key).value or 0.0
    return 2.5 + coverage + 0.02 * len(text.split()) + 0.05 * random.normal()


def measured(policy: str, rows: list[tuple[str, str]], random: np.random.Generator) -> pd.DataFrame:
    """The rows of Evaluations of one policy by metrics that need no model, and by the judge."""
    values = [
        (question, metric, role, value)
        for question, (text, key) in enumerate(rows)
        for metric, role, value in (
            ("acr", "heldout", metrics.acr(text, key).value),
            ("judge", "heldout", judge(text, key, random)),
            ("words", "diagnostic", metrics.words(text).value),
            ("is_loop", "diagnostic", metrics.is_loop(text).value),
            ("is_evasive", "diagnostic", metrics.is_evasive(text, key).value),
        )
    ]
    table = pd.DataFrame(values, columns=["question", "metric", "role", "value"])
    return table.assign(
        policy=policy,
        training_seed=13,
        decoding="sampled",
        course="a",
        question_id=[f"q{q}" for q in table.question],
        cluster_id=[f"c{q // PER_CLUSTER}" for q in table.question],
    )


@pytest.fixture(scope="module")
def padded() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Comparisons and WinRates of a padded policy ("dpo") with the one it copies ("sft")."""
    random = np.random.default_rng(13)
    said = texts(random)
    longer = [(pad(text, random), key) for text, key in said]
    both = pd.concat([measured("dpo", longer, random), measured("sft", said, random)])
    family = comparison.comparisons(all_pairs(both, HEADLINE), HEADLINE, HOW)
    return family[family.course == "all"], winrates.win_rates(
        all_pairs(both, HEADLINE), ["judge"], HOW
    )


def test_padding_raises_no_metric_that_reads_the_content(padded):
    of = padded[0].set_index("metric")
    assert of.difference["acr"] == 0.0
    assert of.difference["is_evasive"] == 0.0
    assert of.difference["is_loop"] == 0.0
    assert of.p_value_holm["acr"] == 1.0
    assert of.low["words"] > 5


def test_a_judge_who_likes_words_is_fooled_until_length_is_controlled(padded):
    of, rates = padded[0].set_index("metric"), padded[1].iloc[0]
    assert of.p_value_holm["judge"] < 0.05
    assert rates.win_low > 0.6
    # where length is what decides, the rate at equal length is at or below one half
    assert rates.length_controlled_low < 0.5


def test_a_padded_policy_is_flagged_and_one_that_knows_more_is_not(padded):
    family, rates = padded
    assert winrates.length_flag(family, rates)
    assert winrates.with_flags(rates, family, 0.95).is_only_longer.tolist() == [True]
    random = np.random.default_rng(13)
    said = texts(random)
    better = [(pad(f"The answer is {key}.", random), key) for _, key in said]
    both = pd.concat([measured("dpo", better, random), measured("sft", said, random)])
    honest = comparison.comparisons(all_pairs(both, HEADLINE), HEADLINE, HOW)
    honest = honest[honest.course == "all"]
    rates = winrates.win_rates(all_pairs(both, HEADLINE), ["judge"], HOW)
    assert not winrates.length_flag(honest, rates)
    assert winrates.with_flags(rates, honest, 0.95).is_only_longer.tolist() == [False]
