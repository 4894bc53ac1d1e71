"""The verifier: a LoRA adapter and a score head on the generator's base predict a rating.

It reads the prompt that the generator is trained on, and is saved as a folder with a manifest
that says how to read it again. n = pairs of texts.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import InputError
from stages.runtime import checkpoints
from stages.runtime.profile import Model, Training

FOLDS = (0, 1)  # of the cross-fitting
BATCH = 64  # texts scored at once; sorted by length, so padding is small


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

    def ratings(self, prompts: list[str], explanations: list[str]) -> np.ndarray:
        """Predicted rating in stars, clipped to 0..5, shape (n,); NaN where a text is too long.

        prompts: stages.pure.prompts.render_prompt of each question.
        """
        outputs = self.outputs(prompts, explanations)
        return np.clip(outputs * self.scale + self.center, 0.0, 5.0)

    def outputs(self, prompts: list[str], explanations: list[str]) -> np.ndarray:
        """Raw outputs (n,), NaN where a text is too long."""
        import torch
        from tqdm import tqdm

        pairs = zip(prompts, explanations, strict=True)
        encoded = [encode_pair(self, prompt, text) for prompt, text in pairs]
        fits = [i for i, ids in enumerate(encoded) if ids is not None]
        fits.sort(key=lambda i: len(encoded[i]["input_ids"]))  # type: ignore[index]
        result = np.full(len(encoded), np.nan)
        self.model.set_adapter(self.adapter)
        self.model.eval()
        starts = range(0, len(fits), BATCH)
        with torch.inference_mode():
            for start in tqdm(starts, desc="rate", unit="batch", disable=None):
                chunk = fits[start : start + BATCH]
                batch = self.tokenizer.pad(
                    [encoded[i] for i in chunk], padding_side="right", return_tensors="pt"
                ).to(self.model.device)
                result[chunk] = self.model(**batch).logits[:, 0].float().cpu().numpy()
        return result


def encode_pair(
    classifier: Classifier, prompt: str, explanation: str
) -> dict[str, list[int]] | None:
    """Token ids of prompt, explanation and EOS, or None if the model does not read as many."""
    backbone, tokenizer = classifier.backbone, classifier.tokenizer
    ids = checkpoints.encode_prompt(tokenizer, prompt, backbone.chat_template_kwargs)
    ids += checkpoints.encode_completion(tokenizer, explanation)
    return {"input_ids": ids} if len(ids) <= backbone.max_length else None


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
    from stages.runtime import training as trainers

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
            rows.append(encoded | {"labels": label, "weight": float(weight)})  # type: ignore[dict-item]
    return rows


def save(classifier: Classifier, folder: Path, manifest: dict[str, Any]) -> None:
    """Adapter, head and manifest."""
    reading = {
        "profile": asdict(classifier.backbone),
        "center_stars": classifier.center,
        "scale_stars": classifier.scale,
    }
    checkpoints.save_adapter(classifier.model, folder, manifest | {"reading": reading})


def load(*folders: Path) -> list[Classifier]:
    """Saved verifiers, as adapters on one base in memory.

    Refuses one that was trained on another base than the one that is there.
    """
    from peft import PeftModel

    readings = [checkpoints.read_manifest(folder)["reading"] for folder in folders]
    for folder, reading in zip(folders, readings, strict=True):
        checkpoints.check_manifest(folder, Model(**reading["profile"]))
    backbone = Model(**readings[0]["profile"])
    base, tokenizer = load_backbone(backbone)
    names = [f"verifier_{i}" for i in range(len(folders))]
    model = PeftModel.from_pretrained(
        base, str(folders[0]), adapter_name=names[0], use_safetensors=True
    )
    for name, folder in zip(names[1:], folders[1:], strict=True):
        model.load_adapter(str(folder), adapter_name=name, use_safetensors=True)
    return [
        Classifier(
            model.eval(), tokenizer, backbone, reading["center_stars"], reading["scale_stars"], name
        )
        for name, reading in zip(names, readings, strict=True)
    ]


def load_folds(folder: Path) -> dict[int, Classifier]:
    """Both halves of a cross-fitted verifier (models/verifier_reward), by fold."""
    return dict(zip(FOLDS, load(*(folder / f"fold_{fold}" for fold in FOLDS)), strict=True))
