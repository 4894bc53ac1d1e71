"""A training that is killed goes on as if nothing had been, and never from a damaged checkpoint.

Every fault is made for real: processes kill themselves with SIGKILL, files are cut and removed.
"""

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import InputError
from stages import train_verifier
from stages.runtime import classifiers, resume
from stages.runtime.loading import checkpoints
from stages.runtime.resume import UNNEEDED
from stages.runtime.tuning import fitting
from stages.runtime.tuning import training as trainers
from tests import resumed_training as kinds
from tests import tiny_models
from tests.resumed_training import KINDS, OFTEN, train
from tests.tiny_models import MODEL, TRAINING, Stage, tree_bytes

pytest_plugins = ["tests.tiny_fixtures"]

PRELOADED = ["trl.trainer.sft_trainer", "trl.trainer.dpo_trainer", "tests.resumed_training"]
each_kind = pytest.mark.parametrize("kind", KINDS)


def in_a_process(
    kind: str, target: str, step: int | None = None, seconds: float | None = OFTEN
) -> int:
    """The training in a process of its own, in the current folder; its exit code.

    With `step` it kills itself in the midst of its update of that number. A server that has
    imported the libraries, and done nothing else, forks the processes: to import takes seconds.
    """
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(PRELOADED)
    given = kind, Path(target), Path.cwd(), os.environ["PEERWISE_STORE"], step, seconds
    child = processes.Process(target=kinds.in_folder, args=given)
    child.start()
    child.join()
    assert child.exitcode in (0, -signal.SIGKILL)
    return int(child.exitcode)


def kept() -> list[Path]:
    """The checkpoints that are in the store, the latest first."""
    (folder,) = (resume.store.folder() / "checkpoints").iterdir()
    return resume.in_order(folder)


def damaged() -> list[str]:
    """What processes of this test said of damaged checkpoints."""
    lines = Path(kinds.WARNINGS).read_text().splitlines()
    return [line for line in lines if "damaged checkpoint" in line]


@pytest.fixture(scope="session")
def whole() -> dict[str, dict[str, bytes]]:
    """What a training gives that keeps no checkpoint and is not killed, by kind; filled once."""
    return {}


@pytest.fixture
def uninterrupted(checkout: Path, whole: dict[str, Any]) -> Callable[[str], dict[str, bytes]]:
    def get(kind: str) -> dict[str, bytes]:
        if kind not in whole:
            assert in_a_process(kind, "whole", seconds=None) == 0
            whole[kind] = tree_bytes(Path("whole"))
        found: dict[str, bytes] = whole[kind]
        return found

    return get


# ---- kills -------------------------------------------------------------------------------


@each_kind
@pytest.mark.parametrize("step", [2, 7])
def test_case_20_a_killed_training_ends_as_if_it_had_not_been(
    kind: str, step: int, uninterrupted: Any
):
    wanted = uninterrupted(kind)
    assert in_a_process(kind, "resumed", step) == -signal.SIGKILL
    assert not (Path("resumed") / "log.json").exists()
    assert len(kept()) == min(step - 1, 2)
    assert in_a_process(kind, "resumed") == 0
    assert tree_bytes(Path("resumed")) == wanted


@pytest.mark.parametrize("kind", ["dpo", "base"])
def test_case_20_killed_again_and_again_it_ends_all_the_same(kind: str, uninterrupted: Any):
    # each process comes two updates far, so every step is resumed from or trained by one
    kills = 0
    while in_a_process(kind, "resumed", 3) != 0:
        kills += 1
        assert kills < 20
    assert kills >= 4
    assert tree_bytes(Path("resumed")) == uninterrupted(kind)


@each_kind
def test_case_20_a_finished_training_is_not_trained_again(kind: str, uninterrupted: Any):
    assert in_a_process(kind, "first") == 0
    # its stage was not done: the weights are lost. One update would kill the next process
    assert in_a_process(kind, "again", 1) == 0
    assert tree_bytes(Path("again")) == tree_bytes(Path("first")) == uninterrupted(kind)


@pytest.mark.parametrize("kind", ["sft", "base"])
def test_the_checkpoints_of_another_training_are_not_used(
    kind: str, checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    train(kind, Path("one"))
    if kind == "sft":
        monkeypatch.setattr(kinds, "SETTINGS", replace(kinds.SETTINGS, learning_rate=1e-3))
    else:
        tiny_models.make_base(seed=1)
    train(kind, Path("other"))
    assert len(list((resume.store.folder() / "checkpoints").iterdir())) == 2
    assert tree_bytes(Path("one"))["log.json"] != tree_bytes(Path("other"))["log.json"]


def test_a_stage_that_is_done_thins_its_checkpoints_and_one_that_fails_leaves_them(
    checkout: Path, run_stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    section: dict[str, Any] = {"train_verifier": {"min_weight_ratings": 1}}
    settings = tiny_models.profile()["verifier"] | {"epochs": 3}
    real, saved = classifiers.save, list[Path]()

    def fail_in_the_second_fold(classifier: Any, folder: Path, manifest: Any) -> None:
        saved.append(folder)
        if len(saved) == 2:
            raise InputError("a fault")
        real(classifier, folder, manifest)

    monkeypatch.setattr(classifiers, "save", fail_in_the_second_fold)
    with pytest.raises(InputError, match="a fault"):
        run_stage(train_verifier.main, "reward", **section, verifier=settings)
    monkeypatch.setattr(classifiers, "save", real)
    folders = list((resume.store.folder() / "checkpoints").iterdir())
    assert len(folders) == 2  # both folds are trained
    updates = counted_updates(monkeypatch)
    for _ in range(2):  # the failed one is gone on with, and a finished one not done again
        run_stage(train_verifier.main, "reward", **section, verifier=settings)
        assert updates == []
        last = [step for folder in folders for step in resume.in_order(folder)]
        assert len(last) == len(folders)
        assert not [file for step in last for file in step.iterdir() if file.name in UNNEEDED]
        assert [resume.damage(step) for step in last] == [None, None]


def counted_updates(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that gets an item per update of AdamW."""
    from torch.optim import AdamW

    real, updates = AdamW.step, list[int]()

    def update(self: Any, *given: Any, **named: Any) -> Any:
        updates.append(1)
        return real(self, *given, **named)

    monkeypatch.setattr(AdamW, "step", update)
    return updates


def test_a_second_process_trains_without_and_does_not_touch_the_first_ones(
    uninterrupted: Any,
):
    train("base", Path("first"))  # this process still holds them
    before = tree_bytes(resume.store.folder())
    assert in_a_process("base", "second") == 0
    assert tree_bytes(Path("second")) == uninterrupted("base")
    assert tree_bytes(resume.store.folder()) == before


# ---- damage ------------------------------------------------------------------------------


def cut(name: str) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, (folder / name).stat().st_size // 2)


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def flipped(folder: Path) -> None:
    path = folder / "optimizer.pt"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def with_a_foreign_file(folder: Path) -> None:
    (folder / "scaler.pt").write_bytes(b"which the trainer would load")


def with_a_link(folder: Path) -> None:
    path = folder / "optimizer.pt"
    path.rename(folder.parent / "elsewhere.pt")
    path.symlink_to(folder.parent / "elsewhere.pt")


def with_a_manifest_of_nonsense(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"files": 7}')


DAMAGES: dict[str, Callable[[Path], None]] = {
    "case 26: no trainer state": without("trainer_state.json"),
    "case 26: adapter cut": cut("adapter_model.safetensors"),
    "case 26: optimizer cut": cut("optimizer.pt"),
    "case 26: no adapter": without("adapter_model.safetensors"),
    "case 26: empty": emptied,
    "case 27: no optimizer": without("optimizer.pt"),
    "case 28: a bit": flipped,
    "no manifest": without("manifest.json"),
    "manifest of nonsense": with_a_manifest_of_nonsense,
    "a foreign file": with_a_foreign_file,
    "a link": with_a_link,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_case_26_a_damaged_last_checkpoint_falls_back_to_the_one_before(
    damage: Callable[[Path], None], uninterrupted: Any
):
    wanted = uninterrupted("sft")
    assert in_a_process("sft", "resumed", 8) == -signal.SIGKILL
    last, before = kept()
    assert (last.name, before.name) == ("checkpoint-7", "checkpoint-6")
    damage(last)
    assert in_a_process("sft", "resumed") == 0
    (warning,) = damaged()
    assert warning.startswith(f"{last}: damaged checkpoint (")
    assert tree_bytes(Path("resumed")) == wanted


def test_case_26_with_both_checkpoints_damaged_it_starts_anew(uninterrupted: Any):
    wanted = uninterrupted("dpo")
    assert in_a_process("dpo", "resumed", 8) == -signal.SIGKILL
    for folder in kept():
        without("optimizer.pt")(folder)
    assert in_a_process("dpo", "resumed") == 0
    assert len(damaged()) == 2
    assert tree_bytes(Path("resumed")) == wanted


def test_case_27_weights_without_their_optimizer_are_never_trained_on(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    # the trainer alone accepts it, and learns other weights
    assert in_a_process("sft", "resumed", 8) == -signal.SIGKILL
    without("optimizer.pt")(kept()[0])
    seen = []
    monkeypatch.setattr(fitting, "finished", lambda latest: seen.append(latest))
    train("sft", Path("resumed"))
    assert [path.name for path in seen] == ["checkpoint-6"]


def test_what_is_beside_the_checkpoints_is_left_alone(uninterrupted: Any):
    assert in_a_process("base", "resumed", 8) == -signal.SIGKILL
    note = kept()[0].parent / "checkpoint-notes"
    note.write_text("mine")
    assert in_a_process("base", "resumed") == 0
    assert tree_bytes(Path("resumed")) == uninterrupted("base")
    assert note.read_text() == "mine"


def test_a_manifest_names_every_file_with_size_and_digest(checkout: Path):
    train("sft", Path("one"))
    for folder in kept():
        listed = json.loads((folder / "manifest.json").read_text())["files"]
        files = {*tree_bytes(folder)} - {"manifest.json"}
        assert {*listed} == files
        assert {"optimizer.pt", "trainer_state.json", "adapter_model.safetensors"} <= files
        assert resume.damage(folder) is None


# ---- trainings that go wrong ---------------------------------------------------------------


@each_kind
def test_case_31_a_loss_that_is_no_number_stops_the_training_and_names_the_step(
    kind: str, checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    absurd = replace(kinds.SETTINGS, learning_rate=1e39, warmup_frac=0.0)  # no float32
    monkeypatch.setattr(kinds, "SETTINGS", absurd)
    monkeypatch.setattr(kinds, "BASE", replace(kinds.BASE, adam_learning_rate=1e30))
    monkeypatch.setattr(kinds, "READING", replace(kinds.READING, adam_learning_rate=1e30))
    with pytest.raises(InputError, match=rf"{kind}: (loss|gradient) is \S+ at step [23]\. Lower"):
        train(kind, Path("broken"))
    assert tree_bytes(Path("broken")) == {}


def sft_rows() -> tuple[Any, list[dict[str, Any]]]:
    tokenizer = checkpoints.load_tokenizer(MODEL)
    return tokenizer, [
        {"input_ids": asked + good, "completion_mask": [0] * len(asked) + [1] * len(good)}
        for asked, good, _ in kinds.course_ids(tokenizer)
    ]


def test_case_31_a_policy_of_which_nothing_is_trainable_is_refused(checkout: Path):
    tokenizer, rows = sft_rows()
    policy = checkpoints.load_policy(MODEL, Path("models/sft"))
    with pytest.raises(InputError, match="sft: no weight is trainable"):
        trainers.fit_sft(policy, tokenizer, rows, [], TRAINING, MODEL, seed=1)


def test_case_31_a_training_without_any_gradient_stops(checkout: Path):
    classifier = classifiers.build(MODEL, seed=1)
    rows: list[dict[str, Any]] = [
        {"input_ids": [7, 8, 9], "labels": 1.0, "weight": 0.0} for _ in range(64)
    ]
    own = classifier.model, classifier.tokenizer, MODEL
    with pytest.raises(InputError, match="verifier: no gradient in the first 5 updates"):
        trainers.fit_regressor(*own, rows, [], TRAINING, 1)


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_case_30_a_broken_adapter_is_refused_and_left_without_a_manifest(
    checkout: Path, value: float
):
    import torch

    policy = trainers.fresh_lora(checkpoints.load_base(MODEL), MODEL, 1)
    with torch.no_grad():
        for name, weight in policy.named_parameters():
            if "lora_" in name:
                weight.fill_(value)
    with pytest.raises(InputError, match=r"zero|NaN"):
        checkpoints.save_adapter(policy, Path("models/broken"), {})
    assert not Path("models/broken/manifest.json").exists()


def test_case_30_an_adapter_that_learnt_nothing_is_refused(checkout: Path):
    policy = trainers.fresh_lora(checkpoints.load_base(MODEL), MODEL, 1)  # lora_B is zero
    with pytest.raises(InputError, match="no lora_B differs from zero"):
        checkpoints.save_adapter(policy, Path("models/broken"), {})
    assert not Path("models/broken/manifest.json").exists()
