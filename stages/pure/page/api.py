"""The parts of the page on models of somebody else: one that explains, and one that judges.

Neither is asked by default, and then nothing of them is on the page.
"""

from collections.abc import Mapping
from typing import Any

from schemas.judgements import REASONS
from stages.pure.page import wording
from stages.pure.page.material import Material
from stages.pure.page.views import Cell, Missing, Part, Table, cells

EXPLAINER, JUDGE = "explain_test_api", "judge_test_api"  # stages
COUNTS = {  # of questions, in reports/explain_test_api.json
    "questions_n": "Questions asked",
    "answered_n": "with an answer",
    **{f"{reason}_n": f"without: {wording.named(reason)}" for reason in REASONS},
    "kept_back_n": "Questions not asked: personal data in an option",
}
RATES = {  # of the first policy, in reports/judge_test_api.json
    "win": "Win rate",
    "length_controlled": "Win rate at equal length",
}
SHARES = {  # value -> label, and what it is a share of
    "position_bias_frac": ("Verdict follows the place", "decided_n", "decided in both orders"),
    "agreement_frac": ("Agrees with the held-out judge", "agreement_n", "decided by both judges"),
}


def is_answered(material: Material) -> bool:
    """Whether a model of an API explained a test question, or may have: its report is missing."""
    report = material.reports.get(EXPLAINER, {"metrics": {}})
    return isinstance(report, str) or bool(report["metrics"].get("answered_n"))


def answered(material: Material) -> list[Table | Missing]:
    """Who the API model is, and which questions it answered; nothing if none was asked."""
    if EXPLAINER not in material.reports:
        return []
    title, report = wording.POLICY["api"], material.reports[EXPLAINER]
    if isinstance(report, str):
        return [Missing(title, report)]
    if not is_answered(material):
        return [Missing(title, nothing_from(report, "questions"))]
    numbers = report["metrics"]
    rows = [("Name", cells([name_of(report)]))]
    rows += [
        (label, cells([wording.number(numbers[key], "n")]))
        for key, label in COUNTS.items()
        if key in numbers
    ]
    rows.append(("Cost", cells([wording.number(numbers.get("cost_usd"), "usd", after=True)])))
    caption = "Asked once per test question, with its own decoding; its answers stand beside the "
    caption += "sampled texts. A question without an answer is in no mean and no difference of it."
    return [Table(title, caption, ["Of the API model", ""], rows, style="words")]


def name_of(report: Mapping[str, Any]) -> str:
    """Provider and model, as the stage reported them."""
    return str(report.get("details", {}).get("model", wording.NONE))


def nothing_from(report: Mapping[str, Any], of: str) -> str:
    """One line for a model that answered nothing: whose, the counted reasons, and the cost.

    of: what is counted in questions_n.
    """
    numbers = report["metrics"]
    counts = {reason: numbers.get(f"{reason}_n", 0) for reason in REASONS}
    lost = [f"{wording.number(n, 'n')} {wording.named(why)}" for why, n in counts.items() if n]
    asked = wording.number(numbers.get("questions_n"), "n")
    cost = wording.number(numbers.get("cost_usd"), "usd", after=True)
    told = f"{name_of(report)} answered none of {asked} {of} ({', '.join(lost) or wording.NONE})"
    return f"{told}, for {cost}"


def judged(material: Material) -> list[Part]:
    """What a judge of pairs says; nothing if none was asked."""
    if JUDGE not in material.reports:
        return []
    title, report = "By a judge that reads both texts", material.reports[JUDGE]
    if isinstance(report, str):
        return [Part(title, tables=[Missing("Judge of pairs", report)])]
    if not report["metrics"].get("judged_n"):
        why = nothing_from(report, "questions in both orders")
        return [Part(title, tables=[Missing("Judge of pairs", why)])]
    return [
        Part(
            title,
            [
                "A model of somebody else read both texts of a question twice, once in either "
                "order. Where the orders disagree it is a tie. It chose no pairs."
            ],
            tables=[judge_table(report)],
        )
    ]


def judge_table(report: Mapping[str, Any]) -> Table:
    """Rates, what they hang on, and what could not be read."""
    numbers = report["metrics"]
    first, second = (wording.POLICY[name] for name in report["details"]["policies"])
    rows = [("Judge", cells([name_of(report)]))]
    counts = [wording.number(numbers.get(f"{k}_n"), "n") for k in ("wins", "ties", "losses")]
    rows.append((f"{first} wins / tie / {second} wins", cells([" / ".join(counts)])))
    for key, label in RATES.items():
        low, high = (numbers.get(f"{key}_{side}_frac") for side in ("low", "high"))
        note = wording.limits(low, high, "frac")
        rows.append((label, [Cell(wording.number(numbers.get(f"{key}_frac"), "frac"), note)]))
    for key, (label, of, words) in SHARES.items():
        note = f"of {wording.number(numbers.get(of, 0), 'n')} {words}"
        rows.append((label, [Cell(wording.number(numbers.get(key), "frac"), note)]))
    rows += [
        (f"Without a verdict: {wording.named(reason)}", cells([wording.number(count, "n")]))
        for reason in REASONS
        if (count := numbers.get(f"{reason}_n"))
    ]
    caption = f"{first} against {second}, sampled. A tie counts one half, so 50 % is no difference."
    return Table("Judge of pairs", caption, ["Measure", ""], rows, style="words")
