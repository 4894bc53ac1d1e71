"""What requests hold, what they would cost and what of them is masked, told before they are sent.

Needs no key and no network.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from stages.runtime.asking import asker, prices
from stages.runtime.asking.calls import Ask
from stages.runtime.asking.prices import Model

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be sent, and send nothing.")
]


def show(asks: Sequence[Ask], model: Model, budget_usd: float, masked: Mapping[str, int]) -> None:
    """Print each request as a JSON line, then on stderr what they would cost; nothing is sent.

    masked: how often each kind of personal data is masked in them.
    """
    for ask in {ask.name: ask for ask in asks}.values():  # equal ones are sent once
        print(json.dumps(asdict(ask), ensure_ascii=False))
    told = f"Masked in what is sent: {dict(masked) or 'nothing'}. Nothing was sent."
    print(f"{estimate(asks, model, budget_usd)} {told}", file=sys.stderr)


def estimate(asks: Sequence[Ask], model: Model, budget_usd: float) -> str:
    """What requests will cost, in one line; those that are answered already cost nothing."""
    distinct = {ask.name: ask for ask in asks}
    new = [distinct[name] for name in distinct.keys() - asker.known(asks).keys()]
    likely, worst = (sum(map(of, new)) for of in (model.price.likely, model.price.worst))
    return (
        f"{len(distinct)} requests to {model.provider} {model.name}, {len(new)} of them not "
        f"answered yet: about {prices.dollars(likely):.4f} dollars, {prices.dollars(worst):.4f} at "
        f"most if none is asked twice; cap {budget_usd}."
    )
