"""Removes secrets from frames before they are shown.

Rules for changes
- A login is shown with its op and its timestamp only, whatever its keys and structure are.
- The value of a key that names a secret is hidden at any depth.
- Text that is not a JSON object may be a malformed login: only its length is shown.
"""

from __future__ import annotations

import json
from typing import Any, Final, cast

from .codec import PING, PONG
from .message_limits import as_text

HIDDEN: Final = "***"

_SECRET: Final = frozenset({
    "accesskey", "accesspassphrase", "accesssign", "apikey", "apisecret", "key", "passphrase",
    "password", "secret", "secretkey", "sign", "signature",
})  # fmt: skip
"""Keys whose values are hidden; case, `-` and `_` are ignored."""

_dumps = json.JSONEncoder(separators=(",", ":")).encode


def redacted(message: str | bytes) -> str:
    """Return a frame of either side without secrets."""
    text = as_text(message)
    if text in (PING, PONG):
        return text
    keys: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # A dict keeps only the last value of a duplicate key, but the text contains all of them.
        keys.extend(key for key, _ in pairs)
        return dict(pairs)

    try:
        data: object = json.loads(text, object_pairs_hook=note)
        if isinstance(data, dict):
            data = cast("dict[str, object]", data)
            login = "login" in str(data.get("op")).casefold() or keys.count("op") > 1
            return (
                _dumps(_hidden(data, login=login)) if login or any(map(_is_secret, keys)) else text
            )
    except (ValueError, RecursionError):
        pass
    return f"<{len(text)} characters that are no JSON object>"


def _is_secret(key: str) -> bool:
    return key.casefold().replace("_", "").replace("-", "") in _SECRET


def _hidden(data: object, *, login: bool) -> object:
    """Return the data with secrets hidden. A login keeps only the values of op and timestamp."""
    if isinstance(data, dict):
        items = cast("dict[str, object]", data).items()
        return {
            key: HIDDEN
            if _is_secret(key)
            else value
            if _is_plain(key, value)
            else _hidden(value, login=login)
            for key, value in items
        }
    if isinstance(data, list):
        return [_hidden(value, login=login) for value in cast("list[object]", data)]
    return HIDDEN if login else data


def _is_plain(key: str, value: object) -> bool:
    return (key == "op" and value == "login") or (key == "timestamp" and str(value).isdigit())
