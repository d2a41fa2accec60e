"""Hides the secrets of an account in text that may be shown, such as an answer that repeats them."""

from __future__ import annotations

from collections import deque

from bitget_proto import Credentials

_SECRET_FROM = 8
"""Minimum length of a secret that is hidden in other text: a shorter one may be part of any word.
The exchange's keys have 35 characters, its passphrases 8 or more.
"""

_PART_FROM = 4
"""Minimum length of the beginning of a secret that is hidden where a text was cut."""

_LOGINS_KEPT = 400
"""The number of logins whose signatures are hidden: a session has 200 links at most, and signs at
most twice for each.
"""

_REQUESTS_KEPT = 64
"""The number of REST requests whose signatures are hidden: more than are sent at the same time."""

_HIDDEN = "***"


class Redactor:
    """The secrets of one account."""

    def __init__(self, credentials: Credentials) -> None:
        self.logins: deque[str] = deque(maxlen=_LOGINS_KEPT)
        """The signatures of logins."""
        self.requests: deque[str] = deque(maxlen=_REQUESTS_KEPT)
        """The signatures of REST requests."""
        self._secrets = [
            secret
            for secret in (credentials.api_key, credentials.secret, credentials.passphrase)
            if len(secret) >= _SECRET_FROM
        ]

    def hide(self, text: str) -> str:
        """Return the text without secrets. A secret that is cut at the end is hidden too."""
        for secret in (*self._secrets, *self.logins, *self.requests):
            text = text.replace(secret, _HIDDEN)
            at = text.rfind(secret[:_PART_FROM])
            if at >= 0 and secret.startswith(text[at:]):
                text = text[:at] + _HIDDEN
        return text
