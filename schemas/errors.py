"""The one exception that a user can mend. Stages print it as one line and exit with code 2."""


class InputError(Exception):
    """Bad input: an export, a parameter, an artifact or a model that does not fit.

    The message is one line: subject, offending value, where it came from, what to do.
    """
