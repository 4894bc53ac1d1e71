"""A budget of calls -> how many calls each strategy gets, and for which questions.

After Chan et al. 2024, Balancing Cost and Effectiveness of Synthetic Data Generation Strategies
for LLMs (arXiv 2409.19759): which strategy is best depends on calls / seed questions. While the
ratio is low, new answers to the questions that there are serve best; as it grows, rephrased
questions and then new ones do. The paper gives this direction and no cut-offs, so both ratios
are parameters, to be chosen on the validation split.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from schemas.errors import InputError
from schemas.synthetic_questions import NEW, REPHRASED


class Ratios(NamedTuple):
    """Calls per seed question from which a strategy is used, 0 <= rephrase <= new."""

    rephrase: float
    new: float


class Share(NamedTuple):
    """What a strategy gets: its first `questions_n` questions, and the calls that they take."""

    questions_n: int
    calls_n: int


def affordable_calls(budget_usd: float, usd_per_call: float) -> int:
    """The calls that `budget_usd` pays for, rounded down.

    In decimals: 0.30 dollars pay for three calls of 0.10. Raises InputError for a negative or
    endless budget and for a price that is not above 0.
    """
    if not 0 <= budget_usd < float("inf"):
        raise InputError(
            f"params.yaml: synthesize.budget_usd: {budget_usd} is no sum of money. Set 0 or more."
        )
    if not 0 < usd_per_call < float("inf"):
        raise InputError(
            f"synthesize: a call for {usd_per_call} USD has no price. "
            "Set prices above 0 in params.yaml: api_prices."
        )
    return int(Decimal(str(budget_usd)) // Decimal(str(usd_per_call)))


def ratio_of(max_calls: int, questions_n: int) -> float:
    """Calls per seed question. Raises InputError without a question or with negative calls."""
    if questions_n < 1:
        raise InputError(
            f"synthesize: {questions_n} eligible questions in data/questions.parquet. "
            "There is nothing to ask about; admit more questions."
        )
    if max_calls < 0:
        raise InputError(f"synthesize: a budget of {max_calls} calls. Set it to 0 or more.")
    return max_calls / questions_n


def opening(strategy: str, ratios: Ratios) -> float:
    """The ratio from which `strategy` is used."""
    # every other strategy explains an existing question
    return {REPHRASED: ratios.rephrase, NEW: ratios.new}.get(strategy, 0.0)


def plan(
    wanted: Mapping[str, int], questions_n: int, max_calls: int, ratios: Ratios
) -> dict[str, Share]:
    """What each strategy gets, in the order in which the budget is spent.

    wanted: strategy -> calls that one question takes, most important first. Explanations of
    existing questions come first, then rephrased, then new questions, each kind by importance. A
    strategy gets calls once every question has those of all strategies before it. So the sum is
    never above max_calls, and with a bigger budget no strategy gets fewer; what the open
    strategies cannot use is left over. Raises InputError for numbers out of range.
    """
    check(wanted, ratios)
    ratio, left = ratio_of(max_calls, questions_n), max_calls
    shares: dict[str, Share] = {}
    # sorted() keeps the order of what opens at the same ratio. A strategy that opens takes
    # nothing from those before it, and those after it are not open yet or wait.
    for strategy in sorted(wanted, key=lambda name: opening(name, ratios)):
        is_open = ratio >= opening(strategy, ratios)
        served = min(questions_n, left // wanted[strategy]) if is_open else 0
        shares[strategy] = Share(served, served * wanted[strategy])
        left = left - shares[strategy].calls_n if served == questions_n else 0
    return shares


def check(wanted: Mapping[str, int], ratios: Ratios) -> None:
    """Raise InputError unless each strategy takes a call or more and the ratios are in order."""
    for strategy, calls in wanted.items():
        if calls < 1:
            raise InputError(
                f"synthesize: {strategy} takes {calls} calls per question. Set 1 or more, "
                "or leave the strategy out."
            )
    if not 0 <= ratios.rephrase <= ratios.new:
        raise InputError(
            f"synthesize: rephrased questions from {ratios.rephrase} calls per question on and new "
            f"ones from {ratios.new} on. Set 0 or more for both, and no less for new ones."
        )
