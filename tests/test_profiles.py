"""Every profile is a complete one, and its numbers fit the models and trainers that they name.

The hub models are built from their published configurations on the meta device, so shapes,
LoRA targets and parameter counts are checked without a weight. What no test without a GPU
can check: that the device is there, that memory suffices, and that training converges.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.runtime import classifiers, params
from stages.runtime.encoding import encoder
from stages.runtime.lessons import Reading
from stages.runtime.loading import profile
from stages.runtime.pretraining.base_model import Base, Size
from stages.runtime.tuning import distributed
from stages.runtime.tuning import training as trainers
from tests.imports import ROOT

FOLDER = ROOT / "stages/profiles"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SECTIONS: dict[str, type] = {
    "model": profile.Model,
    "sft": profile.Training,
    "verifier": profile.Training,
    "encoder": profile.Encoder,
    "dpo": profile.Training,
    "generation": profile.Generation,
}
TRAININGS = [name for name, kind in SECTIONS.items() if kind is profile.Training]

# What config.json of each hub model says, as far as it decides shapes.
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "smollm2_cpu": (
        "LlamaConfig",
        {
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "vocab_size": 49152,
            "max_position_embeddings": 8192,
            "tie_word_embeddings": True,
        },
    ),
    "qwen3_8b": (
        "Qwen3Config",
        {
            "hidden_size": 4096,
            "intermediate_size": 12288,
            "num_hidden_layers": 36,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "vocab_size": 151936,
            "max_position_embeddings": 40960,
            "tie_word_embeddings": False,
        },
    ),
    "llama3_8b_zero3": (
        "LlamaConfig",
        {
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "vocab_size": 128256,
            "max_position_embeddings": 8192,
            "tie_word_embeddings": False,
        },
    ),
}
PARAMETERS = {  # as published: 135M, 8.2B, 8.0B
    "smollm2_cpu": 134_515_008,
    "qwen3_8b": 8_190_735_360,
    "llama3_8b_zero3": 8_030_261_248,
}
# rank x (in + out) of each target, summed by hand over one layer, times the layers
LORA = {
    # q, o: 576+576 each; k, v: 576+192 each; gate, up, down: 576+1536 each
    "smollm2_cpu": 16 * (2 * 1152 + 2 * 768 + 3 * 2112) * 30,
    # v: 4096+1024; o: 4096+4096; gate, up, down: 4096+12288 each
    "qwen3_8b": 16 * (5120 + 8192 + 3 * 16384) * 36,
    # q, o: 4096+4096 each; k, v: 4096+1024 each; gate, up, down: 4096+14336 each
    "llama3_8b_zero3": 16 * (2 * 8192 + 2 * 5120 + 3 * 18432) * 32,
}

each_profile = pytest.mark.parametrize("name", NAMES)
each_hub_model = pytest.mark.parametrize("name", CONFIGS)


def values(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return read


def section(name: str, key: str) -> Any:
    return params.section(SECTIONS[key], key, values(name), f"{name}.yaml")


def on_meta(name: str, head: str, **changes: Any) -> Any:
    """The model of a profile without weights."""
    import torch
    import transformers

    kind, sizes = CONFIGS[name]
    config = getattr(transformers, kind)(**sizes, **changes)
    with torch.device("meta"):
        return getattr(transformers, f"AutoModelFor{head}").from_config(config)


def trainable(model: Any) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def targets_found(model: Any) -> dict[str, int]:
    """How many LoRA layers each target name got."""
    names = [
        name for name, module in model.named_modules() if "lora_A" in dict(module.named_children())
    ]
    ends = [name.split(".")[-1] for name in names]
    return {end: ends.count(end) for end in set(ends)}


# ---- the sections ------------------------------------------------------------------------


@each_profile
def test_a_profile_has_every_section_and_every_key_with_its_type(name: str):
    assert set(values(name)) == {*SECTIONS, "base", "students", "reading"}
    for key in SECTIONS:
        section(name, key)


@each_profile
def test_a_profile_has_two_students_and_only_trained_ones_have_a_size_and_lessons(name: str):
    read = values(name)
    found = [params.fill(profile.Student, s, how, name) for s, how in read["students"].items()]
    assert len({(student.name, str(student.size)) for student in found}) == len(found) >= 2
    trained = {student.name == "trained" for student in found}
    assert trained == {read["base"] is not None}
    if read["base"] is not None:
        params.fill(Reading, "reading", read["reading"], name)
        for student in found:
            params.fill(Size, "size", student.size, name)
    else:
        assert read["reading"] is None
        assert [student.size for student in found] == [None] * len(found)


@each_profile
def test_only_a_trained_base_has_a_size(name: str):
    base = values(name)["base"]
    if section(name, "model").name == "trained":
        params.fill(Base, "base", base, name)
    else:
        assert base is None


@each_profile
def test_an_answer_of_full_length_leaves_room_for_the_prompt(name: str):
    # else the verifier could read no long answer, and the pairs would lose them
    assert section(name, "generation").max_new_tokens <= section(name, "model").max_length / 2


@each_profile
def test_only_a_launch_of_several_processes_uses_deepspeed(name: str):
    model = section(name, "model")
    assert (model.processes > 1) == (model.deepspeed is not None)


@pytest.mark.parametrize("name", CONFIGS)
def test_rates_rank_and_accumulation_are_those_of_the_prior_code(name: str):
    # its rl_train_sft.py and rl_train_dpo.py; see the header of each profile
    model, sft, dpo = (section(name, key) for key in ("model", "sft", "dpo"))
    assert (model.lora_rank, model.lora_alpha, model.lora_dropout) == (16, 32, 0.05)
    assert (sft.learning_rate, sft.epochs, sft.batch_size, sft.accumulation_steps) == (
        2e-4,
        3,
        2,
        4,
    )
    assert (dpo.learning_rate, dpo.epochs, dpo.batch_size, dpo.accumulation_steps) == (
        5e-5,
        2,
        1,
        8,
    )


# ---- the models --------------------------------------------------------------------------


@each_hub_model
def test_the_configurations_here_are_those_of_the_published_models(name: str):
    # the embedding of SmolLM2 is its head too and counts once
    model = on_meta(name, "CausalLM")
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]
    assert section(name, "model").max_length <= model.config.max_position_embeddings


@each_hub_model
def test_every_lora_target_is_in_every_layer_of_the_language_model(name: str):
    import torch

    model = section(name, "model")
    with torch.device("meta"):
        policy = trainers.fresh_lora(on_meta(name, "CausalLM"), model, seed=0)
    layers = CONFIGS[name][1]["num_hidden_layers"]
    assert targets_found(policy) == dict.fromkeys(model.lora_targets, layers)
    assert trainable(policy) == LORA[name]


@each_hub_model
def test_the_verifier_is_the_same_adapter_and_a_head_of_one_output(
    name: str, monkeypatch: pytest.MonkeyPatch
):
    import torch

    model = section(name, "model")
    scored = on_meta(name, "SequenceClassification", num_labels=1)
    monkeypatch.setattr(classifiers, "load_backbone", lambda _: (scored, None))
    with torch.device("meta"):
        verifier = classifiers.build(model, seed=0).model
    sizes = CONFIGS[name][1]
    assert targets_found(verifier) == dict.fromkeys(model.lora_targets, sizes["num_hidden_layers"])
    assert trainable(verifier) == LORA[name] + sizes["hidden_size"]


def test_query_and_key_of_qwen3_have_no_adapter():
    # they are normalised after the projection (QK-norm); arXiv 2605.04539 leaves them out
    assert {"q_proj", "k_proj"}.isdisjoint(section("qwen3_8b", "model").lora_targets)


@each_profile
def test_the_encoder_has_a_position_for_every_token_that_it_is_given(name: str):
    import transformers

    own = section(name, "encoder")
    assert own.name == encoder.PACKAGE, "write its configuration into this test"
    config = transformers.AutoConfig.from_pretrained(encoder.packaged_folder())
    assert own.max_length <= config.max_position_embeddings


# ---- the trainers ------------------------------------------------------------------------


def config_class(training: str) -> Any:
    """The arguments class that trains this section."""
    if training in {"sft", "dpo"}:
        import trl

        return {"sft": trl.SFTConfig, "dpo": trl.DPOConfig}[training]
    import transformers

    return transformers.TrainingArguments


ON_CPU = {"use_cpu": True, "dataloader_pin_memory": False}  # all that is not checked here


@each_profile
@pytest.mark.parametrize("training", TRAININGS)
def test_the_trainer_takes_the_arguments_of_a_profile(name: str, training: str):
    wanted, model = section(name, training), section(name, "model")
    given = trainers.arguments(wanted, model, 0, has_validation=training != "dpo")
    config = config_class(training)(**given | ON_CPU)
    assert config.learning_rate == wanted.learning_rate
    assert config.per_device_train_batch_size == wanted.batch_size
    assert config.gradient_accumulation_steps == wanted.accumulation_steps
    assert config.gradient_checkpointing == wanted.gradient_checkpointing
    assert config.get_warmup_steps(1000) == round(1000 * wanted.warmup_frac)
    assert config.bf16 == (model.dtype == "bfloat16")
    assert config.report_to == []


@pytest.mark.parametrize("name", ["qwen3_8b", "llama3_8b_zero3"])
def test_a_profile_for_gpus_refuses_a_machine_without_one(name: str):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    given = trainers.arguments(section(name, "sft"), section(name, "model"), 0)
    with pytest.raises(ValueError, match="bf16"):
        config_class("sft")(**given)


# ---- DeepSpeed ---------------------------------------------------------------------------

DEEPSPEED = sorted(FOLDER.glob("*.json"))
each_deepspeed = pytest.mark.parametrize("file", DEEPSPEED, ids=lambda path: path.stem)


@contextmanager
def launched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a rank that torchrun started."""
    with monkeypatch.context() as patch:
        patch.setenv("LOCAL_RANK", "0")
        yield


def checked(content: dict[str, Any]) -> Any:
    """The settings as DeepSpeed itself reads them, filled in as the trainer does it.

    DeepSpeed refuses unknown keys in its sections, and passes over those at the top.
    """
    import transformers
    from deepspeed.runtime import constants
    from deepspeed.runtime.config import DeepSpeedConfig
    from deepspeed.runtime.precision_config import BFLOAT16
    from deepspeed.runtime.zero.config import ZERO_OPTIMIZATION
    from transformers.integrations import deepspeed as integration

    known = {v for n, v in vars(constants).items() if n.isupper() and isinstance(v, str)}
    unknown = set(content) - known - {BFLOAT16, ZERO_OPTIMIZATION}
    assert unknown == set(), f"unknown keys {unknown}"
    name = "llama3_8b_zero3"
    arguments = trainers.arguments(section(name, "sft"), section(name, "model"), 0)
    config = transformers.TrainingArguments(**arguments | ON_CPU)
    model = on_meta(name, "CausalLM")
    try:
        filled = integration.HfTrainerDeepSpeedConfig(content)
        filled.trainer_config_process(config)
        filled.trainer_config_finalize(config, model, num_training_steps=10)
    finally:
        integration.unset_hf_deepspeed_config()  # else the next model would be split
    assert "auto" not in json.dumps(filled.config)
    return DeepSpeedConfig(filled.config)


@each_deepspeed
def test_deepspeed_understands_every_key(file: Path):
    config = checked(json.loads(file.read_text()))
    assert f"zero{config.zero_optimization_stage}" in file.stem
    assert config.bfloat16_config.enabled  # because the profile says bfloat16
    assert (config.train_micro_batch_size_per_gpu, config.gradient_accumulation_steps) == (2, 4)


@each_deepspeed
@pytest.mark.parametrize("place", ["top", "zero_optimization", "bf16"])
def test_a_misspelt_key_of_deepspeed_fails(file: Path, place: str):
    content = json.loads(file.read_text())
    (content if place == "top" else content[place])["overlap_com"] = True
    with pytest.raises((AssertionError, ValueError), match="overlap_com"):
        checked(content)


def test_every_deepspeed_file_that_a_profile_names_is_there():
    named = {section(name, "model").deepspeed for name in NAMES} - {None}
    assert {ROOT / file for file in named} <= set(DEEPSPEED)


def test_a_launch_trains_with_the_deepspeed_file_and_the_checkpointing_that_it_needs(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(ROOT)
    model = section("llama3_8b_zero3", "model")
    with launched(monkeypatch):
        given = trainers.arguments(section("llama3_8b_zero3", "sft"), model, 0)
        assert given["deepspeed"] == "stages/profiles/deepspeed_zero3.json"
        assert given["gradient_checkpointing_kwargs"] == {"use_reentrant": True}
    # the verifier trains in one process, which has no one to share with
    assert distributed.deepspeed_arguments(model) == {}
