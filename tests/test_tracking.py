"""MLflow knows every input and output by the digest that DVC writes to dvc.lock."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from stages.runtime import tracking
from stages.runtime.loading.digests import dvc_md5
from tests.imports import ROOT


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# ---- digests -----------------------------------------------------------------------------


def test_a_digest_is_the_one_that_dvc_writes(here: Path):
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run(["git", "init", "--quiet"], check=True)
    subprocess.run([*dvc, "init", "--quiet"], check=True)
    write(Path("table.parquet"), bytes(range(256)) * 5000)
    # names whose order depends on how a path is compared, and bytes that text modes change
    for name in ("a.b", "a/b", "a-b", "Z", "ä ü.txt", "a/é/x"):
        write(Path("folder", name), f"{name}\r\n".encode())
    write(Path("folder/empty"), b"")
    Path("folder/no files").mkdir()
    subprocess.run([*dvc, "add", "--quiet", "table.parquet", "folder"], check=True)
    for name in ("table.parquet", "folder"):
        (out,) = yaml.safe_load(Path(f"{name}.dvc").read_text())["outs"]
        assert dvc_md5(Path(name)) == out["md5"]


def test_a_digest_changes_with_a_byte_and_with_a_name(here: Path):
    before = {dvc_md5(write(Path("m/a")).parent)}
    before.add(dvc_md5(write(Path("m/a"), b"y").parent))
    before.add(dvc_md5(Path("m/a").rename("m/b").parent))
    assert len(before) == 3


def test_what_does_not_exist_has_no_digest(here: Path):
    with pytest.raises(FileNotFoundError):
        dvc_md5(Path("nothing"))


# ---- runs --------------------------------------------------------------------------------


def runs(stage: str) -> list[Any]:
    mlflow = tracking.connect()
    experiment = mlflow.get_experiment_by_name(tracking.EXPERIMENT).experiment_id
    return mlflow.MlflowClient().search_runs([experiment], f"tags.`dvc.stage` = '{stage}'")


def record(stage: str, **given: Any) -> Any:
    """Record a run with only what is given, and read it back."""
    nothing: dict[str, Any] = {"inputs": [], "outputs": [], "metrics": {}, "curve": None}
    tracking.record(stage, **({"given": {}} | nothing | given))
    (run,) = runs(stage)
    return run


def test_a_run_holds_parameters_metrics_and_digests(here: Path):
    questions, model = write(Path("data/questions.parquet")), Path("models/dpo")
    write(model / "adapter.safetensors")
    run = record(
        "t_run@dpo",
        given={"seed": 13, "train_dpo": {"beta": 0.1, "loss_type": ["sigmoid"]}},
        inputs=[questions, questions],
        outputs=[model],
        metrics={"pairs_n": 2.0},
    )
    assert run.data.params == {
        "seed": "13",
        "train_dpo.beta": "0.1",
        "train_dpo.loss_type": '["sigmoid"]',
    }
    assert run.data.metrics == {"pairs_n": 2.0}
    assert run.data.tags["input.data/questions.parquet.md5"] == dvc_md5(questions)
    assert run.data.tags["output.models/dpo.md5"] == dvc_md5(model)
    assert {d.dataset.name: d.dataset.digest for d in run.inputs.dataset_inputs} == {
        "data/questions.parquet": dvc_md5(questions),
        "models/dpo": dvc_md5(model),
    }


def test_runs_are_found_by_the_digest_of_a_table(here: Path):
    path = write(Path("data/found.parquet"), b"only here")
    record("t_digest", inputs=[path])
    mlflow = tracking.connect()
    found = mlflow.search_runs(filter_string=f"dataset.digest = '{dvc_md5(path)}'")
    assert found["tags.dvc.stage"].tolist() == ["t_digest"]


def test_a_model_is_found_by_its_digest_and_leads_to_its_run(here: Path):
    model = write(Path("models/verifier_judge/adapter"), b"judge").parent
    run = record("t_model", outputs=[model])
    mlflow = tracking.connect()
    where = f"tags.`dvc.md5` = '{dvc_md5(model)}'"
    (found,) = mlflow.search_logged_models(filter_string=where, output_format="list")
    assert found.source_run_id == run.info.run_id
    assert found.tags["dvc.path"] == "models/verifier_judge"


def test_a_curve_is_recorded_point_by_point_without_its_nulls(here: Path):
    steps = 1500  # more than MLflow takes in one batch
    curve = pd.DataFrame(
        {"step": range(steps), "loss": 1.0, "margin": [None, *[0.5] * (steps - 1)]}
    )
    run = record("t_curve", curve=curve)
    client = tracking.connect().MlflowClient()
    loss = client.get_metric_history(run.info.run_id, "curve/loss")
    margin = client.get_metric_history(run.info.run_id, "curve/margin")
    assert ([p.step for p in loss], len(margin)) == ([*range(steps)], steps - 1)


def test_names_and_values_that_mlflow_refuses_do_not_fail_a_finished_stage(here: Path):
    path = write(Path("data/raw/Kurs (2024), Übung+.csv"))
    many = {f"key{i}": i for i in range(150)}  # more than one batch
    run = record("t_names", inputs=[path], given={"a (b)": {"ä+": "x" * 7000}, **many})
    assert run.data.tags["input.data/raw/Kurs _2024__ Übung_.csv.md5"] == dvc_md5(path)
    assert run.data.params["a _b_.ä_"].startswith('"xxx')
    assert run.data.params["key149"] == "149"


# ---- where the database is ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("root", "home"),
    [
        ("/a/b", "/a/b"),
        ("/a/b/.dvc/tmp/exps/tmpx1", "/a/b"),
        ("/a/b/.dvc/tmp/exps/standalone/tmpx1", "/a/b"),
    ],
)
def test_an_experiment_in_a_throw_away_copy_is_recorded_in_the_checkout(
    monkeypatch: pytest.MonkeyPatch, root: str, home: str
):
    monkeypatch.setenv("DVC_ROOT", root)
    assert str(tracking.home()) == home


def test_the_experiment_and_its_baseline_are_in_the_tags(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DVC_EXP_NAME", "beta-1")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "abc")
    assert tracking.tags("s") == {"dvc.stage": "s", "dvc.exp": "beta-1", "dvc.baseline": "abc"}


def test_two_stages_may_be_the_first_to_use_the_database_at_once(here: Path):
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    environment |= {"DVC_ROOT": str(here), "PYTHONPATH": str(ROOT)}
    code = "from stages.runtime import tracking; tracking.connect()"
    started = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(2)]
    assert [process.wait(timeout=120) for process in started] == [0, 0]
    assert (here / "mlflow.db").exists()
