"""dvc.yaml tells the truth: names, parameters, tables, and every file that can change a result."""

import importlib
import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

import stages as route
from schemas import leakage
from schemas.base import Table
from schemas.explanations import POLICIES
from schemas.predictions import VERIFIERS
from schemas.questions import TAUGHT
from tests.imports import DATA_CODE, FIRST_PARTY, ROOT, closure, read_files
from tests.pipeline import Stage, stages

for schema_file in (ROOT / "schemas").glob("*.py"):
    importlib.import_module(f"schemas.{schema_file.stem}")  # all are known by Table.__subclasses__
STAGES = list(stages().values())
MODULES = sorted({stage.module for stage in STAGES})
PARAMS: dict[str, dict | None] = yaml.safe_load((ROOT / "params.yaml").read_text())
PROFILES = sorted((ROOT / "stages/profiles").glob("*.yaml"))
SHARED = {
    "profile",
    "seed",
    "decoding",
    "rewards",
    "api",
}  # parameters that belong to no single stage

# Modules beside the stages that a person runs: dvc.yaml does not know them.
COMMANDS = {"query", "timings", "pin", "tabulate_sweep", "calibrate_leakage", "measure_scorers"}
COMMANDS |= {"distributed_smoke", "store", "merge_policy", "benchmarks"}

# Files whose change must not retrain a model: they move tables and log numbers, and cannot
# alter a value on the way (tests/test_artifacts.py shows the round trip of every table).
PLUMBING = frozenset(
    Path(path)
    for path in (
        "schemas/__init__.py",  # a glossary
        "schemas/base.py",  # where tables lie, and that they are strict
        "schemas/errors.py",  # one exception class
        "stages/__init__.py",  # the route in words
        "stages/pure/__init__.py",
        "stages/runtime/__init__.py",
        "stages/steps/__init__.py",
        "stages/runtime/artifacts.py",  # validates and writes, complete or not at all
        "stages/runtime/disk.py",  # what a full disk says
        "stages/runtime/locks.py",  # one run of a stage at a time
        "stages/runtime/params.py",  # hands over exactly what dvc.yaml declares
        "stages/runtime/resume.py",  # goes on where a training was (tests/test_resume.py)
        "stages/runtime/run.py",  # calls the others
        "stages/runtime/signals.py",  # ends a run that is told to end
        "stages/runtime/sources.py",  # digests of code, for the keys of the row store
        "stages/runtime/store.py",  # gives back a row as it was given (tests/test_store.py) or not
        "stages/runtime/store_file.py",
        "stages/runtime/tracking.py",  # runs after the outputs are written
        "stages/runtime/usage.py",  # reads the clock
        "stages/runtime/workers.py",  # hands over what a function returns (tests/test_server.py)
    )
)

# What the plumbing writes with: the bytes of every table, report and curve.
WRITTEN_BY = {"stages/runtime/formats.py"}

# Folders that are one dependency of every stage that uses a module in them. Each module of its
# own would be exact, and DVC reads, locks and compares every line of dvc.lock at every run.
PACKAGES = (
    "stages/scorers",
    "stages/pure/page",
    "stages/pure/scored",
    "stages/steps/asking",
    *(
        f"stages/runtime/{name}"
        for name in ("asking", "encoding", "loading", "pretraining", "sampling", "tuning")
    ),
)

# The items of tables that are written to several files.
ITEMS = (*POLICIES, "repeats", *VERIFIERS, *leakage.ITEMS, TAUGHT)

each_stage = pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)


def code_of(stage: Stage) -> set[str]:
    """Every file of ours whose edit can change the stage's result."""
    modules = closure(Path(f"stages/{stage.module}.py"), PLUMBING)
    read = {path for module in modules for path in read_files(module)}
    schemas = {Path("schemas") / f"{name}.py" for name in map(table_of, tables(stage)) if name}
    return {dependency_of(path) for path in modules | read | schemas} | WRITTEN_BY


def dependency_of(path: Path) -> str:
    """The package that stands for a file, or the file."""
    packages = [name for name in PACKAGES if Path(name) in path.parents]
    return packages[0] if packages else path.as_posix()


def declared_code(stage: Stage) -> set[str]:
    suffixes = (".py", *DATA_CODE, *PACKAGES)
    return {d for d in stage.deps if d.split("/")[0] in FIRST_PARTY and d.endswith(suffixes)}


def tables(stage: Stage) -> set[str]:
    return {path for path in stage.deps | stage.outs if path.endswith(".parquet")}


def table_of(path: str) -> str | None:
    """The schema's name for data/<name>.parquet or data/<name>_<item>.parquet."""
    # the longest name: data/synthetic_questions.parquet is no item of `synthetic`
    schemas = sorted(Table.__subclasses__(), key=lambda schema: -len(schema.table_name()))
    for schema in schemas:
        if Path(path) in {schema.path(item) for item in (None, *ITEMS)}:
            return schema.table_name()
    return None


@each_stage
def test_a_stage_runs_the_module_of_its_name_and_says_what_it_does(stage: Stage):
    command = ["python", "-m", f"stages.{stage.module}"]
    assert stage.cmd.split() == command + ([] if stage.item is None else [stage.item])
    assert (ROOT / f"stages/{stage.module}.py").exists()
    assert re.match(r"[A-Z].*\.$", stage.desc or ""), "desc is one sentence"


@pytest.mark.parametrize("module", MODULES)
def test_the_params_of_a_stage_are_exactly_its_section(module: str):
    wanted = {field.name for field in fields(importlib.import_module(f"stages.{module}").Params)}
    assert set(PARAMS.get(module) or {}) == wanted


@each_stage
def test_a_stage_declares_its_section_whole(stage: Stage):
    # key by key, a new parameter would be read before DVC watches it
    if PARAMS.get(stage.module):
        assert stage.module in stage.params.get("params.yaml", [])


def test_every_section_of_params_belongs_to_a_stage():
    assert set(PARAMS) - set(MODULES) == SHARED


def test_every_declared_parameter_exists():
    for stage in STAGES:
        for file, keys in stage.params.items():
            values = yaml.safe_load((ROOT / file).read_text())
            missing = [key for key in keys if not has_key(values, key)]
            assert not missing, f"{stage.name}: {file} has no {missing}"


def has_key(values: dict, dotted: str) -> bool:
    for part in dotted.split("."):
        if not isinstance(values, dict) or part not in values:
            return False
        values = values[part]
    return True


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.stem)
def test_no_key_is_both_science_and_hardware(profile: Path):
    assert set(yaml.safe_load(profile.read_text())).isdisjoint(PARAMS)


@each_stage
def test_code_that_can_change_a_result_is_a_dependency(stage: Stage):
    """Edit any of these files and DVC must rerun the stage."""
    missing = {
        path
        for path in code_of(stage)
        if not any(path == dep or path.startswith(f"{dep}/") for dep in stage.deps)
    }
    assert missing == set()


@each_stage
def test_no_dependency_on_code_is_superfluous(stage: Stage):
    assert declared_code(stage) - code_of(stage) == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_a_dependency_whole(package: str):
    assert (ROOT / package / "__init__.py").exists()
    parts = [dep for stage in STAGES for dep in stage.deps if dep.startswith(f"{package}/")]
    assert parts == []
    assert any(package in stage.deps for stage in STAGES)


def test_plumbing_is_named_by_files_that_exist():
    assert [str(path) for path in PLUMBING if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.stem)
def test_the_deepspeed_file_of_a_profile_is_a_dependency_of_the_stages_that_read_it(profile: Path):
    if file := yaml.safe_load(profile.read_text())["model"]["deepspeed"]:
        readers = {stage.module for stage in STAGES if file in stage.deps}
        assert readers == {"train_sft", "train_dpo"}


def test_every_query_and_template_belongs_to_a_stage_or_to_the_query_command():
    files = {p.relative_to(ROOT) for p in (ROOT / "stages").rglob("*") if p.suffix in DATA_CODE}
    used = {Path(dep) for stage in STAGES for dep in stage.deps}
    left = {p for p in files if p not in used and not used & set(p.parents)}
    ours = {p for p in left if p.name == "views.sql" or p.parent.name == "queries"}
    assert left - ours == set()


@each_stage
def test_every_table_has_a_schema_of_its_name(stage: Stage):
    assert [path for path in sorted(tables(stage)) if table_of(path) is None] == []


def test_every_schema_is_written_by_exactly_one_stage_per_file():
    written = [path for stage in STAGES for path in tables(stage) if path in stage.outs]
    assert len(written) == len(set(written))
    assert {table_of(path) for path in written} == {s.table_name() for s in Table.__subclasses__()}


@each_stage
def test_a_stage_reports_one_json_of_its_name_which_git_keeps(stage: Stage):
    report = f"reports/{stage.name.replace('@', '_')}.json"
    assert report in stage.metrics
    # the page alone is kept out of Git: it shows texts of students
    reports = {path for path in stage.outs if path.startswith("reports/")}
    assert reports - {"reports/index.html"} <= stage.uncached


@pytest.mark.parametrize("module", MODULES)
def test_a_stage_has_a_test_file(module: str):
    assert (ROOT / f"tests/test_{module}.py").exists()


def test_the_route_in_words_is_the_route_of_dvc():
    words = route.__doc__ or ""
    told = re.findall(r"^    (\w+) +.*->", words, flags=re.MULTILINE)
    assert sorted(told) == MODULES


def test_what_is_no_stage_is_a_command_named_in_the_route():
    words = (route.__doc__ or "").split("no stages:")[1]
    modules = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"}
    assert modules - set(MODULES) <= COMMANDS
    assert {name for name in COMMANDS if not re.search(rf"\b{name}\b", words)} == set()


@each_stage
def test_the_facts_are_a_dependency_only_where_they_may_be_read(stage: Stage):
    if any(dep.startswith("stages/sample_course") for dep in stage.deps):
        assert stage.module in {"make_sample_course", "validate", "evaluate"}
