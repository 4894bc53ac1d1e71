"""Write what each pair rule, beta and loss does on the validation split.

    the experiments of this checkout (dvc exp show) -> reports/pair_rules.md

A row is an experiment that ran the stage validate, e.g.
`dvc exp run validate --name 01-published -S build_preferences.strategy=best_worst`; the last
row is the workspace. Nothing of the test split is read. Text above the table in
reports/pair_rules.md is kept.

    python -m stages.tabulate_sweep
"""

from pathlib import Path

from schemas.errors import InputError
from stages.pure import sweep
from stages.pure.sweep import Experiment
from stages.runtime import artifacts
from stages.runtime.run import REPORTS_DIR, start

PAGE = REPORTS_DIR / "pair_rules.md"
BELOW = "<!-- below: written by `python -m stages.tabulate_sweep` -->\n"


def experiments() -> list[Experiment]:
    """The rows of `dvc exp show`: the workspace first, then experiments that have a name."""
    import dvc.api

    rows = dvc.api.exp_show()
    named = [row for row in rows[1:] if row.get("Experiment")]
    return [
        Experiment("workspace", rows[0]),
        *(Experiment(str(row["Experiment"]), row) for row in named),
    ]


def kept(page: Path) -> str:
    """The part of the page above the table."""
    if not page.exists():
        return ""
    return page.read_text(encoding="utf-8").partition(BELOW)[0]


def main() -> None:
    """Write the table."""
    baseline, *others = experiments()
    if not others:
        raise InputError(
            "dvc exp show has no experiment. Run some, e.g. `dvc exp run validate -S "
            "build_preferences.strategy=best_worst`."
        )
    text = f"{kept(PAGE)}{BELOW}\n{sweep.table(others, baseline)}"
    artifacts.write_text(PAGE, text)
    print(f"{PAGE}: {len(others)} experiments and the workspace")


if __name__ == "__main__":
    start(main)
