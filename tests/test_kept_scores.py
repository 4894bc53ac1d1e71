"""Scores in the store of rows: computed once, and again where anything but the text changed."""

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from schemas.errors import InputError
from stages.pure.metrics import Value
from stages.pure.scored.scoring import model_values, unseen
from stages.runtime import classifiers, sources, store
from stages.runtime import students as runtime_students
from stages.runtime.encoding import agreement, alignment
from stages.runtime.loading import checkpoints
from stages.runtime.pretraining import base_model
from stages.runtime.students import Exam, Reader
from stages.scorers import asking, judge, registry, utility, verifier
from stages.scorers.asking import kept_by, score_distinct
from tests import tiny_models
from tests.tiny_models import ENCODER, MODEL, STUDENT

pytest_plugins = ["tests.tiny_fixtures"]

HALVES = Path("models/verifier_reward")


def texts(count: int = 12) -> pd.DataFrame:
    """Texts of the course's first questions, as scorers read them."""
    return unseen(tiny_models.course().head(count))


def calls(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[Any]:
    """The arguments of each later call of `owner.name`, which still runs."""
    seen, real = list[Any](), getattr(owner, name)

    def counted(*given: Any) -> Any:
        seen.append(given)
        return real(*given)

    monkeypatch.setattr(owner, name, counted)
    return seen


# ---- the judge -----------------------------------------------------------------------------


def save_judge(bias: float = 0.0, **lineage: Any) -> None:
    """A judge with random weights."""
    seen = np.arange(agreement.FEATURES + 32)[alignment.KINDS["rating"].columns]
    weights = np.random.default_rng(0).normal(size=len(seen))
    scorer = alignment.Scorer("rating", ENCODER, weights, 2.5 + bias)
    folder = checkpoints.scratch_outputs(judge.FOLDER)
    alignment.save(scorer, folder, {"data": {}, "rows_n": 1, "split": "judge"} | lineage)


@pytest.fixture
def reads(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """reads(): how many batches of texts the encoder has read since the last time."""
    save_judge()
    seen = calls(monkeypatch, alignment.Reader, "read")

    def count() -> int:
        found = len(seen)
        seen.clear()
        alignment.reader.cache_clear()  # another process would not have it either
        return found

    return count


def test_what_was_scored_once_is_found_and_not_computed(reads: Callable[[], int]):
    first = judge.judge(texts())
    assert reads() > 0
    assert judge.judge(texts()) == first
    assert judge.judge(texts()[::-1]) == first[::-1]
    assert reads() == 0
    assert judge.judge(texts(14))[:12] == first
    assert reads() == 1
    with store.forgetful():
        assert judge.judge(texts()) == first
    assert reads() > 0


def test_scores_found_and_computed_together_are_those_of_an_empty_store(
    reads: Callable[[], int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    for part in (texts().iloc[:1], texts().iloc[5:8], texts()):
        mixed = judge.judge(part)
    reads()
    monkeypatch.setenv("PEERWISE_STORE", str(tmp_path / "empty"))
    assert judge.judge(texts()) == mixed
    assert reads() > 0


def test_another_model_is_asked_again_and_its_lineage_is_no_other_model(
    reads: Callable[[], int],
):
    first = judge.judge(texts())
    assert reads() > 0
    save_judge(data={"data/questions.parquet": "0" * 32}, rows_n=99, parent={"path": "x"})
    assert judge.judge(texts()) == first
    assert reads() == 0
    save_judge(bias=0.25)
    assert judge.judge(texts()) != first
    assert reads() > 0


def test_another_code_is_asked_again(reads: Callable[[], int], monkeypatch: pytest.MonkeyPatch):
    judge.judge(texts())
    assert reads() > 0
    real = sources.code_digest
    monkeypatch.setattr(sources, "code_digest", lambda *names: real(*names) + "changed")
    judge.judge(texts())
    assert reads() > 0


# ---- keys ----------------------------------------------------------------------------------


def test_every_part_of_a_key_counts(tmp_path: Path):
    (tmp_path / "weights").write_bytes(b"1")
    wanted = kept_by("stages.scorers.judge", tmp_path, ENCODER)
    assert kept_by("stages.scorers.judge", tmp_path, ENCODER) == wanted
    others = [
        kept_by("stages.scorers.entailment", tmp_path, ENCODER),
        kept_by("stages.scorers.judge", tmp_path, replace(ENCODER, dtype="float64")),
        kept_by("stages.scorers.judge", tmp_path, replace(ENCODER, threads=2)),
        kept_by("stages.scorers.judge", tmp_path, ENCODER, is_bare=True),
    ]
    (tmp_path / "weights").write_bytes(b"2")
    others.append(kept_by("stages.scorers.judge", tmp_path, ENCODER))
    assert len({wanted, *others}) == 6


def manifest(folder: Path, **changes: Any) -> str:
    given = {"kind": "x", "data": {"a": "1"}, "parent": None, "rows_n": 3, "scale": 1.0}
    checkpoints.write_manifest(folder, given | changes)
    return checkpoints.model_digest(folder)


def test_the_digest_of_a_model_is_of_what_it_computes(tmp_path: Path):
    (tmp_path / "fold_0").mkdir()
    (tmp_path / "fold_0/weights").write_bytes(b"1")
    plain = manifest(tmp_path)
    assert manifest(tmp_path, data={}, parent={"md5": "2"}, rows_n=4) == plain
    assert manifest(tmp_path, scale=2.0) != plain
    assert manifest(tmp_path, another="key") != plain
    assert manifest(tmp_path) == plain
    (tmp_path / "fold_0/weights").rename(tmp_path / "fold_0/moved")
    assert checkpoints.model_digest(tmp_path) != plain
    (tmp_path / "fold_0/moved").rename(tmp_path / "fold_0/weights")
    assert checkpoints.model_digest(tmp_path) == plain
    (tmp_path / "fold_0/weights").write_bytes(b"2")
    assert checkpoints.model_digest(tmp_path) != plain


def test_the_identity_of_a_verifier_is_of_its_base_weights_and_how_it_is_read(checkout: Path):
    one, other = (HALVES / f"fold_{fold}" for fold in (0, 1))
    plain = classifiers.identity_of(one, MODEL)
    told = json.loads((one / "manifest.json").read_text())
    checkpoints.write_manifest(one, told | {"data": {}, "rows_n": 7})
    assert classifiers.identity_of(one, MODEL) == plain
    found = {classifiers.identity_of(other, MODEL)}
    found.add(classifiers.identity_of(one, replace(MODEL, dtype="bfloat16")))
    found.add(classifiers.identity_of(one, replace(MODEL, attention="eager")))
    checkpoints.write_manifest(one, told | {"reading": told["reading"] | {"scale_stars": 9.0}})
    found.add(classifiers.identity_of(one, MODEL))
    checkpoints.write_manifest(one, told)
    (checkpoints.BASE_DIR / "config.json").write_text("{}")
    found.add(classifiers.identity_of(one, MODEL))
    assert len(found - {plain}) == 5


def test_the_digest_of_a_policy_is_of_its_adapter(checkout: Path):
    tiny_models.make_policy(Path("models/other"), seed=9)
    found = [
        checkpoints.policy_digest(checkpoints.load_policy(MODEL, Path(folder)))
        for folder in ("models/sft", "models/sft", "models/other")
    ]
    assert found[0] == found[1] != found[2]
    config = Path("models/sft/adapter_config.json")
    config.write_text(config.read_text().replace('"lora_alpha": 4', '"lora_alpha": 8'))
    scaled = checkpoints.load_policy(MODEL, Path("models/sft"))
    assert checkpoints.policy_digest(scaled) == checkpoints.adapter_digest(Path("models/sft"))
    assert checkpoints.policy_digest(scaled) != found[0]


# ---- the verifier and the students ---------------------------------------------------------


def test_a_rating_that_is_kept_is_not_computed_and_an_unsaved_verifiers_is_not_kept(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    seen = calls(monkeypatch, classifiers.Classifier, "outputs")
    first = registry.ask("verifier", texts())
    assert len(seen) == 2  # both halves
    assert registry.ask("verifier", texts()) == first
    assert len(seen) == 2
    halves = classifiers.load_folds(HALVES)
    halves[0].identity = ""
    for _ in range(2):
        verifier.ratings(halves, ["a"], ["b"], np.array([0]))
    assert len(seen) == 4


def test_one_half_that_is_trained_again_is_asked_again_alone(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    first = registry.ask("verifier", texts())
    tiny_models.make_verifier(HALVES / "fold_1", seed=77)
    seen = calls(monkeypatch, classifiers.Classifier, "outputs")
    assert registry.ask("verifier", texts()) != first
    assert [given[0].adapter for given in seen] == ["verifier_1"]


def save_students() -> None:
    """Two students with random weights, who are asked one exam question beside the taught one."""
    import torch

    folder = checkpoints.scratch_outputs(utility.FOLDER)
    tokenizer = base_model.train_tokenizer(tiny_models.texts(), 400, STUDENT.max_length)
    assert STUDENT.size is not None
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = base_model.build_model(base_model.Size(**STUDENT.size), STUDENT, tokenizer)
        torch.nn.init.normal_(network.model.embed_tokens.weight, std=1.0)
        runtime_students.save(Reader(network, tokenizer, STUDENT), folder / f"student_{seed}")
    pool = tiny_models.course().drop_duplicates("question_id").to_dict("records")
    plain = [{k: v for k, v in row.items() if k != "question_rating_mean"} for row in pool]
    runtime_students.write_exam(Exam(1, plain), folder)
    checkpoints.write_manifest(folder, {"data": {}})


def test_students_whose_answers_are_kept_are_not_loaded(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    save_students()
    first = utility.utility(texts(6))
    assert len({value.value for value in first}) > 1
    monkeypatch.setattr(runtime_students, "load", lambda folder: pytest.fail("it was loaded"))
    assert utility.utility(texts(6)) == first
    assert utility.utility(texts(3)) == first[:3]


def test_case_33_utility_does_not_depend_on_what_is_asked_beside_it(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    save_students()
    with store.forgetful():
        whole = utility.utility_unmasked(texts(10))
        assert utility.utility_unmasked(texts(10).iloc[:3]) == whole[:3]
        monkeypatch.setattr(utility, "CHOICES", 5)
        assert utility.utility_unmasked(texts(10)[::-1]) == whole[::-1]


@pytest.mark.parametrize("name", ["judge", "verifier"])
def test_case_33_a_score_does_not_depend_on_what_is_asked_beside_it(
    reads: Callable[[], int], monkeypatch: pytest.MonkeyPatch, name: str
):
    with store.forgetful():
        whole = registry.ask(name, texts(20))
        for n in (1, 3, 11):
            reads()  # and forget what was read
            assert registry.ask(name, texts(20).iloc[:n]) == whole[:n]
        monkeypatch.setattr(asking, "BATCH", 3)
        reads()
        assert registry.ask(name, texts(20)[::-1]) == whole[::-1]


# ---- values --------------------------------------------------------------------------------


def test_a_text_without_a_value_is_remembered_as_one():
    asked = list[str]()

    def score(claims: list[str], said: list[str]) -> np.ndarray:
        asked.extend(said)
        return np.array([np.nan if "long" in text else 0.1 + 0.2 for text in said])

    for _ in range(2):
        found = score_distinct(score, ["c"] * 3, ["long", "short", "long"], "kind", "same")
        assert np.isnan(found).tolist() == [True, False, True]
        assert found[1] == 0.1 + 0.2  # to the last bit
    assert asked == ["long", "short"]
    assert score_distinct(score, [], [], "kind", "same").shape == (0,)


def test_an_infinite_score_is_remembered_as_one_and_not_as_a_text_too_long():
    values = {"a": np.inf, "b": -np.inf, "c": np.nan, "d": 1.0}

    def score(claims: list[str], said: list[str]) -> np.ndarray:
        return np.array([values.pop(text) for text in said])  # a second time is an error

    asked = [*values]
    for _ in range(2):
        found = score_distinct(score, [""] * 4, asked, "kind", "same")
        assert found.tolist() == pytest.approx([np.inf, -np.inf, np.nan, 1.0], nan_ok=True)
    assert model_values(found, np.zeros(4, bool))[0] == Value(None, "infinite")


def test_a_student_who_cannot_read_a_choice_is_not_asked_again(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    save_students()
    long = texts(1).assign(explanation="the meadow " * 300)
    assert utility.utility(long) == [Value(None, "too_long")]
    monkeypatch.setattr(runtime_students, "load", lambda folder: pytest.fail("it was loaded"))
    assert utility.utility(long) == [Value(None, "too_long")]


def test_a_damaged_score_is_computed_again(reads: Callable[[], int]):
    first = judge.judge(texts())
    reads()
    with sqlite3.connect(store.opened().path) as connection:
        changed = connection.execute("update rows set value = '4.5' where kind = 'judge'").rowcount
    connection.close()
    assert changed == 12
    assert judge.judge(texts()) == first
    assert reads() > 0
    assert judge.judge(texts()) == first
    assert reads() == 0


def test_case_26_what_was_computed_before_an_error_stays():
    asked = list[list[int]]()

    def compute(items: list[int]) -> list[int]:
        asked.append(items)
        if 3 in items and len(asked) == 2:
            raise InputError("the machine is gone")
        return [item * 10 for item in items]

    with pytest.raises(InputError, match="gone"):
        store.remembered("tens", "v1", [4, 3, 2, 1, 2, 1], compute, batch=2)
    assert store.remembered("tens", "v1", [4, 3, 2, 1], compute, batch=2) == [40, 30, 20, 10]
    assert asked == [[1, 2], [3, 4], [3, 4]]


def test_a_scorer_that_loses_a_value_keeps_none_of_its_batch():
    with pytest.raises(ValueError, match="zip"):
        store.remembered("tens", "v1", [1, 2], lambda items: [10], batch=2)
    assert store.remembered("tens", "v1", [1, 2], lambda items: [1, 2], batch=2) == [1, 2]
