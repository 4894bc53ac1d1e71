"""What dvc.yaml declares for a stage -> frozen dataclasses. No key is optional, none is extra."""

import difflib
import os
from dataclasses import dataclass, fields
from typing import Any, TypeVar, get_type_hints

from schemas.errors import InputError


@dataclass(frozen=True)
class StageParams:
    """Base of every stage's Params: frozen, no defaults, filled from params.yaml."""


P = TypeVar("P")


def declared(stage: str) -> dict[str, Any]:
    """Exactly the parameters that dvc.yaml declares for `stage`, from params.yaml and profile.

    DVC sets DVC_STAGE for its own runs; by hand (`python -m stages.x`) the name is given.
    An undeclared read is therefore impossible, and staleness with it.
    """
    import dvc.api
    from dvc.exceptions import DvcException

    name = os.environ.get("DVC_STAGE", stage)
    try:
        return dict(dvc.api.params_show(stages=name))
    except DvcException as error:
        raise InputError(f"params.yaml or dvc.yaml: stage '{name}': {error}") from error


def fill(cls: type[P], section: str, values: object, source: str) -> P:
    """Build `cls` from `values`; a missing or unknown key raises with the nearest name."""
    names = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    if not names and values is None:
        return cls()
    if not isinstance(values, dict):
        raise InputError(f"{source}: {section}: expected keys {sorted(names)}, got {values!r}")
    for unknown in sorted(set(values) - names):
        nearest = difflib.get_close_matches(str(unknown), sorted(names), n=1)
        hint = f" Did you mean '{nearest[0]}'?" if nearest else f" Known: {sorted(names)}."
        raise InputError(f"{source}: {section}: unknown key '{unknown}'.{hint}")
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
