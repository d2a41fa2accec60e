"""The limits on a message: its length, and how deeply its JSON may nest.

A deeply nested message can exhaust the stack of a JSON decoder, so nesting is checked first.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Final

from .._values.errors import ValidationError, safe_repr
from .messages import Malformed, MalformedReason

_EXCERPT = 100
MAX_MESSAGE: Final = 65536
MAX_DEPTH: Final = 32
UNCHECKED_PER_LEVEL = 16
"""Nesting is not checked in messages of up to this many characters per allowed level, because the
check takes longer than decoding a reply."""
UNCHECKED_AT_MOST = 512
"""Nesting is checked in all messages longer than this, unless the depth limit is off: 8000 levels
crash the interpreter in a thread with a small stack."""

_drop_strings = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL).sub
_drop_all_but_brackets = re.compile(r"[^][}{]++").sub
_ONE_KIND = MappingProxyType(str.maketrans("{}", "[]"))


def read_text(
    message: str | bytes, max_message: int | None, max_depth: int | None
) -> str | Malformed:
    """Return the message as text, or `Malformed` if it exceeds a limit or is not UTF-8."""
    if not isinstance(message, (str, bytes)):
        raise ValidationError(f"message must be str or bytes; got {safe_repr(message)}")
    if max_message is not None and len(message) > max_message:
        return malformed("too large", message)
    if isinstance(message, str):
        text = message if type(message) is str else str.__str__(message)
    else:
        try:
            text = message.decode()
        except UnicodeDecodeError:
            return malformed("not UTF-8", message)
    if (
        max_depth is not None
        and len(text) > min(UNCHECKED_PER_LEVEL * max_depth, UNCHECKED_AT_MOST)
        and _is_deeper(text, max_depth)
    ):
        return malformed("too deep", text)
    return text


def _is_deeper(text: str, limit: int) -> bool:
    """Return whether objects and lists nest deeper than `limit`.

    Only the brackets outside strings are kept. Each step then removes all innermost pairs, so the
    number of steps is the nesting depth. A step scans the text once, so no input takes long.
    """
    if text.count("{") + text.count("[") <= limit:
        return False
    brackets = _drop_all_but_brackets("", _drop_strings("", text)).translate(_ONE_KIND)
    for _ in range(limit):
        if not brackets:
            return False
        brackets = brackets.replace("[]", "")
    return "[]" in brackets or brackets.count("[") > limit


def malformed(reason: MalformedReason, message: str | bytes) -> Malformed:
    # A character has at most four bytes, so the last one kept is complete.
    return Malformed(reason, as_text(message[: 4 * _EXCERPT])[:_EXCERPT])


def as_text(message: str | bytes) -> str:
    """Return a message as text; bytes that are not UTF-8 are escaped."""
    return message if isinstance(message, str) else message.decode("utf-8", "backslashreplace")
