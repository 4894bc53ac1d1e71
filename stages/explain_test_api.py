"""Let a model of somebody else explain the test questions, as one more policy.

    data/questions.parquet (test) -> data/explanations_api.parquet
                                     reports/explain_test_api.json

Off by default: the provider `none` writes an empty table, and `evaluate` finds no such policy.
The request is that of a reasoned positive in synthesize, without samples: the question with its
key, masked (pure/privacy.py), and no student's text. Each question is asked once; the answer
stands beside the sampled ones of our policies, though the model decodes in its own way. A
question without an answer has no row: it is counted here and is in no mean. Answers are stored
and paid once, within `budget_usd`; --dry-run prints what would be sent and sends nothing. Keys come
from OPENAI_API_KEY, ANTHROPIC_API_KEY or PEERWISE_SERVER_KEY.

    dvc repro explain_test_api
    python -m stages.explain_test_api --dry-run
"""

import logging
import sys
from dataclasses import dataclass

import pandas as pd

from schemas.explanations import API, Explanations
from schemas.questions import Questions
from stages.pure import synthesis
from stages.runtime import artifacts, params
from stages.runtime.asking import prices, session
from stages.runtime.run import StageParams, stage_run, start
from stages.steps.asking import answering, explaining_api, showing
from stages.steps.asking.answering import Answer
from stages.steps.asking.leaving import Leaving, leaving, masked_counts, masked_numbers

NAME = "explain_test_api"


@dataclass(frozen=True)
class Params(StageParams, answering.Settings):
    """params.yaml: explain_test_api. Units and sources are commented there."""


def summarize(sent: Leaving, found: list[Answer], table: pd.DataFrame) -> dict[str, float]:
    """How many questions have an answer, why the others have none, and what it cost."""
    numbers: dict[str, float] = {
        "questions_n": len(sent.questions),
        "answered_n": len(table),
        "kept_back_n": sent.kept_back_n,
    }
    if len(table):
        numbers["mean_words"] = float(table.explanation.str.split().map(len).mean())
        numbers["stopped_frac"] = float(table.is_stopped.mean())
    numbers |= answering.counted([one.reason for one in found])
    return numbers | answering.spent(found) | masked_numbers(masked_counts(sent.questions))


def show() -> None:
    """Print the requests of a first run as JSON lines, and what they would cost."""
    declared = params.declared(NAME)
    given = params.section(Params, NAME, declared)
    if given.provider == session.NONE:
        print(f"{NAME}.provider is none: nothing would be sent.", file=sys.stderr)
        return
    answering.check(NAME, given, synthesis.FORMATS)
    model, _ = answering.priced(NAME, given, declared)
    questions = leaving(artifacts.read(Questions), given.max_questions, NAME).questions
    asks = explaining_api.requests(questions, model, given, 0)
    showing.show(asks, model, given.budget_usd, masked_counts(questions))


def main(dry_run: showing.DryRun = False) -> None:
    """Read, ask, write, report."""
    if dry_run:
        show()
        return
    with stage_run(NAME, Params) as run:
        questions, given = run.read(Questions), run.params
        if given.provider == session.NONE:
            print(f"{NAME}.provider is none: no model is asked.", file=sys.stderr)
            run.write(Explanations, artifacts.empty(Explanations), API)
            run.report({"questions_n": 0})
            return
        answering.check(NAME, given, synthesis.FORMATS)
        model, api = answering.priced(NAME, given, run.given)
        sent = leaving(questions, given.max_questions, NAME)
        first = explaining_api.requests(sent.questions, model, given, 0)
        print(showing.estimate(first, model, given.budget_usd), file=sys.stderr)
        with session.asking(NAME, model, api, given.budget_usd, given.is_batch) as (ask, book):
            before = book.spent()
            found = explaining_api.explain(sent.questions, model, given, ask)
            paid = prices.dollars(book.spent() - before)
        table = explaining_api.table(sent.questions, found)
        if len(table) < len(found):
            lost = answering.counted([one.reason for one in found])
            logging.warning(f"{NAME}: {len(found) - len(table)} without an answer: {lost}.")
        run.write(Explanations, table, API)
        details = {"model": f"{model.provider} {model.name}"}
        run.report(summarize(sent, found, table), details)
        print(f"{NAME}: {paid:.4f} dollars in this run.", file=sys.stderr)


if __name__ == "__main__":
    start(main)
