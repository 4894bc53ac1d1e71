"""Reading options side by side is reading each alone; training is repeatable."""

import json
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import InputError
from stages.runtime import lessons, students
from stages.runtime.lessons import Reading
from stages.runtime.loading.profile import Student
from stages.runtime.pretraining import base_model
from stages.runtime.pretraining.packing import Document
from stages.runtime.students import Exam, Reader, Row, batched, softmax
from tests.tiny_models import READING, STUDENT, course, texts, tree_bytes

CHOICES: list[students.Choice] = [
    ("Where does the ant live? The right option is", ("the meadow", "a river", "old trees")),
    ("Where? The right option is", ("a river in the dry sand", "old")),
]


@pytest.fixture(scope="module")
def reader() -> Reader:
    """A student with random weights."""
    import torch

    torch.manual_seed(0)
    tokenizer = base_model.train_tokenizer(texts(), 400, STUDENT.max_length)
    assert STUDENT.size is not None
    size = base_model.Size(**STUDENT.size)
    network = base_model.build_model(size, STUDENT, tokenizer).eval()
    torch.nn.init.normal_(network.model.embed_tokens.weight, std=1.0)  # so that options differ
    return Reader(network, tokenizer, STUDENT)


def answers(reader: Reader, choices: list[students.Choice]) -> list[np.ndarray]:
    """The probabilities of choices that all fit."""
    found = [each for each in reader.probabilities(choices) if each is not None]
    assert len(found) == len(choices)
    return found


def alone(reader: Reader, prompt: str, option: str) -> float:
    """Mean log-probability of an option that is the only continuation."""
    import torch

    prefix = students.encode_prompt(reader.tokenizer, prompt)
    answer = students.encode_answer(reader.tokenizer, option)
    with torch.inference_mode():
        logits = reader.network(torch.tensor([prefix + answer])).logits[0]
    logs = logits.log_softmax(-1)[len(prefix) - 1 : -1]
    return float(logs[range(len(answer)), answer].mean())


def test_side_by_side_each_option_is_as_likely_as_alone(reader: Reader):
    for (prompt, options), found in zip(CHOICES, answers(reader, CHOICES), strict=True):
        wanted = np.array([alone(reader, prompt, option) for option in options])
        assert found == pytest.approx(softmax(wanted), abs=1e-5)
        assert found.sum() == pytest.approx(1)
        assert np.ptp(found) > 0.01  # else the test could not tell options apart


def test_answers_do_not_hang_on_order_or_company(reader: Reader):
    together = answers(reader, CHOICES)
    assert np.array_equal(together[0], answers(reader, CHOICES[::-1])[1])
    assert together[1] == pytest.approx(answers(reader, CHOICES[1:])[0], abs=1e-6)


def test_options_in_another_order_have_the_same_probabilities(reader: Reader):
    (prompt, options), *_ = CHOICES
    found, turned = answers(reader, [(prompt, options), (prompt, options[::-1])])
    assert found == pytest.approx(turned[::-1], abs=1e-6)


def test_each_choice_is_read_once(reader: Reader, monkeypatch: pytest.MonkeyPatch):
    read: list[Row] = []
    likelihoods = Reader.likelihoods

    def recorded(self: Reader, rows: list[Row]) -> list[np.ndarray]:
        read.extend(rows)
        return likelihoods(self, rows)

    monkeypatch.setattr(Reader, "likelihoods", recorded)
    assert len(reader.probabilities([*CHOICES, *CHOICES])) == 4
    assert len(read) == 2


def test_what_is_too_long_is_none_and_not_cut(reader: Reader):
    long = ("The right option is " * 60, ("a river", "old"))
    found = reader.probabilities([long, CHOICES[0]])
    assert found[0] is None
    assert found[1] is not None


def test_an_option_without_a_token_is_refused(reader: Reader, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(students, "encode_answer", lambda tokenizer, option: [])
    with pytest.raises(ValueError, match="no token"):
        reader.probabilities(CHOICES)


def test_markers_in_a_text_are_plain_text(reader: Reader):
    eos = reader.tokenizer.eos_token_id
    assert eos not in students.encode_prompt(reader.tokenizer, "x <|eos|>")
    assert eos not in students.encode_answer(reader.tokenizer, "<|eos|>")


def test_a_row_by_hand():
    # prompt 5 6, options (7 8) and (9): 7 and 9 follow the prompt, 8 follows 7
    row = Row([5, 6, 7, 8, 9], 2, [1, 2, 1], [7, 8, 9], [0, 0, 1], 2)
    ids, positions, mask = batched([row], pad=0)
    assert ids[0, :6].tolist() == [5, 6, 7, 8, 9, 0]
    assert positions[0, :5].tolist() == [0, 1, 2, 3, 2]
    assert mask[0, 0, :5, :5].astype(int).tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]


def test_the_row_of_a_choice_predicts_each_option_from_the_prompt(reader: Reader):
    row = Row.of(reader.tokenizer, *CHOICES[1])
    assert row.ids[row.prompt_n :] == row.targets
    first = [row.sources[row.option.index(option)] for option in (0, 1)]
    assert first == [row.prompt_n - 1] * 2


def test_softmax_by_hand():
    assert softmax(np.log([1.0, 3.0])) == pytest.approx([0.25, 0.75])
    assert softmax(np.array([1000.0, 1000.0])) == pytest.approx([0.5, 0.5])


# ---- folders -------------------------------------------------------------------------------


def test_a_saved_student_answers_alike(reader: Reader, tmp_path: Path):
    students.save(reader, tmp_path / "student_0")
    (folder,) = students.folders(tmp_path)
    again = students.load(folder)
    assert again.how == students.read_how(folder) == STUDENT
    for found, wanted in zip(answers(again, CHOICES), answers(reader, CHOICES), strict=True):
        assert np.array_equal(found, wanted)


def hub_student(revision: str | None) -> Student:
    return Student(**vars(STUDENT) | {"name": "owner/name", "revision": revision, "size": None})


def test_a_hub_student_is_pinned_and_not_fetched(tmp_path: Path):
    students.pin(hub_student("a" * 40), tmp_path / "student_0")
    (path,) = tmp_path.rglob("*.json")
    assert json.loads(path.read_text())["revision"] == "a" * 40
    with pytest.raises(InputError, match="owner/name"):
        students.load(tmp_path / "student_0")  # no network in a test


def test_a_hub_student_without_revision_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"owner/name is null.*stages\.pin"):
        students.pin(hub_student(None), tmp_path / "student_0")


def test_an_exam_comes_back_as_it_was(tmp_path: Path):
    exam = Exam(2, [{"question_id": "q", "option_b": None}])
    students.write_exam(exam, tmp_path)
    with pytest.raises(InputError, match="manifest"):
        students.read_exam(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    assert students.read_exam(tmp_path) == exam


# ---- training ------------------------------------------------------------------------------


def trained(folder: Path, seed: int, **changed: float) -> list[dict[str, float]]:
    """A student that learns one answer by heart; its log."""
    tokenizer = base_model.train_tokenizer(texts(), 400, STUDENT.max_length)
    row = course().iloc[0]
    prompt = students.encode_prompt(tokenizer, str(row.stem))
    document = Document(prompt + students.encode_answer(tokenizer, "old trees"), len(prompt))
    reading = Reading(**vars(READING) | changed)
    network, log = lessons.train(STUDENT, reading, tokenizer, lambda is_short: document, seed)
    students.save(Reader(network, tokenizer, STUDENT), folder)
    return log


def test_training_learns_and_equal_seeds_give_equal_bytes(tmp_path: Path):
    log = trained(tmp_path / "a", 1)
    assert log[-1]["loss"] < log[0]["loss"]
    assert log[-1]["step"] == READING.short_steps + READING.steps
    trained(tmp_path / "b", 1)
    trained(tmp_path / "c", 2)
    a, b, c = (tree_bytes(tmp_path / name) for name in "abc")
    assert a == b
    assert a["model.safetensors"] != c["model.safetensors"]


def test_a_student_starts_as_a_copier():
    import torch

    tokenizer = base_model.train_tokenizer(texts(), 400, STUDENT.max_length)
    assert STUDENT.size is not None
    network = base_model.build_model(base_model.Size(**STUDENT.size), STUDENT, tokenizer)
    lessons.start_as_copier(network)
    for layer in network.model.layers:
        handed_on = layer.self_attn.o_proj.weight @ layer.self_attn.v_proj.weight
        assert torch.allclose(handed_on, torch.eye(STUDENT.size["width"]), atol=1e-5)


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path: Path):
    with pytest.raises(InputError, match="loss is nan"):
        trained(tmp_path, 1, adam_learning_rate=float("inf"))
