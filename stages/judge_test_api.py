"""Let a model of somebody else say which of two policies explains a test question better.

    data/questions.parquet (test), explanations_<policy>.parquet, evaluations.parquet
        -> data/judgements.parquet
           reports/judge_test_api.json

Off by default: the provider `none` writes an empty table. Every pair of texts is shown twice,
once in either order, and what is said in one order only is a tie (Zheng et al. 2023, arXiv
2306.05685, section 3.4). The judge chose no pairs of the training, and its verdicts stand beside
those of the held-out judge. What students or models wrote is masked and quoted as data. An order
without an answer leaves no verdict. Answers are stored and paid once, within `budget_usd`.

    dvc repro judge_test_api
    python -m stages.judge_test_api
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
from stages.runtime import artifacts
from stages.runtime.asking import prices, session
from stages.runtime.asking.session import Api, Who
from stages.runtime.run import Run, StageParams, stage_run, start
from stages.steps import answering, judging
from stages.steps.leaving import leaving, masked_counts

NAME = "judge_test_api"


@dataclass(frozen=True)
class Params(StageParams, judging.Settings):
    """params.yaml: judge_test_api. Units and sources are commented there."""

    provider: str
    model: str | None
    base_url: str | None
    is_batch: bool


def summarize(run: Run[Params], table: pd.DataFrame, compared: pd.DataFrame) -> dict[str, float]:
    """The verdicts in numbers, and why there are no others."""
    given = run.given["evaluate"]
    how = Resampling(given["bootstrap_samples"], given["confidence"], run.seed)
    numbers: dict[str, float] = {
        "questions_n": len(compared),
        "same_text_n": int(compared.is_same.sum()),
    }
    return numbers | verdicts.summarize(compared, how) | answering.counted(table.reason.dropna())


def main() -> None:
    """Read, ask, write, report."""
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
        api = run.section(Api, "api")
        who = Who(given.provider, given.model, given.base_url, given.is_batch)
        model = session.priced(NAME, who, api)
        both = [run.read(Explanations, policy) for policy in given.policies]
        stars = judging.heldout_stars(run.read(Evaluations), *both)
        sent = leaving(run.read(Questions), None, NAME)
        pairs = judging.pairs(sent.questions, *both)[: given.max_questions]
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
        numbers |= masked_counts(pairs, [*pairs.text_a, *pairs.text_b])
        details = {"model": f"{model.provider} {model.name}", "policies": given.policies}
        run.report(numbers, details)
        print(f"{NAME}: {paid:.4f} dollars in this run.", file=sys.stderr)


if __name__ == "__main__":
    start(main)
