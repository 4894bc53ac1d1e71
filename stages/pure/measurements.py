"""Final explanations -> long rows of metrics; everything that evaluate measures by rule.

n = final explanations. A measured 0 is 0 (an empty explanation names no term of the key);
null is what cannot be measured, with its reason.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from schemas.errors import InputError
from stages.pure import metrics, prompts
from stages.pure.metrics import Value
from stages.pure.scored.scoring import is_blank, unseen

KEY = ["policy", "training_seed", "question_id", "cluster_id", "course", "decoding"]
KEY += ["explanation_index"]


def final_texts(questions: pd.DataFrame, explanations: list[pd.DataFrame]) -> pd.DataFrame:
    """Questions and Explanations -> the final texts (n,) with the columns of their question.

    Beside them: prompt, key_text, claim (the key, said to be right) and fold (-1). Raises
    InputError if a text belongs to no test question: one of the tables is stale.
    """
    test = prompts.distinct_questions(questions[questions.split == "test"])
    texts = pd.concat([table[table.is_final] for table in explanations], ignore_index=True)
    strangers = texts[~texts.question_id.isin(test.question_id)]
    if len(strangers):
        raise InputError(
            f"explanations: {len(strangers)} text(s) of no test question, first "
            f"'{strangers.question_id.iloc[0]}' of policy {strangers.policy.iloc[0]}. "
            "Run `dvc repro`."
        )
    joined = texts.drop(columns="cluster_id").merge(test, on="question_id", validate="many_to_one")
    joined = joined.sort_values(KEY, kind="stable", ignore_index=True)
    return unseen(joined.assign(is_generated=joined.policy != "student"))


def with_references(texts: pd.DataFrame) -> pd.DataFrame:
    """One row per (text, reference): `position` of the text (0..n-1), explanation, reference.

    References are the students' texts of the same question, and for a student's text those
    of the other students. Blank texts are none.
    """
    keys = ["policy", "question_id", "explanation_index", "explanation"]
    students = texts.loc[(texts.policy == "student") & ~is_blank(texts), keys]
    students = students.rename(
        columns={"explanation": "reference", "explanation_index": "reference_index"}
    ).drop(columns="policy")
    placed = texts[keys].assign(position=np.arange(len(texts)))
    pairs = placed.merge(students, on="question_id")
    is_own = (pairs.policy == "student") & (pairs.explanation_index == pairs.reference_index)
    pairs = pairs[~is_own].sort_values(["position", "reference_index"], ignore_index=True)
    return pairs[["position", "explanation", "reference"]]


def mean_over_references(
    texts: pd.DataFrame, pairs: pd.DataFrame, values: Sequence[Value]
) -> list[Value]:
    """The mean of each text's `values` (one per row of `pairs`), (n,); null if one is null.

    Not the multi-reference form of BLEU: that grows with the number of references, of which
    a student has one fewer. With one reference both are upstream's value.
    """
    of_text: dict[int, list[Value]] = {}
    for position, value in zip(pairs.position, values, strict=True):
        of_text.setdefault(int(position), []).append(value)
    lonely = {"student": Value(None, "no_other_text")}
    means = []
    for i, policy in enumerate(texts.policy):
        found = of_text.get(i, [lonely.get(policy, Value(None, "no_reference"))])
        nulls = [value for value in found if value.value is None]
        means.append(nulls[0] if nulls else Value(float(np.mean([v.value for v in found]))))
    return means


def bleus(texts: pd.DataFrame, with_legacy: bool) -> dict[str, list[Value]]:
    """The BLEU variants of each text, mean over its references, name -> (n,)."""
    variants: dict[str, Callable[[str, list[str]], Value]] = {
        "bleu": metrics.bleu,
        "bleu_upstream": metrics.bleu_upstream,
    }
    if with_legacy:
        variants["bleu_characters_legacy"] = metrics.bleu_characters_legacy
    pairs = with_references(texts)
    rows = list(zip(pairs.explanation, pairs.reference, strict=True))
    return {
        name: mean_over_references(texts, pairs, [measure(text, [ref]) for text, ref in rows])
        for name, measure in variants.items()
    }


def corpus_bleus(texts: pd.DataFrame) -> dict[str, float]:
    """Corpus BLEU of each policy and decoding against the students' texts, 0..1, by name.

    A student's text is held against those of the other students. Texts of questions without
    another text are left out; a policy without any has no number.
    """
    pairs = with_references(texts)
    references = pairs.groupby("position").reference.agg(list)
    known = texts.loc[references.index, ["policy", "decoding", "explanation"]]
    numbers = {}
    for (policy, decoding), own in known.groupby(["policy", "decoding"], sort=True):
        value = metrics.corpus_bleu(own.explanation.tolist(), references[own.index].tolist()).value
        if value is not None:
            name = policy if decoding in ("none", "sampled") else f"{policy}_{decoding}"
            numbers[f"{name}_corpus_bleu_score"] = value
    return numbers


def generated(texts: pd.DataFrame, values: pd.Series) -> list[Value]:
    """Values of generated texts (n,); null for a student's text, which no model ended."""
    return [
        Value(None, "not_generated") if policy == "student" else Value(float(value))
        for policy, value in zip(texts.policy, values, strict=True)
    ]


def endings(texts: pd.DataFrame) -> dict[str, list[Value]]:
    """How each text ended, name -> (n,). An API counts in tokens of its own, thinking included."""
    tokens = generated(texts, texts.tokens_n)
    return {
        "tokens": [
            Value(None, "other_tokens") if policy == "api" else value
            for policy, value in zip(texts.policy, tokens, strict=True)
        ],
        "stopped": generated(texts, texts.is_stopped),
    }


def long_form(keys: pd.DataFrame, measured: dict[str, list[Value]]) -> pd.DataFrame:
    """`keys` (n rows) once per metric, with columns metric, value and reason."""
    parts = [
        keys.assign(
            metric=name,
            value=np.array([v.value for v in values], dtype=float),
            reason=pd.array([v.reason for v in values], dtype="str"),
        )
        for name, values in measured.items()
    ]
    return pd.concat(parts, ignore_index=True)


def long_rows(
    texts: pd.DataFrame, measured: dict[str, list[Value]], roles: dict[str, str]
) -> pd.DataFrame:
    """The texts' keys once per metric -> Evaluations."""
    rows = long_form(texts[KEY], measured)
    return rows.assign(role=rows.metric.map(roles))
