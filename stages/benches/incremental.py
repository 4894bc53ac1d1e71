"""C9: what one more question costs, in a copy of this repository with small models.

A course is run through up to the scores. Then a question comes that no model may learn from
(prepare_questions.untaught_courses). Ours: `dvc repro` with the row store; beside it the same
without what the store knows (what DVC alone would do), and once everything from the beginning
(what scripts do). Which stages ran is read from what DVC says, and how many rows they computed and
which trainings they began from the store. The verifier stands for all scorers that are models.
"""

import re
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stages.benches.measure import Case, Check, Goal, How, Laps, Way, median
from stages.benches.workspace import SCORES, SOURCE, Workspace, copy_of_the_working_tree, set_values

TARGET = "score_candidates"
# prepare_base reads a folder that got a file: it runs, and finds its training done
RUN = {"prepare_questions", "check_leakage@questions", "prepare_base"}
RUN |= {"sample_candidates", "make_negatives", "synthesize@questions", "synthesize@texts"}
RUN |= {TARGET}
REPRO = ("dvc", "repro", TARGET)
IN_TEMP = ("dvc", "exp", "run", "--temp", "--copy-paths", str(SOURCE), TARGET)
TEMPERATURES = [0.3, 0.5, 0.7, 0.9, 1.1, 1.3]


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
            "prepare_questions.source": str(SOURCE),
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


def built(plan: Plan, how: How) -> Workspace:
    """A copy that has run up to the scores."""
    made = Workspace(tempfile.TemporaryDirectory(prefix="peerwise-c9-"))
    copy_of_the_working_tree(made.folder)
    for file, values in params_of(plan, how.threads).items():
        set_values(made.folder / file, values)
    made.run("dvc", "repro", "make_sample_course")
    shutil.copytree(made.folder / "data/raw/sample_course", made.folder / SOURCE)
    made.run(*REPRO)
    return made


@dataclass
class Ledger:
    """Per run of DVC: the rows that were computed by kind, and the stages that ran."""

    workspace: Workspace
    computed: dict[str, dict[str, int]] = field(default_factory=dict)
    ran: dict[str, dict[str, str]] = field(default_factory=dict)

    def run(self, name: str, command: tuple[str, ...]) -> int:
        """Run a command and note what it did; how many texts more have a score."""
        before, texts = self.workspace.missed(), self.workspace.texts()
        told = self.workspace.run(*command)
        after = self.workspace.missed()
        self.ran[name] = dict.fromkeys(re.findall(r"Running stage '([^']+)'", told), "ran")
        self.computed[name] = {kind: n - before.get(kind, 0) for kind, n in after.items()}
        return self.workspace.texts() - texts

    def checks(self, name: str, texts_n: int) -> list[Check]:
        """That a run did what a question of `texts_n` texts costs, and no more."""
        rows = self.computed[name]
        scores = [n for kind, n in rows.items() if kind not in ("sample", "training", "vector")]
        return [
            Check(f"stages beyond those of a question, {name}", len({*self.ran[name]} - RUN), 0),
            Check(f"trainings, {name}", rows["training"], 0),
            Check(f"samples beyond its {len(TEMPERATURES)}, {name}", beyond(rows), 0),
            Check(f"no text was scored, {name}", float(max(scores) < 1), 0),
            Check(f"scores beyond its {texts_n} texts, {name}", excess(scores, texts_n), 0),
        ]


def incremental_case(plan: Plan, how: How) -> Case:
    """One more question, with the store and without; and once, for the bytes, everything again."""
    made = built(plan, how)
    ledger, seconds = Ledger(made), dict[str, float]()

    def late(_: Any) -> None:
        ledger.run(f"dvc repro, question {made.questions_n}", REPRO)

    def without_store(_: Any) -> None:
        made.run(*REPRO, store=made.empty_store())

    def checks() -> list[Check]:
        found, seconds["seconds"] = in_the_workspace(ledger)
        return found + in_a_temporary_folder(ledger)

    return Case(
        items=1,
        unit="questions",
        ways=[
            Way("ours", "ours", late, prepare=made.add_question),
            Way("dvc without the store", "strong", without_store, prepare=made.add_question),
            Way("nothing to do", "other", lambda _: made.run(*REPRO)),
        ],
        checks=checks,
        work=[],
        goals=lambda laps: [
            Goal("ours over everything again", seconds["seconds"] / median(laps["ours"]), 1),
            Goal("seconds of a dvc repro with nothing to do", idle(laps), 1.5, is_at_most=True),
        ],
        details=lambda laps: {
            "computed": ledger.computed,
            "stages": ledger.ran,
            "everything again": [seconds],
        },
    )


def in_the_workspace(ledger: Ledger) -> tuple[list[Check], float]:
    """A question comes; beside it everything from an empty store, and how long that takes."""
    made, name = ledger.workspace, "in the workspace"
    made.add_question()
    texts_n = ledger.run(name, REPRO)
    scores = made.folder / f"data/{SCORES}"
    added, begun = scores.read_bytes(), time.perf_counter()
    made.run("dvc", "repro", "--force", TARGET, store=made.empty_store())
    seconds = time.perf_counter() - begun
    differ = float(added != scores.read_bytes())
    same = Check("scores differ from those of a run from nothing", differ, 0)
    return [same, *ledger.checks(name, texts_n)], seconds


def in_a_temporary_folder(ledger: Ledger) -> list[Check]:
    """A question comes to an experiment; the workspace then finds what that computed."""
    name, then = "in a temporary folder", "the same then in the workspace"
    ledger.workspace.add_question()
    ledger.run(name, IN_TEMP)
    texts_n = ledger.run(then, REPRO)
    known = float(sum(ledger.computed.pop(then).values()))
    found = ledger.checks(name, texts_n)
    return [*found, Check("rows computed again that the temporary folder had", known, 0)]


def beyond(rows: Mapping[str, int]) -> int:
    """How far the number of samples is from that of one question."""
    return abs(rows["sample"] - len(TEMPERATURES))


def excess(scores: list[int], texts_n: int) -> int:
    """Scores beyond one per text; fewer where two texts are the same."""
    return max(0, max(scores) - texts_n)


def idle(laps: Laps) -> float:
    """Median seconds of a repro that has nothing to do."""
    return median(laps["nothing to do"])
