"""Let a model of somebody else say which of two policies explains a test question better.

    data/questions.parquet (test), explanations_<policy>.parquet, evaluations.parquet
        -> data/judgements.parquet
           reports/judge_test_api.json

Off by default: the provider `none` writes an empty table. Every pair of texts is shown twice,
once in either order, and what is said in one order only is a tie (Zheng et al. 2023, arXiv
2306.05685, section 3.4). The judge chose no pairs of the training, and its verdicts stand beside
those of the held-out judge. What students or models wrote is masked and quoted as data. An order
without an answer leaves no verdict. Answers are stored and paid once, within `budget_usd`;
--dry-run prints what would be sent and sends nothing.

    dvc repro judge_test_api
    python -m stages.judge_test_api --dry-run
"""

import logging
import sys
from dataclasses import dataclass

import pandas as pd

from schemas.evaluations import Evaluations
from schemas.explanations import POLICIES, Explanations
from schemas.judgements import Judgements
from schemas.questions import Questions
from stages.pure import verdicts
from stages.pure.stats import Resampling
from stages.runtime import artifacts, params
from stages.runtime.asking import prices, session
from stages.runtime.run import Run, StageParams, stage_run, start
from stages.steps.asking import answering, judging, showing
from stages.steps.asking.leaving import masked_numbers

NAME = "judge_test_api"


@dataclass(frozen=True)
class Params(StageParams, judging.Settings):
    """params.yaml: judge_test_api. Units and sources are commented there."""


def summarize(run: Run[Params], table: pd.DataFrame, compared: pd.DataFrame) -> dict[str, float]:
    """The verdicts in numbers, and why there are no others."""
    given = run.given["evaluate"]
    how = Resampling(given["bootstrap_samples"], given["confidence"], run.seed)
    numbers: dict[str, float] = {
        "questions_n": len(compared),
        "same_text_n": int(compared.is_same.sum()),
    }
    return numbers | verdicts.summarize(compared, how) | answering.counted(table.reason.dropna())


def show() -> None:
    """Print the requests of a first run as JSON lines, and what they would cost."""
    declared = params.declared(NAME)
    given = params.section(Params, NAME, declared)
    if given.provider == session.NONE:
        print(f"{NAME}.provider is none: nothing would be sent.", file=sys.stderr)
        return
    judging.check(given)
    model, _ = answering.priced(NAME, given, declared)
    both = [artifacts.read(Explanations, policy) for policy in given.policies]
    pairs = judging.leaving_pairs(artifacts.read(Questions), given.max_questions, *both).questions
    asks = judging.requests(judging.places(pairs), model, given, 0)
    showing.show(asks, model, given.budget_usd, judging.masked(pairs))


def main(dry_run: showing.DryRun = False) -> None:
    """Read, ask, write, report."""
    if dry_run:
        show()
        return
    with stage_run(NAME, Params) as run:
        given = run.params
        judging.check(given)
        is_off = given.provider == session.NONE
        # DVC depends on every policy's texts, whichever are judged, and MLflow tells the same
        others = [name for name in POLICIES if is_off or name not in given.policies]
        run.reads(*map(Explanations.path, others))
        if is_off:
            run.reads(Questions.path(), Evaluations.path())
            print(f"{NAME}.provider is none: no model is asked.", file=sys.stderr)
            run.write(Judgements, artifacts.empty(Judgements))
            run.report({"questions_n": 0})
            return
        judge(run)


def judge(run: Run[Params]) -> None:
    """Ask about every pair in both orders, write the verdicts, and report them."""
    given = run.params
    model, api = answering.priced(NAME, given, run.given)
    both = [run.read(Explanations, policy) for policy in given.policies]
    stars = judging.heldout_stars(run.read(Evaluations), *both)
    sent = judging.leaving_pairs(run.read(Questions), given.max_questions, *both)
    pairs = sent.questions
    first = judging.requests(judging.places(pairs), model, given, 0)
    print(showing.estimate(first, model, given.budget_usd), file=sys.stderr)
    with session.asking(NAME, model, api, given.budget_usd, given.is_batch) as (ask, book):
        before = book.spent()
        found = judging.judge(pairs, model, given, ask)
        paid = prices.dollars(book.spent() - before)
    table = judging.table(pairs, found, model, given.policies)
    numbers = summarize(run, table, judging.compared(table, pairs, stars))
    if not numbers["judged_n"]:
        logging.warning(f"{NAME}: no question was answered in both orders.")
    run.write(Judgements, table)
    numbers |= {"kept_back_n": sent.kept_back_n} | answering.spent(found)
    numbers |= masked_numbers(judging.masked(pairs))
    details = {"model": f"{model.provider} {model.name}", "policies": given.policies}
    run.report(numbers, details)
    print(f"{NAME}: {paid:.4f} dollars in this run.", file=sys.stderr)


if __name__ == "__main__":
    start(main)
