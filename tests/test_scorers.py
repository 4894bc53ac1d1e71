"""Scorers: one value per text, blank texts and copies are not asked about, roles stay apart."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from schemas.errors import InputError
from stages.pure.metrics import Value
from stages.pure.scored.claims import Claim
from stages.pure.scored.scoring import texts_to_score, unseen
from stages.runtime import classifiers, solver, store, students
from stages.runtime.encoding import alignment
from stages.runtime.loading.checkpoints import BASE_DIR
from stages.scorers import entailment, judge, registry, verifier
from stages.scorers.asking import ask_said, score_distinct
from tests import invented
from tests.tiny_models import ENCODER, STUDENT

OF_MODELS = ["verifier", "judge", "entailment", "entailment_upstream"]
OF_MODELS += ["entailment_margin", "is_verbose"]
ALL = sorted(registry.SCORERS)
P, Q = ((f"it is {name}", name, "Which?") for name in "pq")


class Fake:
    """A scorer that remembers what it was asked. Its rating is the number of words."""

    asked: list[tuple[str, tuple[Any, str]]] = []  # noqa: RUF012 - reset by use_fakes
    encoder = ENCODER
    identity = ""  # its numbers are not kept

    def __init__(self, folder: Path):
        self.folder = folder
        self.bonus = 0.5 if folder.name == "fold_1" else 0.0

    def remember(self, asked: list[Any], explanations: list[str]) -> np.ndarray:
        pairs = zip(asked, explanations, strict=True)
        Fake.asked += [(self.folder.as_posix(), pair) for pair in pairs]
        words = np.array([len(text.split()) for text in explanations], dtype=float)
        return np.where([("too long" in t) for t in explanations], np.nan, words)

    def ratings(self, asked: list[Any], explanations: list[str]) -> np.ndarray:
        return self.remember(asked, explanations) + self.bonus

    def probabilities(
        self, claims: list[Claim], explanations: list[str], is_bare: bool = False
    ) -> np.ndarray:
        self.remember(claims, explanations)
        yes = np.array([0.75 if "yes" in text else 0.25 for text in explanations])
        return 1 - yes if is_bare else yes


class FakeSolver:
    """A solver that remembers what it was asked, and likes the last option most."""

    encoder = ENCODER

    def probabilities(self, options: list[Any], explanations: list[str]) -> list[np.ndarray]:
        Fake.asked += [("models/solver", pair) for pair in zip(options, explanations, strict=True)]
        return [np.arange(1, len(own) + 1) / sum(range(1, len(own) + 1)) for own in options]


class FakeStudent:
    """A student who likes the first option the more the longer the prompt is."""

    def probabilities(self, choices: list[tuple[str, tuple[str, ...]]]) -> list[np.ndarray]:
        likes = [1 - 1 / len(prompt) for prompt, _ in choices]
        return [
            np.array([like, *[1 - like] * (len(own) - 1)])
            for like, (_, own) in zip(likes, choices, strict=True)
        ]


def fake_halves(folder: Path) -> dict[int, Any]:
    return {fold: Fake(folder / f"fold_{fold}") for fold in (0, 1)}


def use_fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every scorer ask a Fake; nothing was asked yet, and no answer is kept."""
    Fake.asked = []
    monkeypatch.setattr(store, "is_forgetful", True)
    monkeypatch.setattr(classifiers, "load_folds", fake_halves)
    monkeypatch.setattr(alignment, "load", Fake)
    monkeypatch.setattr(solver, "load", lambda folder: FakeSolver())
    monkeypatch.setattr(students, "read_exam", lambda folder: students.Exam(0, []))
    monkeypatch.setattr(students, "folders", lambda folder: [folder / "student_0"])
    monkeypatch.setattr(students, "read_how", lambda folder: STUDENT)
    monkeypatch.setattr(students, "load", lambda folder: FakeStudent())


@pytest.fixture(autouse=True)
def _fake_models(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fakes(monkeypatch)


def given_texts(questions: pd.DataFrame | None = None) -> pd.DataFrame:
    """What the scorers read of eight candidates, one of them empty, and two negatives."""
    questions = invented.questions() if questions is None else questions
    return texts_to_score(questions, invented.candidates(), invented.negatives())


def said(*rows: tuple[Claim, str]) -> pd.DataFrame:
    """Texts as judge and entailment scorer read them."""
    return pd.DataFrame(rows, columns=["claim", "explanation"])


def numbers(values: list[Value]) -> list[float | None]:
    return [value.value for value in values]


# ---- every scorer --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_a_scorer_gives_each_text_a_number_or_a_reason(name: str):
    texts = given_texts()
    values = registry.ask(name, texts)
    assert len(values) == len(texts) == 10
    assert all((value.value is None) == (value.reason is not None) for value in values)
    known = sum(value.value is not None for value in values)
    few = {"acr_upstream": 0, "is_truncated": 5}  # "yes" is short; a model wrote six texts
    assert known >= few.get(name, 8)


@pytest.mark.parametrize("name", ALL)
def test_the_order_and_the_index_of_the_rows_do_not_matter(name: str):
    texts = given_texts()
    turned = registry.ask(name, texts[::-1])
    assert turned[::-1] == registry.ask(name, texts)


@pytest.mark.parametrize("name", [*OF_MODELS, "recoverability"])
def test_a_blank_text_is_shown_to_no_model_and_has_a_null_with_its_reason(name: str):
    texts = given_texts()
    texts.loc[0, "explanation"] = " \n\t"
    values = registry.ask(name, texts)
    empty = [i for i, value in enumerate(values) if value.reason == "empty_text"]
    assert empty == [0, 6]
    assert values[0].value is None
    assert Fake.asked
    assert all(explanation.strip() for _, (_, explanation) in Fake.asked)


@pytest.mark.parametrize("name", [*OF_MODELS, "recoverability", "utility", "utility_unmasked"])
def test_where_all_texts_are_blank_no_model_is_asked(name: str):
    texts = given_texts().assign(explanation=" ")
    assert set(registry.ask(name, texts)) == {Value(None, "empty_text")}
    assert Fake.asked == []


@pytest.mark.parametrize("name", OF_MODELS)
def test_copies_are_asked_about_once_in_whatever_order_they_come(name: str):
    texts = given_texts()
    registry.ask(name, texts)
    once, Fake.asked = Fake.asked, []
    registry.ask(name, pd.concat([texts, texts[::-1]], ignore_index=True))
    assert Fake.asked == once
    assert len(once) == len(set(once))


@pytest.mark.parametrize("name", ALL)
def test_no_text_gives_no_value(name: str):
    assert registry.ask(name, given_texts().head(0)) == []


# ---- asking --------------------------------------------------------------------------------


def test_a_text_is_scored_once_and_its_value_goes_to_every_copy():
    values = judge.judge(said((P, "b c"), (P, "a"), (Q, "b c"), (P, "b c")))
    assert numbers(values) == [2.0, 1.0, 2.0, 2.0]
    assert [pair for _, pair in Fake.asked] == [(P, "a"), (P, "b c"), (Q, "b c")]
    assert {folder for folder, _ in Fake.asked} == {"models/verifier_judge"}


def test_what_is_asked_does_not_depend_on_the_order_of_the_rows():
    judge.judge(said((P, "a"), (Q, "b")))
    forward, Fake.asked = Fake.asked, []
    judge.judge(said((Q, "b"), (P, "a")))
    assert Fake.asked == forward


def test_each_value_of_a_model_goes_to_its_row_past_the_blank_ones():
    texts = pd.DataFrame({"explanation": ["a", "", "b c", " "]}, index=[7, 7, 3, 1])
    shown: list[list[str]] = []

    def ask(rows: pd.DataFrame) -> np.ndarray:
        shown.append(rows.explanation.tolist())
        return np.array([1.0, np.nan])

    unread = Value(None, "empty_text")
    assert ask_said(texts, ask) == [Value(1.0), unread, Value(None, "too_long"), unread]
    assert shown == [["a", "b c"]]


def test_a_scorer_that_loses_a_text_is_caught(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ValueError, match="zip"):
        score_distinct(lambda a, b: np.zeros(1), ["a", "b"], ["c", "d"])
    monkeypatch.setitem(registry.SCORERS, "words", lambda texts: [Value(1.0)])
    with pytest.raises(ValueError, match="words: 1 values for 10 texts"):
        registry.ask("words", given_texts())


# ---- the verifier --------------------------------------------------------------------------


def rate(folds: list[int], texts: list[str] | None = None) -> list[float]:
    texts = texts or ["one two"] * len(folds)
    halves, prompts = fake_halves(Path("v")), ["p"] * len(folds)
    return verifier.ratings(halves, prompts, texts, np.array(folds)).tolist()


def test_a_train_question_is_rated_by_the_half_that_did_not_see_it():
    assert rate([0, 1]) == [2.0, 2.5]
    assert {folder for folder, _ in Fake.asked} == {"v/fold_0", "v/fold_1"}
    assert len(Fake.asked) == 2


def test_any_other_question_is_rated_by_the_mean_of_both_halves():
    assert rate([-1]) == [2.25]


def test_a_half_that_is_not_needed_is_not_asked():
    rate([1, 1])
    assert {folder for folder, _ in Fake.asked} == {"v/fold_1"}


def test_a_text_that_one_half_cannot_read_has_no_rating():
    assert np.isnan(rate([-1, 0, 1], ["too long"] * 3)).all()


@pytest.mark.parametrize("folds", [[2], [-2], [0, 1]])
def test_folds_that_mean_nothing_are_refused(folds: list[int]):
    with pytest.raises(ValueError, match="folds"):
        verifier.ratings(fake_halves(Path("v")), ["p"], ["t"], np.array(folds))


def test_the_scorer_rates_by_the_folds_of_its_texts():
    texts = given_texts().query("question_id == 'q1' and candidate_index == 0")
    by_fold = [registry.ask("verifier", texts.assign(fold=fold)) for fold in (0, 1, -1)]
    assert by_fold == [[Value(1.0)], [Value(1.5)], [Value(1.25)]]
    shown = {pair for _, pair in Fake.asked}
    assert shown == {(texts.prompt.iloc[0], texts.explanation.iloc[0])}


# ---- entailment ----------------------------------------------------------------------------


def test_entailment_is_of_the_sentence_unless_the_bare_option_is_asked_for():
    texts = said((P, "yes"), (P, "no"))
    assert numbers(entailment.entailment(texts)) == [0.75, 0.25]
    assert numbers(entailment.entailment_upstream(texts)) == [0.25, 0.75]
    assert {folder for folder, _ in Fake.asked} == {"models/entailment"}


Entails = Callable[[dict[tuple[str, str], float]], None]


@pytest.fixture
def entails(monkeypatch: pytest.MonkeyPatch) -> Entails:
    """entails({(option, text): P}): what the model then says; other pairs are a KeyError."""

    def told(table: dict[tuple[str, str], float]) -> None:
        def probabilities(claims: list[Claim], texts: list[str], is_bare: bool) -> np.ndarray:
            return np.array([table[c[1], text] for c, text in zip(claims, texts, strict=True)])

        scorer = SimpleNamespace(probabilities=probabilities, encoder=ENCODER)
        monkeypatch.setattr(alignment, "load", lambda folder: scorer)

    return told


def asked_about(*texts: str, options: tuple[str, ...] = ("ant", "bee", "cow")) -> pd.DataFrame:
    """Texts about one question whose key is the second option (or the only one)."""
    filled = [*options, None, None, None, None][:5]
    question: dict[str, Any] = dict(zip([f"option_{c}" for c in "abcde"], filled, strict=True))
    question |= {"stem": "Which?", "options_n": len(options), "key": "AB"[len(options) > 1]}
    return unseen(pd.DataFrame([question | {"explanation": text} for text in texts]))


def test_the_margin_is_the_key_over_the_best_wrong_option(entails: Entails):
    entails({
        ("bee", "t1"): 0.9, ("ant", "t1"): 0.2, ("cow", "t1"): 0.4,
        ("bee", "t2"): 0.1, ("ant", "t2"): 0.75, ("cow", "t2"): 0.5,
    })  # fmt: skip
    values = registry.ask("entailment_margin", asked_about("t1", "", "t2", "t1"))
    assert values[1] == Value(None, "empty_text")
    # .9 - .4; .1 - .75
    assert numbers([values[i] for i in (0, 2, 3)]) == pytest.approx([0.5, -0.65, 0.5])


def test_a_question_without_a_wrong_option_has_no_margin(entails: Entails):
    entails({("ant", "t1"): 0.9})
    values = registry.ask("entailment_margin", asked_about("t1", "", options=("ant",)))
    assert values == [Value(None, "no_distractor"), Value(None, "empty_text")]


def test_a_long_text_that_entails_little_is_verbose(entails: Entails):
    long, short, limit = "word " * 81, "word", "x" * 400  # 405, 4 and 400 characters
    entails({("bee", long): 0.04, ("bee", short): 0.04, ("bee", limit): 0.04})
    assert numbers(registry.ask("is_verbose", asked_about(long, short, limit))) == [1.0, 0.0, 0.0]
    entails({("bee", long): 0.05})
    assert numbers(registry.ask("is_verbose", asked_about(long))) == [0.0]


# ---- the registry --------------------------------------------------------------------------


def test_scores_are_long_and_have_the_role_that_was_named():
    roles = {"words": "diagnostic", "judge": "heldout", "verifier": "reward"}
    scores = registry.score(given_texts(), roles)
    assert scores.scorer.value_counts().to_dict() == dict.fromkeys(roles, 10)
    assert scores.groupby("scorer").role.agg(set).to_dict() == {k: {v} for k, v in roles.items()}


def test_a_scorer_that_is_not_asked_for_is_not_loaded():
    registry.score(given_texts(), {"verifier": "reward", "words": "diagnostic"})
    assert {folder.split("/")[1] for folder, _ in Fake.asked} == {"verifier_reward"}


def test_the_folders_of_some_scorers_are_those_that_they_read():
    entailing, judging = Path("models/entailment"), Path("models/verifier_judge")
    assert registry.folders(["verifier", "words"]) == [BASE_DIR, Path("models/verifier_reward")]
    assert registry.folders(["judge", "entailment_margin", "entailment"]) == [entailing, judging]
    assert registry.folders(["is_verbose"]) == [entailing]
    assert registry.folders(["acr", "is_evasive", "words", "is_loop"]) == []
    assert registry.folders([]) == []


def test_no_two_families_have_a_scorer_of_one_name():
    names = [name for family in registry.FAMILIES for name in family.SCORERS]
    assert sorted(names) == sorted({*registry.SCORERS})


# ---- one model, two roles ------------------------------------------------------------------


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every folder that a scorer reads, each with weights of its own."""
    monkeypatch.chdir(tmp_path)
    for folder in registry.folders(registry.SCORERS):
        (folder / "fold_0").mkdir(parents=True)
        (folder / "fold_0/adapter_model.safetensors").write_bytes(folder.as_posix().encode())
        (folder / "manifest.json").write_text("{}")
    return tmp_path


def copy(source: Path, target: Path) -> None:
    """The same weights in another folder, with another manifest."""
    shutil.rmtree(target)
    shutil.copytree(source, target)
    (target / "manifest.json").write_text('{"kind": "another"}')


@pytest.mark.usefixtures("models")
def test_models_with_weights_of_their_own_are_apart():
    registry.check_apart({"verifier"})
    registry.check_apart({"verifier", "judge", "entailment"})


@pytest.mark.usefixtures("models")
def test_a_judge_with_the_weights_of_the_verifier_is_refused():
    copy(verifier.FOLDER, judge.FOLDER)
    with pytest.raises(InputError, match="same weights") as error:
        registry.check_apart({"verifier"})
    assert all(str(folder) in str(error.value) for folder in (verifier.FOLDER, judge.FOLDER))
    assert "entailment" not in str(error.value)


@pytest.mark.usefixtures("models")
def test_one_model_may_stand_behind_two_scorers_of_one_role():
    copy(judge.FOLDER, entailment.FOLDER)
    registry.check_apart({"verifier"})
    registry.check_apart({"verifier", "judge", "entailment"})
    for rewarding in ({"verifier", "judge"}, {"verifier", "entailment"}):
        with pytest.raises(InputError, match=r"models/entailment.*models/verifier_judge"):
            registry.check_apart(rewarding)


@pytest.mark.usefixtures("models")
def test_the_base_is_shared_by_design():
    copy(judge.FOLDER, BASE_DIR)
    registry.check_apart({"verifier"})


@pytest.mark.usefixtures("models")
def test_folders_without_weights_are_not_one_model():
    # they name models of a hub
    for folder in (verifier.FOLDER, judge.FOLDER):
        (folder / "fold_0/adapter_model.safetensors").unlink()
    registry.check_apart({"verifier"})
