"""The whole route once, small, in a copy of the working tree; tests that need it share one.

The copy holds what Git holds or would add. Its numbers mean nothing; they are only small
enough for minutes on two cores. Everything offline, with no MLflow server.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from stages.benches.workspace import copy_of_the_working_tree, set_values

# file -> dotted key -> value. A key that is not there is an error: the run would not be small.
CHECKS = ["partial_spearman_corr", "pair_accuracy_frac", "swap_spearman_drop_corr"]
CHECKS += ["swap_accuracy_frac"]
SMALL: dict[str, dict[str, Any]] = {
    "params.yaml": {
        "profile": "tiny",
        "make_sample_course.max_facts": 40,
        "prepare_questions.min_ratings": 1,
        "sample_candidates.max_questions": 12,
        "sample_candidates.temperatures": [0.5, 1.1],
        "build_preferences.min_score_gap": 0.001,
        # a base of eight batches writes noise, which is told from students' texts at once
        **{
            f"audit_preferences.max_{name}_auc": 1.0
            for name in ("length", "bag_of_words", "origin", "repeated_text")
        },
        # nor can its verifier pass the gate: one check that every verifier meets
        **{f"check_verifier.min_{name}": None for name in CHECKS},
        "check_verifier.min_spearman_corr": -2.0,
        "validate.samples": 1,
        "repeat_training.seeds": [14],
        "explain_test.max_questions": 6,
        "explain_test_ilearner.max_questions": 4,
        "explain_test_ilearner.rounds": 2,
        "evaluate.bootstrap_samples": 50,
        "report.examples": 2,
    },
    "stages/profiles/tiny.yaml": {
        "model.threads": 1,
        "encoder.threads": 1,
        "base.layers": 1,
        "base.width": 32,
        "base.heads": 2,
        "base.feed_forward": 64,
        "base.vocabulary": 1500,
        "base.copy_steps": 4,
        "base.copy_batch_size": 4,
        "base.steps": 8,
        "reading.short_steps": 4,
        "reading.steps": 8,
        "reading.batch_size": 4,
        **{
            f"students.student_{i}.{key}": value
            for i in range(2)
            for key, value in {"threads": 1, "size.layers": 1, "size.width": 32}.items()
        },
        "generation.max_new_tokens": 12,
        **{f"{name}.epochs": 1 for name in ("sft", "verifier", "dpo")},
    },
}


def environment(**more: str) -> dict[str, str]:
    """Offline, with this environment's programs first."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_"))}
    inherited.pop("PYTHONPATH", None)
    return inherited | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_WAIT_POLICY": "PASSIVE",
        **more,
    }


def run(folder: Path, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the copy; `more` goes to its environment."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def build(copy: Path, store: Path) -> None:
    """Run the route in a new copy; rows are kept in `store`."""
    copy_of_the_working_tree(copy)
    for file, changes in SMALL.items():
        set_values(copy / file, changes)
    done = run(copy, "dvc", "repro", PEERWISE_STORE=str(store))
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"


@pytest.fixture(scope="module")
def micro_route(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy after `dvc repro` with small numbers, for one module to change as it likes.

    The workers of one test run build it once: the first does, the others wait and copy.
    """
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    with FileLock(shared / "micro_route.lock"):
        if not (shared / "micro_route/done").exists():
            shutil.rmtree(shared / "micro_route", ignore_errors=True)  # of a build that failed
            build(shared / "micro_route/copy", shared / "micro_route/store")
            (shared / "micro_route/done").touch()
    own = tmp_path_factory.mktemp("route") / "copy"
    shutil.copytree(shared / "micro_route/copy", own, symlinks=True)
    return own
