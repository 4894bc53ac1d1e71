"""Where the names of students end: dropped, or replaced by a hash that needs a secret."""

import hashlib
import hmac
import os

import pandas as pd

from schemas.errors import InputError

SECRET = "PEERWISE_USER_KEY"  # name of the environment variable


def user_hashes(users: pd.Series, mode: str) -> list[str | None]:
    """For mode `drop` nulls, for `hash` 32 hex digits of HMAC-SHA256 (RFC 2104) per user.

    A row without a user has no hash. The same user has the same hash in every course.
    Raises InputError if the mode is `hash` and the secret is not in the environment.
    """
    if mode == "drop":
        return [None] * len(users)
    secret = os.environ.get(SECRET, "").encode()
    if not secret:
        raise InputError(
            f"{SECRET} is not set in the environment, and prepare_questions.users is hash. "
            "Set it to a long random text, or users to drop."
        )
    texts = ["" if pd.isna(user) else str(user).strip() for user in users]
    return [
        hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()[:32] if text else None
        for text in texts
    ]
