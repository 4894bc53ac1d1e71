"""Write the current hub revisions of a profile's models into the profile.

    the hub -> stages/profiles/<profile>.yaml

A profile that names a hub model runs only with the full hash of a commit, so that it means
the same model tomorrow. This command is the only code that asks the hub by itself; it reads
names and hashes, and downloads no model. Comments in the profile stay. For a model behind a
licence, accept it on the hub and set HF_TOKEN.

    python -m stages.pin                       # the profile of params.yaml
    python -m stages.pin --profile qwen3_8b
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from schemas.errors import InputError
from stages.runtime import artifacts
from stages.runtime.run import start

PARAMS, PROFILES = Path("params.yaml"), Path("stages/profiles")
SECTIONS = ("model", "encoder")  # and every student of "students"
COMMIT = re.compile(r"[0-9a-f]{40}")


def is_on_hub(name: str) -> bool:
    """Whether a model's name is a hub repository: owner/name."""
    return name != "trained" and not name.startswith("package:")


def hub_revision(name: str) -> str:
    """Commit of the default branch of a hub repository; InputError says why there is none."""
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        found = HfApi().model_info(name, timeout=30).sha
    except OfflineModeIsEnabled as error:
        raise InputError(
            f"{name}: HF_HUB_OFFLINE is set. Run `HF_HUB_OFFLINE=0 python -m stages.pin`."
        ) from error
    except (HfHubHTTPError, HFValidationError) as error:
        raise InputError(
            f"{name}: {first_line(error)} Check the name; for a model behind a licence, accept it "
            "on the hub and set HF_TOKEN."
        ) from error
    except (httpx2.HTTPError, OSError) as error:
        raise InputError(f"{name}: the hub cannot be reached ({first_line(error)})") from error
    if not COMMIT.fullmatch(found or ""):
        raise InputError(f"{name}: the hub names no commit, but {found!r}. Try again later.")
    return str(found)


def first_line(error: Exception) -> str:
    """The first line of an error's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def set_revision(text: str, section: str, revision: str) -> str:
    """The profile's text with `revision` on the revision line of `section`; the rest as it was.

    section: a name, or one inside another ("students.student_0").
    """
    pattern = "(?m)^"
    for depth, name in enumerate([*section.split("."), "revision"]):
        if depth:  # deeper lines, comments and empty lines may stand between
            pattern += rf"[^\n]*\n(?:(?:{'  ' * (depth - 1)}[ #][^\n]*| *#[^\n]*)?\n)*?"
        pattern += f"{'  ' * depth}{name}:"
    found = re.search(pattern + r" *([^\s#]+)", text)
    if found is None:
        raise InputError(f"{section}: the profile has no line 'revision: ...' there. Add it.")
    # quoted, because YAML reads a hash of digits, or of digits and one e, as a number
    return f'{text[: found.start(1)]}"{revision}"{text[found.end(1) :]}'


def pin(path: Path, revision_of: Callable[[str], str]) -> list[str]:
    """Pin every hub model of a profile; one line about each section, written when all are known."""
    text = path.read_text(encoding="utf-8")
    values: dict[str, Any] = yaml.safe_load(text)
    said = []
    students = {f"students.{name}": how for name, how in (values.get("students") or {}).items()}
    for section, how in ({name: values[name] for name in SECTIONS} | students).items():
        name, before = how["name"], how["revision"]
        if not is_on_hub(name):
            said.append(f"{section}: {name} is no hub model, nothing to pin")
            continue
        revision = revision_of(name)
        same = "unchanged" if revision == before else f"was {before or 'null'}"
        said.append(f"{section}: {name} {revision} ({same})")
        text = set_revision(text, section, revision)
    artifacts.write_text(path, text)
    return said


def profile_path(name: str | None) -> Path:
    """The file of a profile; without a name, of the one that params.yaml selects."""
    chosen = name or yaml.safe_load(PARAMS.read_text(encoding="utf-8"))["profile"]
    known = sorted(path.stem for path in PROFILES.glob("*.yaml"))
    if chosen not in known:
        raise InputError(f"{PROFILES}: no profile '{chosen}'. Use one of {known}.")
    return PROFILES / f"{chosen}.yaml"


def main(
    profile: Annotated[str | None, typer.Option(help="Default: the one of params.yaml.")] = None,
) -> None:
    """Write the current hub revisions of a profile's models into the profile."""
    path = profile_path(profile)
    lines = pin(path, hub_revision)
    print("\n".join([f"{path}:", *(f"  {line}" for line in lines)]))


if __name__ == "__main__":
    start(main)
