"""Section 1 of the page: does it work?"""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from stages.pure.comparison import ALL, PAIRS
from stages.pure.page import api, rewards, seeds, wins, wording
from stages.pure.page.differences import difference_table, role_table, rows_of, trainings_n
from stages.pure.page.material import Material
from stages.pure.page.means import every_mean_table, mean_figure, policy_table
from stages.pure.page.views import Findings, Missing, Part, Section, Table

MAIN = [("dpo", "sft"), ("dpo", "ilearner")]
WITH_API = ("dpo", "api")


def results(material: Material) -> Section:
    """Headline, seeds, reward beside held-out, wins, rewards and means of every policy."""
    return Section(
        "results",
        "Does it work?",
        [
            headline(material),
            seeds.seeds(material),
            reward_beside_heldout(material),
            wins.wins(material),
            *api.judged(material),
            rewards.rewards(material),
            means(material),
        ],
    )


def compared(material: Material, what: str, build: Callable[[pd.DataFrame], Any]) -> Any:
    """What `build` makes of Comparisons, or why it cannot."""
    return material.show(what, ["comparisons"], build)


def differences(material: Material, a: str, b: str) -> Table | Missing:
    """One pair of policies over the headline metrics."""
    what = f"{wording.POLICY[a]} minus {wording.POLICY[b]}"
    return compared(material, what, lambda table: difference_table(table, a, b, material.headline))


def headline(material: Material) -> Part:
    """DPO against SFT, ILearner and an API's model if one answered, in sentences and numbers."""
    main = [*MAIN, WITH_API] if api.is_answered(material) else MAIN
    rest = [pair for pair in PAIRS if pair not in (*main, WITH_API)]
    found = compared(
        material,
        "findings",
        lambda table: findings(table, material.headline, material.level, main),
    )
    return Part(
        "Headline",
        [how_to_read(material.level, trainings_n(material.tables["comparisons"]))],
        findings=[] if isinstance(found, Missing) else found,
        tables=[*(differences(material, a, b) for a, b in main), *api.answered(material)],
        folded=[differences(material, a, b) for a, b in rest],
    )


def reward_beside_heldout(material: Material) -> Part:
    """What the reward gained beside what it was not trained on."""
    return Part(
        "Did only the reward rise?",
        tables=[
            compared(
                material,
                "reward beside held-out",
                lambda table: role_table(table, material.headline),
            )
        ],
        folded=[compared(material, "all metrics", lambda table: role_table(table, None))],
    )


def means(material: Material) -> Part:
    """The mean of each policy, as pictures and as tables."""
    title, names = "Every policy by itself", material.headline
    encoder = material.given.get("encoder", {}).get("name", "of the profile")

    def build(table: pd.DataFrame) -> Part:
        return Part(
            title,
            figures=[mean_figure(table, metric, material.level) for metric in names],
            tables=[policy_table(table, names)],
            folded=[every_mean_table(table, encoder)],
        )

    found: Part | Missing = material.show("Means of the policies", ["policy_means"], build)
    return Part(title, tables=[found]) if isinstance(found, Missing) else found


def how_to_read(level: float, trainings: int) -> str:
    """One paragraph on intervals and tests."""
    reach = (
        "Intervals and p are over questions: each model was trained once, and another training "
        "of it may differ by more."
    )
    if trainings > 1:
        reach = f"Intervals are over questions and over {trainings} trainings, each with its own "
        reach += "seed, wherever more than one training is compared; p is over questions."
    return (
        "Every policy explains the same unseen questions. Small print is the "
        f"{wording.level(level)} interval, from resampling clusters of near-identical questions. "
        "p is from flipping the signs of whole clusters, after Holm's correction over the "
        "held-out metrics of a table. "
        "“Could see” is the smallest true difference that a test of this size finds four times "
        f"in five; a smaller one may be there and go unseen. {reach}"
    )


def findings(
    table: pd.DataFrame,
    headline: list[str],
    level: float,
    pairs: Sequence[tuple[str, str]] = MAIN,
) -> list[Findings]:
    """One sentence per headline metric for each of `pairs` that was compared, sampled."""
    confidence = wording.level(level)
    return [
        Findings(
            f"{wording.POLICY[a]} against {wording.POLICY[b]}",
            [(wording.verdict(row)[1], wording.sentence(row, confidence)) for row in rows],
        )
        for a, b in pairs
        if (rows := rows_of(table, a, b, "sampled", ALL, headline))
    ]
