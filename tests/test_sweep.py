"""The table of a sweep: what each experiment set, and what that did on the validation split."""

from pathlib import Path
from typing import Any

import pytest

from schemas.errors import InputError
from stages import tabulate_sweep
from stages.pure import sweep
from stages.pure.sweep import Experiment, settings, table

# as dvc.api.exp_show gives them: a file stands before a name that two files have
SET = {"build_preferences.strategy": "all_pairs", "build_preferences.min_score_gap": 0.3}
SET |= {"train_dpo.beta": 0.5, "train_dpo.loss_type": "['sigmoid']", "evaluate.confidence": 0.95}
MEASURED = {
    "reports/build_preferences.json:metrics.pairs_n": 364.0,
    "reports/train_dpo.json:metrics.pairs_n": 360.0,
    "reports/validate.json:metrics.questions_n": 30.0,
    "metrics.sft_oracle_frac": 0.412,
    "metrics.dpo_oracle_frac": 0.466,
    "metrics.difference_oracle_frac": 0.054,
    "metrics.low_oracle_frac": -0.012,
    "metrics.high_oracle_frac": 0.1199,
    "metrics.difference_judge_stars": 0.0512,
    "reports/validate.json:metrics.difference_words": -1.26,
    "reports/evaluate.json:metrics.difference_words": 99.0,
    "metrics.dpo_is_loop_frac": 0.004,
    "metrics.dpo_stopped_frac": 0.991,
    "metrics.logps_chosen_first_nats": -31.24,
    "metrics.logps_chosen_last_nats": -28.06,
}
BASELINE = Experiment("workspace", SET | MEASURED)


def experiment(name: str, **changed: Any) -> Experiment:
    """Like the baseline, with `changed` (two underscores stand for the dot)."""
    values = {key.replace("__", "."): value for key, value in changed.items()}
    return Experiment(name, {**BASELINE.values, **values})


def lines(text: str) -> list[list[str]]:
    """The cells of each line of a Markdown table."""
    return [line.strip("|").split("|") for line in text.splitlines()]


def row(text: str, name: str) -> dict[str, str]:
    (found,) = [line for line in lines(text) if line[0].strip() == name]
    return {head: cell.strip() for head, cell in zip(sweep.HEAD, found, strict=True)}


# ---- the table -----------------------------------------------------------------------------


def test_a_row_by_hand():
    found = row(table([], BASELINE), "workspace")
    assert found == {
        "rule": "workspace",
        "settings": "as in params.yaml",
        "pairs": "364",
        "oracle, SFT": "41 %",
        "oracle, DPO": "47 %",
        "difference": "+5.4 (-1.2 to +12.0)",
        "judge (stars)": "+0.05",
        "words": "-1.3",  # of validate, whatever evaluate says
        "loops": "0.4 %",
        "stops": "99 %",
        "log p(chosen)": "-31.2 to -28.1",
    }


def test_the_rows_are_sorted_by_name_and_the_baseline_is_last():
    names = ["02-gap", "10-beta", "01-published"]
    text = table([experiment(name) for name in names], BASELINE)
    first = [cells[0].strip() for cells in lines(text)]
    assert first == ["rule", "---", "01-published", "02-gap", "10-beta", "workspace"]
    assert {len(cells) for cells in lines(text)} == {len(sweep.HEAD)}
    assert text.endswith(" |\n")
    assert table([experiment(name) for name in sorted(names)], BASELINE) == text


def test_what_an_experiment_set_is_what_differs_from_the_baseline():
    changed = experiment("x", train_dpo__beta=0.1, build_preferences__min_score_gap=0.6)
    assert settings(changed, BASELINE) == "min_score_gap=0.6, train_dpo.beta=0.1"
    assert settings(experiment("x"), BASELINE) == "as in params.yaml"


def test_other_parameters_and_numbers_are_no_settings():
    changed = experiment("x", evaluate__confidence=0.9, metrics__dpo_oracle_frac=0.1)
    assert settings(changed, BASELINE) == "as in params.yaml"


def test_a_parameter_that_the_baseline_lacks_is_a_setting():
    new = experiment("x", rewards__mine__unit="frac")
    assert settings(new, BASELINE) == "rewards.mine.unit=frac"


def test_an_experiment_that_was_not_validated_is_no_row():
    waiting = [
        experiment(f"x{i}", **{"reports/validate.json:metrics.questions_n": value})
        for i, value in enumerate([None, "", "-", "!"])
    ]
    text = table([*waiting, experiment("done")], BASELINE)
    assert [cells[0].strip() for cells in lines(text)][2:] == ["done", "workspace"]


@pytest.mark.parametrize("missing", [None, "", "-", "!"])
def test_a_number_that_is_missing_is_a_dash_and_not_zero(missing: Any):
    names = [name for name in MEASURED if "questions_n" not in name]
    found = row(table([experiment("x", **dict.fromkeys(names, missing))], BASELINE), "x")
    assert found == {
        "rule": "x",
        "settings": "as in params.yaml",
        "pairs": "–",
        "oracle, SFT": "– %",
        "oracle, DPO": "– %",
        "difference": "– (– to –)",
        "judge (stars)": "–",
        "words": "–",
        "loops": "– %",
        "stops": "– %",
        "log p(chosen)": "– to –",
    }


def test_a_measured_zero_is_a_number():
    found = row(table([experiment("x", metrics__dpo_is_loop_frac=0.0)], BASELINE), "x")
    assert found["loops"] == "0.0 %"


def test_an_unvalidated_baseline_is_still_shown():
    text = table([experiment("x")], Experiment("workspace", SET))
    assert row(text, "workspace")["pairs"] == "–"
    assert row(text, "x")["settings"] == "as in params.yaml"


def test_a_number_is_that_of_the_stage_that_was_named():
    shown = Experiment("x", MEASURED)
    assert shown.metric("build_preferences", "pairs_n") == 364.0
    assert shown.metric("train_dpo", "pairs_n") == 360.0
    assert shown.metric("validate", "low_oracle_frac") == -0.012
    assert shown.metric("validate", "absent_n") is None


# ---- the command ---------------------------------------------------------------------------


def shown(name: str | None, **changed: Any) -> dict[str, Any]:
    """A row of dvc.api.exp_show."""
    return {"Experiment": name, "rev": "abc", **experiment("", **changed).values}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The rows that dvc.api.exp_show gives: workspace, branch, one experiment."""
    import dvc.api

    rows = [
        shown(None, train_dpo__beta=0.5),
        shown(None, train_dpo__beta=0.7),  # the commit that the experiments started from
        shown("01-low", train_dpo__beta=0.1),
    ]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dvc.api, "exp_show", lambda revs: rows)
    return rows


@pytest.mark.usefixtures("checkout")
def test_the_page_has_a_row_per_named_experiment_and_one_of_the_commit(
    capsys: pytest.CaptureFixture[str],
):
    tabulate_sweep.main()
    text = tabulate_sweep.PAGE.read_text(encoding="utf-8")
    assert text.startswith(tabulate_sweep.BELOW)
    assert row(text, "01-low")["settings"] == "train_dpo.beta=0.1"
    assert text.count("\n| ") == 4  # head, rule, two rows
    told = "reports/pair_rules.md: 1 of 1 experiments ran validate; the last row is HEAD\n"
    assert capsys.readouterr().out == told


def test_text_above_the_table_is_kept_and_the_table_is_not_doubled(
    checkout: list[dict[str, Any]],
):
    tabulate_sweep.main()
    page = tabulate_sweep.PAGE
    page.write_text("# Pair rules\n\nWhy – and why not.\n\n" + page.read_text("utf-8"), "utf-8")
    before = page.read_text("utf-8")
    tabulate_sweep.main()
    assert page.read_text("utf-8") == before
    checkout.append(shown("02-high", train_dpo__beta=0.9))
    tabulate_sweep.main()
    after = page.read_text("utf-8")
    assert after.partition(tabulate_sweep.BELOW)[0] == before.partition(tabulate_sweep.BELOW)[0]
    assert after.count(tabulate_sweep.BELOW) == 1
    assert [cells[0].strip() for cells in lines(after) if len(cells) == len(sweep.HEAD)] == [
        *("rule", "---", "01-low", "02-high", "params.yaml"),
    ]


def test_a_checkout_without_experiments_says_how_to_run_one(checkout: list[dict[str, Any]]):
    del checkout[2]
    with pytest.raises(
        InputError, match=r"no experiment of HEAD\. Run some, e\.g\. `dvc exp run validate"
    ):
        tabulate_sweep.main()
    assert not tabulate_sweep.PAGE.exists()
