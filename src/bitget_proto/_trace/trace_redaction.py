"""Redacts credentials from traces.

- The secrets of every login are remembered, and replaced in all later text, however JSON escapes
  them.
- In the user's own frames, everything that looks like a secret is replaced, known or not.
- Redaction is idempotent.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from .._values.credentials import SignedLogin
from .._wire.frame_redaction import HIDDEN, redacted
from .json_values import dumps

_SECRET_FROM = 8
"""Minimum length of a secret that is replaced in other text.

Shorter text may be part of any word. The exchange's keys have 35 characters, its passphrases 8 or
more."""

_SECRETS_KEPT = 32
"""The number of secrets that are remembered. A signature is valid for 30 s."""

_is_hidden_frame = re.compile(r"<[0-9]+ characters that are no JSON object>").fullmatch


class Secrets:
    """The known secrets."""

    __slots__ = ("_forms", "_known")

    def __init__(self) -> None:
        self._known: OrderedDict[str, re.Pattern[str] | None] = OrderedDict()
        """Each secret with the pattern of all its JSON spellings, compiled when first needed."""
        self._forms: tuple[str, ...] = ()
        """The secrets as they are and in their usual JSON spellings, longest first."""

    def learn(self, login: SignedLogin) -> None:
        """Remember the secrets of this login."""
        known = self._known
        for secret in (login.api_key, login.passphrase, login.sign):
            if len(secret) >= _SECRET_FROM:
                known[secret] = known.pop(secret, None)
        while len(known) > _SECRETS_KEPT:
            known.popitem(last=False)
        forms: set[str] = set()
        for secret in known:
            for form in (secret, dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
                forms |= {form, form.replace("/", "\\/")}
        self._forms = tuple(sorted(forms, key=len, reverse=True))

    def out_of(self, text: str) -> str:
        """Return the text with the secrets replaced."""
        for form in self._forms:
            text = text.replace(form, HIDDEN)
        if self._known and "\\u" in text:
            # Rare: JSON may escape any character of a secret.
            for secret, pattern in self._known.items():
                known = self._known[secret] = _any_spelling(secret) if pattern is None else pattern
                text = known.sub(HIDDEN, text)
        return text


def own_frame(text: str) -> str:
    """Return a frame of the user with secrets replaced. Idempotent."""
    return text if not text or _is_hidden_frame(text) else redacted(text)


# --- JSON spellings ---


def _any_spelling(secret: str) -> re.Pattern[str]:
    """Return a pattern for the secret, with each character as it is or escaped."""
    return re.compile("".join(f"(?:{'|'.join(_spellings(char))})" for char in secret))


def _spellings(char: str) -> Iterator[str]:
    yield re.escape(char)
    units = char.encode("utf-16-be", "surrogatepass")
    yield "".join(rf"\\u(?i:{units[at : at + 2].hex()})" for at in range(0, len(units), 2))
    if char in _SHORT:
        yield rf"\\{re.escape(_SHORT[char])}"


_SHORT: Final[Mapping[str, str]] = MappingProxyType({
    '"': '"', "\\": "\\", "/": "/", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t",
})  # fmt: skip
"""Characters that have a short escape in JSON."""
