"""Write what each pair rule, beta and loss does on the validation split.

    the experiments of this checkout (dvc exp show) -> reports/pair_rules.md

A row is an experiment that ran the stage validate, e.g.
`dvc exp run validate --name 01-published -S build_preferences.strategy=best_worst`; the last
row is the commit itself. Nothing of the test split is read. Text above the table in
reports/pair_rules.md is kept.

    python -m stages.tabulate_sweep
    python -m stages.tabulate_sweep --commit HEAD~3   # a sweep of an earlier commit
"""

from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import InputError
from stages.pure import sweep
from stages.pure.sweep import Experiment
from stages.runtime import artifacts
from stages.runtime.run import REPORTS_DIR, start

PAGE = REPORTS_DIR / "pair_rules.md"
BELOW = "<!-- below: written by `python -m stages.tabulate_sweep` -->\n"


def experiments(commit: str) -> list[Experiment]:
    """The rows of `dvc exp show` for a commit: itself first, then experiments that have a name.

    Raises InputError for a commit that is not there.
    """
    import dvc.api
    from dvc.exceptions import DvcException

    try:
        rows = dvc.api.exp_show(revs=commit)
    except DvcException as error:
        raise InputError(f"--commit {commit}: {' '.join(str(error).split())}") from error
    named = [row for row in rows[2:] if row.get("Experiment")]
    return [
        Experiment("params.yaml", rows[1]),
        *(Experiment(str(row["Experiment"]), row) for row in named),
    ]


def kept(page: Path) -> str:
    """The part of the page above the table."""
    if not page.exists():
        return ""
    return page.read_text(encoding="utf-8").partition(BELOW)[0]


def main(
    commit: Annotated[
        str, typer.Option(help="The commit that the experiments started from.")
    ] = "HEAD",
) -> None:
    """Write what each experiment of a sweep does on the validation split."""
    baseline, *others = experiments(commit)
    if not others:
        raise InputError(
            f"dvc exp show has no experiment of {commit}. Run some, e.g. `dvc exp run validate -S "
            "build_preferences.strategy=best_worst`."
        )
    text = f"{kept(PAGE)}{BELOW}\n{sweep.table(others, baseline)}"
    artifacts.write_text(PAGE, text)
    shown = [e for e in others if e.metric("validate", "questions_n") is not None]
    print(
        f"{PAGE}: {len(shown)} of {len(others)} experiments ran validate; the last row is {commit}"
    )


if __name__ == "__main__":
    start(main)
