"""The first half of the page: whether it works, and for which course."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from stages.pure import wording
from stages.pure.catalogue import METRICS
from stages.pure.comparison import ALL, DECODINGS, PAIRS
from stages.pure.material import Material
from stages.pure.page_means import every_mean_table, heading, mean_figure, policy_table
from stages.pure.views import Cell, Findings, Missing, Section, Table, cells

MAIN = [("dpo", "sft"), ("dpo", "ilearner")]


def results(material: Material) -> Section:
    """Does it work: means of every policy, DPO against SFT and ILearner."""
    headline, level = material.headline, material.level

    def means(build: Callable[[pd.DataFrame], Any]) -> Any:
        return material.show("means of the policies", ["policy_means"], build)

    def compared(what: str, build: Callable[[pd.DataFrame], Any]) -> Any:
        return material.show(what, ["comparisons"], build)

    def differences(a: str, b: str) -> Table | Missing:
        what = f"{wording.POLICY[a]} minus {wording.POLICY[b]}"
        return compared(what, lambda table: difference_table(table, a, b, headline))

    encoder = material.given.get("encoder", {}).get("name", "of the profile")
    drawn = means(lambda table: [mean_figure(table, metric, level) for metric in headline])
    found = compared("findings", lambda table: findings(table, headline, level))
    return Section(
        "results",
        "Does it work?",
        paragraphs=[how_to_read(level)],
        findings=[] if isinstance(found, Missing) else found,
        figures=[drawn] if isinstance(drawn, Missing) else drawn,
        tables=[
            means(lambda table: policy_table(table, headline)),
            *(differences(a, b) for a, b in MAIN),
            compared("reward beside held-out", lambda table: role_table(table, headline)),
        ],
        folded=[
            means(lambda table: every_mean_table(table, encoder)),
            *(differences(a, b) for a, b in PAIRS if (a, b) not in MAIN),
            compared("all metrics", lambda table: role_table(table, None)),
        ],
    )


def how_to_read(level: float) -> str:
    """One paragraph on intervals and tests."""
    return (
        "Every policy explains the same unseen questions. Small print is the "
        f"{wording.level(level)} interval, from resampling clusters of near-identical questions. "
        "p is from flipping the signs of whole clusters, after Holm's correction over the "
        "held-out metrics of a table. "
        "“Could see” is the smallest true difference that a test of this size finds four times "
        "in five; a smaller one may be there and go unseen. Intervals and p are over questions: "
        "each model was trained once, and another training of it may differ by more."
    )


def findings(table: pd.DataFrame, headline: list[str], level: float) -> list[Findings]:
    """One sentence per headline metric for DPO against SFT, then against ILearner, sampled."""
    confidence = wording.level(level)
    return [
        Findings(
            f"{wording.POLICY[a]} against {wording.POLICY[b]}",
            [
                (wording.verdict(row)[1], wording.sentence(row, confidence))
                for row in rows_of(table, a, b, "sampled", ALL, headline)
            ],
        )
        for a, b in MAIN
    ]


def rows_of(
    table: pd.DataFrame, a: str, b: str, decoding: str, course: str, metrics: list[str]
) -> list[dict[Any, Any]]:
    """Rows of Comparisons in the order of `metrics`."""
    wanted = (table.policy_a == a) & (table.policy_b == b) & (table.decoding == decoding)
    found = table[wanted & (table.course == course)].set_index("metric", drop=False)
    return found.loc[[m for m in metrics if m in found.index]].to_dict("records")


def difference_table(table: pd.DataFrame, a: str, b: str, headline: list[str]) -> Table | Missing:
    """One pair of policies: headline metrics, sampled and greedy, p value and what is visible."""
    title = f"{wording.POLICY[a]} minus {wording.POLICY[b]}"
    sampled, greedy = (
        {row["metric"]: row for row in rows_of(table, a, b, decoding, ALL, headline)}
        for decoding in DECODINGS
    )
    main = greedy | sampled
    if not main:
        return Missing(title, "no question is explained by both policies")
    rows = []
    for metric in [name for name in headline if name in main]:
        effect = wording.change(main[metric]["minimum_detectable_effect"], METRICS[metric].unit)
        row = [
            difference_cell(sampled.get(metric)),
            difference_cell(greedy.get(metric)),
            Cell(wording.p_value(main[metric]["p_value_holm"])),
            Cell(effect.lstrip("+")),
            verdict_cell(main[metric]),
        ]
        rows.append((heading(metric), row))
    questions, clusters = (
        max(row[name] for row in main.values()) for name in ("questions_n", "clusters_n")
    )
    caption = f"Paired over {questions} questions in {clusters} clusters. Shares in percent "
    caption += "points; p and the words are on the sampled texts."
    head = ["Metric", "Difference, sampled", "Difference, greedy", "p (Holm)", "Could see"]
    return Table(title, caption, [*head, "In words"], rows)


def verdict_cell(row: dict[Any, Any]) -> Cell:
    """The verdict on a comparison, in its tone."""
    said, tone = wording.verdict(row)
    return Cell(said, tone=tone)


def difference_cell(row: dict[Any, Any] | None) -> Cell:
    """A difference with its interval as note."""
    if row is None:
        return Cell(wording.NONE)
    unit = METRICS[row["metric"]].unit
    note = wording.limits(row["low"], row["high"], unit, signed=True)
    return Cell(wording.change(row["difference"], unit), note, wording.verdict(row)[1])


def role_table(table: pd.DataFrame, headline: list[str] | None) -> Table | Missing:
    """DPO minus SFT by role: what the reward gained beside what it was not trained on.

    headline: the held-out metrics to show; None shows every metric there is.
    """
    found = rows_of(table, "dpo", "sft", "sampled", ALL, list(METRICS))
    title, caption = "Every metric", "DPO minus SFT, sampled. p values are not corrected here."
    if headline is not None:
        title = "Reward beside held-out scorers"
        caption = "DPO minus SFT, sampled. The reward chose the pairs and rises by construction; "
        caption += "the others chose nothing, and count."
        found = [
            row
            for row in found
            if row["role"] == "reward" or (row["role"] == "heldout" and row["metric"] in headline)
        ]
    if not found:
        return Missing(title, "DPO and SFT share no question")
    found.sort(key=lambda row: ["reward", "heldout", "diagnostic"].index(row["role"]))
    rows = []
    for row in found:
        unit = METRICS[row["metric"]].unit
        role = {"heldout": "held out"}.get(row["role"], row["role"])
        numbers = cells([role, *(wording.number(row[s], unit) for s in ("mean_b", "mean_a"))])
        rows.append((heading(row["metric"]), [*numbers, difference_cell(row), verdict_cell(row)]))
    return Table(title, caption, ["Metric", "Role", "SFT", "DPO", "Difference", "In words"], rows)


def courses(material: Material) -> Section:
    """DPO minus SFT in each course."""

    def build(table: pd.DataFrame) -> Table | Missing:
        names = sorted(set(table.course) - {ALL})
        rows = []
        for course in [ALL, *names]:
            found = rows_of(table, "dpo", "sft", "sampled", course, material.headline)
            by_metric = {row["metric"]: row for row in found}
            questions = max((row["questions_n"] for row in found), default=0)
            row = [
                Cell(str(questions)),
                *(difference_cell(by_metric.get(m)) for m in material.headline),
            ]
            rows.append(("all courses" if course == ALL else course, row))
        caption = "Sampled, with intervals. Shares in percent points."
        head = ["Course", "Questions", *(heading(m) for m in material.headline)]
        if not names:
            return Missing("DPO minus SFT per course", "no course is named")
        return Table("DPO minus SFT per course", caption, head, rows)

    note = "A course has few clusters, so its interval is wide; a course whose interval includes 0 "
    note += "does not contradict the others."
    table = material.show("per course", ["comparisons"], build)
    return Section("courses", "In which course?", [note], tables=[table])
