"""Other training seeds: each takes the whole route anew, and nothing else is changed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from schemas.errors import InputError
from schemas.explanations import Explanations
from schemas.fitness import Fitness
from schemas.questions import TAUGHT, Questions
from schemas.synthetic import Synthetic
from schemas.synthetic_questions import SyntheticQuestions
from stages import (
    build_preferences,
    explain_test,
    make_negatives,
    sample_candidates,
    score_candidates,
    train_dpo,
    train_sft,
)
from stages import repeat_training as stage
from stages.runtime import artifacts
from stages.runtime.loading import checkpoints
from stages.runtime.sampling import generation
from stages.runtime.sampling.generation import Generated
from stages.runtime.tuning import training as trainers
from stages.scorers import registry
from tests import invented
from tests.tiny_models import Recorded, Stage, course, profile, reported, write_course

pytest_plugins = ["tests.tiny_fixtures"]

SECTIONS: dict[str, Any] = {
    "train_sft": {"refinement_frac": 0.25, "min_refinement_gap": 0.5},
    "sample_candidates": {
        "max_questions": 4,
        "temperatures": [0.5, 1.3],
        "top_p": 0.95,
        "top_k": 50,
        "repetition_penalty": 1.1,
    },
    "make_negatives": {"negatives_per_question": 1},
    "score_candidates": {
        "scorers": {"verifier": "reward", "acr": "heldout", "is_loop": "diagnostic"}
    },
    "rewards": {
        "verifier": {
            "unit": "stars",
            "min_gap": 0.01,
            "sum": {"verifier": 1.0},
            "product": {},
            "at_least": {},
        },
    },
    "build_preferences": {
        "reward": "verifier",
        "strategy": "all_pairs",
        "min_score_gap": None,
        "min_gap_errors": 0.0,
        "pairs_per_question": 3,
        "negatives_per_question": 1,
        "max_words_ratio": 1.2,
        "max_pairs": None,
        "refuse_chosen": ["is_loop"],
        "length_control": 1.0,
    },
    "train_dpo": {
        "beta": 0.1,
        "loss_type": ["sigmoid"],
        "loss_weights": None,
        "ld_alpha": None,
        "label_smoothing": 0.0,
    },
    "explain_test": {"max_questions": 3},
}
# enough for greedy answers to change
HARD = {
    "sft": profile()["sft"] | {"epochs": 15, "learning_rate": 0.05},
    "dpo": profile()["dpo"] | {"epochs": 15, "learning_rate": 0.05},
}
ASKED = ["q14", "q15", "q16"]


def fitness(is_met: bool) -> pd.DataFrame:
    """Fitness of the reward verifier, with one check."""
    low = 0.2 if is_met else 0.0
    return invented.table(
        Fitness, [("model", "spearman", "all", 0.3, low, 0.4, 20, 10, 0.1, is_met)]
    )


Repeat = Callable[..., Recorded]


@pytest.fixture
def repeat(checkout: Path, run_stage: Stage) -> Repeat:
    """repeat(seeds, section={...}): the stage, with a verifier that is fit to rank."""
    artifacts.write(Fitness, fitness(is_met=True), "reward")
    artifacts.write(Synthetic, invented.table(Synthetic, []))

    def run(seeds: list[int], **changed: Any) -> Recorded:
        return run_stage(
            stage.main, **SECTIONS | HARD | {"repeat_training": {"seeds": seeds}} | changed
        )

    return run


def written() -> pd.DataFrame:
    return artifacts.read(Explanations, "repeats")


def texts(policy: str, seed: int, decoding: str) -> list[str]:
    rows = written()
    own = (rows.policy == policy) & (rows.training_seed == seed) & (rows.decoding == decoding)
    return rows[own].explanation.tolist()


# ---- what is written -----------------------------------------------------------------------


def test_each_seed_gives_answers_of_both_policies_in_both_decodings(repeat: Repeat):
    recorded = repeat([14, 15])
    found = written()
    groups = found.groupby(["policy", "training_seed", "decoding"]).question_id.agg(list)
    assert groups.to_dict() == {
        (policy, seed, decoding): ASKED
        for policy in ("sft", "dpo")
        for seed in (14, 15)
        for decoding in ("sampled", "greedy")
    }
    assert found.is_final.all()
    assert reported("repeat_training").keys() == {
        "seeds_n",
        "seed_14_pairs_n",
        "seed_15_pairs_n",
    }
    assert reported("repeat_training")["seeds_n"] == 3
    models = {checkpoints.BASE_DIR, *registry.folders(registry.SCORERS)}
    tables = {Questions.path(), Questions.path(TAUGHT), Fitness.path("reward"), Synthetic.path()}
    tables |= {SyntheticQuestions.path()}
    assert tables | models == {*recorded.inputs}
    assert Explanations.path("repeats") in recorded.outputs
    # the training differs and not only the draw
    for decoding in ("sampled", "greedy"):
        said = [texts(policy, seed, decoding) for policy in ("sft", "dpo") for seed in (14, 15)]
        assert len({tuple(answers) for answers in said}) == 4


def test_a_repeat_says_what_the_route_says_with_that_seed(repeat: Repeat, run_stage: Stage):
    repeat([14])
    numbers = reported("repeat_training")
    given = SECTIONS | HARD | {"seed": 14}
    for one in (train_sft, sample_candidates, make_negatives, score_candidates):
        run_stage(one.main, **given)
    for one in (build_preferences, train_dpo):
        run_stage(one.main, **given)
    assert numbers["seed_14_pairs_n"] == reported("build_preferences")["pairs_n"]
    for policy in ("sft", "dpo"):
        run_stage(explain_test.main, policy, **given)
        route = artifacts.read(Explanations, policy)
        own = written().query(f"policy == '{policy}'")
        pd.testing.assert_frame_equal(own.reset_index(drop=True), route)


def test_the_same_seeds_give_the_same_bytes_and_none_hangs_on_the_one_before(repeat: Repeat):
    quick = {name: profile()[name] for name in ("sft", "dpo")}
    repeat([14, 15], **quick)
    first = Explanations.path("repeats").read_bytes()
    repeat([15, 14], **quick)
    assert Explanations.path("repeats").read_bytes() == first
    assert str(Path.cwd()).encode() not in first


def test_no_other_seed_is_an_empty_table_and_trains_nothing(
    repeat: Repeat, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(trainers, "fit_sft", lambda *_: pytest.fail("something was trained"))
    repeat([])
    assert written().empty
    assert reported("repeat_training") == {"seeds_n": 1}
    assert "1 training seed(s). Three or more" in caplog.text


def test_three_seeds_are_enough_to_say_nothing(
    repeat: Repeat, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    nothing = artifacts.empty(Explanations)
    monkeypatch.setattr(stage, "train_once", lambda *_: (nothing, 0))
    repeat([14])
    assert "2 training seed(s)" in caplog.text
    caplog.clear()
    repeat([14, 15])
    assert caplog.text == ""


# ---- how it is asked -----------------------------------------------------------------------


def test_no_policy_answers_with_dropout_on(repeat: Repeat, monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[str, bool]] = []
    answers = generation.Writer.answers

    def watched(writer: Any, prompts: Any, draws: Any, seed: int) -> list[list[Generated]]:
        asked.extend((draw.name, writer.backend.model.training) for draw in draws)
        return answers(writer, prompts, draws, seed)

    monkeypatch.setattr(generation.Writer, "answers", watched)
    repeat([14], model=profile(lora_dropout=0.5)["model"])
    assert [label for label, _ in asked] == [
        *("explain sampled", "explain greedy"),
        *("sample 1", "sample 2"),
        *("explain sampled", "explain greedy"),
    ]
    assert not any(is_training for _, is_training in asked)


# ---- bad input -----------------------------------------------------------------------------


@pytest.fixture
def _nothing_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainers, "fit_sft", lambda *_: pytest.fail("something was trained"))


@pytest.mark.usefixtures("_nothing_is_trained")
@pytest.mark.parametrize("seeds", [[13], [14, 13], [14, 14]])
def test_a_seed_that_is_trained_already_is_refused(repeat: Repeat, seeds: list[int]):
    with pytest.raises(InputError, match=r"repeat_training\.seeds: .*repeats a seed.*\(13\)"):
        repeat(seeds)
    assert not Explanations.path("repeats").exists()


@pytest.mark.usefixtures("_nothing_is_trained")
def test_a_verifier_that_may_not_rank_is_no_reward_for_other_seeds_either(repeat: Repeat):
    artifacts.write(Fitness, fitness(is_met=False), "reward")
    with pytest.raises(InputError, match="verifier left out of the reward"):
        repeat([14])


@pytest.mark.usefixtures("_nothing_is_trained")
@pytest.mark.parametrize(
    ("section", "changed", "message"),
    [
        ("build_preferences", {"strategy": "best_worse"}, "strategy: unknown 'best_worse'"),
        ("build_preferences", {"reward": "verifer"}, "unknown reward 'verifer'"),
        ("explain_test", {"max_questions": 0}, r"repeat_training: .*takes none"),
    ],
)
def test_what_a_stage_of_the_route_refuses_is_refused_before_a_training(
    repeat: Repeat, section: str, changed: dict[str, Any], message: str
):
    with pytest.raises(InputError, match=message):
        repeat([14], **{section: SECTIONS[section] | changed})


@pytest.mark.usefixtures("_nothing_is_trained")
def test_a_course_without_test_questions_is_refused(repeat: Repeat):
    write_course(course().query("split != 'test'"))
    with pytest.raises(InputError, match="no question in the split 'test'"):
        repeat([14])
