"""DVC reads dvc.yaml, dvc.lock and the parameters with a parser in C, and reads the same."""

from pathlib import Path
from typing import Any

import pytest
import ruamel.yaml
from ruamel.yaml import YAML

from tests.imports import ROOT

FILES = [*map(ROOT.joinpath, ("dvc.yaml", "dvc.lock", "params.yaml"))]
FILES += sorted((ROOT / "stages/profiles").glob("*.yaml"))


def typed(value: Any) -> Any:
    """A value with the type of each of its parts, and the order of its keys."""
    if isinstance(value, dict):
        return [(typed(key), typed(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        return [typed(inner) for inner in value]
    return type(value), repr(value)


def test_the_parser_in_c_is_there():
    # without it three quarters of a `dvc repro` that has nothing to do is reading YAML
    assert ruamel.yaml.__with_libyaml__, "install requirements.txt: ruamel.yaml.clib is missing"


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_both_parsers_read_our_files_alike(file: Path):
    text = file.read_text(encoding="utf-8")
    assert typed(YAML(typ="safe").load(text)) == typed(YAML(typ="safe", pure=True).load(text))


@pytest.mark.parametrize(
    "text", ["1e-6", "0123", "12:30", "no", "1_000", "~", "'1'", "0o17", ".inf"]
)
def test_both_parsers_take_a_value_for_the_same(text: str):
    assert typed(YAML(typ="safe").load(text)) == typed(YAML(typ="safe", pure=True).load(text))
