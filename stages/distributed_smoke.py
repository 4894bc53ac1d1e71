"""DeepSpeed on two CPU ranks against one process: the same losses, step by step.

    invented texts -> a table on the screen; exit code 1 where a number differs

Runs SFT and DPO by the code of the stages (stages/runtime/tuning/training.py) on a tiny random
base in a temporary folder: in one process, in two under ZeRO-2, and in two under the
ZeRO-3 settings of the profile llama3_8b_zero3. All take the same rows per update. About a
minute on two cores; nothing is compiled and no GPU is needed.

    make distributed-smoke
    python -m stages.distributed_smoke
"""

import json
import math
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import typer
import yaml

from schemas.errors import InputError
from stages.runtime import params
from stages.runtime.loading import checkpoints
from stages.runtime.loading.profile import Model, Training
from stages.runtime.pretraining import base_model
from stages.runtime.pretraining.base_model import Base
from stages.runtime.run import is_main_process, start
from stages.runtime.tuning import distributed
from stages.runtime.tuning import training as trainers

PROFILES = Path(__file__).resolve().parent / "profiles"
SETTINGS = {  # name -> (processes, DeepSpeed file)
    "one process": (1, None),
    "ZeRO-2, two ranks": (2, "deepspeed_zero2_cpu.json"),
    "ZeRO-3, two ranks": (2, "deepspeed_zero3.json"),
}
REFERENCE = "one process"
TOLERANCE = 1e-4  # nats, or a weight's unit; a sum in another order differs by some 1e-6
ROWS, BATCH, SEED = 16, 4, 13  # 16 rows, 4 per update: 4 updates each of SFT and DPO
SERIES = {"sft": ["loss"], "dpo": ["loss", "rewards/margins"]}  # what is compared of each log
Logs = dict[str, list[float]]
S = TypeVar("S")


def section(cls: type[S], name: str) -> S:
    """A section of the profile tiny."""
    values = yaml.safe_load((PROFILES / "tiny.yaml").read_text(encoding="utf-8"))
    return params.section(cls, name, values, "stages/profiles/tiny.yaml")


def profile(name: str) -> tuple[Model, Training]:
    """Model and training of one setting; rows per update are equal in all of them."""
    processes, deepspeed = SETTINGS[name]
    file = None if deepspeed is None else str(PROFILES / deepspeed)
    # dropout would leave out other units in each rank
    model = replace(section(Model, "model"), processes=processes, deepspeed=file, lora_dropout=0.0)
    training = replace(
        section(Training, "dpo"),
        learning_rate=0.01,
        epochs=1,
        batch_size=BATCH // 2 // processes,
        accumulation_steps=2,
        warmup_frac=0.0,
        gradient_checkpointing=file is not None,  # as in the profile; changes no loss
    )
    return replace(model, threads=1), training


def texts() -> list[tuple[str, str, str]]:
    """Prompt, better and worse answer: invented, and of unequal lengths."""
    return [
        (
            f"Question {i}: what is {i} plus {i % 5}?",
            f"It is {i + i % 5}." + " Count on." * (i % 4),
            "I do not know" + ", and on it goes" * (i % 3),
        )
        for i in range(ROWS)
    ]


def make_base(model: Model) -> None:
    """A random base in models/base of the current folder."""
    import torch

    torch.manual_seed(SEED)
    size = replace(section(Base, "base"), layers=2, width=32, heads=2, feed_forward=64)
    lines = [text for row in texts() for text in row]
    tokenizer = base_model.train_tokenizer(lines, size.vocabulary, model.max_length)
    network = base_model.build_model(size, model, tokenizer)
    base_model.save(network, tokenizer, checkpoints.scratch_outputs(checkpoints.BASE_DIR))


def train(step: str, model: Model, training: Training, parent: Path) -> tuple[Any, Any, Any]:
    """Tokenizer, policy and log after SFT of the base, or after DPO of the adapter `parent`."""
    tokenizer = checkpoints.load_tokenizer(model)
    rows = []
    for prompt, better, worse in texts():
        asked = checkpoints.encode_prompt(tokenizer, prompt, {})
        good, bad = (checkpoints.encode_completion(tokenizer, text) for text in (better, worse))
        mask = [0] * len(asked) + [1] * len(good)
        rows.append(
            {"input_ids": asked + good, "completion_mask": mask}
            if step == "sft"
            else {"prompt_ids": asked, "chosen_ids": good, "rejected_ids": bad}
        )
    given = (training, model, SEED)
    if step == "sft":
        policy = trainers.fresh_lora(checkpoints.load_base(model), model, SEED)
        return (
            tokenizer,
            policy,
            trainers.fit_sft(policy, tokenizer, rows, [], *given, logging_steps=1),
        )
    policy = checkpoints.load_policy(model, parent, trainable=True)
    return tokenizer, policy, trainers.fit_dpo(policy, tokenizer, rows, *given, logging_steps=1)


def work(step: str, name: str, folder: Path) -> None:
    """One training of one setting; leaves its adapter and its log in `folder`."""
    model, training = profile(name)
    distributed.relaunch("stages.distributed_smoke", model, sys.argv[1:])
    compile_nothing()
    os.chdir(folder)
    if not checkpoints.BASE_DIR.exists():
        make_base(model)
    tokenizer, policy, log = train(step, model, training, Path(name) / "sft")
    if is_main_process():
        manifest = checkpoints.manifest_for(model, tokenizer, None, [], step)
        target = checkpoints.scratch_outputs(Path(name) / step)
        checkpoints.save_adapter(policy, target, manifest)
        (target / "log.json").write_text(json.dumps(log))


def compile_nothing() -> None:
    """Let DeepSpeed's CPU ranks speak through gloo; its own way needs a C++ compiler."""
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def run(name: str, folder: Path) -> Logs:
    """SFT and then DPO of one setting, each a command of its own as in the pipeline."""
    environment = os.environ | {
        "DS_ACCELERATOR": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
    }
    found: Logs = {}
    for step, series in SERIES.items():
        command = [sys.executable, "-m", "stages.distributed_smoke", step, name, str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            print(done.stdout + done.stderr, file=sys.stderr)
            raise InputError(f"{step}, {name}: ended with code {done.returncode}, see above.")
        log = json.loads((folder / name / step / "log.json").read_text())
        found |= {f"{step} {key}": [entry[key] for entry in log] for key in series}
        found[f"{step} weights"] = weights(folder / name / step)
    return found


def weights(adapter: Path) -> list[float]:
    """Every weight of a saved adapter, in the order of the names."""
    from safetensors.numpy import load_file

    tensors = load_file(adapter / "adapter_model.safetensors")
    return [float(value) for name in sorted(tensors) for value in tensors[name].ravel()]


def gap(own: list[float], wanted: list[float]) -> float:
    """The largest difference; infinite where the lengths differ or a number is missing."""
    if len(own) != len(wanted):
        return math.inf
    largest = float(np.abs(np.subtract(own, wanted)).max())
    return math.inf if math.isnan(largest) else largest


def compare(logs: dict[str, Logs]) -> tuple[list[str], list[str]]:
    """The table, and a line for each series that is not the reference's."""
    table = [f"{'':20}{'update':>6}" + "".join(f"{name:>20}" for name in logs)]
    differing = []
    for series, wanted in logs[REFERENCE].items():
        if len(wanted) == ROWS // BATCH:
            for i in range(len(wanted)):
                at = (own[series][i : i + 1] or [math.nan] for own in logs.values())
                found = "".join(f"{value:20.6f}" for (value,) in at)
                table.append(f"{series:20}{i + 1:6}{found}")
        gaps = {name: gap(own[series], wanted) for name, own in logs.items()}
        table.append(f"{series:20}{'gap':>6}" + "".join(f"{g:20.1e}" for g in gaps.values()))
        for name, distance in gaps.items():
            if distance > TOLERANCE:
                differing.append(f"{series}: {name} differs by {distance:.2g} from {REFERENCE}")
    return table, differing


def main(
    step: Annotated[str | None, typer.Argument(hidden=True)] = None,
    name: Annotated[str, typer.Argument(hidden=True)] = REFERENCE,
    folder: Annotated[Path, typer.Argument(hidden=True)] = Path(),
) -> None:
    """SFT and DPO in one process and in two under DeepSpeed: the losses must be the same."""
    if step is not None:
        return work(step, name, folder)
    with tempfile.TemporaryDirectory(prefix="peerwise-") as temporary:
        logs = {name: run(name, Path(temporary)) for name in SETTINGS}
    table, differing = compare(logs)
    print("\n".join(table))
    if differing:
        print(f"error: {'; '.join(differing)}.", file=sys.stderr)
        raise SystemExit(1)
    print(f"every number agrees within {TOLERANCE:g}")


if __name__ == "__main__":
    start(main)
