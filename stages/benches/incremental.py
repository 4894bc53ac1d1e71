"""C9: what one more question costs, in a copy of this repository with small models.

A course is run through up to the scores. Then a question comes that no model may learn from
(prepare_questions.untaught_courses). Ours: `dvc repro` with the row store; beside it the same
without what the store knows (what DVC alone would do), and once everything from the beginning
(what scripts do). Which stages ran is read from what DVC says, and how many rows they computed and
which trainings they began from the store. The verifier stands for all scorers that are models.
"""

import csv
import itertools
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml

from stages.benches.measure import Case, Check, Goal, How, Laps, Way, median
from stages.pure import clusters
from stages.runtime import store

ROOT = Path(__file__).resolve().parents[2]
COURSE, TARGET = "late", "score_candidates"
# prepare_base reads a folder that got a file: it runs, and finds its training done
RUN = {"prepare_questions", "check_leakage@questions", "prepare_base"}
RUN |= {"sample_candidates", "make_negatives", TARGET}
SCORES, SCORERS_N = "scores.parquet", 2
IN_TEMP = ["dvc", "exp", "run", "--temp", "--copy-paths", "data/raw/mine", TARGET]
TEMPERATURES = [0.3, 0.5, 0.7, 0.9, 1.1, 1.3]
HEADER = ["id", "course_id", "question", "altA", "altB", "altC", "altD", "altE", "numAlts"]
HEADER += ["answer", "explanation", "avg_rating", "total_ratings", "top_rating_count", "deleted"]


@dataclass(frozen=True)
class Plan:
    """How large the course is."""

    questions_per_fact: int  # 459 facts
    max_facts: int | None


C9 = Plan(5, None)  # some 2,000 questions
SMALL = Plan(2, 40)


def params_of(plan: Plan, threads: int) -> dict[str, dict[str, Any]]:
    """file -> dotted key -> value: a small base, every train question sampled, no gate."""
    return {
        "params.yaml": {
            "make_sample_course.max_facts": plan.max_facts,
            "make_sample_course.questions_per_fact": plan.questions_per_fact,
            "prepare_questions.source": "data/raw/mine",
            "prepare_questions.min_ratings": 1,
            "sample_candidates.max_questions": None,
            "sample_candidates.temperatures": TEMPERATURES,
            "check_leakage.max_question_similarity": 1.1,
            "score_candidates.scorers": {"verifier": "reward", "words": "diagnostic"},
        },
        "stages/profiles/tiny.yaml": {
            **{f"{name}.threads": threads for name in ("model", "encoder")},
            "base.layers": 1,
            "base.width": 32,
            "base.heads": 2,
            "base.feed_forward": 64,
            "base.copy_steps": 4,
            "base.copy_batch_size": 4,
            "base.steps": 8,
            "reading.short_steps": 4,
            "reading.steps": 8,
            "reading.batch_size": 4,
            "generation.max_new_tokens": 16,
            **{f"{name}.epochs": 1 for name in ("sft", "verifier", "dpo")},
            **{
                f"students.student_{i}.{key}": value
                for i in range(2)
                for key, value in {"threads": threads, "size.layers": 1, "size.width": 32}.items()
            },
        },
    }


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
        with (self.folder / "data/raw/mine/late.csv").open("w", newline="") as file:
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


def built(plan: Plan, how: How) -> Workspace:
    """A copy that has run up to the scores."""
    made = Workspace(tempfile.TemporaryDirectory(prefix="peerwise-c9-"))
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (made.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, made.folder / name)
    made.run("git", "init", "--quiet")
    for file, values in params_of(plan, how.threads).items():
        set_values(made.folder / file, values)
    person = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")
    made.run("git", "add", "--all")
    made.run("git", *person, "commit", "--quiet", "-m", "x")
    made.run("dvc", "repro", "make_sample_course")
    shutil.copytree(made.folder / "data/raw/sample_course", made.folder / "data/raw/mine")
    made.run("dvc", "repro", TARGET)
    return made


def incremental_case(plan: Plan, how: How) -> Case:
    """One more question, with the store and without; and once, for the bytes, everything again."""
    made = built(plan, how)
    computed: dict[str, dict[str, int]] = {}
    ran: dict[str, dict[str, str]] = {}
    seconds: dict[str, float] = {}

    def counted(name: str, *command: str) -> None:
        """Run a command and note which stages it ran, and how much they computed."""
        before = made.missed()
        told = made.run(*command)
        after = made.missed()
        ran[name] = dict.fromkeys(re.findall(r"Running stage '([^']+)'", told), "ran")
        computed[name] = {kind: n - before.get(kind, 0) for kind, n in after.items()}

    def late(_: Any) -> None:
        counted(f"dvc repro, question {made.questions_n}", "dvc", "repro", TARGET)

    def without_store(_: Any) -> None:
        made.run("dvc", "repro", TARGET, store=made.empty_store())

    def checks() -> list[Check]:
        texts = [made.texts()]
        made.add_question()
        counted("in the workspace", "dvc", "repro", TARGET)
        texts.append(made.texts())
        alone, begun = (made.folder / f"data/{SCORES}").read_bytes(), time.perf_counter()
        made.run("dvc", "repro", "--force", TARGET, store=made.empty_store())
        seconds["seconds"] = time.perf_counter() - begun
        again = (made.folder / f"data/{SCORES}").read_bytes()
        made.add_question()
        counted("in a temporary folder", *IN_TEMP)
        counted("the same then in the workspace", "dvc", "repro", TARGET)
        texts.append(made.texts())
        known = float(sum(computed.pop("the same then in the workspace").values()))
        found = [Check("scores differ from those of a run from nothing", float(alone != again), 0)]
        found.append(Check("rows computed again that the temporary folder had", known, 0))
        for (name, rows), new in zip(computed.items(), np.diff(texts).tolist(), strict=True):
            scores = max(n for kind, n in rows.items() if kind not in ("sample", "training"))
            found += [
                Check(f"stages beyond those of a question, {name}", len({*ran[name]} - RUN), 0),
                Check(f"trainings, {name}", rows["training"], 0),
                Check(f"samples beyond its {len(TEMPERATURES)}, {name}", beyond(rows), 0),
                Check(f"scores of one scorer beyond its {new} texts, {name}", scores - new, 0),
            ]
        return found

    return Case(
        items=1,
        unit="questions",
        ways=[
            Way("ours", "ours", late, prepare=made.add_question),
            Way("dvc without the store", "strong", without_store, prepare=made.add_question),
            Way("nothing to do", "other", lambda _: made.run("dvc", "repro", TARGET)),
        ],
        checks=checks,
        work=[],
        goals=lambda laps: [
            Goal("ours over everything again", seconds["seconds"] / median(laps["ours"]), 1),
            Goal("seconds of a dvc repro with nothing to do", idle(laps), 1.5, is_at_most=True),
        ],
        details=lambda laps: {"computed": computed, "stages": ran, "everything again": [seconds]},
    )


def beyond(rows: Mapping[str, int]) -> int:
    """How far the number of samples is from that of one question."""
    return abs(rows["sample"] - len(TEMPERATURES))


def idle(laps: Laps) -> float:
    """Median seconds of a repro that has nothing to do."""
    return median(laps["nothing to do"])
