"""Models that read a question and an explanation and return a number.

Two kinds share this code: the verifier (score head on the generator's base) and the
encoder models (judge, entailment). Each is a LoRA adapter with a head, in a folder with a
manifest that says how to read it again. B = batch, T = tokens, L = labels.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import InputError
from stages.runtime import checkpoints, encoder
from stages.runtime.profile import Encoder, Model, Training

BATCH = 64  # texts scored at once; sorted by length, so padding is small


@dataclass(frozen=True)
class Examples:
    """Training rows: text pairs with a target each."""

    first: list[str]  # what is read first: the prompt, or the premise
    second: list[str]  # the explanation, or the hypothesis
    targets: np.ndarray  # stars (n,) float, or labels (n,) int
    weights: np.ndarray  # (n,) float, mean 1


@dataclass
class Classifier:
    """A loaded model; `center` and `scale` turn its output into stars."""

    model: Any
    tokenizer: Any
    backbone: Model | Encoder
    center: float = 0.0
    scale: float = 1.0

    def ratings(self, prompts: list[str], explanations: list[str]) -> np.ndarray:
        """Predicted rating in stars, clipped to 0..5, shape (n,); NaN where a text is too long.

        prompts: stages.pure.prompts.render_prompt of each question.
        """
        outputs = self.outputs(prompts, explanations, "rating")
        return np.clip(outputs[:, 0] * self.scale + self.center, 0.0, 5.0)

    def probabilities(self, premises: list[str], hypotheses: list[str]) -> np.ndarray:
        """P(not entailed), P(entailed) of each pair, shape (n, 2); NaN where too long."""
        outputs = self.outputs(premises, hypotheses, "entailment")
        exponents = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return exponents / exponents.sum(axis=1, keepdims=True)

    def outputs(self, first: list[str], second: list[str], label: str) -> np.ndarray:
        """Raw outputs (n, L), NaN where a text is too long."""
        import torch
        from tqdm import tqdm

        encoded = [encode_pair(self, a, b) for a, b in zip(first, second, strict=True)]
        fits = [i for i, ids in enumerate(encoded) if ids is not None]
        fits.sort(key=lambda i: len(encoded[i]["input_ids"]))  # type: ignore[index]
        labels = int(self.model.config.num_labels)
        result = np.full((len(encoded), labels), np.nan)
        self.model.eval()
        starts = range(0, len(fits), BATCH)
        with torch.inference_mode():
            for start in tqdm(starts, desc=f"score {label}", unit="batch", disable=None):
                chunk = fits[start : start + BATCH]
                batch = self.tokenizer.pad(
                    [encoded[i] for i in chunk], padding_side="right", return_tensors="pt"
                ).to(self.model.device)
                result[chunk] = self.model(**batch).logits.float().cpu().numpy()
        return result


def encode_pair(classifier: Classifier, first: str, second: str) -> dict[str, list[int]] | None:
    """Token ids of a text pair, or None if it is longer than the model reads.

    The verifier reads exactly what the generator is trained on (prompt, explanation, EOS);
    an encoder reads the two texts as a pair.
    """
    backbone, tokenizer = classifier.backbone, classifier.tokenizer
    if isinstance(backbone, Model):
        ids = checkpoints.encode_prompt(tokenizer, first, backbone.chat_template_kwargs)
        ids += checkpoints.encode_completion(tokenizer, second)
        encoded = {"input_ids": ids, "attention_mask": [1] * len(ids)}
    else:
        encoded = dict(tokenizer(first, second, split_special_tokens=True, verbose=False))
    return encoded if len(encoded["input_ids"]) <= backbone.max_length else None


def build(backbone: Model | Encoder, labels: int, seed: int) -> Classifier:
    """A fresh adapter with a fresh head over the backbone; `seed` fixes both."""
    import transformers
    from peft import LoraConfig, get_peft_model

    transformers.set_seed(seed)
    model, tokenizer, head = load_backbone(backbone, labels)
    config = LoraConfig(
        task_type="SEQ_CLS",
        r=backbone.lora_rank,
        lora_alpha=backbone.lora_alpha,
        lora_dropout=backbone.lora_dropout,
        target_modules=sorted(backbone.lora_targets),
        modules_to_save=[head],
    )
    return Classifier(get_peft_model(model, config), tokenizer, backbone)


def load_backbone(backbone: Model | Encoder, labels: int) -> tuple[Any, Any, str]:
    """Model with a head of `labels` outputs, its tokenizer, and the head's module name."""
    if isinstance(backbone, Model):
        tokenizer = checkpoints.load_tokenizer(backbone)
        model = checkpoints.load_base(backbone, head="score", labels=labels)
        model.config.pad_token_id = tokenizer.pad_token_id
        return model, tokenizer, "score"
    return encoder.load_classifier(backbone, labels), encoder.load_tokenizer(backbone), "classifier"


def fit(
    classifier: Classifier, examples: Examples, training: Training, seed: int, validation: Examples
) -> list[dict[str, float]]:
    """Train in place and return the log: one dict per logged step.

    One output: weighted mean squared error on standardised stars. Two: cross-entropy.
    Raises InputError if every text is longer than the model reads.
    """
    from stages.runtime import training as trainers

    if classifier.model.config.num_labels == 1:
        classifier.center = float(np.average(examples.targets, weights=examples.weights))
        classifier.scale = float(np.std(examples.targets)) or 1.0
    rows = encode_examples(classifier, examples)
    if not rows:
        raise InputError(
            f"stages/profiles: max_length {classifier.backbone.max_length} of "
            f"{classifier.backbone.name} is shorter than each of {len(examples.first)} texts to "
            "train on. Raise it."
        )
    return trainers.fit_classifier(
        classifier.model,
        classifier.tokenizer,
        rows,
        encode_examples(classifier, validation),
        training,
        classifier.backbone,
        seed,
    )


def encode_examples(classifier: Classifier, examples: Examples) -> list[dict[str, Any]]:
    """Rows for the trainer; pairs that are too long are left out."""
    rows = []
    is_regression = classifier.model.config.num_labels == 1
    texts = zip(examples.first, examples.second, strict=True)
    for (a, b), target, weight in zip(texts, examples.targets, examples.weights, strict=True):
        if (encoded := encode_pair(classifier, a, b)) is not None:
            label = (float(target) - classifier.center) / classifier.scale
            encoded["labels"] = label if is_regression else int(target)  # type: ignore[assignment]
            encoded["weight"] = float(weight)  # type: ignore[assignment]
            rows.append(encoded)
    return rows


def save(classifier: Classifier, folder: Path, manifest: dict[str, Any]) -> None:
    """Adapter, head and manifest; `backbone` in the manifest says what it sits on."""
    kind = "base" if isinstance(classifier.backbone, Model) else "encoder"
    reading = {
        "backbone": kind,
        "profile": asdict(classifier.backbone),
        "labels": int(classifier.model.config.num_labels),
        "center_stars": classifier.center,
        "scale_stars": classifier.scale,
    }
    checkpoints.save_adapter(classifier.model, folder, manifest | {"reading": reading})


def load(folder: Path) -> Classifier:
    """Read a saved classifier; refuses one whose base or encoder is another one."""
    from peft import PeftModel

    manifest = checkpoints.read_manifest(folder)
    reading = manifest["reading"]
    backbone: Model | Encoder
    if reading["backbone"] == "base":
        backbone = Model(**reading["profile"])
        checkpoints.check_manifest(folder, backbone)
    else:
        backbone = Encoder(**reading["profile"])
    model, tokenizer, _ = load_backbone(backbone, reading["labels"])
    adapted = PeftModel.from_pretrained(model, str(folder), use_safetensors=True).eval()
    return Classifier(adapted, tokenizer, backbone, reading["center_stars"], reading["scale_stars"])


def read_labels(folder: Path) -> int:
    """Number of outputs of a saved classifier, without loading it."""
    return int(json.loads((folder / "manifest.json").read_text())["reading"]["labels"])
