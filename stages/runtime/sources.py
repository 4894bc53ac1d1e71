"""A digest of the code behind a result: what a store of rows must know beside the inputs."""

import ast
import functools
import hashlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIRST_PARTY = ("schemas", "stages")


def module_path(name: str) -> Path | None:
    """The file of a first-party module, or None if `name` names something in a file."""
    base = ROOT.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.exists():
            return path
    return None


@functools.cache
def imported_files(path: Path) -> frozenset[Path]:
    """The first-party files that `path` imports, at any depth of its functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    ours = {module_path(name) for name in names if name.split(".")[0] in FIRST_PARTY}
    return frozenset(file for file in ours if file is not None)


def closure(*modules: str) -> set[Path]:
    """The files of `modules` (dotted names) and of all of ours that they import.

    Raises ValueError for a name that is no module of ours.
    """
    waiting = [path for name in modules if (path := module_path(name)) is not None]
    if len(waiting) != len(modules):
        raise ValueError(f"{modules}: not every name is a module of {FIRST_PARTY}")
    reached: set[Path] = set()
    while waiting:
        current = waiting.pop()
        if current not in reached:
            reached.add(current)
            waiting += imported_files(current)
    return reached


@functools.cache
def code_digest(*modules: str) -> str:
    """sha256 of the syntax of `closure(*modules)`: comments, docstrings, layout do not count."""
    total = hashlib.sha256()
    for path in sorted(closure(*modules)):
        syntax = ast.dump(without_docstrings(ast.parse(path.read_text(encoding="utf-8"))))
        total.update(f"{path.relative_to(ROOT).as_posix()}\0{syntax}\0".encode())
    return total.hexdigest()


def without_docstrings(tree: ast.Module) -> ast.Module:
    """The syntax of a module without any docstring; changed in place."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(tree):
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree
