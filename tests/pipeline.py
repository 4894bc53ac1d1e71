"""The stages of dvc.yaml as DVC itself resolves them, templates and foreach included."""

import functools
from dataclasses import dataclass, field

from tests.imports import ROOT


@dataclass
class Stage:
    """One resolved stage. Paths are relative to the repository root."""

    name: str  # train_verifier@judge
    cmd: str
    desc: str | None
    deps: set[str] = field(default_factory=set)
    params: dict[str, list[str]] = field(default_factory=dict)  # file -> declared keys
    outs: set[str] = field(default_factory=set)  # data, models, metrics and plots
    metrics: set[str] = field(default_factory=set)
    uncached: set[str] = field(default_factory=set)  # outs that live in Git

    @property
    def module(self) -> str:
        """train_verifier"""
        return self.name.split("@")[0]

    @property
    def item(self) -> str | None:
        """judge, or None for a stage without items."""
        return self.name.split("@")[1] if "@" in self.name else None


@functools.cache
def stages() -> dict[str, Stage]:
    """Every stage of dvc.yaml by name."""
    from dvc.dependency import ParamsDependency
    from dvc.repo import Repo

    found = {}
    for resolved in Repo(str(ROOT)).index.stages:
        if not resolved.is_data_source and resolved.cmd is not None:
            stage = Stage(resolved.addressing, str(resolved.cmd), resolved.desc)
            for dep in resolved.deps:
                if isinstance(dep, ParamsDependency):
                    stage.params[dep.def_path] = list(dep.params)
                else:
                    stage.deps.add(dep.def_path)
            stage.outs = {out.def_path for out in resolved.outs}
            stage.metrics = {out.def_path for out in resolved.outs if out.metric}
            stage.uncached = {out.def_path for out in resolved.outs if not out.use_cache}
            found[stage.name] = stage
    return found
