"""The digest of the code behind a result: it changes with the code, and only with it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.runtime import sources
from tests import imports

FILES = {
    "schemas/errors.py": "class Wrong(Exception):\n    pass\n",
    "stages/__init__.py": "",
    "stages/pure/__init__.py": "",
    "stages/pure/top.py": "import json\n\n\ndef main():\n    from stages.pure import middle\n",
    "stages/pure/middle.py": "import schemas.errors\nfrom stages.pure.top import main\n",
    "stages/pure/other.py": "x = 1\n",
}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A repository of a few modules: top -> middle -> errors, and middle -> top."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    forget()
    yield tmp_path
    forget()


def forget() -> None:
    sources.code_digest.cache_clear()
    sources.imported_files.cache_clear()


def digest(*modules: str) -> str:
    """As a new process finds it."""
    forget()
    return sources.code_digest(*modules or ("stages.pure.top",))


def test_what_is_imported_in_a_function_and_beyond_is_part_of_it(tree: Path):
    found = {path.relative_to(tree).as_posix() for path in sources.closure("stages.pure.top")}
    assert found == {
        "schemas/errors.py",
        "stages/pure/__init__.py",
        "stages/pure/top.py",
        "stages/pure/middle.py",
    }


@pytest.mark.parametrize("name", ["schemas/errors.py", "stages/pure/top.py"])
@pytest.mark.parametrize(
    ("change", "is_other"),
    [
        ("# a comment\n{}\n\n\n", False),
        ("{}\nx = 2\n", True),
        ("'''A docstring.'''\n{}", False),
        ("{}\ndef f():\n    '''Says.'''\n    return 1\n", True),
    ],
)
def test_code_counts_and_comments_and_layout_do_not(
    tree: Path, name: str, change: str, is_other: bool
):
    before = digest()
    (tree / name).write_text(change.format(FILES[name]))
    assert (digest() != before) is is_other


def test_a_module_that_is_not_imported_does_not_count(tree: Path):
    before = digest()
    (tree / "stages/pure/other.py").write_text("x = 3\n")
    assert digest() == before
    assert digest("stages.pure.other") != before


def test_a_module_that_moves_is_other_code(tree: Path):
    before = digest("stages.pure.other")
    (tree / "stages/pure/other.py").rename(tree / "stages/pure/another.py")
    assert digest("stages.pure.another") != before


def test_several_modules_count_together(tree: Path):
    found = {digest("stages.pure.top"), digest("stages.pure.other")}
    assert digest("stages.pure.top", "stages.pure.other") not in found


@pytest.mark.parametrize("name", ["stages.pure.missing", "stages.pure.top.main", "json", ""])
def test_a_name_that_is_no_module_of_ours_is_refused(tree: Path, name: str):
    with pytest.raises(ValueError, match="not every name is a module of"):
        digest("stages.pure.top", name)


def test_an_unknown_name_is_refused_in_the_repository_too():
    with pytest.raises(ValueError, match="not every name"):
        sources.code_digest("stages.runtime.no_such_module")


MODULES = [
    path
    for folder in sources.FIRST_PARTY
    for path in sorted((sources.ROOT / folder).rglob("*.py"))
    if path.name != "__init__.py"
]


KEEPING = [path for path in MODULES if "code_digest(" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", KEEPING, ids=lambda path: path.stem)
def test_all_that_the_conventions_find_is_part_of_it(path: Path):
    """tests/imports.py reads imports in a way of its own; packages on the way hold no code."""
    name = ".".join(path.relative_to(sources.ROOT).with_suffix("").parts)
    ours = {found.relative_to(sources.ROOT) for found in sources.closure(name)}
    theirs = imports.closure(path.relative_to(sources.ROOT))
    packages = {found for found in theirs if found.name == "__init__.py"}
    assert theirs - packages == {found for found in ours if found.name != "__init__.py"}


def test_a_relative_import_would_not_be_seen_and_there_is_none():
    for path in MODULES:
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        assert not [node for node in nodes if isinstance(node, ast.ImportFrom) and node.level]


def test_a_docstring_counts_nowhere():
    told = "'''Of a module.'''\nclass A:\n    '''Of a class.'''\n"
    told += "def f():\n    '''Of it.'''\n    return A"
    plain = "class A:\n    pass\ndef f():\n    return A"
    parts = [sources.without_docstrings(ast.parse(text)) for text in (told, plain)]
    assert ast.dump(parts[0]) == ast.dump(parts[1])
    kept = sources.without_docstrings(ast.parse("x = 1\n'''No docstring.'''"))
    assert len(kept.body) == 2
