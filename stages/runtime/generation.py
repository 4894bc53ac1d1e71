"""(policy, prompts, decoding, seed) -> texts. Batches are sorted by length and seeded each.

B = batch, T = tokens.
"""

import hashlib
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stages.runtime import checkpoints
from stages.runtime.profile import Generation, Model


@dataclass(frozen=True)
class Decoding:
    """How a text is drawn. temperature None = greedy."""

    temperature: float | None
    top_k: int  # 0 = off
    top_p: float  # 1 = off
    repetition_penalty: float  # 1 = off; also counts the prompt's tokens, as prior code's


@dataclass(frozen=True)
class Generated:
    """One answer."""

    text: str
    tokens_n: int  # generated tokens, without EOS
    is_stopped: bool  # EOS came before the limit
    seed: int  # seed of its batch


def decodings(sampled: Decoding) -> dict[str, Decoding]:
    """The two ways in which every policy answers: as params say, and greedy beside it."""
    return {"sampled": sampled, "greedy": replace(sampled, temperature=None)}


def batch_seed(seed: int, *names: object) -> int:
    """A seed for one batch: a hash of the run's seed and what names the batch, below 2^31."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


@dataclass(frozen=True)
class Writer:
    """A loaded policy with what it needs to answer prompts in words."""

    policy: Any
    tokenizer: Any
    model: Model
    size: Generation

    def answer(
        self, prompts: list[str], decoding: Decoding, seed: int, label: str
    ) -> list[Generated]:
        """One answer per prompt, in the order of `prompts`; see generate.

        Warns of prompts longer than the profile's max_length: no training has seen such.
        """
        kwargs = self.model.chat_template_kwargs
        ids = [checkpoints.encode_prompt(self.tokenizer, text, kwargs) for text in prompts]
        if too_long := sum(len(row) > self.model.max_length for row in ids):
            logging.warning(
                f"{label}: {too_long} of {len(ids)} prompts have more than "
                f"{self.model.max_length} tokens (model.max_length of the profile)."
            )
        limits = (self.size.batch_size, self.size.max_new_tokens)
        return generate(self.policy, self.tokenizer, ids, decoding, *limits, seed, label)


def load_writer(model: Model, size: Generation, adapter: Path) -> Writer:
    """The policy of an adapter folder (models/sft, models/dpo), ready to answer."""
    tokenizer = checkpoints.load_tokenizer(model)
    return Writer(checkpoints.load_policy(model, adapter), tokenizer, model, size)


def generate(
    policy: Any,
    tokenizer: Any,
    prompts: list[list[int]],
    decoding: Decoding,
    batch_size: int,
    max_new_tokens: int,
    seed: int,
    label: str,
) -> list[Generated]:
    """One answer per prompt, in the order of `prompts`. `label` names bar and seeds."""
    import torch
    from tqdm import tqdm
    from transformers import set_seed

    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), prompts[i]))
    answers: dict[int, Generated] = {}
    starts = range(0, len(order), batch_size)
    with torch.inference_mode():
        for start in tqdm(starts, desc=label, unit="batch", disable=None):
            chunk = order[start : start + batch_size]
            batch = tokenizer.pad(
                [{"input_ids": prompts[i]} for i in chunk], padding_side="left", return_tensors="pt"
            ).to(policy.device)
            own_seed = batch_seed(seed, label, start)
            set_seed(own_seed)
            output = policy.generate(
                **batch, generation_config=configuration(decoding, tokenizer, max_new_tokens)
            )
            new = output[:, batch["input_ids"].shape[1] :].tolist()
            for i, ids in zip(chunk, new, strict=True):
                answers[i] = finish(tokenizer, ids, own_seed)
    return [answers[i] for i in range(len(prompts))]


def configuration(decoding: Decoding, tokenizer: Any, max_new_tokens: int) -> Any:
    """The settings as transformers' GenerationConfig; nothing is left to a model's defaults."""
    from transformers import GenerationConfig

    common = {
        "max_new_tokens": max_new_tokens,
        "repetition_penalty": decoding.repetition_penalty,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    if decoding.temperature is None:
        return GenerationConfig(do_sample=False, **common)
    return GenerationConfig(
        do_sample=True,
        temperature=decoding.temperature,
        top_k=decoding.top_k,
        top_p=decoding.top_p,
        **common,
    )


def finish(tokenizer: Any, ids: list[int], seed: int) -> Generated:
    """Cut at EOS and decode; special tokens inside the answer are dropped."""
    is_stopped = tokenizer.eos_token_id in ids
    kept = ids[: ids.index(tokenizer.eos_token_id)] if is_stopped else ids
    text = tokenizer.decode(kept, skip_special_tokens=True).strip()
    return Generated(text, len(kept), is_stopped, seed)
