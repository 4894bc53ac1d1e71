"""Load and save bases, tokenizers and adapters; encode prompts. Safetensors only.

Every adapter folder carries a manifest.json with the digests of what it was made from; an
adapter of another base is refused (the base's digest covers its chat template).
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from schemas.errors import InputError
from stages.runtime.loading.digests import dvc_md5, file_md5
from stages.runtime.loading.profile import Model

BASE_DIR = Path("models/base")
REFERENCE = "reference.json"  # in models/base when the base is a hub model
MANIFEST = "manifest.json"
LINEAGE = ("data", "parent", "rows_n")  # of a manifest: what it was made from
PLACEHOLDER = "\x00content\x00"  # cannot occur in cleaned text


def base_source(model: Model) -> tuple[str, str | None]:
    """Name and revision for from_pretrained: the trained base's folder, or the hub model."""
    if model.name == "trained":
        if not (BASE_DIR / "config.json").exists():
            raise InputError(f"{BASE_DIR} holds no model. Run `dvc repro prepare_base`.")
        return str(BASE_DIR), None
    reference = json.loads((BASE_DIR / REFERENCE).read_text())
    if (reference["name"], reference["revision"]) != (model.name, model.revision):
        raise InputError(
            f"{BASE_DIR / REFERENCE} pins {reference['name']}@{reference['revision']}, the profile "
            f"names {model.name}@{model.revision}. Run `dvc repro prepare_base`."
        )
    return model.name, model.revision


@contextmanager
def loading(name: str, revision: str | None) -> Iterator[None]:
    """What keeps a model from being read (no network, no file, no access) as one line."""
    try:
        yield
    except OSError as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{name}@{revision or 'no revision'}: cannot be loaded: {reason} A hub model must be "
            "in the local cache, or fetched once with HF_HUB_OFFLINE=0."
        ) from error


def load_tokenizer(model: Model) -> Any:
    """The base's tokenizer, padding on the left, with a pad token that is not EOS's job."""
    from transformers import AutoTokenizer

    name, revision = base_source(model)
    with loading(name, revision):
        tokenizer = AutoTokenizer.from_pretrained(
            name, revision=revision, padding_side="left", trust_remote_code=False
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_base(model: Model, head: str = "causal") -> Any:
    """The base as language model ("causal") or with a score head of one output ("score")."""
    import torch
    import transformers

    torch.set_num_threads(model.threads)
    name, revision = base_source(model)
    loader = {
        "causal": transformers.AutoModelForCausalLM,
        "score": transformers.AutoModelForSequenceClassification,
    }[head]
    extra = {"num_labels": 1} if head == "score" else {}
    with loading(name, revision):
        base = loader.from_pretrained(
            name,
            revision=revision,
            dtype=getattr(torch, model.dtype),
            attn_implementation=model.attention,
            use_safetensors=True,
            trust_remote_code=False,
            **extra,
        )
    return base.to(device_of(model))


def device_of(model: Model) -> str:
    """Where this process computes: each rank of a launch has a GPU of its own."""
    if model.device == "cuda":
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return model.device


def load_policy(model: Model, adapter: Path, trainable: bool = False) -> Any:
    """The base with the adapter of a policy (models/sft, models/dpo)."""
    from peft import PeftModel

    check_manifest(adapter, model)
    policy = PeftModel.from_pretrained(
        load_base(model), str(adapter), is_trainable=trainable, use_safetensors=True
    )
    return policy if trainable else policy.eval()


def policy_digest(policy: Any) -> str:
    """Of all that a policy computes with: its base, and its active adapter and its scale."""
    from peft import get_peft_model_state_dict

    name = policy.active_adapter
    weights = get_peft_model_state_dict(policy, adapter_name=name)
    return weights_digest(weights, policy.peft_config[name].to_dict())


def adapter_digest(folder: Path) -> str:
    """The policy_digest of an adapter folder, without loading its base."""
    from safetensors.torch import load_file

    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    return weights_digest(load_file(str(folder / "adapter_model.safetensors")), config)


def weights_digest(adapter: dict[str, Any], config: dict[str, Any]) -> str:
    """See policy_digest; in float32, as which PEFT reads an adapter of 16 bits."""
    from safetensors.torch import save

    plain = {name: adapter[name].detach().cpu().float().contiguous() for name in sorted(adapter)}
    scale = [config[name] for name in ("lora_alpha", "r", "use_rslora")]
    return f"{dvc_md5(BASE_DIR)}/{hashlib.sha256(save(plain)).hexdigest()}/{scale}"


def encode_prompt(tokenizer: Any, text: str, template_kwargs: dict[str, Any]) -> list[int]:
    """Token ids of one user message in the chat template, up to where the answer starts.

    The template's own special tokens are special; in `text` they are plain text, so that
    a student who writes "<|eos|>" ends nothing.
    """
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": PLACEHOLDER}],
        tokenize=False,
        add_generation_prompt=True,
        **template_kwargs,
    )
    before, found, after = rendered.partition(PLACEHOLDER)
    if not found:
        raise InputError(f"chat template of {tokenizer.name_or_path}: drops the user's message.")
    ids: list[int] = tokenizer(before, add_special_tokens=False)["input_ids"]
    ids = ids + encode_text(tokenizer, text)
    return ids + list(tokenizer(after, add_special_tokens=False)["input_ids"])


def encode_text(tokenizer: Any, text: str) -> list[int]:
    """Token ids of plain text: nothing in it is a special token."""
    return list(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])


def encode_completion(tokenizer: Any, text: str) -> list[int]:
    """Token ids of an explanation, ended by EOS, so that the model learns to stop."""
    return [*encode_text(tokenizer, text), int(tokenizer.eos_token_id)]


def template_digest(tokenizer: Any) -> str:
    """sha256 of the chat template: the same words in another template are another prompt."""
    return hashlib.sha256((tokenizer.chat_template or "").encode()).hexdigest()


def scratch_outputs(path: Path) -> Path:
    """Create the folder of a model output, empty."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def save_adapter(model: Any, folder: Path, manifest: dict[str, Any]) -> None:
    """Write the adapter, open it again and check it, and only then write the manifest.

    PEFT writes target_modules in hash order; sorted here, so that equal runs give equal
    bytes. Its model card is left out.
    """
    model.save_pretrained(str(folder), selected_adapters=["default"], safe_serialization=True)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    for name in ("target_modules", "modules_to_save"):
        if isinstance(config.get(name), list):
            config[name] = sorted(set(config[name]))
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    check_weights(folder / "adapter_model.safetensors")
    write_manifest(folder, manifest)


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """manifest.json, written last: a folder without it is not finished."""
    text = json.dumps(manifest, indent=2, sort_keys=True)
    (folder / MANIFEST).write_text(text + "\n")


def check_weights(path: Path) -> None:
    """Refuse an adapter file that is empty, in parts, all zero, without effect or not finite.

    lora_B is zero before a training: an adapter of which each is zero is the base.
    """
    import torch
    from safetensors.torch import load_file

    tensors = load_file(str(path))
    if missing := sorted(name for name, tensor in tensors.items() if not tensor.numel()):
        raise InputError(f"{path}: {missing[0]} is empty. Save it where the weights are whole.")
    if not tensors or all(not tensor.any() for tensor in tensors.values()):
        raise InputError(f"{path}: every weight is zero. The training changed nothing.")
    effects = [tensor for name, tensor in tensors.items() if "lora_B" in name]
    if not any(bool(tensor.any()) for tensor in effects):
        raise InputError(f"{path}: no lora_B differs from zero. The training changed nothing.")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise InputError(f"{path}: holds NaN or infinity. Lower the learning rate of the profile.")


def manifest_for(
    model: Model, tokenizer: Any, parent: Path | None, data: list[Path], kind: str
) -> dict[str, Any]:
    """What an adapter was made from: base, chat template, parent adapter and tables."""
    return {
        "kind": kind,
        "base": {"name": model.name, "revision": model.revision, "md5": dvc_md5(BASE_DIR)},
        "chat_template_sha256": template_digest(tokenizer),
        "parent": None if parent is None else {"path": str(parent), "md5": dvc_md5(parent)},
        **data_digests(*data),
    }


def data_digests(*tables: Path) -> dict[str, Any]:
    """The part of a manifest that names the tables a model learned from."""
    return {"data": {str(path): dvc_md5(path) for path in tables}}


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an adapter folder; missing means that its training did not finish."""
    path = folder / MANIFEST
    if not path.exists():
        raise InputError(f"{path} does not exist. Run `dvc repro` or `dvc pull {folder}`.")
    manifest: dict[str, Any] = json.loads(path.read_text())
    return manifest


def model_digest(folder: Path) -> str:
    """sha256 of what a model folder computes: its files, and of its manifest how it is read.

    What it was trained on does not count: an equal model stays equal when the course grows.
    """
    manifest = read_manifest(folder) if (folder / MANIFEST).exists() else {}
    total = hashlib.sha256()
    how = {name: manifest[name] for name in sorted(manifest) if name not in LINEAGE}
    total.update(json.dumps(how, sort_keys=True).encode())
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        if file.name != MANIFEST:
            total.update(f"\0{file.relative_to(folder).as_posix()}\0{file_md5(file)}".encode())
    return total.hexdigest()


def check_manifest(folder: Path, model: Model) -> dict[str, Any]:
    """Refuse an adapter that was trained on another base."""
    manifest = read_manifest(folder)
    found, wanted = manifest["base"]["md5"], dvc_md5(BASE_DIR)
    if found != wanted:
        raise InputError(
            f"{folder}: trained on base {found}, but {BASE_DIR} is {wanted}. Run `dvc repro`."
        )
    return manifest
