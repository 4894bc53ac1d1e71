"""A tiny invented course as tables: every schema once, with nulls where it allows them.

Five questions q1..q5. q1 and q2 are sampled: q1 gives pairs, q2 gives none. q4 and q5 are
test questions with an explanation of each policy.
"""

from collections.abc import Iterable

import pandas as pd

from schemas.base import Table
from schemas.candidates import Candidates
from schemas.comparisons import Comparisons
from schemas.drops import Drops
from schemas.evaluations import Evaluations
from schemas.explanations import POLICIES, Explanations
from schemas.fitness import Fitness
from schemas.judgements import Judgements
from schemas.leakage import Leakage
from schemas.negatives import Negatives
from schemas.pair_audit import PairAudit
from schemas.policy_means import PolicyMeans
from schemas.predictions import VERIFIERS, Predictions
from schemas.preferences import Preferences
from schemas.questions import Questions
from schemas.rejects import Rejects
from schemas.scores import Scores
from schemas.seed_comparisons import SeedComparisons
from schemas.synthetic import Synthetic
from schemas.synthetic_questions import SyntheticQuestions
from schemas.validations import Validations
from schemas.win_rates import WinRates
from stages.runtime import artifacts

Item = str | None


def table(schema: type[Table], rows: Iterable[tuple]) -> pd.DataFrame:
    """Rows in the order of the schema's columns, with its types."""
    columns = schema.to_schema().columns
    frame = pd.DataFrame(list(rows), columns=[*columns])
    return frame.astype({name: artifacts.pandas_type(c) for name, c in columns.items()})


def question(number: int, row: int, split: str, rating: float | None, words: int) -> tuple:
    """A row of `questions`: course a for odd numbers, b for even ones."""
    course = "a" if number % 2 else "b"
    options = ("yes", "no", None, None, None, 2)
    text = " ".join(["word"] * words)
    rated = (rating, 0 if rating is None else 12, "question", words >= 10, True, None)
    identity = (f"{course}/{number}{row}", f"q{number}", f"c{number}", split, 0, course)
    return (*identity, f"Is {number} so?", *options, "A", text, words, *rated)


def questions() -> pd.DataFrame:
    """Ten rows of five questions; q3 is a judge question, q4 and q5 test questions."""
    splits = {1: "train", 2: "train", 3: "judge", 4: "test", 5: "test"}
    rows = [
        question(n, row, split, rating=1.0 + (2 * n + row) % 4, words=8 + 3 * row)
        for n, split in splits.items()
        for row in (1, 2)
    ]
    rows[0] = question(1, 1, "train", rating=None, words=8)
    return table(Questions, rows)


def candidates() -> pd.DataFrame:
    """q1 and q2: three samples and one student text each; one sample is empty."""
    rows: list[tuple] = []
    for n in (1, 2):
        rows += [(f"q{n}", i, "sft", None, 0.5 + i / 10, 7, f"s{n}{i}", 2, True) for i in range(3)]
        rows += [(f"q{n}", 3, "student", f"a/{n}1", None, -1, "student", 1, True)]
    rows[6] = ("q2", 2, "sft", None, 0.7, 7, "", 0, False)
    return table(Candidates, rows)


def negatives() -> pd.DataFrame:
    """One negative for q1, which loses, and one for q2, which does not."""
    rows = [("q1", 1000, "other_question", "q2", "wrong"), ("q2", 1000, "circular", None, "A is A")]
    return table(Negatives, rows)


def synthetic() -> pd.DataFrame:
    """Of q1 a positive that is used and a malgorithm that is not; of q2 a text that never came."""
    paid = ("openai gpt-4o", 200, 60, 0.0011)
    rows = [
        ("q1", 2000, "reasoned_positive", None, "yes, for a reason", None, *paid),
        ("q1", 3400, "malgorithm", "B", "no", "too_short", *paid),
        ("q2", 3000, "inverted_logic", None, None, "refused", *paid),
    ]
    return table(Synthetic, rows)


def synthetic_questions() -> pd.DataFrame:
    """Of q1 a new question that is used, and one that repeats it; of q2 one that never came."""
    asked = ("Which of the two conducts a current?", "copper", "wood", None, None, None, 2, "A")
    said = "Its electrons move freely, so copper conducts, and wood holds its own."
    paid = ("openai gpt-4o", 300, 90, 0.0016)
    rows = [
        ("q1", 0, 0, "new_question", "s1", *asked, said, None, *paid),
        ("q1", 1, 0, "new_question", "s1", *asked, said, "equal_to_existing", *paid),
        ("q2", 0, 0, "rephrased_question", *[None] * 7, 2, "A", None, "refused", *paid),
    ]
    return table(SyntheticQuestions, rows)


def scores() -> pd.DataFrame:
    """On q1 verifier and judge agree, on q2 they contradict each other; one text is unscored."""
    verifier = {("q1", i): float(i + 1) for i in range(4)} | {("q1", 1000): 0.5}
    verifier |= {("q2", i): 2.0 + i / 100 for i in range(4)} | {("q2", 1000): 2.5}
    rows: list[tuple] = []
    for (question_id, index), value in verifier.items():
        judge = value if question_id == "q1" else 4 - value
        rows.append((question_id, index, "verifier", "reward", value, None))
        rows.append((question_id, index, "judge", "heldout", judge, None))
    rows[11] = ("q2", 0, "judge", "heldout", None, "too long")
    return table(Scores, rows)


def preferences() -> pd.DataFrame:
    """Two pairs of q1: the student's text against a sample, and a sample against a negative."""
    rows = [
        ("q1", "c1", 3, 0, "student", "s10", "student", "sft", None, 4.0, 1.0, 3.0, 1),
        (
            "q1",
            "c1",
            1,
            1000,
            "s1 1",
            "wrong",
            "sft",
            "negative",
            "other_question",
            2.0,
            0.5,
            1.5,
            2,
        ),
    ]
    return table(Preferences, rows)


def drops() -> pd.DataFrame:
    """Everything that is in no pair."""
    rows = [("q1", 2, "sft", "over_limit"), ("q2", 1000, "negative", "not_worse")]
    rows += [("q2", i, "sft", "below_gap") for i in range(2)]
    rows += [("q2", 2, "sft", "empty_text"), ("q2", 3, "student", "below_gap")]
    return table(Drops, rows)


def explanations(policy: str) -> pd.DataFrame:
    """q4 and q5; ilearner has two rounds, of which the second is final."""
    rows: list[tuple] = []
    for q in (4, 5):
        seed = -1 if policy in ("student", "api") else 13
        start = (policy, seed, f"q{q}", f"c{q}")
        if policy == "student":
            rows.append((*start, "none", 0, 0, True, f"student on {q}", 3, True, None))
        elif policy == "ilearner":
            rows.append((*start, "sampled", 0, 0, False, f"first on {q}", 3, True, 2.5))
            rows.append((*start, "sampled", 0, 1, True, f"second on {q}", 3, True, 3.5))
        else:
            rows.append((*start, "sampled", 0, 0, True, f"{policy} on {q}", 3, True, None))
    return table(Explanations, rows)


def evaluations() -> pd.DataFrame:
    """One held-out metric; one value is null with its reason."""
    rows: list[tuple] = []
    for policy in POLICIES:
        decoding = "none" if policy == "student" else "sampled"
        gain = 1.0 if policy == "dpo" else 0.0
        for q in (4, 5):
            seed = -1 if policy in ("student", "api") else 13
            start = (policy, seed, f"q{q}", f"c{q}", "a" if q % 2 else "b", decoding, 0)
            rows.append((*start, "judge", "heldout", q / 2 + gain, None))
            rows.append((*start, "verifier", "reward", 1.0, None))
    rows[0] = (*rows[0][:9], None, "too long")
    return table(Evaluations, rows)


def policy_means() -> pd.DataFrame:
    """The judge's mean by course; nothing is known of one of them."""
    rows: list[tuple] = [
        (policy, "sampled", course, "judge", "heldout", 1, 1, 1, 0, 2.0, 1.5, 2.5)
        for policy in ("sft", "dpo")
        for course in ("all", "a", "b")
    ]
    rows.append(("student", "none", "a", "judge", "heldout", 1, 0, 0, 1, None, None, None))
    return table(PolicyMeans, rows)


def comparisons() -> pd.DataFrame:
    """DPO against SFT: one known difference, and one that cannot be computed."""
    start = ("dpo", "sft", "sampled", "all")
    rows: list[tuple] = [
        (
            *start,
            "judge",
            "heldout",
            2,
            2,
            3.25,
            2.25,
            1.0,
            0.5,
            1.5,
            1,
            *[None] * 3,
            0.01,
            0.02,
            0.4,
        ),
        (*start, "oracle", "heldout", 0, 0, *[None] * 5, 0, *[None] * 6),
    ]
    return table(Comparisons, rows)


def pair_audit() -> pd.DataFrame:
    """One measure that is tested, one that only describes, one that could not be had."""
    rows: list[tuple] = [
        ("all", "length", 4, 2, 0.5, 0.1, 0.9, 0.8, True, None),
        ("all", "chosen_longer", 4, 2, 0.25, 0.1, 0.6, None, None, None),
        ("negative", "length", 1, 1, None, None, None, 0.8, None, "1 pairs, min_pairs is 2"),
    ]
    return table(PairAudit, rows)


def leakage(source: str) -> pd.DataFrame:
    """The nearest two texts; `source` is what one of them is of."""
    text_id, other_id = ("q1", "q4") if source == "questions" else ("q1/1000", "b/41")
    return table(Leakage, [(source, text_id, other_id, "train", "test", 0.4321, False)])


def seed_comparisons() -> pd.DataFrame:
    """DPO against SFT in two trainings; the second one has no value."""
    start = ("dpo", "sft", "sampled", "judge")
    return table(
        SeedComparisons, [(*start, 13, 1.0, 0.5, 1.5, None, 2), (*start, 14, *[None] * 4, 0)]
    )


def validations() -> pd.DataFrame:
    """One sample of either policy on one question; one value is null with its reason."""
    rows: list[tuple] = [
        ("sft", "q3", "c3", 0, "judge", 3.0, None),
        ("dpo", "q3", "c3", 0, "judge", None, "empty_text"),
    ]
    return table(Validations, rows)


def win_rates() -> pd.DataFrame:
    """DPO against SFT: both questions won by a judge of single texts, one by a judge of pairs."""
    start = ("dpo", "sft", "sampled")
    rates = (1.0, 1.0, 1.0, 0.9, 0.8, 1.0, 0.5, False, None)
    rows: list[tuple] = [
        (*start, "judge", 2, 2, 2, 0, 0, 1, 0, 1, 0, 0, 0, *rates),
        (*start, "pairs", 2, 2, 1, 1, 0, *[None] * 6, 0.75, *[None] * 6, False, 0.1),
    ]
    return table(WinRates, rows)


def judgements() -> pd.DataFrame:
    """DPO against SFT: q4 is won in both orders, q5 in one, and the other was not understood."""
    start, paid = ("dpo", "sft"), ("openai gpt-4o", 300, 50, 0.00125)
    rows: list[tuple] = [
        ("q4", "c4", *start, "a_first", "first", None, *paid),
        ("q4", "c4", *start, "b_first", "second", None, *paid),
        ("q5", "c5", *start, "a_first", "first", None, *paid),
        ("q5", "c5", *start, "b_first", None, "unparsed", *paid),
    ]
    return table(Judgements, rows)


def rejects() -> pd.DataFrame:
    """Two rows of one course, for two reasons."""
    rows = [
        ("a/8", "a", "a.csv", 8, "few_ratings", "3 ratings"),
        ("a/9", "a", "a.csv", 9, "deleted", ""),
    ]
    return table(Rejects, rows)


def predictions() -> pd.DataFrame:
    """The rated rows of q1 and q2; one was too long to be read with another's text."""
    rows: list[tuple] = [
        ("a/12", "q1", "c1", 0, 4.0, 12, 14, 3.5, 2.0, 11.0),
        ("b/21", "q2", "c2", 0, 2.0, 12, 11, 2.5, 3.0, 14.0),
        ("b/22", "q2", "c2", 0, 3.0, 12, 14, 3.0, None, None),
    ]
    return table(Predictions, rows)


def fitness() -> pd.DataFrame:
    """Three checks, of which one is met and one has no interval; one number without a limit."""
    rows: list[tuple] = [
        ("model", "spearman", "all", 0.4, 0.3, 0.5, 3, 2, 0.0, True),
        ("model", "swap_accuracy", "all", 0.6, 0.4, 0.8, 2, 2, 0.5, False),
        ("model", "pair_accuracy", "gap_0.5", None, None, None, 0, 0, 0.5, False),
        ("words", "spearman", "all", 0.3, 0.2, 0.4, 3, 2, None, None),
    ]
    return table(Fitness, rows)


def tables() -> dict[tuple[type[Table], Item], pd.DataFrame]:
    """Every table of the project, by schema and item."""
    plain: dict[tuple[type[Table], Item], pd.DataFrame] = {
        (Questions, None): questions(),
        (Rejects, None): rejects(),
        (Candidates, None): candidates(),
        (Negatives, None): negatives(),
        (Synthetic, None): synthetic(),
        (SyntheticQuestions, None): synthetic_questions(),
        (Scores, None): scores(),
        (Preferences, None): preferences(),
        (Drops, None): drops(),
        (Evaluations, None): evaluations(),
        (PolicyMeans, None): policy_means(),
        (Comparisons, None): comparisons(),
        (PairAudit, None): pair_audit(),
        (Leakage, "questions"): leakage("questions"),
        (Leakage, "texts"): leakage("negatives"),
        (SeedComparisons, None): seed_comparisons(),
        (WinRates, None): win_rates(),
        (Judgements, None): judgements(),
        (Validations, None): validations(),
    }
    checked: dict[tuple[type[Table], Item], pd.DataFrame] = {}
    for verifier in VERIFIERS:
        checked |= {(Predictions, verifier): predictions(), (Fitness, verifier): fitness()}
    said = {(Explanations, policy): explanations(policy) for policy in POLICIES}
    again = pd.concat([explanations(policy) for policy in ("sft", "dpo")], ignore_index=True)
    repeats = {(Explanations, "repeats"): again.assign(training_seed=14)}
    return plain | checked | said | repeats


def write_all() -> None:
    """Write every table below the current folder, as the stages do."""
    for (schema, item), frame in tables().items():
        artifacts.write(schema, frame, item)
