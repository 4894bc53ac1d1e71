"""What a first-party module reaches, read from its source without running it."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIRST_PARTY = ("schemas", "stages")
DATA_CODE = (".sql", ".html", ".j2", ".jinja", ".css", ".js")  # text that a stage runs or fills


def tree(path: Path) -> ast.Module:
    """The syntax tree of a file given relative to the repository root."""
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def module_path(module: str) -> Path | None:
    """The file of a first-party module, or None if `module` names something in a file."""
    base = Path(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if (ROOT / path).exists():
            return path
    return None


def names_of(node: ast.AST, path: Path) -> set[str]:
    """The modules that one import statement names; `from a import b` gives a and a.b."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if not isinstance(node, ast.ImportFrom):
        return set()
    here = path.parent.parts
    above = here[: len(here) - node.level + 1] if node.level else ()
    base = ".".join([*above, *([node.module] if node.module else [])])
    return {base} | {f"{base}.{alias.name}" for alias in node.names}


def imported_modules(path: Path) -> set[str]:
    """Every module named by an import in `path`, at any depth."""
    return {name for node in ast.walk(tree(path)) for name in names_of(node, path)}


def imported_at_once(path: Path) -> set[str]:
    """The modules that importing `path` imports: not those in functions or for type checkers."""

    def statements(nodes: list[ast.stmt]) -> Iterator[ast.stmt]:
        for node in nodes:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                yield from statements(node.orelse)
                continue
            yield node
            for field in ("body", "orelse", "finalbody"):
                yield from statements(getattr(node, field, []))

    return {name for node in statements(tree(path).body) for name in names_of(node, path)}


def first_party(path: Path) -> set[Path]:
    """The files of ours that `path` imports, with the packages on the way to them."""
    found = set()
    for name in imported_modules(path):
        parts = name.split(".")
        if parts[0] in FIRST_PARTY:
            found |= {module_path(".".join(parts[:n])) for n in range(1, len(parts) + 1)}
    return {target for target in found if target is not None}


def closure(path: Path, stop: frozenset[Path] = frozenset()) -> set[Path]:
    """All files of ours that `path` reaches through imports, itself included.

    The files in `stop` are neither part of it nor looked into.
    """
    reached: set[Path] = set()
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if current not in reached and current not in stop:
            reached.add(current)
            waiting += first_party(current)
    return reached


def strings(path: Path) -> set[str]:
    """Every literal string in `path`, docstrings included."""
    nodes = ast.walk(tree(path))
    return {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def read_files(path: Path) -> set[Path]:
    """Files and folders below stages/ that `path` names by a literal.

    query("x") means stages/sql/x.sql; "report.html" any file of that name below stages/ (such
    names are unique); "stages/sample_course" itself.
    """
    nodes = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call) and node.args]
    queries = {
        Path(f"stages/sql/{node.args[0].value}.sql")
        for node in nodes
        if ast.unparse(node.func).split(".")[-1] == "query"
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }
    found = {query for query in queries if (ROOT / query).exists()}
    for text in strings(path):
        if "\n" in text:
            continue
        if text.endswith(DATA_CODE):
            names = (ROOT / "stages").rglob(Path(text).name)
            found |= {name.relative_to(ROOT) for name in names}
        elif text.startswith("stages/") and (ROOT / text).exists():
            found.add(Path(text))
    return found
