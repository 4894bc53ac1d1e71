"""MLflow lineage: every run, table and adapter under the digest that dvc.lock holds.

The only module that imports mlflow. Bytes stay in the DVC cache; MLflow knows where they
are and which md5 they have. Run ids, times and paths never enter a DVC output.
"""

import contextlib
import fcntl
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.runtime.loading.digests import dvc_md5

if TYPE_CHECKING:
    import pandas as pd

EXPERIMENT = "peerwise-explanations"


def home() -> Path:
    """The user's checkout, also when DVC runs us in a throw-away copy of it."""
    parts = Path(os.environ.get("DVC_ROOT", ".")).resolve().parts
    for i in range(len(parts)):
        if parts[i : i + 3] == (".dvc", "tmp", "exps"):
            return Path(*parts[:i])
    return Path(*parts)


@contextlib.contextmanager
def first_use_lock() -> Iterator[None]:
    """One process at a time creates the database: MLflow's migrations are not race-safe."""
    folder = home() / ".dvc" / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "mlflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def connect() -> Any:
    """Open (or create) the store of the checkout: <checkout>/mlflow.db, or MLFLOW_TRACKING_URI."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before the first import
    import logging

    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home() / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    with first_use_lock():
        if mlflow.get_experiment_by_name(EXPERIMENT) is None:
            location = (home() / "mlartifacts").as_uri()
            mlflow.create_experiment(EXPERIMENT, artifact_location=location)
        mlflow.set_experiment(EXPERIMENT)
    return mlflow


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested parameters as dotted names, as `dvc params diff` shows them."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[allowed(f"{prefix}{name}")] = json.dumps(value)
    return flat


def allowed(name: str) -> str:
    """`name` with the characters that MLflow refuses (an export may be called anything) as _."""
    return re.sub(r"[^\w\-./ :]", "_", name)


def tags(stage: str) -> dict[str, str]:
    """Which stage, which experiment, which commit."""
    revision = os.environ.get("DVC_EXP_BASELINE_REV")
    if not revision:
        git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
        revision = git.stdout.strip()
    experiment = os.environ.get("DVC_EXP_NAME", "workspace")
    return {"dvc.stage": stage, "dvc.exp": experiment, "dvc.baseline": revision}


def record(
    stage: str,
    given: dict[str, Any],
    inputs: list[Path],
    outputs: list[Path],
    metrics: dict[str, float],
    curve: "pd.DataFrame | None",
) -> None:
    """Write one finished stage to MLflow: parameters, digests, metrics and training curve."""
    mlflow = connect()
    with mlflow.start_run(run_name=stage, tags=tags(stage)):
        mlflow.log_params(flatten(given))
        if metrics:
            mlflow.log_metrics(metrics)
        if curve is not None:
            log_curve(mlflow, curve)
        for path in dict.fromkeys(inputs):
            log_digest(mlflow, path, "input")
        for path in dict.fromkeys(outputs):
            log_digest(mlflow, path, "output")
            if path.parts[0] == "models":
                log_model(mlflow, path)


def log_curve(mlflow: Any, curve: "pd.DataFrame") -> None:
    """The training curve in one batch: 100 single calls would take seconds."""
    from mlflow.entities import Metric

    points = [
        Metric(f"curve/{name}", float(value), timestamp=0, step=int(row.step))
        for _, row in curve.iterrows()
        for name, value in row.items()
        if name != "step" and value == value
    ]
    run_id = mlflow.active_run().info.run_id
    for start in range(0, len(points), 1000):  # MLflow's limit per batch
        mlflow.MlflowClient().log_batch(run_id, metrics=points[start : start + 1000])


def log_digest(mlflow: Any, path: Path, context: str) -> None:
    """Name a file or folder by its DVC digest, as tag and as MLflow dataset."""
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset

    digest = dvc_md5(path)
    mlflow.set_tag(allowed(f"{context}.{path.as_posix()}.md5"), digest)
    source = CodeDatasetSource(tags={"dvc.path": path.as_posix()})
    dataset = MetaDataset(source=source, name=path.as_posix(), digest=digest)
    mlflow.log_input(dataset, context=context)


def log_model(mlflow: Any, path: Path) -> None:
    """Register where a model is; its bytes stay in the DVC cache only."""
    from mlflow.entities import LoggedModelOutput

    run_id = mlflow.active_run().info.run_id
    model = mlflow.create_external_model(
        name=path.name.replace("_", "-"),
        model_type="adapter",
        source_run_id=run_id,
        tags={"dvc.path": path.as_posix(), "dvc.md5": dvc_md5(path)},
    )
    mlflow.MlflowClient().log_outputs(run_id, models=[LoggedModelOutput(model.model_id, step=0)])
