"""The whole route once, small, in a copy of the working tree: what DVC and MLflow then know.

The copy is that of tests/micro_route.py.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from stages.benches.workspace import set_values
from tests.imports import DATA_CODE, FIRST_PARTY
from tests.micro_route import SMALL, run
from tests.pipeline import stages
from tests.test_pipeline import PLUMBING

pytest_plugins = ["tests.micro_route"]
pytestmark = pytest.mark.route


@pytest.fixture(scope="module")
def route(micro_route: Path) -> Path:
    """The copy after `dvc repro` with small numbers."""
    return micro_route


@contextmanager
def edited(file: Path, text: str) -> Iterator[None]:
    """The file with other content, for the length of a block."""
    before = file.read_bytes()
    file.write_text(text, encoding="utf-8")
    try:
        yield
    finally:
        file.write_bytes(before)


def stale(copy: Path) -> set[str]:
    """The stages whose own dependencies or parameters changed, as `dvc status` has them."""
    from dvc.repo import Repo

    with Repo(str(copy)) as repository:
        return {name.rsplit(":")[-1] for name in repository.status()}


def would_run(copy: Path) -> set[str]:
    """The stages that `dvc repro` would run, followers included."""
    done = run(copy, "dvc", "repro", "--dry")
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"Running stage '([^']+)'", done.stdout))


def followers(names: set[str]) -> set[str]:
    """`names` and every stage that reads what they write, directly or not."""
    found = set(names)
    while True:
        outs = {out for name in found for out in stages()[name].outs}
        more = {name for name, stage in stages().items() if stage.deps & outs} - found
        if not more:
            return found
        found |= more


# ---- it runs -----------------------------------------------------------------------------


def test_the_route_ends_in_a_report(route: Path):
    assert (route / "reports/index.html").stat().st_size > 1000
    missing = [
        out for stage in stages().values() for out in stage.outs if not (route / out).exists()
    ]
    assert missing == []


def test_a_second_run_has_nothing_to_do(route: Path):
    done = run(route, "dvc", "repro")
    assert "Data and pipelines are up to date" in done.stdout
    assert "Running stage" not in done.stdout
    assert stale(route) == set()


def test_git_would_add_nothing_but_reports_and_the_lock(route: Path):
    status = run(route, "git", "status", "--porcelain").stdout.splitlines()
    names = {line[3:] for line in status} - {"dvc.lock", *SMALL}
    assert {name for name in names if not name.startswith("reports/")} == set()


def test_outputs_hold_no_path_of_this_machine(route: Path):
    home = str(route).encode()
    outs = [route / out for stage in stages().values() for out in stage.outs]
    files = [f for out in outs for f in ([out] if out.is_file() else sorted(out.rglob("*")))]
    assert [str(f) for f in files if f.is_file() and home in f.read_bytes()] == []


# ---- MLflow and DVC tell one story -------------------------------------------------------


def test_mlflow_holds_the_digests_of_the_lock_file(route: Path):
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{route / 'mlflow.db'}")
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    tags = {
        r.data.tags["dvc.stage"]: r.data.tags for r in client.search_runs(ids, max_results=1000)
    }
    lock = yaml.safe_load((route / "dvc.lock").read_text())["stages"]
    assert set(tags) == set(lock) == set(stages())
    compared = 0
    for name, stage in lock.items():
        for context, key in (("input", "deps"), ("output", "outs")):
            for entry in stage.get(key, []):
                path, tag = entry["path"], f"{context}.{entry['path']}.md5"
                if path.endswith(".parquet") or path.startswith("models/"):
                    assert tags[name][tag] == entry["md5"], f"{name}: {path}"
                    compared += 1
    assert compared > len(lock)


# ---- what reruns when something is edited ------------------------------------------------


def test_an_edit_of_any_code_names_every_stage_that_it_can_change(route: Path):
    suffixes = (".py", *DATA_CODE)
    code = {d for s in stages().values() for d in s.deps if d.startswith(FIRST_PARTY)}
    code = {path for path in code if path.endswith(suffixes)}
    assert len(code) > len(stages())
    for path in sorted(code):
        with edited(route / path, (route / path).read_text(encoding="utf-8") + "\n"):
            expected = {name for name, stage in stages().items() if path in stage.deps}
            assert stale(route) == expected, path
    assert stale(route) == set()


def test_an_edit_of_the_plumbing_reruns_nothing(route: Path):
    for path in sorted(PLUMBING):
        (route / path).write_text((route / path).read_text(encoding="utf-8") + "\n")
    assert stale(route) == set()


@pytest.mark.parametrize(
    ("key", "value", "first"),
    [
        ("train_dpo.beta", 0.2, {"train_dpo", "repeat_training"}),
        ("build_preferences.min_score_gap", 0.002, {"build_preferences", "repeat_training"}),
        ("evaluate.bootstrap_samples", 60, {"evaluate", "judge_test_api", "validate"}),
        ("report.examples", 1, {"report"}),
    ],
)
def test_an_edited_parameter_reruns_its_stage_and_what_follows(
    route: Path, key: str, value: object, first: set[str]
):
    file = route / "params.yaml"
    with edited(file, file.read_text()):
        set_values(file, {key: value})
        # the report lists every parameter, so it is always among the stale ones
        assert stale(route) == first | {"report"}
        assert first <= would_run(route) <= followers(first)


def test_a_wider_gap_samples_and_scores_nothing_again():
    dear = {"prepare_base", "train_sft", "train_verifier@reward", "sample_candidates"}
    assert followers({"build_preferences"}).isdisjoint(
        dear | {"score_candidates", "make_negatives"}
    )


def test_a_wider_gap_runs_the_stage_that_pairs_and_none_before_it(route: Path):
    set_values(route / "params.yaml", {"build_preferences.min_score_gap": 0.002})
    done = run(route, "dvc", "repro", "build_preferences")
    assert done.returncode == 0, done.stderr
    assert re.findall(r"Running stage '([^']+)'", done.stdout) == ["build_preferences"]


def test_a_new_beta_trains_dpo_and_lets_the_other_policies_be():
    changed = {"train_dpo", "validate", "explain_test@dpo", "evaluate", "judge_test_api", "report"}
    assert followers({"train_dpo"}) == changed
