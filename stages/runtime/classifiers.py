"""The verifier: a LoRA adapter and a score head on the generator's base predict a rating.

It reads the prompt that the generator is trained on, and is saved as a folder with a manifest
that says how to read it again. n = pairs of texts.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import InputError
from stages.runtime import store
from stages.runtime.encoding import shared_reading
from stages.runtime.encoding.shared_reading import Pair
from stages.runtime.loading import adapters, checkpoints, digests, processor
from stages.runtime.loading.profile import Model, Training

FOLDS = (0, 1)  # of the cross-fitting
TOKENS = 4096  # of texts that are scored at once


@dataclass(frozen=True)
class Examples:
    """Training rows: a prompt and an explanation with a rating each."""

    prompts: list[str]
    explanations: list[str]
    targets: np.ndarray  # stars (n,)
    weights: np.ndarray  # (n,) float, mean 1


@dataclass
class Classifier:
    """A loaded model; `center` and `scale` turn its output into stars."""

    model: Any
    tokenizer: Any
    backbone: Model
    center: float = 0.0
    scale: float = 1.0
    adapter: str = "default"  # which of the model's adapters
    identity: str = ""  # identity_of a saved one; empty = its numbers are not kept

    def ratings(self, prompts: list[str], explanations: list[str]) -> np.ndarray:
        """Predicted rating in stars, clipped to 0..5, shape (n,); NaN where a text is too long.

        prompts: stages.pure.prompts.render_prompt of each question.
        """
        outputs = self.outputs(prompts, explanations)
        return np.clip(outputs * self.scale + self.center, 0.0, 5.0)

    def outputs(self, prompts: list[str], explanations: list[str]) -> np.ndarray:
        """Raw outputs (n,), NaN where a text is too long; a prompt is read once for its texts."""
        pairs = [encode_pair(self, *pair) for pair in zip(prompts, explanations, strict=True)]
        fits = [i for i, pair in enumerate(pairs) if pair is not None]
        result = np.full(len(pairs), np.nan)
        if not fits:
            return result
        adapters.activate(self.model, self.adapter)
        self.model.eval()
        plain = self.model.get_base_model()
        asked = [pair for pair in pairs if pair is not None]
        decoder, head = plain.get_decoder(), plain.score
        result[fits] = shared_reading.read(decoder, head, asked, TOKENS)[:, 0]
        return result


def encode_pair(classifier: Classifier, prompt: str, explanation: str) -> Pair | None:
    """Token ids of prompt, and of explanation and EOS; None if the model does not read as many."""
    backbone, tokenizer = classifier.backbone, classifier.tokenizer
    asked = checkpoints.encode_prompt(tokenizer, prompt, backbone.chat_template_kwargs)
    said = checkpoints.encode_completion(tokenizer, explanation)
    return (tuple(asked), tuple(said)) if len(asked) + len(said) <= backbone.max_length else None


def build(backbone: Model, seed: int) -> Classifier:
    """A fresh adapter with a fresh head over the backbone; `seed` fixes both."""
    import transformers
    from peft import LoraConfig, get_peft_model

    transformers.set_seed(seed)
    model, tokenizer = load_backbone(backbone)
    config = LoraConfig(
        task_type="SEQ_CLS",
        r=backbone.lora_rank,
        lora_alpha=backbone.lora_alpha,
        lora_dropout=backbone.lora_dropout,
        target_modules=sorted(backbone.lora_targets),
        modules_to_save=["score"],
    )
    return Classifier(get_peft_model(model, config), tokenizer, backbone)


def load_backbone(backbone: Model) -> tuple[Any, Any]:
    """The base with a score head of one output, and its tokenizer."""
    tokenizer = checkpoints.load_tokenizer(backbone)
    model = checkpoints.load_base(backbone, head="score")
    model.config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def fit(
    classifier: Classifier,
    examples: Examples,
    training: Training,
    seed: int,
    validation: Examples,
    checkpoint_seconds: float | None = None,
) -> list[dict[str, float]]:
    """Train in place and return the log: one dict per logged step.

    The loss is the weighted mean squared error on standardised stars. checkpoint_seconds: see
    resume.Checkpoints; None keeps none. Raises InputError if
    every text is longer than the model reads.
    """
    from stages.runtime.tuning import training as trainers

    classifier.center = float(np.average(examples.targets, weights=examples.weights))
    classifier.scale = float(np.std(examples.targets)) or 1.0
    rows = encode_examples(classifier, examples)
    if not rows:
        raise InputError(
            f"stages/profiles: max_length {classifier.backbone.max_length} of "
            f"{classifier.backbone.name} is shorter than each of {len(examples.prompts)} texts to "
            "train on. Raise it."
        )
    unseen = encode_examples(classifier, validation)
    models = classifier.model, classifier.tokenizer, classifier.backbone
    return trainers.fit_regressor(*models, rows, unseen, training, seed, checkpoint_seconds)


def encode_examples(classifier: Classifier, examples: Examples) -> list[dict[str, Any]]:
    """Rows for the trainer; pairs that are too long are left out."""
    rows: list[dict[str, Any]] = []
    texts = zip(examples.prompts, examples.explanations, strict=True)
    for (prompt, text), target, weight in zip(
        texts, examples.targets, examples.weights, strict=True
    ):
        if (encoded := encode_pair(classifier, prompt, text)) is not None:
            label = (float(target) - classifier.center) / classifier.scale
            ids = [*encoded[0], *encoded[1]]
            rows.append({"input_ids": ids, "labels": label, "weight": float(weight)})
    return rows


def save(classifier: Classifier, folder: Path, manifest: dict[str, Any]) -> None:
    """Adapter, head and manifest."""
    reading = {
        "profile": asdict(classifier.backbone),
        "center_stars": classifier.center,
        "scale_stars": classifier.scale,
    }
    checkpoints.save_adapter(classifier.model, folder, manifest | {"reading": reading})


def load(*folders: Path, onto: Any = None) -> list[Classifier]:
    """Saved verifiers, as adapters on one base in memory.

    onto: a policy (a PEFT model over the same base) that they join, so that one base serves
    generator and verifier; its own adapter is active again after `set_adapter`. Refuses a
    verifier that was trained on another base than the one that is there.
    """
    from peft import PeftModel

    readings = [check(folder) for folder in folders]
    backbone = Model(**readings[0]["profile"])
    tokenizer = checkpoints.load_tokenizer(backbone)
    model, found = onto, []
    for number, (folder, reading) in enumerate(zip(folders, readings, strict=True)):
        name = f"verifier_{number}"
        if model is None:
            base = with_head(checkpoints.load_base(backbone))
            model = PeftModel.from_pretrained(
                base, str(folder), adapter_name=name, use_safetensors=True
            )
        else:
            with_head(model.get_base_model())
            model.load_adapter(str(folder), adapter_name=name, use_safetensors=True)
        identity = identity_of(folder, backbone)
        scale = reading["center_stars"], reading["scale_stars"]
        found.append(Classifier(model, tokenizer, backbone, *scale, name, identity))
    model.eval()
    return found


def check(folder: Path) -> dict[str, Any]:
    """How to read a saved verifier. Raises InputError if it was trained on another base."""
    reading: dict[str, Any] = checkpoints.read_manifest(folder)["reading"]
    checkpoints.check_manifest(folder, Model(**reading["profile"]))
    return reading


def with_head(base: Any) -> Any:
    """The base with a place for score heads of one output, which a causal model has not."""
    import torch

    if not hasattr(base, "score"):
        head = torch.nn.Linear(base.config.hidden_size, 1, bias=False, dtype=base.dtype)
        base.score = head.to(base.device)
    return base


def identity_of(folder: Path, backbone: Model) -> str:
    """A digest of all but the text that can change what a saved verifier says."""
    return store.digest_of(
        folder=checkpoints.model_digest(folder),
        base=digests.dvc_md5(checkpoints.BASE_DIR),
        machine=processor.identity(backbone.dtype, backbone.device, backbone.threads),
        attention=backbone.attention,
    )


def load_folds(folder: Path, onto: Any = None) -> dict[int, Classifier]:
    """Both halves of a cross-fitted verifier (models/verifier_reward), by fold. onto: see load."""
    halves = load(*(folder / f"fold_{fold}" for fold in FOLDS), onto=onto)
    return dict(zip(FOLDS, halves, strict=True))
