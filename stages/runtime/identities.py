"""Where the names of students end: dropped, or replaced by a hash that needs a secret."""

import hashlib
import hmac
import os

import pandas as pd

from schemas.errors import InputError

SECRET = "PEERWISE_USER_KEY"  # name of the environment variable
MIN_SECRET_CHARACTERS = 16  # names are few: a short key could be found by trying


def user_hashes(users: pd.Series, mode: str) -> list[str | None]:
    """For mode `drop` nulls, for `hash` 32 hex digits of HMAC-SHA256 (RFC 2104) per user.

    A row without a user has no hash. The same user has the same hash in every course.
    Raises InputError if the mode is `hash` and the environment holds no secret, or a short
    one; the message does not show it.
    """
    if mode == "drop":
        return [None] * len(users)
    given = os.environ.get(SECRET, "")
    if (length := len(given.strip())) < MIN_SECRET_CHARACTERS:
        fault = f"has {length} characters" if length else "is not set or blank"
        raise InputError(
            f"{SECRET} {fault} in the environment, and prepare_questions.users is hash. Set it to "
            f"a random text of {MIN_SECRET_CHARACTERS} characters or more, or users to drop."
        )
    secret = os.fsencode(given)  # the bytes as they were set, UTF-8 or not
    texts = ["" if pd.isna(user) else str(user).strip() for user in users]
    return [
        hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()[:32] if text else None
        for text in texts
    ]
