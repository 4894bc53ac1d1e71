"""What the trainers are given is what they learn from: losses by hand, batches by eye.

Models are random and tiny. Each loss that is compared with one by hand is the first that a
training logs, before any update.
"""

import contextlib
import json
import subprocess
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import InputError
from stages.runtime import classifiers
from stages.runtime.classifiers import Classifier
from stages.runtime.loading import checkpoints
from stages.runtime.loading.profile import Model, Training
from stages.runtime.tuning import distributed
from stages.runtime.tuning import training as trainers
from stages.runtime.tuning.training import arguments, ends_of, fit_dpo, fit_sft, fresh_lora, tidy
from tests.tiny_models import MODEL, TRAINING, stir

pytest_plugins = ["tests.tiny_fixtures"]

SEED = 5
BETA = 0.1
# Four rows of unequal length: a mean over tokens is then no mean over rows.
TEXTS = [
    ("Where does the ant live?", "In the meadow.", "I do not know."),
    ("Where does the bear live? Say it in one word.", "There", "It lives where it can be found."),
    ("Where?", "It lives in old trees because it finds its food there.", "No"),
    ("Why is it the dry sand?", "Because of the food and the shelter.", "Because I think so."),
]
SETTINGS = replace(TRAINING, batch_size=4, epochs=2, warmup_frac=0.0)


@pytest.fixture
def tokenizer(checkout: Path) -> Any:
    return checkpoints.load_tokenizer(MODEL)


def ids(tokenizer: Any) -> list[tuple[list[int], list[int], list[int]]]:
    """Prompt, better and worse text of each row, encoded as the stages do it."""
    return [
        (
            checkpoints.encode_prompt(tokenizer, asked, {}),
            checkpoints.encode_completion(tokenizer, good),
            checkpoints.encode_completion(tokenizer, bad),
        )
        for asked, good, bad in TEXTS
    ]


def sft_rows(tokenizer: Any) -> list[dict[str, Any]]:
    return [
        {"input_ids": asked + good, "completion_mask": [0] * len(asked) + [1] * len(good)}
        for asked, good, _ in ids(tokenizer)
    ]


def dpo_rows(tokenizer: Any) -> list[dict[str, Any]]:
    return [
        {"prompt_ids": asked, "chosen_ids": good, "rejected_ids": bad}
        for asked, good, bad in ids(tokenizer)
    ]


def policy(model: Model = MODEL) -> Any:
    """An adapter that is not zero, so that it is not the base."""
    own = fresh_lora(checkpoints.load_base(model), model, SEED)
    stir(own, SEED)
    return own


def log_probabilities(model: Any, asked: list[int], said: list[int]) -> list[float]:
    """ln p of each token of `said` after `asked`, by a plain forward pass."""
    import torch

    with torch.inference_mode():
        logits = model.eval()(input_ids=torch.tensor([asked + said])).logits[0].float()
    table = logits.log_softmax(-1)
    start = len(asked) - 1  # the token before the first that counts predicts it
    return [float(table[start + i, token]) for i, token in enumerate(said)]


def batch_of(
    monkeypatch: pytest.MonkeyPatch, trainer_name: str, fit: Any, *given: Any
) -> dict[str, Any]:
    """The first batch that a trainer would learn from; nothing is trained."""
    import trl

    kept: list[Any] = []
    monkeypatch.setattr(getattr(trl, trainer_name), "train", lambda self: kept.append(self))
    fit(*given)
    batch: dict[str, Any] = dict(next(iter(kept[0].get_train_dataloader())))
    return batch


def weights_of(model: Any) -> Any:
    """All trainable weights as one vector."""
    import torch

    return torch.cat([p.detach().flatten() for p in model.parameters() if p.requires_grad])


# ---- supervised fine-tuning --------------------------------------------------------------


@pytest.mark.parametrize("pad_is_eos", [False, True], ids=["own pad", "pad is eos"])
def test_labels_are_the_answer_with_its_end_and_nothing_else(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch, pad_is_eos: bool
):
    # SmolLM2, Llama 3: no pad token of their own, and a mask by token would hide every end
    if pad_is_eos:
        tokenizer.pad_token = tokenizer.eos_token
    given: tuple[Any, ...] = (tokenizer, sft_rows(tokenizer), [], SETTINGS, MODEL, SEED)
    batch = batch_of(monkeypatch, "SFTTrainer", fit_sft, policy(), *given)
    wanted = sorted(good for _, good, _ in ids(tokenizer))
    found = sorted([i for i in row if i != -100] for row in batch["labels"].tolist())
    assert found == wanted
    assert all(row[-1] == tokenizer.eos_token_id for row in found)


def test_the_sft_loss_is_the_mean_over_the_tokens_of_the_answers(tokenizer: Any):
    own = policy()
    each = [log_probabilities(own, asked, good) for asked, good, _ in ids(tokenizer)]
    tokens = [value for row in each for value in row]
    logged = fit_sft(
        own, tokenizer, sft_rows(tokenizer), [], SETTINGS, MODEL, SEED, logging_steps=1
    )
    assert logged[0]["loss"] == pytest.approx(-sum(tokens) / len(tokens), abs=1e-5)


def test_what_a_masked_token_is_predicted_to_be_does_not_matter(tokenizer: Any):
    """The answer's own mask decides: counted alone, one token gives its own loss."""
    (asked, good, _), *_ = ids(tokenizer)
    for counted in range(len(good)):
        mask = [0] * len(asked) + [int(i == counted) for i in range(len(good))]
        rows = [{"input_ids": asked + good, "completion_mask": mask}] * 4
        own = policy()
        wanted = -log_probabilities(own, asked, good)[counted]
        logged = fit_sft(own, tokenizer, rows, [], SETTINGS, MODEL, SEED, logging_steps=1)
        assert logged[0]["loss"] == pytest.approx(wanted, abs=1e-5)


def test_the_validation_loss_is_logged_once_per_epoch(tokenizer: Any):
    rows = sft_rows(tokenizer)
    logged = fit_sft(policy(), tokenizer, rows, rows[:2], SETTINGS, MODEL, SEED)
    assert [entry["epoch"] for entry in logged if "eval_loss" in entry] == [1, 2]


# ---- preference tuning -------------------------------------------------------------------


def test_pairs_reach_the_trainer_as_they_were_encoded(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
):
    given = (tokenizer, dpo_rows(tokenizer), SETTINGS, MODEL, SEED)
    batch = batch_of(monkeypatch, "DPOTrainer", fit_dpo, policy(), *given)
    found = [
        [i for i, kept in zip(row, mask, strict=True) if kept]
        for row, mask in zip(
            batch["input_ids"].tolist(), batch["attention_mask"].tolist(), strict=True
        )
    ]
    each = ids(tokenizer)
    wanted = [asked + good for asked, good, _ in each] + [asked + bad for asked, _, bad in each]
    assert sorted(found) == sorted(wanted)


@pytest.mark.parametrize(
    ("science", "first"),
    [
        ({"beta": BETA}, log(2)),  # -ln sigmoid(0)
        ({"beta": BETA, "label_smoothing": 0.2}, log(2)),
        ({"beta": BETA, "loss_type": ["ipo"]}, (1 / (2 * BETA)) ** 2),  # (0 - 1/(2 beta))^2
        ({"beta": BETA, "loss_type": ["hinge"]}, 1.0),  # max(0, 1 - 0)
    ],
)
def test_the_reference_is_the_policy_that_training_starts_from(
    tokenizer: Any, science: dict[str, Any], first: float
):
    logged = fit_dpo(
        policy(), tokenizer, dpo_rows(tokenizer), SETTINGS, MODEL, SEED, **science, logging_steps=1
    )
    assert logged[0]["loss"] == pytest.approx(first, abs=1e-5)
    assert logged[0]["rewards/chosen"] == logged[0]["rewards/rejected"] == 0.0
    assert logged[-1]["rewards/margins"] > 0, "it learnt nothing"


def test_normed_by_length_the_first_loss_is_that_of_no_margin(tokenizer: Any):
    # -ln sigmoid(0), and then the gradient is that of a mean over tokens: it learns less
    def last(loss: str) -> list[float]:
        science: dict[str, Any] = {"beta": BETA, "loss_type": [loss], "logging_steps": 1}
        rows = dpo_rows(tokenizer)
        logged = fit_dpo(policy(), tokenizer, rows, SETTINGS, MODEL, SEED, **science)
        return [logged[0]["loss"], logged[0]["grad_norm"]]

    normed, usual = last("sigmoid_norm"), last("sigmoid")
    assert normed[0] == usual[0] == pytest.approx(log(2), abs=1e-6)
    assert 0 < normed[1] < usual[1] / 2  # answers have 3 to 20 tokens


@pytest.mark.parametrize("weights", [[1.0, 0.2], [0.0, 1.0], [0.5, 3.0]])
def test_a_second_loss_is_added_with_its_weight(tokenizer: Any, weights: list[float]):
    own = policy()
    each = [log_probabilities(own, asked, good) for asked, good, _ in ids(tokenizer)]
    tokens = [value for row in each for value in row]
    nll = -sum(tokens) / len(tokens)  # of the chosen texts, a mean over all their tokens
    science: dict[str, Any] = {"loss_type": ["sigmoid", "sft"], "loss_weights": weights}
    rows = dpo_rows(tokenizer)
    logged = fit_dpo(
        own, tokenizer, rows, SETTINGS, MODEL, SEED, beta=BETA, **science, logging_steps=1
    )
    assert logged[0]["loss"] == pytest.approx(weights[0] * log(2) + weights[1] * nll, abs=1e-4)


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_what_a_text_has_more_than_its_rival_counts_by_a_share(tokenizer: Any, alpha: float):
    own = policy()
    chosen, rejected = list[float](), list[float]()
    for asked, good, bad in ids(tokenizer):
        shared = min(len(good), len(bad))
        for said, sums in ((good, chosen), (bad, rejected)):
            values = log_probabilities(own, asked, said)
            sums.append(sum(values[:shared]) + alpha * sum(values[shared:]))
    rows = dpo_rows(tokenizer)
    science: dict[str, Any] = {"beta": BETA, "ld_alpha": alpha, "logging_steps": 1}
    logged = fit_dpo(own, tokenizer, rows, SETTINGS, MODEL, SEED, **science)
    assert logged[0]["loss"] == pytest.approx(log(2), abs=1e-6)
    assert logged[0]["logps/chosen"] == pytest.approx(sum(chosen) / 4, abs=1e-3)
    assert logged[0]["logps/rejected"] == pytest.approx(sum(rejected) / 4, abs=1e-3)


def test_log_probabilities_are_those_of_the_answers_alone(tokenizer: Any):
    own = policy()
    each = ids(tokenizer)
    chosen = [sum(log_probabilities(own, asked, good)) for asked, good, _ in each]
    rejected = [sum(log_probabilities(own, asked, bad)) for asked, _, bad in each]
    rows = dpo_rows(tokenizer)
    logged = fit_dpo(own, tokenizer, rows, SETTINGS, MODEL, SEED, beta=BETA, logging_steps=1)
    assert logged[0]["logps/chosen"] == pytest.approx(sum(chosen) / 4, abs=1e-3)
    assert logged[0]["logps/rejected"] == pytest.approx(sum(rejected) / 4, abs=1e-3)


def test_only_the_policy_moves_and_not_its_reference(tokenizer: Any):
    own = policy()
    before = {name: p.detach().clone() for name, p in own.named_parameters()}
    fit_dpo(own, tokenizer, dpo_rows(tokenizer), SETTINGS, MODEL, SEED, beta=BETA)
    after = dict(own.named_parameters())
    moved = {name for name, p in before.items() if not p.equal(after[name])}
    assert moved == {name for name in before if ".lora_" in name}
    for name in moved:
        assert before[name].equal(after[name.replace(".default.", ".ref.")])


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_scoring_the_labels_only_changes_no_weight(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch, kind: str
):
    from trl.trainer import utils

    usual = utils._use_triton
    short, _ = trained(kind, tokenizer, SETTINGS)
    assert utils._use_triton is usual
    monkeypatch.setattr(trainers, "scoring_labels_only", contextlib.nullcontext)
    whole, _ = trained(kind, tokenizer, SETTINGS)
    assert short.numpy() == pytest.approx(whole.numpy(), abs=1e-6)


def test_only_the_tokens_of_the_answers_go_through_the_head(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
):
    # else a CPU spends most of its time on prompts, and nothing but the clock would tell
    from trl.trainer import utils

    real, projected = utils._ChunkedLogProbFunction, []

    class Counting:
        @staticmethod
        def apply(hidden: Any, *rest: Any) -> Any:
            projected.append(len(hidden))
            return real.apply(hidden, *rest)

    monkeypatch.setattr(utils, "_ChunkedLogProbFunction", Counting)
    rows = sft_rows(tokenizer)
    fit_sft(policy(), tokenizer, rows, [], replace(SETTINGS, epochs=1), MODEL, SEED)
    assert projected == [sum(sum(row["completion_mask"]) for row in rows)]


# ---- the verifier ------------------------------------------------------------------------


def rated(classifier: Classifier, weights: list[float]) -> list[dict[str, Any]]:
    rows = []
    for i, (asked, good, _) in enumerate(TEXTS):
        prompt, text = classifiers.encode_pair(classifier, asked, good) or ((), ())
        ids = [*prompt, *text]
        rows.append({"input_ids": ids, "labels": float(i) - 1.5, "weight": weights[i]})
    return rows


def test_the_loss_of_a_rating_is_the_weighted_mean_square(checkout: Path):
    classifier = classifiers.build(MODEL, seed=SEED)
    stir(classifier.model, SEED)
    weights = [2.0, 0.0, 1.5, 0.5]
    outputs = classifier.outputs([a for a, *_ in TEXTS], [g for _, g, _ in TEXTS])
    targets = [-1.5, -0.5, 0.5, 1.5]
    each = [w * (o - t) ** 2 for w, o, t in zip(weights, outputs, targets, strict=True)]
    # the log holds the mean of five updates, so none of them may change the model
    frozen = replace(SETTINGS, epochs=5, learning_rate=0.0)
    logged = regress(classifier, rated(classifier, weights), frozen)
    assert logged[0]["loss"] == pytest.approx(sum(each) / 4, rel=1e-4)


def test_ratings_are_collated_with_padding_behind_the_text(tokenizer: Any):
    # the base's tokenizer pads in front, which is for generation: the head reads the last token
    rows: list[dict[str, Any]] = [
        {"input_ids": [7, 8, 9], "labels": 1.0, "weight": 2.0},
        {"input_ids": [5], "labels": -1.0, "weight": 0.0},
    ]
    batch = {name: found.tolist() for name, found in trainers.collate(tokenizer, rows).items()}
    pad = tokenizer.pad_token_id
    assert batch == {
        "input_ids": [[7, 8, 9], [5, pad, pad]],
        "attention_mask": [[1, 1, 1], [1, 0, 0]],
        "labels": [1.0, -1.0],
        "weight": [2.0, 0.0],
    }


def regress(
    classifier: Classifier, rows: list[dict[str, Any]], settings: Training, seed: int = SEED
) -> list[dict[str, float]]:
    own = classifier.model, classifier.tokenizer, classifier.backbone
    return trainers.fit_regressor(*own, rows, [], settings, seed)


# ---- batches, memory, seeds --------------------------------------------------------------


def trained(
    kind: str, tokenizer: Any, settings: Training, model: Model = MODEL, seed: int = SEED
) -> tuple[Any, list[dict[str, float]]]:
    """The weights after `kind` of training, and its log."""
    if kind == "verifier":
        classifier = classifiers.build(model, seed=SEED)
        logged = regress(classifier, rated(classifier, [1.0] * 4), settings, seed)
        return weights_of(classifier.model), logged
    own = policy(model)
    if kind == "sft":
        logged = fit_sft(own, tokenizer, sft_rows(tokenizer), [], settings, model, seed)
    else:
        logged = fit_dpo(own, tokenizer, dpo_rows(tokenizer), settings, model, seed, beta=BETA)
    return weights_of(own), logged


each_kind = pytest.mark.parametrize("kind", ["sft", "dpo", "verifier"])


@each_kind
@pytest.mark.parametrize("size", [1, 2])
def test_accumulated_small_batches_are_one_large_batch(tokenizer: Any, kind: str, size: int):
    # else the profiles with accumulation would clip other gradients than they say; Adam hides
    # the size of a gradient, so look at the gradient: five updates of which none moves
    frozen = replace(SETTINGS, epochs=5, learning_rate=0.0)
    _, (large, *_) = trained(kind, tokenizer, frozen)
    split = replace(frozen, batch_size=size, accumulation_steps=4 // size)
    _, (small, *_) = trained(kind, tokenizer, split)
    assert small["grad_norm"] == pytest.approx(large["grad_norm"], rel=1e-4)
    assert small["loss"] == pytest.approx(large["loss"], rel=1e-5)


@each_kind
def test_gradient_checkpointing_saves_memory_and_changes_nothing(tokenizer: Any, kind: str):
    untrained, _ = trained(kind, tokenizer, replace(SETTINGS, learning_rate=0.0))
    plain, _ = trained(kind, tokenizer, SETTINGS)
    saving, _ = trained(kind, tokenizer, replace(SETTINGS, gradient_checkpointing=True))
    assert (plain - untrained).abs().max() > 1e-3
    assert (plain - saving).abs().max() < 1e-6


@each_kind
def test_the_seed_fixes_the_order_of_the_rows_and_what_dropout_drops(tokenizer: Any, kind: str):
    settings = replace(SETTINGS, batch_size=1)
    model = replace(MODEL, lora_dropout=0.3)
    one, same, other = (trained(kind, tokenizer, settings, model, s)[0] for s in (1, 1, 2))
    assert one.equal(same)
    assert not one.equal(other)


def test_dropout_depends_on_the_seed_alone(tokenizer: Any):
    # one batch of all rows: their order cannot matter
    model = replace(MODEL, lora_dropout=0.3)
    one, same, other = (trained("sft", tokenizer, SETTINGS, model, s)[0] for s in (1, 1, 2))
    assert one.equal(same)
    assert (one - other).abs().max() > 1e-4


def test_the_seed_fixes_a_fresh_adapter(checkout: Path):
    one, same, other = (
        weights_of(fresh_lora(checkpoints.load_base(MODEL), MODEL, seed)) for seed in (1, 1, 2)
    )
    assert one.equal(same)
    assert not one.equal(other)


# ---- arguments and logs ------------------------------------------------------------------


def test_a_trainer_keeps_and_sends_nothing(checkout: Path):
    given = arguments(TRAINING, MODEL, SEED)
    assert given["save_strategy"] == "no"
    assert given["report_to"] == "none"
    assert not Path(given["output_dir"]).is_relative_to(checkout)


def test_a_tidy_log_has_no_clock_in_it():
    history = [
        {"loss": 2.0, "step": 5, "epoch": 0.5},
        {"eval_loss": 1.5, "eval_runtime": 0.3, "eval_samples_per_second": 9.0, "step": 10},
        {"train_runtime": 7.0, "train_loss": 1.75, "total_flos": 1.0, "step": 10},
    ]
    assert tidy(history) == [
        {"loss": 2.0, "step": 5, "epoch": 0.5},
        {"eval_loss": 1.5, "step": 10},
    ]


def test_the_ends_of_a_series_are_its_first_and_last_value():
    log_ = [{"loss": 3.0}, {"eval_loss": 2.0}, {"loss": 1.0, "logps/chosen": -9.0}]
    assert ends_of(log_, "loss", "logps/chosen", "absent") == {
        "loss_first_nats": 3.0,
        "loss_last_nats": 1.0,
        "logps_chosen_first_nats": -9.0,
        "logps_chosen_last_nats": -9.0,
    }


# ---- several processes -------------------------------------------------------------------

FOUR = replace(MODEL, processes=4)


class Torchrun:
    """Stands in for subprocess.run: remembers the command, ends with a code."""

    def __init__(self, code: int):
        self.code, self.command = code, list[str]()

    def __call__(self, command: list[str]) -> subprocess.CompletedProcess[bytes]:
        self.command = command
        return subprocess.CompletedProcess(command, self.code)


def test_several_processes_run_the_same_command_and_the_first_one_leaves(
    monkeypatch: pytest.MonkeyPatch,
):
    torchrun = Torchrun(0)
    monkeypatch.setattr(distributed.subprocess, "run", torchrun)
    with pytest.raises(SystemExit) as left:
        distributed.relaunch("stages.train_sft", FOUR, ["--some", "argument"])
    assert left.value.code == 0
    text = " ".join(torchrun.command)
    assert text.endswith("--nproc_per_node 4 -m stages.train_sft --some argument")


def test_a_launch_that_fails_is_an_error_of_the_stage(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(distributed.subprocess, "run", Torchrun(9))
    with pytest.raises(InputError, match="4 training processes ended with code 9"):
        distributed.relaunch("stages.train_sft", FOUR, [])


@pytest.mark.parametrize(("model", "rank"), [(MODEL, None), (FOUR, "2")])
def test_one_process_and_a_rank_train_themselves(
    monkeypatch: pytest.MonkeyPatch, model: Any, rank: str | None
):
    torchrun = Torchrun(0)
    monkeypatch.setattr(distributed.subprocess, "run", torchrun)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    distributed.relaunch("stages.train_sft", model, [])
    assert torchrun.command == []


def test_a_process_uses_one_device_where_it_sees_four(checkout: Path):
    import transformers

    config = transformers.TrainingArguments(**arguments(SETTINGS, MODEL, SEED))
    config._n_gpu = 4  # what transformers finds on such a machine
    assert config.train_batch_size == 4 * SETTINGS.batch_size
    assert distributed.on_one_device(config).train_batch_size == SETTINGS.batch_size


def test_deepspeed_is_for_the_ranks_of_a_launch_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "zero.json"
    model = replace(FOUR, deepspeed=str(file))
    for stage in (2, 3):
        file.write_text(json.dumps({"zero_optimization": {"stage": stage}}))
        with monkeypatch.context() as patch:
            patch.setenv("LOCAL_RANK", "0")
            given = arguments(SETTINGS, model, SEED)
        assert given["deepspeed"] == str(file)
        assert given["gradient_checkpointing_kwargs"] == {"use_reentrant": stage == 3}
        assert "deepspeed" not in arguments(SETTINGS, model, SEED)


def test_a_model_knows_the_gpu_of_its_rank(monkeypatch: pytest.MonkeyPatch):
    on_gpu = replace(MODEL, device="cuda")
    assert checkpoints.device_of(on_gpu) == "cuda:0"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert checkpoints.device_of(on_gpu) == "cuda:3"
    assert checkpoints.device_of(MODEL) == "cpu"
