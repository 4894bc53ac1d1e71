"""A repository with tiny models, and a stage run in it. See tests/tiny_models.py.

A test module asks for these by `pytest_plugins = ["tests.tiny_fixtures"]`.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.runtime import params, tracking
from stages.runtime.encoding import alignment, encoder, similarity
from tests import tiny_models
from tests.tiny_models import Recorded, Stage


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository that tests get a copy of, made once."""
    folder = tmp_path_factory.mktemp("built")
    with contextlib.chdir(folder):
        tiny_models.write_course(tiny_models.course())
        tiny_models.make_base()
        tiny_models.make_policy(Path("models/sft"), seed=1)
        for fold in (0, 1):
            tiny_models.make_verifier(Path(f"models/verifier_reward/fold_{fold}"), seed=2 + fold)
        tiny_models.make_encoder(Path("encoder"))
    return folder


@pytest.fixture
def checkout(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A repository with the course, models/{base,sft,verifier_reward}, as current folder."""
    folder = tmp_path / "checkout"
    shutil.copytree(built, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(encoder, "source", lambda _: (str(folder / "encoder"), None))
    forget_encoders()
    yield folder
    forget_encoders()


def forget_encoders() -> None:
    """One that is kept would be that of another test: they share its name."""
    alignment.reader.cache_clear()
    similarity.loaded.cache_clear()


@pytest.fixture
def run_stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """run_stage(main, item, section={...}): run it without DVC and MLflow, return its record.

    Every stage gets the seed and the profile of the tiny models; a keyword replaces or adds
    a section.
    """

    def run(main: Callable[..., None], *item: str, **sections: Any) -> Recorded:
        recorded: list[Recorded] = []

        def record(stage: str, _: Any, inputs: Any, outputs: Any, metrics: Any, curve: Any) -> None:
            recorded.append(Recorded(stage, inputs, outputs, metrics, curve))

        given = tiny_models.profile() | sections
        monkeypatch.setattr(params, "declared", lambda stage: given)
        monkeypatch.setattr(tracking, "record", record)
        main(*item)
        (only,) = recorded
        return only

    return run
