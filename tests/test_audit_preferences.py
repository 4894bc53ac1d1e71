"""Pairs that a classifier without judgement can tell apart are refused, and others are not."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from schemas.errors import InputError
from schemas.pair_audit import MEASURES, PairAudit
from schemas.preferences import Preferences
from stages import audit_preferences
from stages.audit_preferences import Params, check, limits_of, summarize
from stages.pure import audit
from stages.runtime import artifacts, params, tracking
from tests import invented
from tests.imports import ROOT

PARAMS = Params(0.80, 0.98, 0.80, 0.75, 20)
# What the old system put against every chosen text.
FIXED = [
    "This is the answer because it is the answer.",
    "I do not know, but I think that it was somewhere in the lecture of last week.",
    "Asdf qwer zxcv.",
]
SUBJECTS = ["cell", "gene", "leaf", "root", "lung", "vein", "bone", "skin", "nerve", "virus"]
VERBS = ["holds", "moves", "splits", "feeds", "guards", "warms", "builds", "drains"]


def sentence(rng: np.random.Generator) -> str:
    """Words that say nothing about which side they are on."""
    words = [f"{rng.choice(SUBJECTS)} {rng.choice(VERBS)}" for _ in range(rng.integers(3, 7))]
    return " ".join(words)


def pairs(n: int, seed: int = 0, kind: str | None = None, **columns: list) -> pd.DataFrame:
    """n pairs of two questions per cluster; both sides are drawn alike."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        chosen, rejected = f"{sentence(rng)} {i}", f"{sentence(rng)} {i} {i}"
        origin = "student" if kind is None else "negative"
        rejected_index = 3 if kind is None else 1000
        place = (f"q{i:03d}", f"c{i // 2:03d}", 0, rejected_index, chosen, rejected)
        rows.append((*place, "student", origin, kind, 4.0, 3.0, 1.0, 1))
    return invented.table(Preferences, rows).assign(**columns)


def values(table: pd.DataFrame, group: str = "all") -> dict[str, float]:
    own = table[table.group == group]
    return dict(zip(own.measure, own.value, strict=True))


def run_audit(table: pd.DataFrame, given_: Params = PARAMS) -> pd.DataFrame:
    found = artifacts.conform(PairAudit, audit.audit(table, limits_of(given_), given_.min_pairs))
    return artifacts.validate(PairAudit, found, Path("pair_audit"))


def message(table: pd.DataFrame) -> str:
    with pytest.raises(InputError) as raised:
        check(table)
    assert "\n" not in str(raised.value)
    return str(raised.value)


# ---- what is refused ------------------------------------------------------------------------


def test_the_three_fixed_negatives_of_the_old_system_are_refused():
    fixed = pairs(60, kind="circular", rejected=[FIXED[i % 3] for i in range(60)])
    table = run_audit(fixed)
    found = values(table)
    assert found["bag_of_words"] == found["repeated_text"] == 1.0
    told = message(table)
    assert "group 'negative circular', repeated_text 1.000 (95 % interval" in told
    assert "60 pairs), limit 0.75" in told
    assert "negatives_per_question or drop this kind" in told


def test_fixed_negatives_are_refused_although_most_pairs_are_good():
    good = pairs(200)
    fixed = pairs(30, seed=1, kind="circular", rejected=[FIXED[i % 3] for i in range(30)])
    table = run_audit(pd.concat([good, fixed], ignore_index=True))
    assert values(table)["repeated_text"] < 0.75
    assert not table.is_met[table.group == "all"].eq(False).any()
    assert "group 'negative', repeated_text 1.000" in message(table)


def test_longer_is_better_is_refused_in_both_directions_and_in_the_middle():
    n = 60
    short, middle, long = (" ".join(["word"] * k) for k in (4, 9, 30))
    ends = [short if i % 2 else long for i in range(n)]
    for sides in (([long] * n, [short] * n), ([short] * n, [long] * n), ([middle] * n, ends)):
        numbered = [[f"{text} {i}" for i, text in enumerate(side)] for side in sides]
        table = run_audit(pairs(n, chosen=numbered[0], rejected=numbered[1]))
        assert values(table)["length"] == 1.0
        assert "length 1.000" in message(table)
        assert "raise build_preferences.length_control" in message(table)


def test_one_word_that_marks_the_rejected_text_is_seen():
    marked = pairs(400)
    marked = marked.assign(rejected=marked.rejected + " allegedly")
    told = message(run_audit(marked))
    assert "group 'all', bag_of_words 1.000" in told
    assert "length" not in told.split("To mend")[0]


def test_pairs_against_negatives_alone_are_about_the_origin():
    table = run_audit(pairs(60, kind="circular"))
    assert values(table)["origin"] == 1.0
    told = message(table)
    assert "group 'all', origin 1.000" in told
    assert "lower build_preferences.negatives_per_question" in told


# ---- what is not ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_two_sides_that_are_drawn_alike_pass_and_are_not_told_apart(seed: int):
    table = run_audit(pairs(120, seed).assign(rejected=lambda t: t.rejected.str.rsplit(n=1).str[0]))
    check(table)
    found = values(table)
    assert {name: abs(found[name] - 0.5) < 0.2 for name in MEASURES} == dict.fromkeys(
        MEASURES, True
    )


def test_twenty_of_twenty_by_chance_is_no_proof():
    few = pairs(20, chosen=["good"] * 20, cluster_id=[f"c{i}" for i in range(20)])
    table = run_audit(few.assign(chosen=few.chosen + [f" {i}" for i in range(20)]))
    assert values(table)["bag_of_words"] == 1.0
    assert table.is_met[table.measure == "bag_of_words"].all()


# ---- what the numbers are -------------------------------------------------------------------


def test_texts_without_a_word_are_compared_too():
    table = run_audit(pairs(24, chosen=["!"] * 24, rejected=["?"] * 24))
    assert values(table)["bag_of_words"] == 1.0


def test_equal_lengths_are_half_and_chosen_longer_counts():
    chosen = ["one two three a", "one b", "one two c", "one d"]
    rejected = ["one two three e", "one two f", "one g", "h i"]
    table = run_audit(pairs(4, chosen=chosen, rejected=rejected), Params(1, 1, 1, 1, 2))
    assert values(table)["chosen_longer"] == (0.5 + 0 + 1 + 0.5) / 4
    limits = table.limit[table.measure == "chosen_longer"]
    assert limits.isna().all()


def test_turning_every_pair_round_leaves_what_can_be_learned():
    table = pairs(80)
    turned = table.rename(columns={"chosen": "rejected", "rejected": "chosen"})[table.columns]
    for measure in ("length", "bag_of_words", "repeated_text"):
        own, other = (audit.out_of_fold(t, measure) for t in (table, turned))
        np.testing.assert_allclose(own, other)
    longer = audit.measured(table, "chosen_longer") + audit.measured(turned, "chosen_longer")
    assert (longer == 1).all()


def test_a_cluster_is_never_asked_about_texts_it_was_fitted_to():
    # each text is known within its own cluster only
    table = pairs(40)
    table = table.assign(chosen="good " + table.cluster_id, rejected="bad " + table.cluster_id)
    assert (audit.out_of_fold(table, "repeated_text") == 0.5).all()


def test_the_interval_is_wilsons_where_all_credits_are_equal():
    # 8 clusters, all told: (z^2 / 8) / (1 + z^2 / 8) is what Wilson's interval leaves above
    found = audit.share_interval(np.ones(16), np.repeat(np.arange(8), 2))
    z2 = norm.ppf(0.975) ** 2
    assert found.low == pytest.approx(1 / (1 + z2 / 8))
    assert found.high == pytest.approx(1.0)


def test_copies_of_a_cluster_carry_no_information():
    credit = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    clusters = np.arange(6)
    once = audit.share_interval(credit, clusters)
    thrice = audit.share_interval(np.repeat(credit, 3), np.repeat(clusters, 3))
    assert (once.low, once.high) == pytest.approx((thrice.low, thrice.high))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 5)), min_size=1))
def test_an_interval_holds_its_mean_and_is_a_share(rows: list[tuple[float, int]]):
    credit, clusters = (np.array(side) for side in zip(*rows, strict=True))
    found = audit.share_interval(credit, clusters)
    if len(set(clusters)) < 2:
        assert np.isnan([found.low, found.high]).all()
    else:
        assert -1e-9 <= found.low <= found.mean + 1e-9
        assert found.mean - 1e-9 <= found.high <= 1 + 1e-9


def test_gaps_are_counted_in_quarters_of_a_star_and_a_border_is_in_the_upper_one():
    table = pairs(3, score_gap=[0.3, 0.75 - 1e-12, 0.99])
    assert audit.histogram(table) == [
        {"rejected_origin": "student", "low_stars": 0.25, "n": 1},
        {"rejected_origin": "student", "low_stars": 0.75, "n": 2},
    ]


# ---- groups ---------------------------------------------------------------------------------


def test_a_small_group_is_null_with_its_reason_and_not_tested():
    mixed = pd.concat([pairs(30), pairs(3, seed=1, kind="circular")], ignore_index=True)
    table = run_audit(mixed)
    small = table[table.group == "negative circular"]
    assert small.value.isna().all()
    assert set(small.reason) == {"3 pairs, min_pairs is 20"}
    assert small.is_met.isna().all()
    check(table)


def test_a_group_of_one_cluster_is_null():
    table = run_audit(pairs(30, cluster_id=["c"] * 30))
    assert set(table.reason) == {"one cluster"}
    assert summarize(table) == {"pairs_n": 30, "limits_tested_n": 0, "not_measured_n": len(table)}


def test_the_origin_is_measured_over_all_pairs_alone():
    table = run_audit(pairs(40))
    origin = table[table.measure == "origin"].set_index("group")
    assert origin.value["all"] == 0.5
    assert origin.reason["student"] == "the group fixes the rejected origin"


def test_without_pairs_nothing_is_measured_and_nothing_fails():
    table = run_audit(pairs(2).iloc[:0])
    assert set(table.group) == {"all"}
    assert table.value.isna().all()
    check(table)


def test_the_order_of_the_rows_does_not_matter():
    table = pairs(60)
    turned = table.sample(frac=1, random_state=1)
    key = Preferences.primary_key()
    found = [run_audit(t.sort_values(key, ignore_index=True)) for t in (table, turned)]
    pd.testing.assert_frame_equal(found[0], found[1])


# ---- parameters, stage ----------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0.49, 1.01, float("nan")])
def test_a_limit_below_guessing_or_above_one_is_refused(limit: float):
    with pytest.raises(InputError, match=r"audit_preferences.max_origin_auc: .* within 0\.5\.\.1"):
        limits_of(Params(0.8, 0.9, limit, 0.7, 20))


def test_one_pair_is_no_group():
    with pytest.raises(InputError, match="min_pairs: 1 is less than 2"):
        limits_of(Params(0.8, 0.9, 0.8, 0.7, 1))


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(params, "declared", lambda _: {"audit_preferences": vars(PARAMS)})
    monkeypatch.setattr(tracking, "record", lambda *_: None)
    return tmp_path


def test_the_stage_writes_the_same_bytes_twice(stage: Path):
    artifacts.write(Preferences, pairs(40))
    outputs = (PairAudit.path(), Path("reports/audit_preferences.json"))
    audit_preferences.main()
    first = [path.read_bytes() for path in outputs]
    audit_preferences.main()
    assert [path.read_bytes() for path in outputs] == first


def test_the_stage_leaves_nothing_behind_when_it_refuses(stage: Path):
    artifacts.write(Preferences, pairs(60, kind="circular", rejected=[FIXED[0]] * 60))
    with pytest.raises(InputError):
        audit_preferences.main()
    assert not PairAudit.path().exists()
    assert not (stage / "reports").exists()


def test_dpo_waits_for_the_audit():
    import yaml

    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert "data/pair_audit.parquet" in stages["train_dpo"]["deps"]
