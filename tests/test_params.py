"""Parameters are exactly what dvc.yaml declares: no default, no extra key, no silent type."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.errors import InputError
from stages.runtime import params
from stages.runtime.loading import profile
from stages.runtime.params import StageParams
from tests.imports import ROOT

PROFILES = sorted((ROOT / "stages/profiles").glob("*.yaml"))
SECTIONS = {
    "model": profile.Model,
    "encoder": profile.Encoder,
    "generation": profile.Generation,
    **dict.fromkeys(("sft", "verifier", "dpo"), profile.Training),
}


@dataclass(frozen=True)
class Params(StageParams):
    """A section with every kind of value."""

    min_score_gap: float
    pairs_per_question: int
    loss_type: list[str]
    scorers: dict[str, str]
    max_facts: int | None
    is_on: bool


@dataclass(frozen=True)
class NoParams(StageParams):
    """A stage that has nothing to set."""


GOOD: dict[str, Any] = {
    "min_score_gap": 0.3,
    "pairs_per_question": 3,
    "loss_type": ["sigmoid"],
    "scorers": {"verifier": "reward"},
    "max_facts": None,
    "is_on": False,
}


def fill(**changed: Any) -> Params:
    return params.fill(Params, "build_preferences", GOOD | changed, "params.yaml")


def message(call: Callable[[], Any]) -> str:
    with pytest.raises(InputError) as raised:
        call()
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_section_becomes_a_frozen_object():
    filled = fill()
    assert (filled.min_score_gap, filled.max_facts) == (0.3, None)
    with pytest.raises(FrozenInstanceError):
        filled.min_score_gap = 1.0  # type: ignore[misc]


def test_an_unknown_key_gets_the_nearest_name():
    text = message(lambda: fill(min_scor_gap=1.0))
    assert text == (
        "params.yaml: build_preferences: unknown key 'min_scor_gap'. Did you mean 'min_score_gap'?"
    )


def test_an_unknown_key_that_resembles_nothing_gets_all_names():
    assert "Known: ['is_on', 'loss_type'," in message(lambda: fill(zzz=1))


def test_a_missing_key_is_named_and_has_no_default():
    values = {key: value for key, value in GOOD.items() if key != "min_score_gap"}
    text = message(lambda: params.fill(Params, "build_preferences", values, "params.yaml"))
    assert text.startswith("params.yaml: build_preferences: missing ['min_score_gap']")


@pytest.mark.parametrize("values", [None, 3, "x", ["min_score_gap"]])
def test_a_section_that_is_no_mapping_says_what_was_expected(values: object):
    text = message(lambda: params.fill(Params, "s", values, "params.yaml"))
    assert "expected keys" in text
    assert repr(values) in text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("min_score_gap", "1e-6"),  # YAML 1.1 reads 1e-6 as text
        ("min_score_gap", True),
        ("min_score_gap", None),
        ("pairs_per_question", 3.5),
        ("pairs_per_question", "3"),
        ("loss_type", "sigmoid"),
        ("scorers", ["verifier"]),
        ("scorers", {"verifier": False}),  # `no` in YAML 1.1
        ("max_facts", "all"),
        ("is_on", "yes"),
        ("is_on", 1),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_its_key(key: str, value: object):
    text = message(lambda: fill(**{key: value}))
    assert text.startswith(f"params.yaml: build_preferences.{key}")
    assert f"got {value!r}" in text or isinstance(value, dict)


def test_a_whole_number_is_a_valid_float_and_stays_as_it_is_written():
    assert repr(fill(min_score_gap=1).min_score_gap) == "1"


def test_a_missing_section_names_those_that_are_there():
    text = message(lambda: params.section(Params, "train_dpo", {"seed": 1, "train_sft": {}}))
    assert text == "params.yaml: no section 'train_dpo' among ['seed', 'train_sft']. Add it."


@pytest.mark.parametrize("given", [{}, {"report": None}, {"report": {}}])
def test_a_stage_without_parameters_needs_no_section(given: dict[str, Any]):
    assert params.section(NoParams, "report", given) == NoParams()


def test_a_stage_without_parameters_refuses_a_key():
    text = message(lambda: params.section(NoParams, "report", {"report": {"typo": 1}}))
    assert "unknown key 'typo'" in text


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_a_profile_fits_its_types(path: Path):
    given = yaml.safe_load(path.read_text())
    assert set(SECTIONS) <= set(given)
    for name, cls in SECTIONS.items():
        params.section(cls, name, given, path.name)


# ---- what DVC hands over -----------------------------------------------------------------

DVC_YAML = """
stages:
  train:
    foreach: [reward, judge]
    do:
      cmd: "true"
      params:
      - train
      - stages/profiles/${profile}.yaml:
        - model
  plain:
    cmd: "true"
    params: [seed]
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one plain stage, one with items, and a profile."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    shutil.copytree(ROOT / ".dvc", tmp_path / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache"))
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "params.yaml").write_text("profile: tiny\nseed: 7\ntrain: {rate: 1e-6}\n")
    (tmp_path / "stages/profiles").mkdir(parents=True)
    (tmp_path / "stages/profiles/tiny.yaml").write_text("model: {name: small}\nother: 1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_stage_gets_what_it_declares_and_nothing_else(repository: Path):
    assert params.declared("plain") == {"seed": 7}
    assert params.declared("train@judge") == {"train": {"rate": 1e-6}, "model": {"name": "small"}}


def test_dvc_decides_which_stage_is_running(repository: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DVC_STAGE", "plain")
    assert params.declared("train@judge") == {"seed": 7}


def test_an_unknown_stage_is_one_line(repository: Path):
    assert "'train@nothing'" in message(lambda: params.declared("train@nothing"))


def test_a_broken_params_file_is_one_line(repository: Path):
    (repository / "params.yaml").write_text("seed: [1")
    assert "params.yaml" in message(lambda: params.declared("plain"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("profile: tinny\nseed: 7\ntrain: 1", "no profile 'tinny'. Did you mean 'tiny'?"),
        ("profile: zzz\nseed: 7\ntrain: 1", "no profile 'zzz'. Known: ['tiny']."),
        ("profile: [1]\nseed: 7\ntrain: 1", "no profile [1]. Known: ['tiny']."),
        ("profile: tiny\nsed: 7\ntrain: 1", "unknown key 'sed'. Did you mean 'seed'?"),
        ("profle: tiny\nseed: 7\ntrain: 1", "unknown key 'profle'. Did you mean 'profile'?"),
        ("profile: tiny\nseed: 7\ntrain: 1\ntrian: 2", "unknown key 'trian'. Did you mean 'train'"),
        ("profile: tiny\nseed: 7\ntrain: 1\n1: 2", "unknown key 1. Known: ['profile', 'seed',"),
        ("profile: tiny\nseed: x\ntrain: 1", "seed: 'x' is not a whole number, 0 to 4294967295"),
        ("profile: tiny\nseed: -1\ntrain: 1", "seed: -1 is not a whole number"),
        ("profile: tiny\nseed: true\ntrain: 1", "seed: True is not a whole number"),
        ("profile: tiny\nseed: 1.0\ntrain: 1", "seed: 1.0 is not a whole number"),
        ("profile: tiny\nseed: 4294967296\ntrain: 1", "seed: 4294967296 is not a whole number"),
        ("profile: tiny\nseed:\ntrain: 1", "seed: None is not a whole number"),
        ("- seed", "expected sections, got ['seed']"),
        ("", "expected sections, got {}"),
        ("seed: 7\nseed: 8", "params.yaml"),
    ],
)
def test_a_params_file_that_no_run_could_mean_is_one_line(repository: Path, text: str, said: str):
    (repository / "params.yaml").write_text(text)
    told = message(lambda: params.declared("plain"))
    assert told.startswith("params.yaml")
    assert said in told


def test_a_params_file_that_is_not_there_or_no_text_is_one_line(repository: Path):
    (repository / "params.yaml").write_bytes(b"seed: \xff")
    assert "params.yaml" in message(lambda: params.declared("plain"))
    (repository / "params.yaml").unlink()
    assert "params.yaml" in message(lambda: params.declared("plain"))
    (repository / "params.yaml").mkdir()
    assert "params.yaml" in message(lambda: params.declared("plain"))


def test_the_known_keys_are_what_the_stages_declare_and_what_selects_a_profile():
    given = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert params.known_keys(yaml.safe_load((ROOT / "dvc.yaml").read_text())) == set(given)
