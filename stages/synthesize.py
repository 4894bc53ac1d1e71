"""Ask a large language model for questions and explanations, good and flawed, within a budget.

    questions: data/questions{,_taught}.parquet,  -> data/synthetic_questions.parquet
               models/{base,solver}                  reports/synthesize_questions.json
    texts:     data/{questions,candidates,        -> data/synthetic.parquet
                     negatives}.parquet,             reports/synthesize_texts.json
               models/solver

Off by default: the provider `none` writes empty tables. Another one is asked about train questions
and about no other: before SFT for further questions with their explanation, and once the policy
was sampled for texts about the questions that have candidates. What leaves this machine is masked
(pure/privacy.py); --dry-run prints it and sends nothing. Every answer is stored before it is used
and every call reserves its worst case under `budget_usd`, which both items share: a second run, a
killed one or another gate pays for nothing twice. What is made is not believed: what repeats a
text, is near to a held-out one or misses its key is dropped here, with a reason, and the rest goes
through the same scorers as all texts. Keys come from OPENAI_API_KEY, ANTHROPIC_API_KEY or
PEERWISE_SERVER_KEY.

    dvc repro synthesize
    python -m stages.synthesize texts --dry-run
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pandas as pd

from schemas.base import Table
from schemas.candidates import Candidates
from schemas.errors import InputError
from schemas.leakage import Leakage
from schemas.negatives import Negatives
from schemas.questions import TAUGHT, Questions
from schemas.synthetic import KINDS, Synthetic
from schemas.synthetic_questions import QUESTION_KINDS, SyntheticQuestions
from stages.runtime import artifacts, params
from stages.runtime.asking import prices, session
from stages.runtime.asking.calls import Ask
from stages.runtime.asking.prices import Model
from stages.runtime.asking.session import Api, Asking, Who
from stages.runtime.loading import checkpoints, profile
from stages.runtime.run import Run, StageParams, stage_run, start
from stages.runtime.sampling.drawing import Decoding
from stages.steps import nearness, sft
from stages.steps.asking import admitting, failing, requesting, showing
from stages.steps.asking.question_rounds import QuestionRounds
from stages.steps.asking.synthesizing import Job, Texts

NAME = "synthesize"


@dataclass(frozen=True)
class Params(StageParams, requesting.Settings):
    """params.yaml: synthesize. Units and sources are commented there."""

    provider: str
    model: str | None
    base_url: str | None
    is_batch: bool


def meaning(run: Run[Params]) -> admitting.Meaning:
    """Encoder and limits of check_leakage."""
    return admitting.Meaning(
        run.section(profile.Encoder, "encoder"), run.section(nearness.Settings, "check_leakage")
    )


def questions(run: Run[Params]) -> Job:
    """What is asked about before SFT."""
    students, taught = run.read(Questions), run.read(Questions, TAUGHT)
    run.reads(Leakage.path("questions"), checkpoints.BASE_DIR, *failing.MODELS)
    tuning = failing.Tuning(
        run.section(sft.Settings, "train_sft"),
        run.section(profile.Model, "model"),
        run.section(profile.Training, "sft"),
        run.section(profile.Generation, "generation"),
        run.section(Decoding, "decoding"),
        run.seed,
    )
    return QuestionRounds(students, taught, run.params, tuning, meaning(run))


def texts(run: Run[Params]) -> Job:
    """What is asked about once the policy was sampled."""
    tables = run.read(Questions), run.read(Candidates), run.read(Negatives)
    run.reads(*failing.MODELS)  # DVC depends on it, asked or not
    return Texts(*tables, run.params, meaning(run))


@dataclass(frozen=True)
class Item:
    """What one item of the stage writes, and who makes it."""

    schema: type[Table]
    kinds: list[str]
    job: Callable[[Run[Params]], Job]


ITEMS = {
    "questions": Item(SyntheticQuestions, QUESTION_KINDS, questions),
    "texts": Item(Synthetic, KINDS, texts),
}


def nothing(given: Params, kinds: list[str]) -> str | None:
    """Why nobody is asked, or None. Raises InputError for parameters that cannot be meant."""
    requesting.check(given)
    if given.provider == session.NONE:
        return "synthesize.provider is none: no model is asked."
    if not requesting.asked_for(given, kinds):
        return f"synthesize.kinds: {', '.join(kinds)} are all 0: no model is asked for them."
    return None


def priced(run: Run[Params]) -> tuple[Model, Api]:
    """Whom to ask, and how. Raises InputError for parameters that cannot be meant."""
    given, api = run.params, run.section(Api, "api")
    who = Who(given.provider, given.model, given.base_url, given.is_batch)
    return session.priced(NAME, who, api), api


@contextmanager
def paying(run: Run[Params], model: Model, api: Api) -> Iterator[Asking]:
    """A function that asks; what was paid is told at the end."""
    opened = session.asking(NAME, model, api, run.params.budget_usd, run.params.is_batch)
    with opened as (ask, book):
        before = book.spent()
        yield ask
        paid = prices.dollars(book.spent() - before)
    print(f"{run.name}: {paid:.4f} dollars in this run.", file=sys.stderr)


def summarize(table: pd.DataFrame, item: str, kinds: list[str]) -> dict[str, float]:
    """How many there are of each kind, how many of them are used, and what they cost."""
    numbers: dict[str, float] = {
        f"{item}_n": len(table),
        "used_n": int(table.reason.isna().sum()),
        "cost_usd": float(table.cost_usd.sum()),
    }
    for kind in kinds:
        own = table[table.kind == kind]
        numbers |= {f"{kind}_n": len(own), f"{kind}_used_n": int(own.reason.isna().sum())}
    return numbers | {f"{name}_n": int(n) for name, n in table.reason.value_counts().items()}


def make(run: Run[Params], item: str) -> None:
    """Read, ask, check, write, report."""
    kind = ITEMS[item]
    job = kind.job(run)
    if why := nothing(run.params, kind.kinds):
        print(why, file=sys.stderr)
        run.write(kind.schema, artifacts.empty(kind.schema))
        run.report({f"{item}_n": 0})
        return
    model, api = priced(run)

    def tell(asks: list[Ask]) -> None:
        print(showing.estimate(asks, model, run.params.budget_usd), file=sys.stderr)

    with paying(run, model, api) as ask:
        table = job.run(model, ask, tell)
    if table.empty:
        print(f"{run.name}: there is nothing to ask about.", file=sys.stderr)
    run.write(kind.schema, table)
    masked = {f"masked_{name}_n": n for name, n in job.masked(table).items()}
    run.report(summarize(table, item, kind.kinds) | masked)


def show(run: Run[Params], item: str) -> None:
    """Print the requests of a first run, of its first round, and what they would cost."""
    kind = ITEMS[item]
    if why := nothing(run.params, kind.kinds):
        print(f"{why} Nothing would be sent.", file=sys.stderr)
        return
    job, (model, _) = kind.job(run), priced(run)
    asks, masked = job.first(model)
    showing.show(asks, model, run.params.budget_usd, masked)


def main(item: str, dry_run: showing.DryRun = False) -> None:
    """Ask for "questions" before SFT, or for "texts" once the policy was sampled."""
    if item not in ITEMS:
        raise InputError(f"synthesize: unknown item '{item}'. Use one of {sorted(ITEMS)}.")
    if dry_run:
        given = params.declared(f"{NAME}@{item}")
        show(Run(NAME, item, params.section(Params, NAME, given), given), item)
        return
    with stage_run(NAME, Params, item) as run:
        make(run, item)


if __name__ == "__main__":
    start(main)
