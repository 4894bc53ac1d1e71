"""What the store of computed rows and checkpoints holds, and how to make it smaller.

    PEERWISE_STORE, or the user's cache folder -> a table on the screen

Rows are kept by a digest of everything that can change them, so removing some costs time and
changes no result. Hit rate: rows found, of all that stages ever asked for. Checkpoints are of
trainings that were stopped; a finished one removes its own.

    python -m stages.store
    python -m stages.store --prune-days 30
    python -m stages.store --clear --yes
"""

from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import InputError
from stages.runtime import store, store_care
from stages.runtime.run import start

MIB = 2**20


def kinds_table(kinds: list[store_care.Kind]) -> list[str]:
    """One line per kind of row."""
    lines = [f"{'kind':24} {'rows':>9} {'MiB':>9} {'found':>9} {'missed':>9} {'hit rate':>9}"]
    for kind in kinds:
        asked = kind.found_n + kind.missed_n
        rate = f"{kind.found_n / asked:.1%}" if asked else "-"
        lines.append(
            f"{kind.name:24} {kind.rows_n:9} {kind.value_bytes / MIB:9.1f} {kind.found_n:9} "
            f"{kind.missed_n:9} {rate:>9}"
        )
    return lines


def trainings_table(trainings: list[store_care.Training]) -> list[str]:
    """One line per unfinished training."""
    lines = [f"checkpoints of unfinished trainings: {len(trainings)}"]
    for found in trainings:
        use = ", in use" if found.is_in_use else ""
        size = f"{found.size_bytes / MIB:.1f} MiB"
        lines.append(f"  {found.folder.name[:16]}: {size}, {found.age_days:.1f} days old{use}")
    return lines


def show(place: Path, file: Path) -> None:
    """Print what is there; nothing is created."""
    if file.exists():
        with store_care.reading(file) as connection:
            kinds = store_care.kinds(connection)
        print(f"{file}: {store_care.size_of(file) / MIB:.1f} MiB")
        print("\n".join(kinds_table(kinds)))
    else:
        print(f"{file}: no rows yet")
    print("\n".join(trainings_table(store_care.trainings(place))))


def prune(place: Path, file: Path, days: int) -> None:
    """Remove what was not used for `days`, and say how much that was."""
    rows = 0
    if file.exists():
        with store_care.reading(file) as connection:
            rows = store_care.prune(connection, days)
    removed = store_care.remove_trainings(place, days)
    print(f"removed: {rows} row(s), checkpoints of {removed} training(s)")


def clear(place: Path, file: Path, is_sure: bool) -> None:
    """Remove all rows and checkpoints, if the user says yes."""
    if not is_sure and not typer.confirm(f"Remove all rows and checkpoints in {place}?"):
        print("nothing removed")
        return
    if file.exists():
        store_care.clear(file)
    removed = store_care.remove_trainings(place, 0)
    print(f"removed: all rows, checkpoints of {removed} training(s)")


def main(
    prune_days: Annotated[
        int | None, typer.Option(min=1, help="Remove what was not used for so many days.")
    ] = None,
    clear_: Annotated[
        bool, typer.Option("--clear", help="Remove all rows and checkpoints.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before --clear.")] = False,
) -> None:
    """Show what the store of rows and checkpoints holds, or remove some of it."""
    if clear_ and prune_days is not None:
        raise InputError("give one of --prune-days and --clear. See --help.")
    place = store.place()
    file = place / store.FILE
    if clear_:
        clear(place, file, yes)
    elif prune_days is not None:
        prune(place, file, prune_days)
    else:
        show(place, file)


if __name__ == "__main__":
    start(main)
