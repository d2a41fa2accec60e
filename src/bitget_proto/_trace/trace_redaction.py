"""What of a life is not written down: the parts of its logins, wherever they turn up.

Rules of this file
- Each login tells its own secrets, and from then on no text that passes here holds one of them, however JSON spells it.
- Frames of the user's own hide what looks like a secret, known or not.
- What is hidden once looks the same when it is hidden again.
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
"""How long a part of a login is that is looked for elsewhere. What is shorter may be part of any word, and hides nothing: the
exchange's keys have 35 characters, its pass phrases 8 and more."""

_SECRETS_KEPT = 32
"""Parts of logins that are remembered: a signature is valid for 30 s."""

_is_hidden_frame = re.compile(r"<[0-9]+ characters that are no JSON object>").fullmatch


class Secrets:
    """The secrets that are known so far."""

    __slots__ = ("_forms", "_known")

    def __init__(self) -> None:
        self._known: OrderedDict[str, re.Pattern[str] | None] = OrderedDict()
        """Each with the pattern of all its spellings, once it was needed."""
        self._forms: tuple[str, ...] = ()
        """As they are, and as JSON may spell them; the longest first."""

    def learn(self, login: SignedLogin) -> None:
        """Hide the parts of this login from now on."""
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
        """The text without the secrets."""
        for form in self._forms:
            text = text.replace(form, HIDDEN)
        if self._known and "\\u" in text:
            # Rare: JSON may spell any letter of a secret by its number.
            for secret, pattern in self._known.items():
                known = self._known[secret] = _any_spelling(secret) if pattern is None else pattern
                text = known.sub(HIDDEN, text)
        return text


def own_frame(text: str) -> str:
    """A frame of the user's own, as it is written. What was written once is written so again."""
    return text if not text or _is_hidden_frame(text) else redacted(text)


# --- however JSON spells it ---


def _any_spelling(secret: str) -> re.Pattern[str]:
    """The secret, each of its letters as it is or as JSON may escape it."""
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
"""Characters with an escape of their own."""
