"""Texts read beside others after one prompt: each value is bit by bit what it is alone."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import InputError
from stages.runtime import classifiers
from stages.runtime.encoding import shared_reading
from stages.runtime.encoding.shared_reading import Pair, read
from stages.runtime.loading import checkpoints
from tests import tiny_models
from tests.imports import ROOT
from tests.random_decoders import HEADS, VOCABULARY, configuration
from tests.tiny_models import MODEL

pytest_plugins = ["tests.tiny_fixtures", "tests.random_decoders"]
pytestmark = pytest.mark.usefixtures("one_thread")

Scorer = tuple[Any, Callable[[Any], Any]]  # a decoder and a head


def build(name: str) -> Scorer:
    """A decoder with random weights and a head of one output."""
    import torch
    import transformers

    config = configuration(name)
    model = transformers.AutoModel.from_config(config, attn_implementation="sdpa").eval()
    return model, torch.nn.Linear(config.hidden_size, 1, bias=False)


@pytest.fixture(scope="module", params=HEADS)
def scorer(request: pytest.FixtureRequest) -> Scorer:
    return build(request.param)


@pytest.fixture(scope="module")
def plain() -> Scorer:
    return build("qwen")


def ids(random: np.random.Generator, longest: int) -> tuple[int, ...]:
    return tuple(random.integers(3, VOCABULARY, random.integers(1, longest + 1)).tolist())


def some_pairs(count: int, prompts_n: int, seed: int = 0) -> list[Pair]:
    """Different pairs: texts of 1 to 60 tokens after prompts of 1 to 100, several after each."""
    random = np.random.default_rng(seed)
    prompts = [ids(random, 100) for _ in range(prompts_n)]
    return [(prompts[i % prompts_n], ids(random, 60)) for i in range(count)]


PAIRS = some_pairs(48, 7)


def alone(scorer: Scorer, pairs: list[Pair]) -> list[float]:
    """The plain way: prompt and text as one row, without padding and cache."""
    import torch

    decoder, head = scorer
    with torch.inference_mode():
        return [
            float(head(decoder(torch.tensor([prompt + text])).last_hidden_state[0, -1])[0])
            for prompt, text in pairs
        ]


# ---- the numbers ---------------------------------------------------------------------------


def test_a_value_is_that_of_prompt_and_text_read_as_one(scorer: Scorer):
    found = read(*scorer, PAIRS, 512)
    assert found.shape == (48, 1)
    assert found.dtype == np.float64
    assert found[:, 0] == pytest.approx(alone(scorer, PAIRS), abs=1e-5)
    assert np.ptp(found) > 0.1


@pytest.mark.parametrize("prompt_n", [1, 31, 32, 33, 64])
def test_a_prompt_or_text_may_fill_its_room_to_the_last_token(plain: Scorer, prompt_n: int):
    row = tuple(3 + i % 200 for i in range(100))
    pairs = [(row[:prompt_n], row[50 : 50 + text_n]) for text_n in (1, 15, 16, 17, 32)]
    assert read(*plain, pairs, 512)[:, 0] == pytest.approx(alone(plain, pairs), abs=1e-5)


def test_a_head_may_have_several_outputs(plain: Scorer):
    found = read(plain[0], lambda states: states[:, :5], PAIRS[:3], 512)
    assert found.shape == (3, 5)


def test_a_prompt_is_read_once_for_all_its_texts(plain: Scorer, monkeypatch: pytest.MonkeyPatch):
    asked, prefill = list[tuple[int, ...]](), shared_reading.prefill

    def counted(decoder: Any, prompts: list[tuple[int, ...]]) -> Any:
        asked.extend(prompts)
        return prefill(decoder, prompts)

    monkeypatch.setattr(shared_reading, "prefill", counted)
    read(*plain, [*PAIRS, *PAIRS], 64)
    assert sorted(asked) == sorted({prompt for prompt, _ in PAIRS})


def test_prompts_that_do_not_fit_together_are_read_in_parts(
    plain: Scorer, monkeypatch: pytest.MonkeyPatch
):
    whole = read(*plain, PAIRS, 512)
    monkeypatch.setattr(shared_reading, "PROMPTS_AT_ONCE", 1)
    assert np.array_equal(read(*plain, PAIRS, 512), whole)


# ---- company -------------------------------------------------------------------------------


def test_case_33_scores_do_not_depend_on_batch_or_order(scorer: Scorer):
    whole = read(*scorer, PAIRS, 4096)
    for tokens in (1, 16, 50, 100, 500):
        assert np.array_equal(read(*scorer, PAIRS, tokens), whole), tokens
    by_one = np.concatenate([read(*scorer, [pair], 4096) for pair in PAIRS])
    assert np.array_equal(by_one, whole)
    order = np.random.default_rng(1).permutation(48)
    shuffled = read(*scorer, [PAIRS[i] for i in order], 100)
    assert np.array_equal(shuffled, whole[order])
    among_others = read(*scorer, some_pairs(100, 30, seed=2) + PAIRS, 4096)
    assert np.array_equal(among_others[100:], whole)


@settings(deadline=None, max_examples=30)
@given(places=st.lists(st.integers(0, 47), min_size=1, max_size=60), tokens=st.integers(1, 2000))
def test_case_33_any_part_in_any_order_has_the_same_bits(places: list[int], tokens: int):
    made = of_module()
    found = read(*made, [PAIRS[i] for i in places], tokens)
    assert np.array_equal(found, WHOLE[0][places])


WHOLE: list[Any] = []


def of_module() -> Scorer:
    """One scorer and its values for all examples."""
    if not WHOLE:
        made = build("qwen, shared heads")
        WHOLE.extend([read(*made, PAIRS, 4096), made])
    found: Scorer = WHOLE[1]
    return found


def test_case_33_ratings_of_a_verifier_do_not_depend_on_batch_or_order(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    (verifier,) = classifiers.load(Path("models/verifier_reward/fold_0"))
    rows = tiny_models.course().to_dict("records")
    prompts = [tiny_models.render_prompt(row) for row in rows]
    texts = [row["explanation"] for row in rows]
    whole = verifier.ratings(prompts, texts).tolist()
    for n in (1, 17, 30):
        assert verifier.ratings(prompts[:n], texts[:n]).tolist() == whole[:n]
    for tokens in (1, 50, 130):
        monkeypatch.setattr(classifiers, "TOKENS", tokens)
        assert verifier.ratings(prompts[::-1], texts[::-1]).tolist() == whole[::-1]


def test_case_33_ratings_are_the_same_on_the_base_of_a_generator(checkout: Path):
    rows = tiny_models.course().head(20).to_dict("records")
    prompts = [tiny_models.render_prompt(row) for row in rows]
    texts = [row["explanation"] for row in rows]
    folder = Path("models/verifier_reward")
    own = classifiers.load_folds(folder)
    policy = checkpoints.load_policy(MODEL, Path("models/sft"))
    shared = classifiers.load_folds(folder, onto=policy)
    for fold in (0, 1):
        wanted = own[fold].ratings(prompts, texts).tolist()
        assert shared[fold].ratings(prompts, texts).tolist() == wanted
    assert own[0].ratings(prompts, texts).tolist() != own[1].ratings(prompts, texts).tolist()


PREPARED = """
import sys
import numpy as np
from tests.test_shared_reading import PAIRS, build, read
from stages.runtime.loading import processor
import torch
if sys.argv[2] == "prepared":
    processor.prepare(1)
torch.set_num_threads(1)
found = [read(*build("qwen"), pairs, 4096) for pairs in (PAIRS, PAIRS[:1])]
np.save(sys.argv[1], np.concatenate(found))
"""


def test_case_33_what_else_a_process_has_loaded_changes_no_bit(tmp_path: Path):
    found = []
    for way in ("prepared", "plain"):
        file = tmp_path / f"{way}.npy"
        subprocess.run([sys.executable, "-c", PREPARED, str(file), way], cwd=ROOT, check=True)
        found.append(np.load(file))
    assert np.array_equal(*found)
    assert found[0][48] == found[0][0]


# ---- limits --------------------------------------------------------------------------------


def test_a_pair_without_a_text_is_refused(plain: Scorer):
    with pytest.raises(ValueError, match="without a text"):
        read(*plain, [*PAIRS[:2], ((5, 6), ())], 512)


class Small:
    """A head on a device for `room` texts: it really asks for more memory than there is."""

    def __init__(self, head: Callable[[Any], Any], room: int):
        self.head, self.room, self.asked = head, room, list[int]()

    def __call__(self, states: Any) -> Any:
        import torch

        self.asked.append(len(states))
        if len(states) > self.room:
            torch.empty(1 << 60, dtype=torch.uint8)
        return self.head(states)


def test_case_32_out_of_memory_halves_the_batch_and_changes_no_value(
    plain: Scorer, caplog: pytest.LogCaptureFixture
):
    decoder, head = plain
    pairs = [(PAIRS[0][0], (3 + i, 4, 5)) for i in range(100)]
    whole = read(decoder, head, pairs, 1600)
    small = Small(head, 32)
    assert np.array_equal(read(decoder, small, pairs, 1600), whole)
    assert caplog.messages == [
        "out of memory with 1600 tokens of text at once: going on with 800.",
        "out of memory with 800 tokens of text at once: going on with 400.",
    ]
    assert small.asked == [112, 64, 32, 32, 32, 32]  # 100, 50, then 25 texts each


def test_case_32_what_was_read_before_is_not_read_again(plain: Scorer):
    decoder, head = plain
    row = tuple(range(3, 60))
    pairs = [(PAIRS[0][0], row[:40])]  # the longest comes first
    pairs += [(PAIRS[0][0], (3 + i, 4, 5)) for i in range(40)]
    small = Small(head, 32)
    found = read(decoder, small, pairs, 640)
    assert np.array_equal(found, read(decoder, head, pairs, 4096))
    assert small.asked == [16, 48, 32, 32]  # 1, 40, then 20 texts each


def test_case_32_one_text_that_is_too_much_is_refused_in_one_line(plain: Scorer):
    decoder, head = plain
    with pytest.raises(InputError, match=r"^out of memory with 1 tokens of text.*Lower") as error:
        read(decoder, Small(head, 0), PAIRS[:2], 16)
    assert "\n" not in str(error.value)


def test_case_32_another_error_is_raised_as_it_is(plain: Scorer):
    def broken(_: Any) -> Any:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        read(plain[0], broken, PAIRS[:2], 16)


LIMITED = """
import logging, resource
import numpy as np
from tests.test_shared_reading import build, read
logging.basicConfig(level=logging.WARNING, format="%(message)s")
import torch
torch.set_num_threads(1)
model = build("qwen")
pairs = [(tuple(range(3, 60)), (3 + i % 250, 4 + i // 250, *range(5, 60))) for i in range(2000)]
read(*model, pairs[:3], 64)  # what is loaded on first use
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20),) * 2)
limited = read(*model, pairs, 128000)
few = np.concatenate([read(*model, pairs[i : i + 1], 64) for i in (0, 999, 1999)])
assert np.array_equal(limited[[0, 999, 1999]], few)
assert len({value for value in limited[:, 0]}) > 1900
print("done")
"""


def test_case_32_under_a_limit_of_memory_all_texts_are_read():
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "done\n"
    assert "out of memory with 128000 tokens of text at once: going on with 64000." in done.stderr
