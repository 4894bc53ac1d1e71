"""The verifier: what it reads, what it says of it, and that a saved one says the same."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.errors import InputError
from stages.pure.prompts import render_prompt
from stages.runtime import classifiers
from stages.runtime.classifiers import Classifier, Examples
from stages.runtime.loading import checkpoints
from tests import tiny_models
from tests.tiny_models import MODEL, TRAINING, course, make_base

pytest_plugins = ["tests.tiny_fixtures"]

NONE = Examples([], [], np.empty(0), np.empty(0))


@pytest.fixture
def classifier(checkout: Path) -> Classifier:
    """A verifier with random weights around 2.5 stars."""
    made = classifiers.build(MODEL, seed=5)
    tiny_models.stir(made.model, seed=5)
    made.center = 2.5
    return made


def asked() -> tuple[list[str], list[str]]:
    """Prompts and explanations of the course, of different lengths."""
    rows = course().to_dict("records")
    return [render_prompt(row) for row in rows], [row["explanation"] for row in rows]


def rate(classifier: Classifier, order: list[int] | None = None) -> np.ndarray:
    prompts, explanations = asked()
    order = list(range(len(prompts))) if order is None else order
    return classifier.ratings([prompts[i] for i in order], [explanations[i] for i in order])


# ---- answers -------------------------------------------------------------------------------


def test_ratings_are_stars_and_differ_between_texts(classifier: Classifier):
    found = rate(classifier)
    assert found.shape == (40,)
    assert ((found >= 0) & (found <= 5)).all()
    assert np.ptp(found) > 0.01


def test_a_rating_is_the_output_in_stars_and_never_beyond_the_scale(classifier: Classifier):
    prompts, explanations = asked()
    outputs = classifier.outputs(prompts, explanations)
    classifier.center, classifier.scale = 3.0, 0.5
    assert rate(classifier) == pytest.approx(outputs * 0.5 + 3)
    classifier.center = 9.0
    assert (rate(classifier) == 5).all()
    classifier.center = -9.0
    assert (rate(classifier) == 0).all()


def test_the_order_of_the_texts_does_not_change_their_ratings(classifier: Classifier):
    backwards = list(range(40))[::-1]
    assert rate(classifier, backwards)[::-1].tolist() == rate(classifier).tolist()


def test_a_text_is_rated_alike_alone_and_among_longer_ones(classifier: Classifier):
    together = rate(classifier)
    alone = [rate(classifier, [i])[0] for i in range(0, 40, 7)]
    assert alone == together[::7].tolist()


def test_more_texts_than_one_batch_are_all_rated(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
):
    whole = rate(classifier)
    monkeypatch.setattr(classifiers, "TOKENS", 50)  # of each three texts or fewer
    assert rate(classifier).tolist() == whole.tolist()


def test_a_text_that_is_too_long_has_no_rating(classifier: Classifier):
    prompts, explanations = asked()
    long = "the meadow " * classifier.backbone.max_length
    found = classifier.ratings([prompts[0]] * 3, [explanations[0], long, explanations[1]])
    assert np.isnan(found).tolist() == [False, True, False]
    twice = classifier.ratings([prompts[0]] * 2, explanations[:2])
    assert found[[0, 2]].tolist() == twice.tolist()


def test_no_texts_have_no_ratings(classifier: Classifier):
    assert classifier.ratings([], []).shape == (0,)


def test_a_missing_explanation_is_an_error(classifier: Classifier):
    with pytest.raises(ValueError, match="shorter"):
        classifier.ratings(["p", "p"], ["only one"])


def test_a_text_of_exactly_the_limit_is_read_and_one_token_more_is_not(classifier: Classifier):
    prompts, explanations = asked()
    encoded = classifiers.encode_pair(classifier, prompts[0], explanations[0])
    assert encoded is not None
    length = sum(map(len, encoded))
    classifier.backbone = replace(classifier.backbone, max_length=length)
    assert classifiers.encode_pair(classifier, prompts[0], explanations[0]) == encoded
    classifier.backbone = replace(classifier.backbone, max_length=length - 1)
    assert classifiers.encode_pair(classifier, prompts[0], explanations[0]) is None


def test_the_verifier_reads_what_the_generator_is_trained_on(checkout: Path):
    made = classifiers.build(MODEL, seed=1)
    encoded = classifiers.encode_pair(made, "Why?", "So <|eos|>.")
    assert encoded is not None
    asked_ids = checkpoints.encode_prompt(made.tokenizer, "Why?", {})
    said_ids = checkpoints.encode_completion(made.tokenizer, "So <|eos|>.")
    assert encoded == (tuple(asked_ids), tuple(said_ids))
    # what a student writes ends nothing
    assert [*asked_ids, *said_ids].count(made.tokenizer.eos_token_id) == 1


# ---- training ------------------------------------------------------------------------------


def examples(targets: list[float], weights: list[float] | None = None) -> Examples:
    """The first texts of the course with the given targets."""
    prompts, explanations = asked()
    n = len(targets)
    return Examples(
        prompts[:n], explanations[:n], np.array(targets), np.array(weights or [1.0] * n)
    )


def test_targets_are_standardised_by_their_weighted_mean(classifier: Classifier):
    classifiers.fit(classifier, examples([1, 3, 5], [2, 1, 1]), TRAINING, 1, NONE)
    assert classifier.center == pytest.approx(2.5)  # (2 * 1 + 3 + 5) / 4
    assert classifier.scale == pytest.approx(np.sqrt(8 / 3))


def test_equal_targets_are_not_divided_by_zero(classifier: Classifier):
    classifiers.fit(classifier, examples([4.0, 4.0, 4.0]), TRAINING, 1, NONE)
    assert (classifier.center, classifier.scale) == (4.0, 1.0)
    assert np.isfinite(rate(classifier)).all()


def test_a_pair_that_is_too_long_is_not_trained_on(classifier: Classifier):
    given = examples([1.0, 2.0, 3.0])
    given.explanations[1] = "the meadow " * 300
    classifier.center, classifier.scale = 2.0, 0.5
    rows = classifiers.encode_examples(classifier, given)
    assert [row["labels"] for row in rows] == [-2.0, 2.0]


def test_texts_that_are_all_too_long_are_refused(classifier: Classifier):
    classifier.backbone = replace(classifier.backbone, max_length=3)
    with pytest.raises(InputError, match=r"max_length 3 of .* is shorter than each of 2 texts"):
        classifiers.fit(classifier, examples([1.0, 2.0]), TRAINING, 1, NONE)


def learnt(classifier: Classifier, weights: list[float] | None = None) -> np.ndarray:
    """Ratings of the first eight rows after training on good = 5 and poor = 1 star."""
    settings = replace(TRAINING, epochs=25, learning_rate=1e-2)
    classifiers.fit(classifier, examples([5.0, 1.0] * 4, weights), settings, 1, NONE)
    return rate(classifier, list(range(8)))


def test_training_tells_the_good_texts_from_the_poor_ones(classifier: Classifier):
    found = learnt(classifier)
    assert found[::2].min() > found[1::2].max()


def test_a_row_of_no_weight_teaches_nothing(classifier: Classifier):
    # all weight on the good texts: nothing says that the poor ones are worth less
    found = learnt(classifier, [2.0, 0.0] * 4)
    assert found == pytest.approx(5, abs=0.5)


def log_of(classifier: Classifier) -> list[dict[str, float]]:
    settings = replace(TRAINING, epochs=5)
    return classifiers.fit(classifier, examples([5.0, 1.0] * 4), settings, 1, examples([4.0, 2.0]))


def test_the_log_has_training_and_validation_losses_and_no_clock(classifier: Classifier):
    log = log_of(classifier)
    assert any("loss" in entry for entry in log)
    assert sum("eval_loss" in entry for entry in log) == 5  # one per epoch
    assert not [name for entry in log for name in entry if "runtime" in name or "second" in name]


def test_the_seed_fixes_head_and_adapter(checkout: Path):
    def made(seed: int) -> Any:
        built = classifiers.build(MODEL, seed=seed)
        log = log_of(built)
        return log, rate(built).tolist()

    assert made(3) == made(3)
    assert made(3) != made(4)


# ---- saving --------------------------------------------------------------------------------


def save(classifier: Classifier, folder: Path = Path("models/saved")) -> Path:
    folder.mkdir(parents=True)
    manifest = checkpoints.manifest_for(MODEL, classifier.tokenizer, None, [], "verifier")
    classifiers.save(classifier, folder, manifest)
    return folder


def test_a_saved_classifier_gives_the_same_ratings(classifier: Classifier):
    learnt(classifier)
    (loaded,) = classifiers.load(save(classifier))
    assert rate(loaded).tolist() == rate(classifier).tolist()
    assert (loaded.center, loaded.scale) == (classifier.center, classifier.scale)
    assert loaded.backbone == classifier.backbone


def test_two_on_one_base_rate_as_each_does_alone_in_any_order(checkout: Path):
    folders = [Path(f"models/verifier_reward/fold_{fold}") for fold in (0, 1)]
    alone = [rate(classifiers.load(folder)[0]).tolist() for folder in folders]
    assert alone[0] != alone[1]
    both = classifiers.load_folds(Path("models/verifier_reward"))
    assert sorted(both) == [0, 1]
    for fold in (0, 1, 1, 0, 1, 0):
        assert rate(both[fold]).tolist() == alone[fold]
    turned = classifiers.load(*folders[::-1])
    assert [rate(half).tolist() for half in turned] == alone[::-1]


def test_each_of_two_on_one_base_has_its_own_stars(checkout: Path):
    for fold, (center, scale) in enumerate([(2.0, 0.5), (3.0, 2.0)]):
        made = classifiers.build(MODEL, seed=fold)
        tiny_models.stir(made.model, seed=fold)
        made.center, made.scale = center, scale
        save(made, Path(f"models/halves/fold_{fold}"))
    found = classifiers.load_folds(Path("models/halves"))
    assert {fold: (half.center, half.scale) for fold, half in found.items()} == {
        0: (2.0, 0.5),
        1: (3.0, 2.0),
    }


def test_the_base_of_two_verifiers_is_in_memory_once(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    read, load_base = list[str](), checkpoints.load_base

    def counted(model: Any, head: str = "causal") -> Any:
        read.append(head)
        return load_base(model, head=head)

    monkeypatch.setattr(checkpoints, "load_base", counted)
    one, other = classifiers.load_folds(Path("models/verifier_reward")).values()
    assert len(read) == 1
    assert one.model is other.model
    names = [name for name, _ in one.model.named_parameters()]
    assert sum("embed_tokens" in name for name in names) == 1
    # two folds of LoRA and head beside it
    for adapter in ("verifier_0", "verifier_1"):
        assert sum(f"lora_A.{adapter}." in name for name in names) == 4  # two layers, q and v
        assert sum(f"score.modules_to_save.{adapter}." in name for name in names) == 1


def test_one_of_another_base_among_two_is_refused(checkout: Path):
    folder = Path("models/verifier_reward")
    manifest = json.loads((folder / "fold_1/manifest.json").read_text())
    manifest["base"]["md5"] = "0" * 32
    (folder / "fold_1/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="fold_1: trained on base 00"):
        classifiers.load_folds(folder)


def test_two_savings_have_the_same_bytes(classifier: Classifier):
    first, second = (save(classifier, Path(f"models/{name}")) for name in "ab")
    assert tiny_models.tree_bytes(first) == tiny_models.tree_bytes(second)


def test_a_verifier_of_another_base_is_refused(checkout: Path):
    made = classifiers.build(MODEL, seed=5)
    tiny_models.stir(made.model, seed=5)
    folder = save(made)
    make_base(seed=1)
    with pytest.raises(InputError, match="trained on base"):
        classifiers.load(folder)


def test_a_folder_that_was_not_finished_is_refused(classifier: Classifier):
    folder = save(classifier)
    (folder / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"manifest\.json does not exist"):
        classifiers.load(folder)
