"""The entailment scorer: what it is told, from which rows, and how it is measured."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from schemas.errors import InputError
from schemas.questions import TAUGHT, Questions
from stages import train_entailment
from stages.pure.prompts import distractor_texts
from stages.pure.scored.claims import claim, claim_key
from stages.runtime.encoding import alignment
from stages.runtime.encoding.alignment import Examples
from stages.runtime.loading import checkpoints
from stages.runtime.loading.digests import dvc_md5
from tests.tiny_models import Stage, course, reported, tree_bytes, write_course

pytest_plugins = ["tests.tiny_fixtures"]

SECTION = {"train_entailment": {"min_rating": 3.0}}


def record(**changed: Any) -> dict[Any, Any]:
    """One row of the course as the stage sees it."""
    row: dict[Any, Any] = course().to_dict("records")[0]
    return row | changed


# ---- claims --------------------------------------------------------------------------------


def test_a_row_claims_the_key_and_one_distractor():
    row = record()
    right, (wrong, label) = train_entailment.claims_of(row)
    assert right == (claim_key(row)[:3], 1)  # without the other options
    assert label == 0
    assert wrong in [claim(row, text)[:3] for text in distractor_texts(row)]


def test_every_distractor_occurs_somewhere():
    rows = [record(row_id=f"zoo/{i}") for i in range(30)]
    wrong = {train_entailment.claims_of(row)[1][0] for row in rows}
    assert wrong == {claim(rows[0], text)[:3] for text in distractor_texts(rows[0])}


def test_the_distractor_is_fixed_by_the_row():
    assert train_entailment.claims_of(record()) == train_entailment.claims_of(record())


def test_a_question_of_one_option_has_no_distractor():
    claims = train_entailment.claims_of(record(options_n=1, key="A"))
    assert [label for _, label in claims] == [1]


# ---- rows ----------------------------------------------------------------------------------


def test_only_well_rated_explanations_of_the_split_are_premises():
    rows = course()
    found = train_entailment.examples(rows, "judge", 3.0)
    good = rows.query("split == 'judge' and question_rating_mean >= 3").explanation.tolist()
    assert sorted(found.explanations) == sorted(good * 2)
    assert found.targets.tolist() == [1, 0] * len(good)
    assert found.weights.tolist() == [1.0] * len(found.claims)


def test_both_claims_of_a_row_stand_beside_its_text_and_in_its_cluster():
    rows = course().query("split == 'judge' and question_rating_mean >= 3").sort_values("row_id")
    found = train_entailment.examples(course(), "judge", 3.0)
    assert found.claims[::2] == [claim_key(row)[:3] for row in rows.to_dict("records")]
    assert [said[2] for said in found.claims[1::2]] == rows.stem.tolist()
    for each in (slice(0, None, 2), slice(1, None, 2)):
        assert found.explanations[each] == rows.explanation.tolist()
        assert found.groups[each].tolist() == rows.cluster_id.tolist()


def test_an_unrated_explanation_is_no_premise():
    rows = course()
    found = train_entailment.examples(rows, "train", 0.0)
    unrated = rows[rows.question_rating_mean.isna()].explanation
    assert len(unrated) == 1
    assert unrated.iloc[0] not in found.explanations
    assert len(found.claims) == 2 * 15


def test_a_rating_of_exactly_the_minimum_is_enough():
    rows = course().query("split == 'judge'").assign(question_rating_mean=3.0)
    assert len(train_entailment.examples(rows, "judge", 3.0).claims) == 2 * len(rows)
    assert train_entailment.examples(rows, "judge", 3.1).claims == []


def test_the_order_of_the_rows_does_not_matter():
    rows = course()
    first, second = (
        train_entailment.examples(given, "judge", 3.0)
        for given in (rows, rows.sample(frac=1, random_state=4))
    )
    assert (first.claims, first.explanations) == (second.claims, second.explanations)
    assert first.targets.tolist() == second.targets.tolist()
    assert first.groups.tolist() == second.groups.tolist()


# ---- accuracy ------------------------------------------------------------------------------


class Sure:
    """Says what it was told to say: the probabilities of `entailed`."""

    def __init__(self, entailed: list[float]):
        self.entailed = np.array(entailed)

    def probabilities(self, *_: Any) -> np.ndarray:
        return self.entailed


def accuracy(entailed: list[float], targets: list[int]) -> dict[str, float]:
    examples = Examples([], [], np.array(targets), np.ones(len(targets)), np.array([]))
    scorer: Any = Sure(entailed)
    return train_entailment.accuracy(scorer, examples)


def test_accuracy_by_hand():
    assert accuracy([0.9, 0.2, 0.4, 0.7], [1, 0, 1, 0]) == {"accuracy_frac": 0.5}
    assert accuracy([0.9, 0.2, 0.6, 0.1], [1, 0, 1, 0]) == {"accuracy_frac": 1.0}


def test_a_pair_that_cannot_be_read_is_in_no_mean():
    nan = float("nan")
    assert accuracy([0.9, nan, 0.4], [1, 0, 1]) == {"accuracy_frac": 0.5}
    assert accuracy([nan, nan], [1, 0]) == {}


# ---- the stage -----------------------------------------------------------------------------


def test_the_scorer_learns_from_the_judge_split_and_is_measured_on_train(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, run_stage: Stage
):
    given: dict[str, Examples] = {}
    real = alignment.fit

    def fit(kind: str, how: Any, examples: Examples) -> Any:
        assert kind == "entailment"
        given["fitted"] = examples
        return real(kind, how, examples)

    def measure(_: Any, held_out: Examples) -> dict[str, float]:
        given["held_out"] = held_out
        return {}

    monkeypatch.setattr(alignment, "fit", fit)
    monkeypatch.setattr(train_entailment, "accuracy", measure)
    run_stage(train_entailment.main, **SECTION)
    rows = course().query("question_rating_mean >= 3")
    for name, split in [("fitted", "judge"), ("held_out", "train")]:
        assert set(given[name].explanations) == set(rows[rows.split == split].explanation)


def test_a_real_training_can_be_loaded_and_gives_the_same_bytes(checkout: Path, run_stage: Stage):
    recorded = run_stage(train_entailment.main, **SECTION)
    assert train_entailment.FOLDER in recorded.outputs
    first = tree_bytes(train_entailment.FOLDER) | tree_bytes(Path("reports"))
    alignment.reader.cache_clear()  # as in another process: every text is read again
    run_stage(train_entailment.main, **SECTION)
    assert tree_bytes(train_entailment.FOLDER) | tree_bytes(Path("reports")) == first
    assert not [name for name, data in first.items() if str(checkout).encode() in data]
    numbers = reported("train_entailment")
    assert numbers["pairs_n"] == 8  # four judge questions, one good explanation each
    assert 0 <= numbers["accuracy_frac"] <= 1
    manifest = checkpoints.read_manifest(train_entailment.FOLDER)
    assert manifest["data"] == {"data/questions_taught.parquet": dvc_md5(Questions.path(TAUGHT))}
    assert (manifest["split"], manifest["rows_n"]) == ("judge", 8)
    scorer = alignment.load(train_entailment.FOLDER)
    found = scorer.probabilities([claim_key(record())], ["It lives in the meadow."])
    assert 0 <= found[0] <= 1


def test_a_judge_split_without_good_explanations_is_refused(checkout: Path, run_stage: Stage):
    rows = course()
    poor = rows.assign(question_rating_mean=rows.question_rating_mean.clip(upper=2.5))
    write_course(pd.DataFrame(poor))
    with pytest.raises(InputError, match=r"rated 3\.0 or more"):
        run_stage(train_entailment.main, **SECTION)
    assert not train_entailment.FOLDER.exists()
