"""Students: small causal language models that choose an option by its likelihood.

A student reads a question, with or without an explanation, and each option is judged as the
continuation: mean log-probability of its tokens, softmax over the options (length-normalised
scoring as in the LM Evaluation Harness, "acc_norm"). P = tokens of a prompt, O = options.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import InputError
from stages.runtime.encoding import buckets
from stages.runtime.loading import checkpoints, processor
from stages.runtime.loading.profile import Student
from stages.runtime.pretraining import base_model

Choice = tuple[str, tuple[str, ...]]  # a prompt, and the options that may continue it
TOKENS_STEP = 16  # a batch is of one multiple of it: few shapes (runtime/processor.py)
STUDENT, EXAM = "student.json", "exam.json"


@dataclass
class Reader:
    """A loaded student."""

    network: Any
    tokenizer: Any
    how: Student

    def probabilities(self, choices: Sequence[Choice]) -> list[np.ndarray | None]:
        """P of each option, one (O,) per choice that sums to 1; None where it is too long.

        Each distinct choice is read once, and what is read of it is the same in any company.
        """
        import torch
        from tqdm import tqdm

        distinct = sorted(set(choices))
        rows = [Row.of(self.tokenizer, prompt, options) for prompt, options in distinct]
        fitting = [i for i, row in enumerate(rows) if len(row.ids) <= self.how.max_length]
        lengths = [len(rows[i].ids) for i in fitting]
        parts = list(buckets.batches(lengths, self.how.batch_size, TOKENS_STEP))
        found: dict[Choice, np.ndarray | None] = dict.fromkeys(distinct)
        with torch.inference_mode():
            for places, _ in tqdm(parts, desc="students read", unit="batch", disable=None):
                batch = [fitting[place] for place in places]
                likely = self.likelihoods([rows[i] for i in batch])
                found |= {distinct[i]: softmax(of) for i, of in zip(batch, likely, strict=True)}
        return [found[choice] for choice in choices]

    def likelihoods(self, rows: list["Row"]) -> list[np.ndarray]:
        """Mean log-probability of each option's tokens, in nats: (O,) per row."""
        import torch
        from torch.nn.functional import pad as pad_rows

        pad = self.tokenizer.pad_token_id or 0
        ids, positions, mask = batched(rows, pad)
        device = self.network.device
        hidden = self.network.get_decoder()(
            input_ids=torch.from_numpy(ids).to(device),
            position_ids=torch.from_numpy(positions).to(device),
            attention_mask=torch.from_numpy(mask).to(device),
            use_cache=False,
        ).last_hidden_state
        where = [(r, source) for r, row in enumerate(rows) for source in row.sources]
        wanted = torch.tensor([i for row in rows for i in row.targets], device=device)
        states = hidden[tuple(torch.tensor(where, device=device).T)]
        missing = -len(states) % buckets.LEAST_TOKENS  # the head's rows, too
        states, wanted = pad_rows(states, (0, 0, 0, missing)), pad_rows(wanted, (0, missing))
        logs = [
            head.float().log_softmax(-1).gather(1, answer[:, None])[:, 0].cpu().numpy()
            for block, answer in zip(
                states.split(base_model.HEAD_BLOCK),
                wanted.split(base_model.HEAD_BLOCK),
                strict=True,
            )
            for head in [self.network.lm_head(block)]
        ]
        ends = np.cumsum([len(row.targets) for row in rows])
        return [
            np.array([part[np.array(row.option) == o].mean() for o in range(row.options_n)])
            for row, part in zip(rows, np.split(np.concatenate(logs), ends)[:-1], strict=True)
        ]


@dataclass(frozen=True)
class Row:
    """A prompt with all its options behind it, none of which sees another.

    sources, targets, option: per option token the place whose state predicts it, its id and
    the option that it belongs to.
    """

    ids: list[int]
    prompt_n: int
    sources: list[int]
    targets: list[int]
    option: list[int]
    options_n: int

    @classmethod
    def of(cls, tokenizer: Any, prompt: str, options: Sequence[str]) -> "Row":
        """The row of a choice. Raises ValueError for an option without a token."""
        prefix = encode_prompt(tokenizer, prompt)
        ids, sources, option = list(prefix), list[int](), list[int]()
        for number, text in enumerate(options):
            tokens = encode_answer(tokenizer, text)
            if not tokens:
                raise ValueError(f"option {text!r} of {prompt!r} has no token")
            sources += [len(prefix) - 1, *range(len(ids), len(ids) + len(tokens) - 1)]
            option += [number] * len(tokens)
            ids += tokens
        return cls(ids, len(prefix), sources, ids[len(prefix) :], option, len(options))


def encode_prompt(tokenizer: Any, prompt: str) -> list[int]:
    """What the tokenizer puts in front of every text, then the prompt as plain text."""
    return list(tokenizer("")["input_ids"]) + checkpoints.encode_text(tokenizer, prompt)


def encode_answer(tokenizer: Any, option: str) -> list[int]:
    """An option as the continuation of a prompt: a blank stands before it, as in the prompt."""
    return checkpoints.encode_text(tokenizer, f" {option}")


def batched(rows: list[Row], pad: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ids and positions, int64 (B, T), and who may look at whom, bool (B, 1, T, T).

    An option token sees the prompt and the tokens of its own option before it, and stands
    where it would stand if it were the only option.
    """
    length = buckets.room(max(len(row.ids) for row in rows), TOKENS_STEP)
    ids = np.full((len(rows), length), pad, dtype=np.int64)
    positions = np.zeros((len(rows), length), dtype=np.int64)
    part = np.full((len(rows), length), -2, dtype=np.int64)  # -1 prompt, 0.. options, -2 padding
    for i, row in enumerate(rows):
        size, first = len(row.ids), row.prompt_n
        ids[i, :size] = row.ids
        part[i, :first], part[i, first:size] = -1, row.option
        counts = np.bincount(row.option, minlength=row.options_n)
        positions[i, :first] = range(first)
        positions[i, first:size] = np.concatenate([first + np.arange(n) for n in counts])
    same = (part[:, :, None] == part[:, None, :]) | (part[:, None, :] == -1)
    mask = same & np.tri(length, dtype=bool)
    return ids, positions, mask[:, None]


def softmax(likelihoods: np.ndarray) -> np.ndarray:
    """exp(x) / sum exp(x) over the options."""
    powers = np.exp(likelihoods - likelihoods.max())
    return np.asarray(powers / powers.sum(), dtype=float)


# ---- folders ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Exam:
    """Whom and what a folder of students is asked."""

    neighbours: int  # exam questions beside the taught one
    pool: list[dict[Any, Any]]  # rows of distinct questions that they are taken from


def write_exam(exam: Exam, folder: Path) -> None:
    """exam.json: the questions that students may be asked beside the taught one."""
    (folder / EXAM).write_text(json.dumps(asdict(exam), indent=1, sort_keys=True) + "\n")


def read_exam(folder: Path) -> Exam:
    """The exam of a folder of students. Raises InputError if their training did not finish."""
    checkpoints.read_manifest(folder)
    return Exam(**json.loads((folder / EXAM).read_text()))


def save(reader: Reader, folder: Path) -> None:
    """A trained student: safetensors, tokenizer and how to load it."""
    base_model.save(reader.network, reader.tokenizer, folder)
    write_how(reader.how, folder)


def pin(how: Student, folder: Path) -> None:
    """Name and revision of a hub model; nothing is downloaded. An unpinned one is refused."""
    if how.revision is None:
        raise InputError(
            f"stages/profiles: students: the revision of {how.name} is null. "
            "Run `python -m stages.pin`."
        )
    write_how(how, folder)


def write_how(how: Student, folder: Path) -> None:
    """student.json: the profile's entry."""
    folder.mkdir(exist_ok=True)
    (folder / STUDENT).write_text(json.dumps(asdict(how), indent=2, sort_keys=True) + "\n")


def folders(folder: Path) -> list[Path]:
    """The folders of all students, by name."""
    return [path.parent for path in sorted(folder.glob(f"*/{STUDENT}"))]


def read_how(folder: Path) -> Student:
    """How a student is loaded, as its folder describes it."""
    return Student(**json.loads((folder / STUDENT).read_text()))


def load(folder: Path) -> Reader:
    """A student as its folder describes it: weights that lie there, or a pinned hub model."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    how = read_how(folder)
    name = str(folder) if how.name == "trained" else how.name
    processor.prepare(how.threads)
    with checkpoints.loading(name, how.revision):
        given = {"revision": how.revision, "trust_remote_code": False}
        tokenizer = AutoTokenizer.from_pretrained(name, **given)
        network = AutoModelForCausalLM.from_pretrained(
            name,
            dtype=getattr(torch, how.dtype),
            attn_implementation=how.attention,
            use_safetensors=True,
            **given,
        )
    return Reader(network.eval().to(how.device), tokenizer, how)
