"""A copy of this repository that DVC runs in, and questions that come to it later."""

import csv
import itertools
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from stages.pure import clusters
from stages.runtime import store

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path("data/raw/mine")  # of the copy's exports
COURSE = "late"  # of the questions that come later
SCORES, SCORERS_N = "scores.parquet", 2
HEADER = ["id", "course_id", "question", "altA", "altB", "altC", "altD", "altE", "numAlts"]
HEADER += ["answer", "explanation", "avg_rating", "total_ratings", "top_rating_count", "deleted"]


def copy_of_the_working_tree(target: Path) -> None:
    """A repository with one commit: what Git holds here, and what it would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    person = ("-c", "user.name=copy", "-c", "user.email=copy@localhost")
    for arguments in (
        ("init", "--quiet"),
        ("add", "--all"),
        (*person, "commit", "--quiet", "-m", "x"),
    ):
        subprocess.run(["git", *arguments], cwd=target, check=True)


def set_values(file: Path, values: Mapping[str, Any]) -> None:
    """Replace values of a YAML file by dotted key. Raises KeyError for one that is not there."""
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    for dotted, value in values.items():
        *parents, last = dotted.split(".")
        part = content
        for parent in parents:
            part = part[parent]
        if last not in part:
            raise KeyError(f"{file}: {dotted}")
        part[last] = value
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


@dataclass
class Workspace:
    """A copy of the repository with its own store."""

    root: tempfile.TemporaryDirectory[str]  # goes with this object
    questions_n: int = 0  # late ones
    stores_n: int = 0

    @property
    def folder(self) -> Path:
        """Of the copy."""
        return Path(self.root.name) / "copy"

    @property
    def store(self) -> Path:
        """Of rows."""
        return Path(self.root.name) / "store"

    def empty_store(self) -> Path:
        """A new one."""
        self.stores_n += 1
        return Path(self.root.name) / f"store_{self.stores_n}"

    def run(self, *command: str, store: Path | None = None) -> str:
        """A command in the copy; its output. Raises RuntimeError where it fails."""
        bare = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        given = {"PATH": path, "PEERWISE_STORE": str(store or self.store), "HF_HUB_OFFLINE": "1"}
        given |= {"DVC_NO_ANALYTICS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
        done = subprocess.run(
            command, cwd=self.folder, env=bare | given, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout[-1000:]}{done.stderr[-2000:]}")
        return done.stdout

    def add_question(self) -> None:
        """One more question in the course that no model learns from."""
        self.questions_n += 1
        params = self.folder / "params.yaml"
        section = yaml.safe_load(params.read_text(encoding="utf-8"))["prepare_questions"]
        entry = {"course": COURSE, "layout": "A", "file": "late.csv"}
        exports = [one for one in section["exports"] if one["course"] != COURSE]
        changes = {"exports": [*exports, entry], "untaught_courses": [COURSE]}
        set_values(params, {f"prepare_questions.{name}": v for name, v in changes.items()})
        with (self.folder / SOURCE / "late.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(HEADER)
            writer.writerows(late_rows(self.questions_n, section["split_percent"]))

    def missed(self) -> dict[str, int]:
        """Rows that were asked for and not in the store so far, by kind; trainings so far."""
        with sqlite3.connect(self.store / store.FILE) as connection:
            rows = dict(connection.execute("select kind, missed from asked"))
        return rows | {"training": len([*(self.store / "checkpoints").iterdir()])}

    def texts(self) -> int:
        """Texts that have a score."""
        return pq.read_metadata(self.folder / f"data/{SCORES}").num_rows // SCORERS_N


def late_rows(count: int, split_percent: Mapping[str, float]) -> Iterator[list[str]]:
    """The first made-up questions that fall into the train split, which is sampled."""
    found = 0
    for number in itertools.count():
        row = late_row(number)
        options = zip("abcd", row[3:7], strict=True)
        asked: dict[str, Any] = {f"option_{letter}": text for letter, text in options}
        asked |= {"stem": row[2], "options_n": 4, "key": row[9]}
        if clusters.split_of(clusters.anchor(asked), split_percent) == "train":
            yield row
            found += 1
        if found == count:
            return


def late_row(number: int) -> list[str]:
    """A made-up question, unlike all others; `number` picks its words."""
    words = ["".join(chr(97 + (number * 7 + i * 5 + k) % 26) for k in range(6)) for i in range(9)]
    stem = f"Which {words[0]} of {words[1]} {words[2]} has a {words[3]} {words[4]}?"
    text = f"The {words[5]} has it, for {words[0]} and {words[1]} make {words[3]} there every day."
    options = [*words[5:9], ""]
    return [str(number), "1", stem, *options, "4", "A", text, "4.0", "12", "3", "0"]
