"""What dvc.yaml declares for a stage -> frozen dataclasses. No key is optional, none is extra."""

import os
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from schemas.errors import InputError, nearest


@dataclass(frozen=True)
class StageParams:
    """Base of every stage's Params: frozen, no defaults, filled from params.yaml."""


P = TypeVar("P")
PARAMS, PIPELINE, PROFILES = Path("params.yaml"), Path("dvc.yaml"), Path("stages/profiles")
MAX_SEED = 2**32 - 1  # NumPy takes no larger one
LOOP_NAMES = {"item", "key"}  # what DVC itself puts into a stage with items


def declared(stage: str) -> dict[str, Any]:
    """Exactly the parameters that dvc.yaml declares for `stage`, from params.yaml and profile.

    DVC sets DVC_STAGE for its own runs; by hand (`python -m stages.x`) the name is given.
    An undeclared read is therefore impossible, and staleness with it. Raises InputError for
    a file that cannot be read, an unknown section, profile or stage, and a senseless seed.
    """
    import dvc.api
    from dvc.exceptions import DvcException
    from dvc.utils.serialize import load_yaml

    name = os.environ.get("DVC_STAGE", stage)
    try:
        check_file(load_yaml(PARAMS), known_keys(load_yaml(PIPELINE)))
        return dict(dvc.api.params_show(stages=name))
    except (DvcException, OSError) as error:
        told = " ".join(str(error).split())
        raise InputError(f"{PARAMS} or {PIPELINE}: stage '{name}': {told}") from error


def known_keys(node: Any) -> set[str]:
    """The top-level keys of params.yaml that a parsed dvc.yaml uses, in params or in ${...}."""
    if not isinstance(node, dict | list):
        return {*re.findall(r"\$\{\s*(\w+)", str(node))} - LOOP_NAMES
    # a file's name may hold a ${...}, too, and it is a key
    parts, used = [*node], set()
    if isinstance(node, dict):
        parts += node.values()
        entries = [e for e in node.get("params") or [] if isinstance(e, str) and "${" not in e]
        used = {entry.split(".")[0] for entry in entries}
    return used.union(*map(known_keys, parts))


def check_file(values: Any, known: set[str]) -> None:
    """Raise InputError for a section that no stage uses, a profile without file, a bad seed."""
    if not isinstance(values, dict) or not values:
        raise InputError(f"{PARAMS}: expected sections, got {values!r}. Write those of {PIPELINE}.")
    for unknown in [key for key in values if key not in known]:
        raise InputError(f"{PARAMS}: unknown key {unknown!r}. {nearest(unknown, known)}")
    profiles = sorted(path.stem for path in PROFILES.glob("*.yaml"))
    if (profile := values.get("profile")) not in profiles and "profile" in values:
        hint = nearest(profile, profiles)
        raise InputError(f"{PARAMS}: profile: {PROFILES} has no profile {profile!r}. {hint}")
    seed = values.get("seed", 0)
    if type(seed) is not int or not 0 <= seed <= MAX_SEED:  # a bool is an int to isinstance
        raise InputError(
            f"{PARAMS}: seed: {seed!r} is not a whole number, 0 to {MAX_SEED}. Set it, e.g. to 13."
        )


def fill(cls: type[P], section: str, values: object, source: str) -> P:
    """Build `cls` from `values`; a missing or unknown key raises with the nearest name."""
    names = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    if not names and values is None:
        return cls()
    if not isinstance(values, dict):
        raise InputError(f"{source}: {section}: expected keys {sorted(names)}, got {values!r}")
    for unknown in sorted(set(values) - names, key=str):  # YAML has keys of several types
        hint = nearest(unknown, names)
        raise InputError(f"{source}: {section}: unknown key '{unknown}'. {hint}")
    if missing := sorted(names - set(values)):
        raise InputError(f"{source}: {section}: missing {missing}. Add it to the section.")
    check_types(cls, section, values, source)
    return cls(**values)


def check_types(cls: type[Any], section: str, values: dict[str, Any], source: str) -> None:
    """Raise InputError for a value that is not of its field's type; an int passes as float."""
    from pydantic import TypeAdapter, ValidationError

    for name, wanted in get_type_hints(cls).items():
        try:
            TypeAdapter(wanted).validate_python(values[name], strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join([section, name, *map(str, first["loc"])])
            message = f"{source}: {key}: {first['msg']}, got {first['input']!r}."
            raise InputError(message) from error


def section(cls: type[P], name: str, given: dict[str, Any], source: str = "params.yaml") -> P:
    """The section `name` of `given` as a `cls`; a missing section names what is there.

    A stage without parameters needs no section.
    """
    if name not in given and fields(cls):  # type: ignore[arg-type]
        raise InputError(f"{source}: no section '{name}' among {sorted(given)}. Add it.")
    return fill(cls, name, given.get(name), source)
