"""Write a policy as one whole model, for a server that takes no adapter beside a base.

    models/base or the hub model, models/<policy> -> a folder of your choice (not in git)

The folder holds weights, tokenizer and chat template. It is as large as the base, and is not
tracked: it can be written again at any time.

    python -m stages.merge_policy sft served/sft
    python -m stages.merge_policy dpo served/dpo
"""

from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import InputError
from stages.runtime import params
from stages.runtime.loading import checkpoints
from stages.runtime.loading.profile import Model
from stages.runtime.pretraining import base_model
from stages.runtime.run import start

MODELS = Path("models")
STAGE = "explain_test"  # whose parameters say what the base is
ANSWERS = {  # where an answer of our own chat template begins and ends, as transformers reads it
    "start_anchor": base_model.ASSISTANT,
    "fields": {"content": {"close": [base_model.EOS], "content": "text"}},
}


def merge(model: Model, policy: str, folder: Path) -> None:
    """Merge the adapter of models/<policy> into its base, and save both as one in `folder`.

    Raises InputError for a folder that holds something, and for an adapter of another base.
    """
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder}: is not empty. Remove it, or name another folder.")
    tokenizer = checkpoints.load_tokenizer(model)
    merged = checkpoints.load_policy(model, MODELS / policy).merge_and_unload()
    merged.save_pretrained(str(folder), safe_serialization=True)
    if tokenizer.chat_template == base_model.TEMPLATE:
        # without it a server takes that of the architecture, and answers with the prompt
        tokenizer.response_template = ANSWERS
    tokenizer.save_pretrained(str(folder))


def main(
    policy: Annotated[str, typer.Argument(help="sft or dpo.")],
    folder: Annotated[Path, typer.Argument(help="Where to write; empty or not there.")],
) -> None:
    """Write models/POLICY as one whole model into FOLDER."""
    given = params.declared(f"{STAGE}@{policy}")
    merge(params.section(Model, "model", given), policy, folder)


if __name__ == "__main__":
    start(main)
