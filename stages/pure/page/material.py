"""What the report page is made from: tables, numbers and curves, each present or excused."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from stages.pure.page.views import Missing


@dataclass(frozen=True)
class Material:
    """Everything that the stages left; a text in place of a thing says why it is missing.

    tables: by name ("preferences", "explanations_sft"). reports: stage -> content of
    reports/<stage>.json. curves: training -> log. given: the parameters that dvc.yaml
    declares. digests: model or table -> digest. pins: library -> version. examples,
    worst_examples: questions to show, drawn and chosen.
    """

    tables: Mapping[str, pd.DataFrame | str]
    reports: Mapping[str, dict[str, Any] | str]
    curves: Mapping[str, pd.DataFrame | str]
    given: Mapping[str, Any]
    digests: Mapping[str, str]
    pins: Mapping[str, str]
    examples: int
    worst_examples: int

    @property
    def headline(self) -> list[str]:
        """evaluate.headline, in order."""
        return list(self.given["evaluate"]["headline"])

    @property
    def level(self) -> float:
        """evaluate.confidence, 0..1."""
        return float(self.given["evaluate"]["confidence"])

    @property
    def is_sample(self) -> bool:
        """True if the oracle could judge at least one text: the questions are invented."""
        table = self.tables["evaluations"]
        if isinstance(table, str):
            return False
        return bool(table.value[table.metric == "oracle"].notna().any())

    def show(self, what: str, names: list[str], build: Callable[..., Any]) -> Any:
        """`build` of the tables `names`, or a Missing with the first reason."""
        found = [self.tables[name] for name in names]
        for table in found:
            if isinstance(table, str):
                return Missing(what, table)
            if table.empty:
                return Missing(what, f"the table {names[0]} has no rows")
        return build(*found)
