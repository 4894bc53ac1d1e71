"""Questions of a large language model: asked for, admitted, and learned like the students'."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from schemas.drops import Drops
from schemas.errors import InputError
from schemas.questions import TAUGHT, Questions
from schemas.synthetic import POSITIVE
from schemas.synthetic_questions import NEW, REPHRASED, SyntheticQuestions
from stages import synthesize
from stages.pure import question_synthesis, synthetic_questions
from stages.pure.clusters import question_id
from stages.pure.metrics import Value
from stages.pure.prompts import LETTERS
from stages.pure.question_synthesis import WantedQuestion
from stages.runtime import artifacts
from stages.runtime.asking import asker
from stages.steps import candidates
from stages.steps.asking import failing, questioning
from tests import invented
from tests.test_synthesize import API, GIVEN, SECTION
from tests.tiny_models import Stage, course, reported, write_course
from tests.vendors import Fault, Vendors, always, status, vendors

pytest_plugins = ["tests.tiny_fixtures"]

BOTH = {REPHRASED: 1, NEW: 1}
OFF = GIVEN["check_leakage"] | {"max_question_similarity": 2.0, "max_text_similarity": 2.0}
ITEM = WantedQuestion("q00", 0, 0, NEW, 4, "B")
Make = Callable[..., pd.DataFrame]


def said(stem: str, among: list[str], why: str, **more: Any) -> str:
    answer = {"question": stem, "options": dict(zip(LETTERS, among, strict=False))}
    return json.dumps({"reasoning": "So."} | answer | {"explanation": why} | more)


def answer(system: str, user: str, schema: dict[str, Any] | None) -> str:
    """A question of its own for each request, whose explanation names the key that is asked for."""
    drawn = hashlib.sha256(f"{system} {user}".encode()).hexdigest()
    words = [drawn[i : i + 4] for i in range(0, 40, 4)]
    (key,) = [
        one for one in LETTERS if f"{one} is right" in system or f"{one} stays the right" in system
    ]
    assert schema is not None
    letters = schema["properties"]["options"]["properties"]
    options = [f"{letter}{word}" for letter, word in zip(letters, words, strict=False)]
    right = options[LETTERS.index(key)]
    return said(f"What of {' '.join(words[:6])}?", options, f"It is {right} by {' '.join(words)}.")


@pytest.fixture
def make(checkout: Path, monkeypatch: pytest.MonkeyPatch, run_stage: Stage) -> Make:
    """Run synthesize questions; the table that it wrote."""
    monkeypatch.setattr(asker, "FIRST_WAIT", 0.01)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    monkeypatch.setattr(
        failing.recoverability, "recoverability", lambda texts: [Value(0.9)] * len(texts)
    )

    def run(server: Vendors, provider: str = "openai", **changes: Any) -> pd.DataFrame:
        section = SECTION | {"kinds": BOTH, "max_questions": None} | changes
        section |= {"provider": provider, "base_url": server.url_of(provider)}
        given = GIVEN | {"synthesize": section, "api": API, "check_leakage": OFF}
        run_stage(synthesize.main, "questions", **given)
        return artifacts.read(SyntheticQuestions)

    return run


# ---- what is asked, and what is an answer --------------------------------------------------


def test_a_source_gives_one_question_per_kind_with_the_key_that_was_asked_for(make: Make):
    with vendors(answer=answer) as server:
        table = make(server)
        assert len(server.bills) == 16
    assert table.reason.isna().all()
    assert table.groupby("source_question_id").kind.agg(set).tolist() == [{REPHRASED, NEW}] * 8
    source = course().drop_duplicates("question_id").set_index("question_id").key
    again = table[table.kind == REPHRASED]
    assert (again.key == again.source_question_id.map(source)).all()
    new = table[table.kind == NEW]
    assert set(new.key) > {new.key.iloc[0]}  # drawn, not always the same
    for row in table.to_dict("records"):
        options = [row[f"option_{one.lower()}"] for one in "ABCD"]
        key = options[LETTERS.index(row["key"])]
        assert row["question_id"] == question_id(row["stem"], options, key)
        assert key in row["explanation"]
    told = reported("synthesize_questions")
    assert told["questions_n"] == told["used_n"] == 16
    assert told["cost_usd"] == pytest.approx(table.cost_usd.sum())


@pytest.mark.parametrize("is_batch", [False, True], ids=["calls", "batch"])
def test_both_vendors_take_the_schema_of_a_question(
    make: Make, monkeypatch: pytest.MonkeyPatch, is_batch: bool
):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-planted")
    prices = API["prices"] + [API["prices"][0] | {"provider": "anthropic", "model": "claude"}]
    monkeypatch.setitem(API, "prices", prices)
    with vendors(answer=answer, polls=0) as server:
        table = make(server, is_batch=is_batch)
        other = make(server, "anthropic", model="claude", is_batch=is_batch)
        assert len(server.bills) == 2 * 16
    columns = ["source_question_id", "kind", "stem", "option_d", "explanation", "reason"]
    assert other[columns].equals(table[columns])
    assert set(other.model) == {"anthropic claude"}


def test_only_train_questions_that_may_be_learned_leave(make: Make):
    rows = course()
    rows.loc[rows.question_id == "q03", "is_training_row"] = False
    write_course(rows)
    with vendors(answer=answer) as server:
        table = make(server)
        sent = " ".join(json.dumps(one.body) for one in server.asked())
    train = rows[(rows.split == "train") & (rows.question_id != "q03")]
    assert set(table.source_question_id) == set(train.question_id)
    others = rows[~rows.question_id.isin(train.question_id)]
    assert not [stem for stem in others.stem if stem in sent]
    assert all(stem in sent for stem in train.stem)


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        said("What?", ["a", "b", "c"], "It is b."),  # an option is missing
        said("What?", ["a", "b", "c", "d"], " "),
        said("What?", ["a", "b", "b", "d"], "It is b."),
        said("What?", ["a", "b", "c", "d"], "It is b.", more="x"),
        said("What?", ["a", "b", "c", "d"], "It is b.", options={"A": "a", "B": 1}),
        said("What?", ["a", "b", "c", "d"], "It is b.", question=None),
    ],
)
def test_what_is_no_question_is_unparsed(text: str):
    assert question_synthesis.parse(text, ITEM, "json_schema") is None


def test_white_space_is_folded_and_case_can_tell_options_apart():
    found = question_synthesis.parse(
        said("Which\n genotype? ", ["AA", "Aa", "aa", "a"], "It  is Aa."), ITEM, "json_schema"
    )
    assert found is not None
    assert found["stem"] == "Which genotype?"
    assert found["explanation"] == "It is Aa."
    assert found["question_id"] == question_id("Which genotype?", ["AA", "Aa", "aa", "a"], "Aa")


def test_without_structured_output_the_object_follows_the_tag():
    plain = json.loads(said("What?", ["a", "b", "c", "d"], "It is b."))
    del plain["reasoning"]
    text = f"I think. EXPLANATION: no\nEXPLANATION: {json.dumps(plain)}"
    found = question_synthesis.parse(text, ITEM, "tag")
    assert found is not None
    assert found["option_b"] == "b"
    assert question_synthesis.parse(json.dumps(plain), ITEM, "tag") is None
    assert question_synthesis.system_text(ITEM, "tag").endswith(
        "EXPLANATION: and after it only a JSON object of question, options (an object of A, B, C, "
        "D) and explanation."
    )


def test_a_refused_question_is_null_with_its_reason(make: Make):
    with vendors(answer=answer, plan=always(Fault("refusal"))) as server:
        table = make(server, max_questions=2)
    assert table.reason.tolist() == ["refused"] * 4
    assert table[["stem", "question_id", "explanation"]].isna().all(axis=None)
    assert len(synthetic_questions.joined(course(), table)) == len(course())


# ---- the budget ------------------------------------------------------------------------------


def test_questions_wait_for_the_texts_and_for_their_ratio(make: Make):
    kinds = {POSITIVE: 1, **BOTH}
    with vendors(answer=answer) as server:
        assert len(make(server, kinds=kinds, ratio_rephrase=1e6, ratio_new=1e6)) == 0
        assert server.bills == []
        table = make(server, kinds=kinds, ratio_rephrase=2.0, ratio_new=1e6)
        assert set(table.kind) == {REPHRASED}
        # a budget for some 12 calls: 8 are the texts', so few are left, and new ones wait
        few = make(server, kinds=kinds, budget_usd=12 * 0.0026)
    assert set(few.kind) == {REPHRASED}
    assert 0 < len(few) < 8


# ---- rounds of LLM2LLM ------------------------------------------------------------------------


def test_each_round_asks_about_what_a_policy_fails_that_has_learned_the_round_before(
    make: Make, monkeypatch: pytest.MonkeyPatch
):
    learned: list[set[str]] = []
    fails = [["q00", "q01", "q02"], ["q01"], []]

    def samples(lessons: pd.DataFrame, sources: pd.DataFrame, *_: Any) -> pd.DataFrame:
        learned.append(set(lessons.question_id) - set(course().question_id))
        assert set(sources.question_id) == {f"q0{n}" for n in range(8)}  # never a synthetic one
        return sources[["question_id"]]

    def share(lessons: pd.DataFrame, said: pd.DataFrame) -> "pd.Series[float]":
        failed = fails[len(learned) - 1]
        return pd.Series({name: 0.1 if name in failed else 0.9 for name in said.question_id})

    monkeypatch.setattr(failing, "fresh_samples", samples)
    monkeypatch.setattr(failing, "explained", share)
    with vendors(answer=answer) as server:
        table = make(server, only_explained_below=0.5, rounds=5, kinds={NEW: 1})
        assert len(server.bills) == 4
    asked = table.groupby("round_index").source_question_id.agg(sorted).to_dict()
    assert asked == {0: ["q00", "q01", "q02"], 1: ["q01"]}
    assert table.item_index.tolist() == [0, 0, 100, 0]  # q00, q01 twice, q02
    first = set(table.question_id[table.round_index == 0])
    assert learned == [set(), first, set(table.question_id)]


def test_a_fresh_policy_is_trained_and_asked_in_earnest(make: Make):
    with vendors(answer=answer) as server:
        table = make(server, only_explained_below=1.0, rounds=2, kinds={NEW: 1})
    # a policy of eight updates names no key, so all are failed, both times
    assert table.groupby("round_index").size().to_dict() == {0: 8, 1: 8}
    assert set(table.reason.dropna()) == {"equal_to_existing"}  # the server repeats itself


def test_a_second_run_costs_nothing_and_gives_the_same(make: Make):
    with vendors(answer=answer) as server:
        first = make(server, only_explained_below=1.0, rounds=2, kinds={NEW: 1})
        asked = len(server.bills)
        assert make(server, only_explained_below=1.0, rounds=2, kinds={NEW: 1}).equals(first)
        assert len(server.bills) == asked


def test_rounds_that_broke_off_go_on_where_they_were(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    how: dict[str, Any] = {"only_explained_below": 1.0, "rounds": 2, "kinds": {NEW: 1}}
    with vendors(answer=answer) as server:
        whole = make(server, **how)
    monkeypatch.setenv("PEERWISE_STORE", str(tmp_path / "other"))  # nothing is known there

    def second_round_fails(user: str, number: int) -> Fault | None:
        return status(401) if len(server.bills) >= 11 else None

    with vendors(answer=answer, plan=second_round_fails) as server:
        with pytest.raises(InputError, match="401"):
            make(server, **how)
        paid = len(server.bills)
        server.plan = lambda user, number: None
        again = make(server, **how)
        assert 8 < paid < 16
        assert len(server.bills) == 16  # no answer was paid twice
    assert again.equals(whole)


# ---- which are used ---------------------------------------------------------------------------


def test_what_repeats_or_is_near_or_names_no_key_is_dropped(make: Make):
    rows = course().drop_duplicates("question_id").set_index("question_id")
    places = ["the meadow", "a river", "the dry sand", "old trees"]
    good = "that it finds its food in such a place is what decides here"
    of_source = {
        "ant": said("Where does the ant live?", places, f"It is {places[0]}: {good}."),
        "bear": said("How far?", ["one", "two", "six", "ten"], f"It is two: {good}."),
        "crab": said("What does it then find to eat?", ["w", "x", "y", "z"], f"No word: {good}."),
        "deer": said("Where does the wasp live?", places, f"It is old trees: {good} then."),
        "eel": said("Which of these swims?", ["cat", "eel", "dog", "ape"], "It is cat."),
    }

    def odd(system: str, user: str, schema: dict[str, Any] | None) -> str:
        animal = user.split("Where does the ")[1].split(" ")[0]
        return of_source.get(animal, answer(system, user, schema))

    with vendors(answer=odd) as server:
        table = make(server, kinds={REPHRASED: 1}).set_index("source_question_id")
    assert rows.key["q19"] == "D"  # the wasp of the test split lives in old trees
    found = table.reason
    assert found["q00"] == "equal_to_existing"
    assert found["q01"] == "too_short"
    assert found["q02"] == "key_not_named"
    assert found["q03"] == "near_held_out"
    assert found["q04"] == "too_short"
    assert found[["q05", "q06", "q07"]].isna().all()
    assert table.stem.notna().all()  # kept, to be read


def test_the_same_question_of_two_sources_is_used_once(make: Make):
    one = said(
        "Which of the four is a metal?",
        ["zinc", "iron", "gold", "lead"],
        "It is zinc iron gold lead.",
    )
    with vendors(answer=lambda *_: one) as server:
        table = make(server, kinds={REPHRASED: 1})
    used = table[table.reason.isna()]
    assert used.question_id.is_unique
    assert len(used) == 4  # one per key
    assert set(table.reason.dropna()) == {"equal_to_existing"}


def test_an_explanation_in_which_a_solver_does_not_find_the_key_is_dropped(
    make: Make, monkeypatch: pytest.MonkeyPatch
):
    likely: dict[str, float | None] = {"A": 0.24, "B": 0.26, "C": None, "D": 0.9}

    def solved(texts: pd.DataFrame) -> list[Value]:
        return [Value(likely[key]) for key in texts.key]

    monkeypatch.setattr(failing.recoverability, "recoverability", solved)
    with vendors(answer=answer) as server:
        assert make(server, kinds={REPHRASED: 1}).reason.isna().all()  # nobody asks the solver
        table = make(server, kinds={REPHRASED: 1}, min_recoverability=0.25)
    assert set(table.key[table.reason == "key_not_found"]) == {"A"}
    assert set(table.key[table.reason.isna()]) == {"B", "C", "D"}


def test_an_encoder_finds_what_is_near_in_other_words(monkeypatch: pytest.MonkeyPatch):
    from stages.runtime.loading.profile import Encoder
    from stages.steps import nearness
    from stages.steps.asking import admitting
    from tests.paraphrases import PARAPHRASES, questions

    (asked, again), (other, _) = PARAPHRASES[0], PARAPHRASES[1]
    rows = questions((asked, "test"), (other, "train"))
    source = rows.question_id[rows.split == "train"].iloc[0]
    twin = questions((again, "train")).iloc[0]
    made = invented.table(
        SyntheticQuestions,
        [
            (
                *(source, 0, 0, REPHRASED, twin.question_id, twin.stem),
                *(twin[f"option_{one}"] for one in "abcde"),
                *(twin.options_n, twin.key, "words " * 12, None, "openai m", 1, 1, 0.0),
            )
        ],
    )
    limits = nearness.Settings(**GIVEN["check_leakage"])
    meaning = admitting.Meaning(Encoder(**GIVEN["encoder"]), limits)
    found = admitting.without_near_questions(made, rows, meaning)
    assert found.reason.tolist() == ["near_held_out"]
    far = nearness.Settings(**GIVEN["check_leakage"] | {"max_question_similarity": 2.0})
    kept = admitting.without_near_questions(
        made, rows, admitting.Meaning(Encoder(**GIVEN["encoder"]), far)
    )
    assert kept.reason.isna().all()


# ---- beside the students' questions ------------------------------------------------------------


def test_a_used_question_is_a_train_row_in_the_place_of_its_source():
    rows, made = invented.questions(), invented.synthetic_questions()
    both = synthetic_questions.joined(rows, made)
    (new,) = both[~both.row_id.isin(rows.row_id)].to_dict("records")
    source = rows[rows.question_id == "q1"].iloc[0]
    for name in ("cluster_id", "split", "fold", "course"):
        assert new[name] == source[name]
    assert (new["question_id"], new["is_sft_row"], new["question_ratings_n"]) == ("s1", True, 0)
    assert "/" not in new["row_id"]  # no student's row has such an id
    assert pd.isna(new["question_rating_mean"])
    artifacts.validate(Questions, both, Path("joined"))
    assert synthetic_questions.is_synthetic(both).sum() == 1
    later = rows[rows.question_id != "q1"]
    assert synthetic_questions.joined(later, made) is later  # its source is not learned from


def test_a_question_that_is_not_used_is_in_the_drops_of_its_source():
    found = synthetic_questions.unusable(invented.synthetic_questions())
    assert found.to_numpy().tolist() == [
        ["q1", 10_001, "synthetic", "equal_to_existing"],
        ["q2", 10_000, "synthetic", "refused"],
    ]
    artifacts.validate(Drops, found.reset_index(drop=True), Drops.path())


def test_without_synthetic_questions_the_table_is_the_same_one():
    rows = invented.questions()
    assert synthetic_questions.joined(rows, artifacts.empty(SyntheticQuestions)) is rows


def test_its_explanation_is_a_candidate_of_its_own_origin(checkout: Path):
    rows = synthetic_questions.joined(invented.questions(), invented.synthetic_questions())
    own = rows[rows.question_id.isin(["s1", "q1"])]
    from stages.runtime.loading import checkpoints
    from tests.tiny_models import MODEL

    written = candidates.written_texts(checkpoints.load_tokenizer(MODEL), own, 2)
    origins = {(row["question_id"], row["candidate_index"]): row["origin"] for row in written}
    assert origins == {("q1", 2): "student", ("q1", 3): "student", ("s1", 2): "synthetic"}


def test_a_plan_is_kept_over_rounds():
    items = [
        WantedQuestion(f"q{n}", i, 0, kind, 4, "A")
        for n in range(3)
        for i, kind in enumerate([NEW, NEW, REPHRASED])
    ]
    found, left = questioning.within(items, {NEW: 2, REPHRASED: 1})
    assert [(one.source_question_id, one.kind) for one in found] == [
        ("q0", NEW),
        ("q0", NEW),
        ("q0", REPHRASED),
        ("q1", NEW),
        ("q1", NEW),
    ]
    assert left == {NEW: 0, REPHRASED: 0}


def test_an_unknown_item_is_refused():
    with pytest.raises(InputError, match="unknown item 'answers'"):
        synthesize.main("answers")


def test_without_a_provider_the_table_is_empty(checkout: Path, run_stage: Stage):
    (checkout / "data/synthetic_questions.parquet").unlink()
    given = GIVEN | {"synthesize": SECTION, "api": API}
    record = run_stage(synthesize.main, "questions", **given)
    assert artifacts.read(SyntheticQuestions).empty
    assert reported("synthesize_questions") == {"questions_n": 0}
    assert Questions.path(TAUGHT) in record.inputs
