"""The one exception that a user can mend. Stages print it as one line and exit with code 2."""

import difflib
from collections.abc import Collection


class InputError(Exception):
    """Bad input: an export, a parameter, an artifact or a model that does not fit.

    The message is one line: subject, offending value, where it came from, what to do.
    """


def nearest(word: object, names: Collection[str]) -> str:
    """What to do about a name that is none of `names`: the nearest of them, or all."""
    found = difflib.get_close_matches(str(word), sorted(names), n=1)
    return f"Did you mean '{found[0]}'?" if found else f"Known: {sorted(names)}."
