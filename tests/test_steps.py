"""Steps that several stages take: what a seed changes, what is left out, what the oracle says."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from schemas.errors import InputError
from schemas.explanations import Explanations
from stages.pure import catalogue
from stages.pure.metrics import Value
from stages.pure.prompts import distinct_questions, render_prompt
from stages.runtime import artifacts
from stages.runtime.loading import checkpoints
from stages.runtime.sampling.drawing import Decoding, Request
from stages.runtime.sampling.generation import Generated, Writer, row_seed
from stages.steps import candidates, dpo, explaining, sft, truth
from tests.tiny_models import DECODING, GENERATION, MODEL, course

pytest_plugins = ["tests.tiny_fixtures"]

HOW = Decoding(**DECODING)
SETTINGS = candidates.Settings(None, [0.3, 0.9], 0.95, 50, 1.1)


# ---- SFT -----------------------------------------------------------------------------------


def lengths(taught: sft.Lessons) -> list[int]:
    return [len(row["input_ids"]) for row in taught.rows]


def lessons(max_length: int = MODEL.max_length) -> sft.Lessons:
    """8 plain rows and 4 refinements, of which the plain ones are shorter."""
    tokenizer = checkpoints.load_tokenizer(MODEL)
    model = replace(MODEL, max_length=max_length)
    return sft.lessons(course(), sft.Settings(0.5, 0.5), tokenizer, model)


@pytest.mark.usefixtures("checkout")
def test_rows_that_are_left_out_are_counted_whether_plain_or_refined():
    whole = lessons()
    assert (whole.plain_n, whole.refinements_n, whole.too_long_n) == (8, 4, 0)
    sizes = sorted(lengths(whole))
    limit = sizes[8]  # the shortest refinement fits
    less = lessons(limit)
    assert max(lengths(less)) == limit
    assert less.too_long_n == sum(size > limit for size in sizes) > 0
    assert (less.plain_n, less.refinements_n) == (8, 4)  # before any is left out
    assert lessons(sizes[0]).too_long_n == 12 - sizes.count(sizes[0])


@pytest.mark.usefixtures("checkout")
def test_a_long_validation_row_is_no_train_row_that_was_left_out():
    rows = course()
    seen = (rows.split == "validation") & rows.is_sft_row
    long = rows.assign(explanation=rows.explanation.mask(seen, "the meadow " * 200))
    tokenizer = checkpoints.load_tokenizer(MODEL)
    taught = sft.lessons(long, sft.Settings(0.0, 0.5), tokenizer, MODEL)
    assert (len(taught.rows), len(taught.validation), taught.too_long_n) == (8, 0, 0)


# ---- sampling and explaining ---------------------------------------------------------------


class Echo:
    """A backend that says the seed and the decoding with which it was asked."""

    def run(self, requests: Sequence[Request], rows: int) -> Iterator[list[tuple[int, Generated]]]:
        for place, one in enumerate(requests):
            yield [(place, Generated(f"{one.seed} {one.decoding.temperature}", 3, True, one.seed))]


@pytest.fixture
def writer(checkout: Path) -> Writer:
    return Writer(Echo(), checkpoints.load_tokenizer(MODEL), MODEL, GENERATION, "weights")


def test_a_training_seed_draws_its_own_samples_and_the_students_stay(writer: Writer):
    one, other = (candidates.candidates(writer, course(), SETTINGS, seed) for seed in (14, 15))
    ours, theirs = one.origin == "sft", other.origin == "sft"
    assert not set(one[ours].seed) & set(other[theirs].seed)
    pd.testing.assert_frame_equal(one[~ours], other[~theirs])


def asked() -> pd.DataFrame:
    return explaining.asked_questions(course(), 2, "stage")


def test_a_policy_is_asked_alike_for_every_seed_and_its_rows_say_which(writer: Writer):
    found = explaining.explain(writer, asked(), HOW, "dpo", 14)
    assert set(found.policy) == {"dpo"}
    assert set(found.training_seed) == {14}
    answers = {name: group.explanation.tolist() for name, group in found.groupby("decoding")}
    prompts = [render_prompt(row) for row in asked().to_dict("records")]
    seeds = [row_seed(14, "explain sampled", prompt) for prompt in prompts]
    assert answers == {
        "sampled": [f"{seed} {HOW.temperature}" for seed in seeds],
        "greedy": ["0 None", "0 None"],
    }
    both = pd.concat([found, explaining.explain(writer, asked(), HOW, "dpo", 15)])
    assert len(artifacts.validate(Explanations, both, Path("both"))) == 8


def test_two_policies_of_one_seed_are_asked_with_the_same_seeds(writer: Writer):
    sft_says, dpo_says = (explaining.explain(writer, asked(), HOW, p, 14) for p in ("sft", "dpo"))
    pd.testing.assert_frame_equal(sft_says, dpo_says.assign(policy="sft"))


def test_the_stage_that_asks_for_no_question_is_named():
    with pytest.raises(InputError, match=r"^repeat_training: .*max_questions 0 takes none"):
        explaining.asked_questions(course(), 0, "repeat_training")


def test_nothing_is_a_valid_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    artifacts.write(Explanations, artifacts.conform(Explanations, explaining.nothing()), "repeats")
    assert artifacts.read(Explanations, "repeats").empty


# ---- DPO -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("checkout")
def test_a_pair_is_of_the_prompt_that_the_policy_is_asked():
    question = distinct_questions(course()).query("question_id == 'q03'")
    pairs = pd.DataFrame({"question_id": ["q03"], "chosen": ["good"], "rejected": ["bad"]})
    tokenizer = checkpoints.load_tokenizer(MODEL)
    (row,) = dpo.encoded_pairs(tokenizer, course(), pairs, MODEL)
    (text,) = sft.plain_texts(course().query("question_id == 'q03'"))
    assert tokenizer.decode(row["prompt_ids"]) == f"<|user|>{text[0]}<|assistant|>"
    assert question.stem.iloc[0] in text[0]


# ---- the oracle ----------------------------------------------------------------------------

FACT = {
    "fact_id": "x1",
    "topic": "t",
    "question": "What sends blood around the body?",
    "key": "the heart",
    "distractor_1": "the lung",
    "distractor_2": "the liver",
    "distractor_3": "the skin",
    "distractor_4": "the bone",
    "statement": "blood is sent around the body by {option}",
    "mechanism": "thick muscle squeezes its chambers in a steady rhythm",
    "refutation": "the lung only takes in air",
}
GOOD = "Blood is sent around the body by the heart. Thick muscle squeezes its chambers "
GOOD += "in a steady rhythm."


def texts_about(*rows: tuple[str, str]) -> pd.DataFrame:
    """Texts from (key, text): the key is option A, the lung is option B."""
    start = {"stem": FACT["question"], "option_b": "the lung", "options_n": 2, "key": "A"}
    return pd.DataFrame([start | {"option_a": key, "explanation": text} for key, text in rows])


def test_the_oracle_knows_the_facts_and_says_where_it_has_none(tmp_path: Path):
    pd.DataFrame([FACT]).to_csv(tmp_path / "facts_biology.csv", index=False)
    bad = GOOD.replace("the heart", "the lung")
    rows = [("the heart", GOOD), ("the heart", bad), ("the heart", ""), ("the brain", GOOD)]
    found = truth.ask_oracle(texts_about(*rows), truth.read_facts(str(tmp_path)))
    unknown = Value(None, "no_fact")
    assert found["oracle"] == [Value(1.0), Value(0.0), Value(0.0), unknown]
    assert found["oracle_names_key"] == [Value(1.0), Value(0.0), Value(0.0), unknown]
    assert found["oracle_has_mechanism"] == [Value(1.0), Value(1.0), Value(0.0), unknown]
    assert found["oracle_endorses_distractor"] == [Value(0.0), Value(1.0), Value(0.0), unknown]
    assert set(found) <= set(catalogue.METRICS)


def test_without_facts_the_oracle_knows_nothing():
    found = truth.ask_oracle(texts_about(("the heart", GOOD)), truth.read_facts(None))
    assert {tuple(values) for values in found.values()} == {(Value(None, "no_fact"),)}


def test_a_folder_without_facts_is_an_error(tmp_path: Path):
    with pytest.raises(InputError, match=r"oracle_facts: no facts_\*\.csv in '.*'\. Name"):
        truth.read_facts(str(tmp_path))
