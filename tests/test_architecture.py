"""The import direction and the rules of the tree. A failure names the file and the rule.

    stages/*.py  ->  stages/steps  ->  stages/scorers  ->  stages/pure, stages/runtime  ->  schemas

Arrows point at what may be imported, the next or any that comes later. Stages never import
each other; pure and runtime never import each other; schemas import nothing of ours but
schemas. Neural code is in runtime alone: scorers and steps call it. stages/benches, the parts of
stages/benchmarks.py, may import all of these, and is imported by that command alone.
"""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.imports import ROOT, closure, imported_at_once, imported_modules, read_files, tree

MODELS = ("torch", "transformers", "trl", "peft", "datasets", "accelerate", "deepspeed")
ABOVE = ("stages.scorers", "stages.steps")  # of pure and runtime
LAYERS = {
    # layer: (its files, prefixes that it must not import)
    "schemas": ("schemas/*.py", ("stages", "duckdb", "mlflow", "dvc", *MODELS)),
    "pure": ("stages/pure/**/*.py", ("stages.runtime", *ABOVE, "mlflow", "dvc", *MODELS)),
    "runtime": ("stages/runtime/**/*.py", ("stages.pure", *ABOVE)),
    "scorers": ("stages/scorers/*.py", ("stages.steps", "mlflow", "dvc", *MODELS)),
    "steps": ("stages/steps/**/*.py", ("mlflow", "dvc", *MODELS)),
    "benches": ("stages/benches/*.py", ("mlflow", "dvc")),
}
HEAVY = (*MODELS, "mlflow", "dvc", "bert_score", "sentence_transformers", "matplotlib", "sklearn")
NO_NAMES = {"utils", "util", "common", "helpers", "helper", "misc"}


def files(pattern: str) -> list[Path]:
    found = sorted(path.relative_to(ROOT) for path in ROOT.glob(pattern))
    assert found, f"no file matches {pattern}: the rule checks nothing"
    return found


CODE = [*files("schemas/*.py"), *files("stages/**/*.py")]
COMMANDS = [path for path in files("stages/*.py") if path.name != "__init__.py"]


def offences(modules: set[str], forbidden: tuple[str, ...]) -> list[str]:
    return sorted(
        name
        for name in modules
        if any(name == prefix or name.startswith(prefix + ".") for prefix in forbidden)
    )


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_what_is_below_it(layer: str):
    pattern, forbidden = LAYERS[layer]
    forbidden += tuple(f"stages.{command.stem}" for command in COMMANDS)
    broken = {str(path): offences(imported_modules(path), forbidden) for path in files(pattern)}
    assert {path: names for path, names in broken.items() if names} == {}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda path: path.stem)
def test_a_stage_imports_no_other_stage(command: Path):
    others = tuple(f"stages.{other.stem}" for other in COMMANDS if other != command)
    assert offences(imported_modules(command), others) == []


def test_only_the_command_imports_benchmarks():
    users = [path for path in CODE if offences(imported_modules(path), ("stages.benches",))]
    outside = [str(path) for path in users if path.parent != Path("stages/benches")]
    assert outside == ["stages/benchmarks.py"]


def test_only_tracking_imports_mlflow():
    users = [str(path) for path in CODE if offences(imported_modules(path), ("mlflow",))]
    assert users == ["stages/runtime/tracking.py"]


@pytest.mark.parametrize("path", CODE, ids=str)
def test_heavy_packages_are_imported_inside_functions(path: Path):
    # a stage that builds pairs should not wait seconds for torch
    assert offences(imported_at_once(path), HEAVY) == []


@pytest.mark.parametrize("path", CODE, ids=str)
def test_only_named_exceptions_are_caught(path: Path):
    broad = {None, "Exception", "BaseException"}
    handlers = [node for node in ast.walk(tree(path)) if isinstance(node, ast.ExceptHandler)]
    caught = {ast.unparse(node.type) if node.type else None for node in handlers}
    assert caught.isdisjoint(broad)


def test_no_module_is_named_after_nothing_in_particular():
    code = [*CODE, *files("tests/*.py")]
    assert [str(path) for path in code if NO_NAMES & {path.stem, *path.parent.parts}] == []


def test_every_function_and_class_of_the_public_surface_has_a_docstring():
    kinds = (ast.FunctionDef, ast.ClassDef)
    bare = [
        f"{path}: {node.name}"
        for path in CODE
        for node in tree(path).body
        if isinstance(node, kinds) and not node.name.startswith("_")
        if node.name not in {"main", "Params"} and not ast.get_docstring(node)
    ]
    assert bare == []


@pytest.mark.parametrize("command", COMMANDS, ids=lambda path: path.stem)
def test_the_facts_of_the_sample_course_are_read_only_to_invent_and_to_measure(command: Path):
    # a scorer that knew the answers would be measured against itself; `validate` may ask, for
    # it looks at the validation split alone, on which settings are chosen
    reached = closure(command)
    facts = {str(p) for code in reached for p in read_files(code) if "sample_course" in str(p)}
    oracle = {str(path) for path in reached if "oracle" in path.stem}
    # calibrate_leakage is no stage: it prints how well a limit tells facts apart
    if command.stem not in {"make_sample_course", "validate", "evaluate", "calibrate_leakage"}:
        assert facts | oracle == set()


def test_no_scorer_and_no_step_but_the_one_that_asks_it_reaches_the_oracle():
    below = [*files("stages/scorers/*.py"), *files("stages/steps/**/*.py")]
    asking = [str(path) for path in below if any("oracle" in p.stem for p in closure(path))]
    assert asking == ["stages/steps/truth.py"]


# ---- words that must not be in the repository --------------------------------------------

# Written in pieces, so that this file does not hold what it forbids.
FORBIDDEN = {
    "a home folder": r"/(?:home|Users|root|work)" + r"/\w",
    "a package registry": r"\b(?:py"
    + r"pi|python"
    + r"hosted|npm"
    + r"js|j"
    + r"frog)\.(?:org|com|io)",
    "an index address": r"--(?:extra-)?index" + r"-url",
    "a password in an address": r"://[^/\s:@'\"]+:[^/\s:@'\"]+@" + r"\w",
    "a key": r"\b(?:sk|hf|ghp)[-_][A-Za-z0-9]{20,}",
}


def repository_files() -> list[Path]:
    """What Git holds, and what it would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def found_words(text: str) -> list[str]:
    return [word for word, pattern in FORBIDDEN.items() if re.search(pattern, text)]


def test_no_file_names_this_machine_or_a_registry_or_holds_a_key():
    names = repository_files()
    assert names
    found = {str(p): found_words(p.read_text("utf-8", errors="ignore")) for p in names}
    assert {path: words for path, words in found.items() if words} == {}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("/ho" + "me/ann/x", "a home folder"),
        ("https://py" + "pi.org/simple", "a package registry"),
        ("pip --index" + "-url x", "an index address"),
        ("https://ann:secret" + "@host/x", "a password in an address"),
        ("sk" + "-" + "a" * 24, "a key"),
    ],
)
def test_the_search_for_words_finds_them(text: str, word: str):
    assert found_words(f"see {text} there") == [word]
