"""Ask a large language model for explanations, good ones and flawed ones, within a budget.

    data/{questions,candidates,negatives}.parquet -> data/synthetic.parquet
                                                     reports/synthesize.json

Off by default: the provider `none` writes an empty table. Another one is asked for texts about
the train questions that have candidates, and about no other. What leaves this machine is masked
(pure/privacy.py); --dry-run prints it and sends nothing. Every answer is stored before it is used
and every call reserves its worst case under `budget_usd`: a second run, a killed one or another
gate pays for nothing twice. What is made is not believed: texts that repeat or say too little are
dropped here, with a reason, and the others go through the same scorers as all texts. Keys come
from OPENAI_API_KEY, ANTHROPIC_API_KEY or PEERWISE_SERVER_KEY.

    dvc repro synthesize
    python -m stages.synthesize --dry-run
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import pandas as pd
import typer

from schemas.candidates import Candidates
from schemas.negatives import Negatives
from schemas.questions import Questions
from schemas.synthetic import KINDS, Synthetic
from stages.runtime import artifacts, params
from stages.runtime.asking import asker, prices, session
from stages.runtime.asking.calls import Ask
from stages.runtime.asking.prices import Model
from stages.runtime.asking.session import Api, Who
from stages.runtime.run import StageParams, stage_run, start
from stages.steps import failing, requesting, synthesizing

NAME = "synthesize"


@dataclass(frozen=True)
class Params(StageParams, requesting.Settings):
    """params.yaml: synthesize. Units and sources are commented there."""

    provider: str
    model: str | None
    base_url: str | None
    is_batch: bool


def priced(given: Params, declared: dict[str, Any]) -> tuple[Model, Api]:
    """Whom to ask, and how. Raises InputError for parameters that cannot be meant."""
    requesting.check(given)
    api = params.section(Api, "api", declared, "params.yaml")
    who = Who(given.provider, given.model, given.base_url, given.is_batch)
    return session.priced(NAME, who, api), api


def asked_about(
    questions: pd.DataFrame, candidates: pd.DataFrame, negatives: pd.DataFrame, given: Params
) -> pd.DataFrame:
    """The candidates of the questions that are asked about."""
    below = given.only_explained_below
    if below is None:
        return candidates
    return failing.failed(questions, candidates, negatives, below)


def summarize(table: pd.DataFrame) -> dict[str, float]:
    """How many texts there are of each kind, how many of them are used, and what they cost."""
    numbers: dict[str, float] = {
        "texts_n": len(table),
        "used_n": int(table.reason.isna().sum()),
        "cost_usd": float(table.cost_usd.sum()),
    }
    for kind in KINDS:
        own = table[table.kind == kind]
        numbers |= {f"{kind}_n": len(own), f"{kind}_used_n": int(own.reason.isna().sum())}
    return numbers | {f"{name}_n": int(n) for name, n in table.reason.value_counts().items()}


def show() -> None:
    """Print the requests of a first run as JSON lines, and what they would cost."""
    declared = params.declared(NAME)
    given = params.section(Params, NAME, declared, "params.yaml")
    if given.provider == session.NONE:
        print("synthesize.provider is none: nothing would be sent.", file=sys.stderr)
        return
    model, _ = priced(given, declared)
    questions = artifacts.read(Questions)
    tables = questions, artifacts.read(Candidates), artifacts.read(Negatives)
    texts = requesting.planned(questions, asked_about(*tables, given), model, given)
    asks = requesting.requests(texts, questions, model, given, 0)
    for ask in asks:
        print(json.dumps(asdict(ask), ensure_ascii=False))
    masked = requesting.masked_counts(texts, questions, given)
    told = f"Masked in what is sent: {masked or 'nothing'}. Nothing was sent."
    print(f"{estimate(asks, model, given)} {told}", file=sys.stderr)


def estimate(asks: Sequence[Ask], model: Model, given: Params) -> str:
    """What requests will cost, in one line; those that are answered already cost nothing."""
    known = asker.known(asks)
    new = [ask for ask in asks if ask.name not in known]
    likely, worst = (sum(map(of, new)) for of in (model.price.likely, model.price.worst))
    return (
        f"{len(asks)} requests to {model.provider} {model.name}, {len(new)} of them not answered "
        f"yet: about {prices.dollars(likely):.4f} dollars, {prices.dollars(worst):.4f} at most; "
        f"cap {given.budget_usd}."
    )


def main(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be sent, and send nothing.")
    ] = False,
) -> None:
    """Read, ask, check, write, report."""
    if dry_run:
        show()
        return
    with stage_run(NAME, Params) as run:
        questions, candidates = run.read(Questions), run.read(Candidates)
        negatives = run.read(Negatives)
        run.reads(*failing.MODELS)  # DVC depends on it, asked or not
        if run.params.provider == session.NONE:
            table = synthesizing.table([], [], None)
            print("synthesize.provider is none: no model is asked.", file=sys.stderr)
            run.write(Synthetic, table)
            run.report({"texts_n": 0})
            return
        model, api = priced(run.params, run.given)
        asked = asked_about(questions, candidates, negatives, run.params)
        texts = requesting.planned(questions, asked, model, run.params)
        first = requesting.requests(texts, questions, model, run.params, 0)
        print(estimate(first, model, run.params), file=sys.stderr)
        paying = session.asking(NAME, model, api, run.params.budget_usd, run.params.is_batch)
        with paying as (ask, book):
            before = book.spent()
            made = synthesizing.make(texts, questions, model, run.params, ask)
            spent = prices.dollars(book.spent() - before)
        table = synthesizing.table(texts, made, model)
        table = synthesizing.gated(table, questions, candidates, negatives, run.params)
        run.write(Synthetic, table)
        masked = requesting.masked_counts(texts, questions, run.params)
        run.report(summarize(table) | {f"masked_{kind}_n": n for kind, n in masked.items()})
        print(f"synthesize: {spent:.4f} dollars in this run.", file=sys.stderr)


if __name__ == "__main__":
    start(main)
