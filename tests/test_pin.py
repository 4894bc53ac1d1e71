"""The pinned commit is the hub's, everything else in the profile stays byte for byte."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from ruamel.yaml import YAML

from schemas.errors import InputError
from stages.pin import hub_revision, pin, profile_path, set_revision
from tests.imports import ROOT

PROFILES = ROOT / "stages/profiles"
OLD, NEW = "0" * 39 + "1", "abcdef0123" * 4
HUB_PROFILES = ["smollm2_cpu", "qwen3_8b", "llama3_8b_zero3"]

TEXT = f"""# a comment with revision: in it
model:
  name: owner/model
  # revision: old, in a comment
  revision: null   # the commit

  dtype: float32
encoder:           # two words
  name: owner/encoder
  revision: "{OLD}"
  lora_targets: [a]
generation:
  batch_size: 8
"""


def fake(name: str) -> str:
    return {"owner/model": NEW, "owner/encoder": OLD[::-1]}[name]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "some.yaml"
    file.write_text(TEXT)
    return file


# ---- the file ----------------------------------------------------------------------------


def test_only_the_two_values_change(path: Path):
    pin(path, fake)
    expected = TEXT.replace("revision: null ", f'revision: "{NEW}" ').replace(OLD, OLD[::-1])
    assert path.read_text() == expected


@pytest.mark.parametrize("revision", ["1" * 40, "12345e" + "6" * 34])
def test_a_hash_that_looks_like_a_number_stays_a_hash(path: Path, revision: str):
    pin(path, lambda _: revision)
    for reader in (yaml.safe_load, YAML(typ="safe").load):  # ours, and the one of DVC
        assert reader(path.read_text())["model"]["revision"] == revision


def test_pinning_again_changes_nothing_and_says_so(path: Path):
    pin(path, fake)
    once = path.read_bytes()
    said = pin(path, fake)
    assert path.read_bytes() == once
    assert [line.endswith("(unchanged)") for line in said] == [True, True]


def test_it_says_what_was_there_before(path: Path):
    said = pin(path, fake)
    assert said[0] == f"model: owner/model {NEW} (was null)"
    assert said[1].endswith(f"(was {OLD})")


def test_one_unknown_model_leaves_the_whole_file_alone(path: Path):
    def only_the_first(name: str) -> str:
        if name == "owner/encoder":
            raise InputError("owner/encoder: not there.")
        return NEW

    with pytest.raises(InputError, match="owner/encoder"):
        pin(path, only_the_first)
    assert path.read_text() == TEXT


def test_a_section_without_a_revision_does_not_take_the_next_ones():
    with pytest.raises(InputError, match="model"):
        set_revision(TEXT.replace("  revision: null", "  other: null"), "model", NEW)


STUDENTS = f"""{TEXT}students:   # two
  student_0:
    name: owner/model
    # revision: in a comment
    revision: null   # the commit
    size: null
  student_1:
    name: owner/encoder
    revision: "{OLD}"
"""


def test_every_student_is_pinned_in_its_own_place(path: Path):
    path.write_text(STUDENTS)
    said = pin(path, fake)
    read = yaml.safe_load(path.read_text())["students"]
    assert [student["revision"] for student in read.values()] == [NEW, OLD[::-1]]
    assert said[2] == f"students.student_0: owner/model {NEW} (was null)"
    assert path.read_text().count("#") == STUDENTS.count("#")


def test_a_student_without_a_revision_does_not_take_the_next_ones():
    broken = STUDENTS.replace("    revision: null", "    other: null")
    with pytest.raises(InputError, match="student_0"):
        set_revision(broken, "students.student_0", NEW)


@pytest.mark.parametrize("name", HUB_PROFILES)
def test_the_profiles_of_the_repository_can_be_pinned(name: str, tmp_path: Path):
    copy = tmp_path / f"{name}.yaml"
    before = (PROFILES / copy.name).read_text()
    copy.write_text(before)
    said = pin(copy, lambda _: NEW)
    wanted = yaml.safe_load(before)
    wanted["model"]["revision"] = NEW
    for student in wanted["students"].values():
        student["revision"] = NEW
    assert yaml.safe_load(copy.read_text()) == wanted
    assert copy.read_text().count("#") == before.count("#")
    assert "nothing to pin" in said[1]  # the encoder comes in a package


def test_a_profile_without_hub_models_asks_nobody(tmp_path: Path):
    copy = tmp_path / "tiny.yaml"
    shutil.copy(PROFILES / "tiny.yaml", copy)

    def nobody(name: str) -> str:
        raise AssertionError(f"asked for {name}")

    assert all("nothing to pin" in line for line in pin(copy, nobody))
    assert copy.read_bytes() == (PROFILES / "tiny.yaml").read_bytes()


def test_the_default_is_the_profile_of_params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    chosen = yaml.safe_load(Path("params.yaml").read_text())["profile"]
    assert profile_path(None).stem == chosen
    with pytest.raises(InputError, match="no profile 'gpt'"):
        profile_path("gpt")


# ---- the hub: a server of this machine ---------------------------------------------------


class Hub(BaseHTTPRequestHandler):
    """Knows two models, one of them behind a licence, and one that names no commit."""

    asked: list[tuple[str, str]] = []  # noqa: RUF012 - reset by the fixture

    def do_GET(self) -> None:
        Hub.asked.append((self.path, self.headers.get("authorization", "")))
        name = self.path.split("?")[0].removeprefix("/api/models/")
        if name in ("HuggingFaceTB/SmolLM2-135M-Instruct", "Qwen/Qwen3-0.6B"):
            self.answer(200, {"id": name, "sha": NEW, "tags": [], "siblings": []})
        elif name == "owner/no-commit":
            self.answer(200, {"id": name, "sha": None, "tags": [], "siblings": []})
        elif name == "Qwen/Qwen3-8B":
            self.answer(403, {"error": "gated"}, "GatedRepo")
        else:
            self.answer(404, {"error": "Repository not found"}, "RepoNotFound")

    def answer(self, status: int, body: dict, error: str | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        if error:
            self.send_header("x-error-code", error)
            self.send_header("x-error-message", "as asked")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def hub() -> Iterator[str]:
    """The address of the fake hub."""
    Hub.asked = []
    server = HTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with params.yaml and the profiles."""
    shutil.copytree(PROFILES, tmp_path / "stages/profiles")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path


def command(
    folder: Path, endpoint: str, *arguments: str, offline: str = "0"
) -> subprocess.CompletedProcess[str]:
    """python -m stages.pin in `folder`, with its hub at `endpoint`."""
    own = {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": offline, "PYTHONPATH": str(ROOT)}
    own |= {"HF_HOME": str(folder / "hf"), "NO_PROXY": "127.0.0.1"}
    return subprocess.run(
        [sys.executable, "-m", "stages.pin", *arguments],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if k != "HF_TOKEN"} | own,
        capture_output=True,
        text=True,
    )


def test_the_command_writes_the_commit_that_the_hub_names(checkout: Path, hub: str):
    done = command(checkout, hub, "--profile", "smollm2_cpu")
    assert done.returncode == 0, done.stderr
    profile = yaml.safe_load((checkout / "stages/profiles/smollm2_cpu.yaml").read_text())
    assert profile["model"]["revision"] == NEW
    assert NEW in done.stdout
    assert {path for path, _ in Hub.asked} == {
        "/api/models/HuggingFaceTB/SmolLM2-135M-Instruct",
        "/api/models/Qwen/Qwen3-0.6B",
    }


@pytest.mark.parametrize(
    ("profile", "offline", "words"),
    [
        ("llama3_8b_zero3", "0", "meta-llama/Meta-Llama-3-8B-Instruct: "),  # unknown there
        ("qwen3_8b", "0", "HF_TOKEN"),  # behind a licence
        ("smollm2_cpu", "1", "HF_HUB_OFFLINE"),
        ("gpt", "0", "no profile 'gpt'"),
    ],
)
def test_what_goes_wrong_is_said_in_one_line(
    checkout: Path, hub: str, profile: str, offline: str, words: str
):
    before = {p.name: p.read_bytes() for p in (checkout / "stages/profiles").iterdir()}
    done = command(checkout, hub, "--profile", profile, offline=offline)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert words in done.stderr
    assert {p.name: p.read_bytes() for p in (checkout / "stages/profiles").iterdir()} == before


def test_a_hub_that_is_not_there_is_said_in_one_line(checkout: Path):
    done = command(checkout, "http://127.0.0.1:9", "--profile", "smollm2_cpu")
    assert done.returncode == 2
    assert done.stderr.startswith("error: HuggingFaceTB/SmolLM2-135M-Instruct: the hub cannot")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("sha", [None, "main", NEW.upper(), NEW[:39]])
def test_what_is_no_commit_is_refused(sha: str | None, monkeypatch: pytest.MonkeyPatch):
    import huggingface_hub

    class Api:
        def model_info(self, name: str, timeout: float) -> object:
            return type("Info", (), {"sha": sha})()

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    with pytest.raises(InputError, match="names no commit"):
        hub_revision("owner/model")
