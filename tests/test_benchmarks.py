"""Every benchmark runs, compares before it times, and can fail; tables say what was measured."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.errors import InputError
from stages import benchmarks
from stages.benches import (
    catalogue,
    dpo_steps,
    entailing,
    measure,
    prefill,
    rating,
    sampling,
    scoring_pairs,
    sft_steps,
    shapes,
    swapping,
    tables,
    text_pairs,
    training_steps,
)
from stages.benches.measure import Case, Check, Goal, How, Lap, Phase, Way

PROBE = {
    "bytes_per_second": 1e9,
    "float32_flops_per_second": 1e10,
    "bfloat16_flops_per_second": 4e10,
}
KEYS = {"id", "description", "machine", "probe", "rows", "checks", "details", "verdict", "facts"}
ROW = {"way", "median_seconds", "min_seconds", "max_seconds", "cpu_seconds", "items_per_second"}
ROW |= {"ratio_to_naive", "ratio_to_strong", "limit_frac", "measured_frac", "role", "dtype"}


@pytest.fixture
def how(tmp_path: Path) -> How:
    return How("cpu", 1, 1, True, tmp_path)


# ---- every benchmark -----------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({*catalogue.BENCHES} - {"c9"}))  # c9 runs DVC: minutes
def test_a_benchmark_runs_and_its_json_is_complete(name: str, how: How):
    body = benchmarks.run(name, how)
    assert set(body) >= KEYS
    assert body["checks"]
    assert body["verdict"]["is_equal"], body["checks"]
    assert all(set(row) >= ROW for row in body["rows"])
    assert all(row["median_seconds"] > 0 for row in body["rows"])
    assert {"processor", "threads", "torch"} <= set(body["machine"])
    assert json.loads(benchmarks.json_text(body))["id"] == name
    roles = {row["role"] for row in body["rows"]}
    assert roles >= ({"ours"} if name in {"c2", "g0"} else {"ours", "naive", "strong"})
    assert body["verdict"]["goals"] or name == "g0"
    assert f"## {name.upper()}. " in tables.section(body)


def test_the_sizes_are_those_that_are_told(how: How):
    for size, wanted in [(shapes.DECODER_26M, 26e6), (shapes.DECODER_16M, 16e6)]:
        body, head = shapes.parameters(shapes.llama(size, how))
        assert body + head == pytest.approx(wanted, rel=0.05)
        assert training_steps.body_of(size) == pytest.approx(body, rel=0.001)  # norms left out
    # Llama-3-8B by its published shape: 6.98 B in the layers
    assert training_steps.body_of(shapes.LLAMA3_8B) == pytest.approx(6.979e9, rel=0.001)
    size = shapes.NARROW_224
    assert size.layers * len(shapes.LORA_TARGETS) == 224


# ---- checks can fail -----------------------------------------------------------------------


def unequal(name: str, how: How) -> dict[str, Any]:
    """The body of a benchmark whose ways do not agree."""
    body = benchmarks.run(name, how)
    assert not body["verdict"]["is_equal"]
    assert not body["verdict"]["is_met"]
    assert body["rows"] == []  # nothing was timed
    assert "NOT MET" in tables.section(body)
    return body


def test_other_answers_are_seen(how: How, monkeypatch: pytest.MonkeyPatch):
    usual = sampling.ours

    def wrong(*given: Any) -> list[list[int]]:
        first, *rest = usual(*given)
        return [[*first[:-1], first[-1] + 1], *rest]

    monkeypatch.setattr(sampling, "ours", wrong)
    assert unequal("c1", how)["checks"][0]["value"] == 1


def test_an_answer_that_hangs_on_its_company_is_seen(how: How, monkeypatch: pytest.MonkeyPatch):
    usual = prefill.ours
    monkeypatch.setattr(prefill, "ours", lambda *given: usual(*given)[::-1])
    unequal("c2", how)


@pytest.mark.parametrize("error", [1e-3, 1.0])
def test_other_label_logits_are_seen(error: float, how: How, monkeypatch: pytest.MonkeyPatch):
    usual = rating.ours

    def wrong(*given: Any) -> np.ndarray:
        found = usual(*given)
        return found + error * np.linspace(-1, 1, found.size).reshape(found.shape)

    monkeypatch.setattr(rating, "ours", wrong)
    unequal("c3", how)


def test_another_order_of_ratings_is_seen():
    # expected stars of one-hot logits: 1, 2 and 3; the second order has one pair of three turned
    logits = 50.0 * np.eye(5)[[0, 1, 2]]
    assert rating.ratings(logits) == pytest.approx([1, 2, 3])
    (_, tau) = rating.agreement("x", logits[[1, 0, 2]], logits, 1e-4)
    assert tau.value == pytest.approx(1 - 1 / 3)
    assert not tau.is_met


def test_other_features_are_seen(how: How, monkeypatch: pytest.MonkeyPatch):
    usual = entailing.distinct_once
    monkeypatch.setattr(entailing, "distinct_once", lambda *given: usual(*given) + 1e-4)
    unequal("c4", how)


def test_another_bertscore_is_seen(how: How, monkeypatch: pytest.MonkeyPatch):
    usual = scoring_pairs.ours
    monkeypatch.setattr(scoring_pairs, "ours", lambda *given: usual(*given) + 2e-6)
    unequal("c5", how)


@pytest.mark.parametrize(("name", "steps"), [("c6", dpo_steps), ("c7", sft_steps)])
def test_rows_in_another_order_are_seen(
    name: str, steps: Any, how: How, monkeypatch: pytest.MonkeyPatch
):
    usual = steps.training
    fit = "fit_dpo" if name == "c6" else "fit_sft"
    original = getattr(usual, fit)
    monkeypatch.setattr(
        usual,
        fit,
        lambda policy, tokenizer, rows, *a, **k: original(policy, tokenizer, rows[::-1], *a, **k),
    )
    unequal(name, how)


def test_losses_move_so_that_their_equality_says_something(how: How):
    case = dpo_steps.dpo_case(training_steps.SMALL, how)
    trained = case.ways[0].run(case.ways[0].prepare())
    assert trained.losses[0] == pytest.approx(math.log(2), abs=1e-6)  # policy = reference
    assert abs(trained.losses[-1] - math.log(2)) > 1e-3
    assert trained.tokens_n > trained.real_tokens_n > 0


def test_another_adapter_is_seen(how: How, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(swapping.Swapped, "activate", lambda self, number: None)
    unequal("c8", how)


@pytest.mark.parametrize("value", [math.nan, 1.1])
def test_a_check_that_is_not_met(value: float):
    assert not Check("x", value, 1.0).is_met
    assert Check("x", 1.0, 1.0).is_met


def test_losses_that_are_not_as_many_are_not_equal():
    few, more = training_steps.Trained([1.0]), training_steps.Trained([1.0, 1.0])
    assert not training_steps.loss_check("x", few, more, 1.0).is_met
    empty = training_steps.Trained()
    assert not training_steps.loss_check("x", empty, empty, 1.0).is_met


# ---- arithmetic ----------------------------------------------------------------------------


def laps(*seconds: float) -> list[Lap]:
    return [Lap(one, one / 2, None) for one in seconds]


def test_rounds_alternate_and_only_run_is_timed(how: How, monkeypatch: pytest.MonkeyPatch):
    order: list[str] = []
    now = [0.0]
    monkeypatch.setattr(measure.time, "perf_counter", lambda: now[0])

    def way(name: str, seconds: float, scale: float = 1.0) -> Way:
        def prepare() -> str:
            now[0] += 100.0
            return f"prepared {name}"

        def run(given: str) -> str:
            order.append(name)
            now[0] += seconds
            return given

        return Way(name, "ours", run, prepare, scale=scale)

    found = measure.alternate([way("a", 1.0), way("b", 2.0, 4.0)], replace(how, rounds=3))
    assert order == ["a", "b"] * 3
    assert [lap.seconds for lap in found["a"]] == [1.0] * 3
    assert [lap.seconds for lap in found["b"]] == [8.0] * 3  # a fourth was done: times four
    assert found["a"][0].output == "prepared a"


def test_the_least_time_is_the_slower_of_products_and_memory():
    # 2e10 FLOPs at 1e10/s take 2 s, 1e9 numbers of 4 bytes at 1e9/s take 4 s; twice
    work = [Phase(2e10, 1e9, 2), Phase(1e10)]
    assert measure.least_seconds(work, PROBE, "float32") == pytest.approx(2 * 4 + 1)
    # in bfloat16 0.5 s and 2 s; twice; then 0.25 s
    assert measure.least_seconds(work, PROBE, "bfloat16") == pytest.approx(2 * 2 + 0.25)


def case(**given: Any) -> Case:
    ways = [Way("ours", "ours", str), Way("loop", "naive", str), Way("lib", "strong", str)]
    return Case(12, "things", ways, lambda: [], [Phase(1e10)], **given)


TIMES = {"ours": laps(2, 4, 3), "loop": laps(11, 12, 19), "lib": laps(6, 5, 9)}


def test_a_row_by_hand():
    ours, loop, lib = measure.rows_of(case(), TIMES, PROBE)
    assert (ours["median_seconds"], ours["min_seconds"], ours["max_seconds"]) == (3, 2, 4)
    assert (ours["cpu_seconds"], ours["items_per_second"]) == (1.5, 4)
    assert (ours["ratio_to_naive"], ours["ratio_to_strong"]) == (4, 2)
    assert (loop["ratio_to_naive"], lib["ratio_to_strong"]) == (1, 1)
    assert ours["limit_frac"] == pytest.approx(1 / 3)  # 1e10 FLOPs at 1e10/s in 3 s


def test_targets_by_hand():
    given = case(goals=lambda found: [measure.faster(found, "ours", "loop", 4.5)], limit_wanted=0.3)
    rows = measure.rows_of(given, TIMES, PROBE)
    slower, share = measure.goals_of(given, TIMES, rows)
    assert (slower.found, slower.is_met) == (4, False)
    assert (share.found, share.is_met) == (pytest.approx(1 / 3), True)
    assert Goal("ms", 9.0, 10.0, is_at_most=True).is_met
    assert not Goal("ms", math.nan, 10.0, is_at_most=True).is_met


def test_the_work_of_a_prompt_and_of_a_step_by_hand():
    size = shapes.Size(2, 8, 2, 1, 16, 100)
    # 3 + 1 tokens through 50 parameters, twice; attention 2 layers * width 8 * 2 * (9 + 1)
    assert shapes.reading(50, size, [3, 1]).flops == 2 * 50 * 4 + 2 * 2 * 8 * 10
    # per row 2 * (50 + 20) and 4 * context * width * layers; keys and values of one head of 4
    step = shapes.decoding(50, 20, size, [10, 30], 7)
    assert step.flops == 2 * 140 + 4 * 40 * 8 * 2
    assert step.numbers == 70 + 40 * (2 * 2 * 1 * 4)
    assert step.count == 7


def test_the_gain_of_sharing_by_hand():
    found = {"shared 100/6": laps(2), "repeated 100/6": laps(3)}
    row = prefill.gains_row(found, 100, 6, 50)
    # (6 * 100 + 6 * 50) / (100 + 6 * 50) = 900 / 400
    assert (row["gain"], row["formula"]) == (1.5, 2.25)
    assert row["gain_frac"] == pytest.approx(1.5 / 2.25)


def test_a_swap_is_told_by_its_median_and_95th_percentile():
    rows = [{"swap": float(ms), "token": 1.0} for ms in range(101)]
    told = swapping.told({"activate": [Lap(1, 1, rows)]})["milliseconds"]["activate"]
    assert (told["swap_p50"], told["swap_p95"], told["token_p50"]) == (50, 95, 1)


def test_pairs_are_shared_and_repeated_as_told(how: How):
    plan = replace(text_pairs.SMALL, pairs_n=100, sharing=5)
    pairs = text_pairs.pairs_of(plan, how)
    assert len(pairs) == 100
    assert len(set(pairs)) == 60  # 40 % are repeated
    assert len({b for _, b in pairs}) == 60 / 5
    assert pairs == text_pairs.pairs_of(plan, how)


# ---- tables and the command ----------------------------------------------------------------


def body(name: str = "c1") -> dict[str, Any]:
    return {
        "id": name,
        "description": "Things",
        "is_small": False,
        "machine": {"gpu": None, "processor": "CPU X", "threads": 2, "torch": "2.0"},
        "probe": PROBE,
        "items": 12,
        "unit": "things",
        "rounds": 3,
        "rows": measure.rows_of(case(), TIMES, PROBE),
        "checks": [{"name": "difference", "value": 0.5, "limit": 1.0, "is_met": True}],
        "details": {"gains": [{"gain": 1.5}], "steps": {"ours": {"tokens": 3, "peak": None}}},
        "verdict": {
            "goals": [
                {"name": "speed", "found": 4.0, "wanted": 6.0, "is_at_most": False, "is_met": False}
            ]
        },
    }


def test_a_table_by_hand():
    lines = tables.section(body()).split("\n")
    assert lines[0] == "## C1. Things"
    assert lines[2].startswith("CPU X, 2 threads, torch 2.0; 1.0 GB/s, float32 10 GFLOP/s")
    assert "| ours | 3 | 2 - 4 | 1.5 | 4 | 4.00 | 2.00 | 33.3% |" in lines
    assert "- check: difference: 0.5 (<= 1) met" in lines
    assert "- target: speed: 4 (>= 6) NOT MET" in lines
    assert "- gains: 0: gain 1.5" in lines
    assert "- steps: ours: tokens 3" in lines


def test_a_quick_run_and_a_part_that_was_timed_say_so():
    given = body() | {"is_small": True}
    given["rows"][1]["measured_frac"] = 0.25
    text = tables.section(given)
    assert "A quick run whose times mean nothing." in text
    assert "| loop \\* |" in text


def test_the_table_has_every_file_in_the_order_of_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"reports/benchmarks: holds no measurement"):
        benchmarks.main(table=Path("t.md"))
    benchmarks.FOLDER.mkdir(parents=True)
    for name in ("c2", "c1"):
        (benchmarks.FOLDER / f"{name}.json").write_text(benchmarks.json_text(body(name)))
    benchmarks.main(table=Path("t.md"))
    text = Path("t.md").read_text()
    assert text.index("## C1.") < text.index("## C2.")


def test_the_command_writes_json_and_prints_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    target = tmp_path / "new" / "g0.json"
    benchmarks.main("G0", to=target, threads=1, rounds=1, small=True)
    told = json.loads(target.read_text())
    assert told["verdict"]["is_equal"]
    assert capsys.readouterr().out == tables.section(told) + "\n"


def test_the_command_lists_all(capsys: pytest.CaptureFixture[str]):
    benchmarks.main(list_=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*catalogue.BENCHES]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("c11", "Did you mean 'c1'?"), ("g77", "Known: ['c1', "), ("xyz", "Known: ['c1', ")],
)
def test_an_unknown_benchmark_is_one_line_with_the_nearest_name(name: str, hint: str):
    with pytest.raises(InputError) as caught:
        benchmarks.main(name)
    assert str(caught.value).startswith(f"{name}: there is no such benchmark. {hint}")


def test_one_thing_at_a_time():
    with pytest.raises(InputError, match="give one of"):
        benchmarks.main()
    with pytest.raises(InputError, match="give one of"):
        benchmarks.main("c1", list_=True)


def test_a_gpu_that_is_not_there_is_one_line(how: How, monkeypatch: pytest.MonkeyPatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="torch finds no GPU"):
        benchmarks.run("g0", replace(how, device="cuda"))


def test_numbers_that_are_not_finite_are_null():
    given = {"a": math.nan, "b": [1.0, math.inf], "c": {"d": (2, "x")}}
    assert json.loads(benchmarks.json_text(given)) == {
        "a": None,
        "b": [1.0, None],
        "c": {"d": [2, "x"]},
    }
