"""Prompts are encoded as plain text, adapters are saved whole and loaded on their own base."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import InputError
from stages.runtime.loading import checkpoints
from stages.runtime.loading.checkpoints import (
    base_source,
    check_weights,
    encode_completion,
    encode_prompt,
    encode_text,
    load_base,
    load_policy,
    load_tokenizer,
    manifest_for,
    save_adapter,
)
from stages.runtime.loading.digests import dvc_md5
from stages.runtime.loading.profile import Model
from stages.runtime.pretraining.base_model import ASSISTANT, EOS, PAD, USER
from stages.runtime.tuning import training
from tests import tiny_models
from tests.tiny_models import MODEL, stir, tree_bytes

pytest_plugins = ["tests.tiny_fixtures"]

SPECIAL = (PAD, EOS, USER, ASSISTANT)
HUB = replace(MODEL, name="owner/model", revision="a" * 40)
FOLDER = Path("models/some")
# A template as hub models have them: a system line, line ends, and a switch.
HUB_TEMPLATE = (
    "{{ '<|user|>system\nBe brief.\n' }}{% for m in messages %}"
    "{{ '<|user|>' + m['role'] + '\n' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ 'no thoughts' }}{% endif %}"
    "{% endif %}"
)


@pytest.fixture
def tokenizer(checkout: Path) -> Any:
    return load_tokenizer(MODEL)


def rendered(tokenizer: Any, text: str, **kwargs: Any) -> list[int]:
    """The ids of the chat template as transformers itself makes them."""
    found = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, **kwargs
    )
    return list(found["input_ids"])


# ---- text to tokens ----------------------------------------------------------------------


# letters, digits, marks and spaces, but nothing that could spell a special token
harmless = st.text(
    st.characters(codec="utf-8", exclude_characters="<|>", exclude_categories=["Cs"])
)
each_example = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@each_example
@given(text=harmless)
def test_a_harmless_prompt_is_the_rendered_template(tokenizer: Any, text: str):
    assert encode_prompt(tokenizer, text, {}) == rendered(tokenizer, text)


@pytest.mark.parametrize("kwargs", [{}, {"enable_thinking": False}])
def test_a_template_with_a_system_line_and_a_switch_is_followed(
    tokenizer: Any, kwargs: dict[str, Any]
):
    tokenizer.chat_template = HUB_TEMPLATE
    found = encode_prompt(tokenizer, "Why there?", kwargs)
    assert found == rendered(tokenizer, "Why there?", **kwargs)
    assert tokenizer.decode(found).endswith("no thoughts") == bool(kwargs)


@each_example
@given(parts=st.lists(st.sampled_from([*SPECIAL, "Because", " ", "\n", "<|", "|>"]), max_size=8))
def test_what_a_student_writes_is_never_a_special_token(tokenizer: Any, parts: list[str]):
    text = "".join(parts)
    special = set(tokenizer.convert_tokens_to_ids(list(SPECIAL)))
    assert special.isdisjoint(encode_text(tokenizer, text))
    assert tokenizer.decode(encode_text(tokenizer, text)) == text
    own = [i for i in encode_prompt(tokenizer, text, {}) if i in special]
    assert own == tokenizer.convert_tokens_to_ids([USER, ASSISTANT])


def test_the_answer_ends_once_even_if_a_student_writes_the_end(tokenizer: Any):
    ids = encode_completion(tokenizer, f"Because{EOS} and more{EOS}")
    assert ids.count(tokenizer.eos_token_id) == 1
    assert ids[-1] == tokenizer.eos_token_id


def test_the_words_of_the_placeholder_are_not_in_the_prompt(tokenizer: Any):
    assert "content" not in tokenizer.decode(encode_prompt(tokenizer, "Why?", {}))


def test_a_template_that_drops_the_message_is_refused(tokenizer: Any):
    tokenizer.chat_template = "{{ '<|user|>hello' }}"
    with pytest.raises(InputError, match="drops the user's message"):
        encode_prompt(tokenizer, "Why?", {})


def test_another_template_has_another_digest(tokenizer: Any):
    before = checkpoints.template_digest(tokenizer)
    tokenizer.chat_template += " "
    assert checkpoints.template_digest(tokenizer) != before


# ---- the base ----------------------------------------------------------------------------


def write_reference(name: str = HUB.name, revision: str | None = HUB.revision) -> None:
    folder = checkpoints.scratch_outputs(checkpoints.BASE_DIR)
    reference = {"name": name, "revision": revision}
    (folder / checkpoints.REFERENCE).write_text(json.dumps(reference))


def test_a_trained_base_is_the_folder(checkout: Path):
    assert base_source(MODEL) == ("models/base", None)


def test_a_base_that_was_not_trained_is_named(checkout: Path):
    checkpoints.scratch_outputs(checkpoints.BASE_DIR)
    with pytest.raises(InputError, match="dvc repro prepare_base"):
        base_source(MODEL)


def test_a_hub_model_is_loaded_at_the_pinned_commit(checkout: Path):
    write_reference()
    assert base_source(HUB) == (HUB.name, HUB.revision)


@pytest.mark.parametrize(
    "pinned", [{"name": "owner/other"}, {"revision": "b" * 40}, {"revision": None}]
)
def test_a_profile_that_names_another_model_than_was_pinned_is_refused(
    checkout: Path, pinned: dict[str, Any]
):
    write_reference(**pinned)
    with pytest.raises(InputError, match="Run `dvc repro prepare_base`"):
        base_source(HUB)


@pytest.mark.parametrize("load", [load_tokenizer, checkpoints.load_base])
def test_a_hub_model_that_is_not_at_hand_is_named_in_one_line(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, load: Callable[[Model], Any]
):
    write_reference()
    # the library reads the variable when it is imported; here it is already
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=HUB.name) as caught:
        load(HUB)
    message = str(caught.value)
    assert str(HUB.revision) in message
    assert "HF_HUB_OFFLINE=0" in message
    assert "\n" not in message


def test_a_tokenizer_without_a_pad_token_pads_with_its_end(tokenizer: Any):
    tokenizer.pad_token = None
    tokenizer.save_pretrained("models/base")
    assert load_tokenizer(MODEL).pad_token == EOS


def test_a_base_computes_in_the_precision_and_threads_of_the_profile(checkout: Path):
    import torch

    torch.set_num_threads(1)
    base = load_base(replace(MODEL, dtype="bfloat16", threads=2))
    assert (base.dtype, torch.get_num_threads()) == (torch.bfloat16, 2)
    assert load_base(MODEL).dtype == torch.float32


def test_a_score_head_has_one_output(checkout: Path):
    assert load_base(MODEL, head="score").score.out_features == 1


# ---- adapters ----------------------------------------------------------------------------


def adapted(seed: int = 1) -> Any:
    policy = training.fresh_lora(load_base(MODEL), MODEL, seed)
    stir(policy, seed)
    return policy


def saved(policy: Any, folder: Path = FOLDER) -> dict[str, bytes]:
    """Save `policy` with its manifest; every file by its name."""
    manifest = manifest_for(MODEL, load_tokenizer(MODEL), None, [Path("data")], "sft")
    save_adapter(policy, checkpoints.scratch_outputs(folder), manifest)
    return tree_bytes(folder)


def test_an_adapter_saved_again_has_the_same_bytes(checkout: Path):
    assert saved(adapted()) == saved(adapted(), Path("models/again"))


def test_the_lists_of_an_adapter_are_sorted_and_it_names_no_place(checkout: Path):
    files = saved(adapted())
    assert set(files) == {"adapter_config.json", "adapter_model.safetensors", "manifest.json"}
    config = json.loads(files["adapter_config.json"])
    assert config["target_modules"] == sorted(MODEL.lora_targets)
    assert str(checkout).encode() not in b"".join(files.values())


def test_the_frozen_reference_of_dpo_is_not_saved(checkout: Path):
    policy = adapted()
    alone = saved(policy)
    policy.add_adapter("ref", policy.peft_config["default"])
    assert saved(policy)["adapter_model.safetensors"] == alone["adapter_model.safetensors"]


def test_a_loaded_adapter_answers_as_the_saved_one(checkout: Path):
    import torch

    policy, ids = adapted().eval(), torch.tensor([[5, 6, 7]])
    saved(policy)
    again = load_policy(MODEL, FOLDER)
    assert torch.equal(again(input_ids=ids).logits, policy(input_ids=ids).logits)
    assert not torch.equal(again(input_ids=ids).logits, load_base(MODEL)(input_ids=ids).logits)


def test_a_policy_is_loaded_to_answer_unless_it_is_to_be_trained(checkout: Path):
    saved(adapted())
    for trainable in (False, True):
        policy = load_policy(MODEL, FOLDER, trainable=trainable)
        moving = {name for name, p in policy.named_parameters() if p.requires_grad}
        assert bool(moving) == trainable
        assert all("lora" in name for name in moving)
    assert not load_policy(MODEL, FOLDER).training


# ---- what is refused ---------------------------------------------------------------------


def weights(tmp_path: Path, **values: list[float]) -> Path:
    import torch
    from safetensors.torch import save_file

    path = tmp_path / "adapter_model.safetensors"
    save_file({name: torch.tensor(value) for name, value in values.items()}, str(path))
    return path


def test_an_adapter_with_one_weight_that_is_not_zero_is_one(tmp_path: Path):
    check_weights(weights(tmp_path, a=[0.0, 0.0], lora_B=[0.0, -1.0]))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "every weight is zero"),
        ({"a": [0.0, 0.0], "b": [0.0]}, "every weight is zero"),
        ({"a": [], "b": []}, "a is empty"),  # what ZeRO-3 leaves of an adapter
        ({"a": [1.0], "lora_B": [0.0]}, "no lora_B differs from zero"),
        ({"a": [1.0], "lora_B": [1.0], "c": []}, "c is empty"),
        ({"a": [1.0], "lora_B": [0.0, float("nan")]}, "NaN or infinity"),
        ({"a": [1.0], "lora_B": [float("-inf")]}, "NaN or infinity"),
    ],
)
def test_weights_that_are_none_are_refused(
    tmp_path: Path, values: dict[str, list[float]], words: str
):
    with pytest.raises(InputError, match=words):
        check_weights(weights(tmp_path, **values))


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_saving_a_broken_policy_is_an_error(checkout: Path, value: float):
    import torch

    policy = adapted()
    with torch.no_grad():
        for name, weight in policy.named_parameters():
            if "lora" in name:
                weight.fill_(value)
    with pytest.raises(InputError, match=r"models/some/adapter_model\.safetensors"):
        saved(policy)


def test_an_adapter_of_another_base_is_refused(checkout: Path):
    saved(adapted())
    load_policy(MODEL, FOLDER)
    tiny_models.make_base(seed=99)
    with pytest.raises(InputError, match="trained on base"):
        load_policy(MODEL, FOLDER)


def test_an_adapter_without_a_manifest_was_not_finished(checkout: Path):
    saved(adapted())
    (FOLDER / "manifest.json").unlink()
    with pytest.raises(InputError, match="dvc pull models/some"):
        load_policy(MODEL, FOLDER)


def test_the_manifest_names_everything_by_its_digest(tokenizer: Any):
    parent = Path("models/sft")
    found = manifest_for(MODEL, tokenizer, parent, [Path("data/questions.parquet")], "dpo")
    assert found == {
        "kind": "dpo",
        "base": {"name": "trained", "revision": None, "md5": dvc_md5(Path("models/base"))},
        "chat_template_sha256": checkpoints.template_digest(tokenizer),
        "parent": {"path": "models/sft", "md5": dvc_md5(parent)},
        "data": {"data/questions.parquet": dvc_md5(Path("data/questions.parquet"))},
    }
