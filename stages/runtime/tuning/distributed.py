"""Several processes: their start, their devices, and DeepSpeed before and after a training.

Rank = one process of a launch by torchrun, which sets LOCAL_RANK, RANK and WORLD_SIZE.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from schemas.errors import InputError
from stages.runtime.loading.profile import Model


def relaunch(module: str, model: Model, arguments: list[str]) -> None:
    """Start the stage again under torchrun if the profile asks for several processes.

    Returns at once in a process of that launch, and where one process is asked for.
    """
    if model.processes == 1 or is_rank():
        return
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", str(model.processes), "-m", module, *arguments]
    code = subprocess.run(command).returncode
    if code:
        raise InputError(
            f"{module}: {model.processes} training processes ended with code {code}. "
            "The first traceback above is the cause."
        )
    raise SystemExit(0)


def is_rank() -> bool:
    """Whether torchrun started this process."""
    return "LOCAL_RANK" in os.environ


def deepspeed_arguments(model: Model) -> dict[str, Any]:
    """What TrainingArguments need for the profile's DeepSpeed file; nothing outside a launch.

    A stage that is not relaunched (train_verifier) trains in one process without DeepSpeed.
    """
    if model.deepspeed is None or not is_rank():
        return {}
    stage = json.loads(Path(model.deepspeed).read_text())["zero_optimization"]["stage"]
    # ZeRO-3 frees weights that the other kind of checkpointing counts on. TRL 1.16 knows, but
    # sets an argument that transformers 5.23 no longer reads.
    kind = {"use_reentrant": stage == 3}
    return {"deepspeed": model.deepspeed, "gradient_checkpointing_kwargs": kind}


def on_one_device(config: Any) -> Any:
    """The TrainingArguments for one device per process, also where it sees several GPUs.

    The trainer would otherwise split each batch over all of them (nn.DataParallel), and the
    batch size would not be the profile's.
    """
    config._n_gpu = min(config.n_gpu, 1)
    return config


def leave(trainer: Any, policy: Any) -> None:
    """End what the ranks share after a training: each has all of `policy` and goes on alone.

    They must part together. A rank that ends while the group stands may take the others down
    with it, and only rank 0 goes on to save and to ask the policy.
    """
    import torch

    if trainer.deepspeed is not None:
        gather_weights(policy)
        trainer.deepspeed.destroy()
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def gather_weights(policy: Any) -> None:
    """Put whole weights, the same on every rank, in place of the parts that ZeRO-3 leaves.

    An adapter saved in parts would be empty, and a rank that generates with them would wait
    for the others for ever.
    """
    import deepspeed
    import torch

    whole: dict[Any, Any] = {}  # a tied weight stays tied
    for module in policy.modules():
        parts = [p for p in module._parameters.values() if hasattr(p, "ds_id")]
        with deepspeed.zero.GatheredParameters(parts):
            for part in parts:
                if part not in whole:
                    copy = part.detach().clone()
                    whole[part] = torch.nn.Parameter(copy, requires_grad=part.requires_grad)
        module._parameters = {n: whole.get(p, p) for n, p in module._parameters.items()}
