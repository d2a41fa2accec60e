"""Encodes values as JSON, and decodes them.

- Encoding is exact: numbers keep every bit, and text and bytes are distinguished.
- Encoding never fails: a value that cannot be encoded is written as its type.
- Decoding is strict: no coercion, and no unknown fields.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from decimal import Decimal
from math import isfinite
from types import MappingProxyType
from typing import Any, Final, TypeAlias, cast

from cattrs import Converter

from .._values.errors import safe_repr

Plain: TypeAlias = dict[str, Any]
"""A JSON object."""

_TOO_LONG: Final[int] = 10**300
"""Integers from here on are not written. Times and link numbers are far smaller."""

dumps: Final = json.JSONEncoder(separators=(",", ":")).encode


def line(data: Plain) -> str:
    """Return `data` as one line, with its line ending."""
    return dumps(data) + "\n"


def loaded(text: str) -> Plain | None:
    """Return a line as plain data, or None when it is not a JSON object."""
    try:
        data: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return cast("Plain", data) if isinstance(data, dict) else None


def same(value: Any) -> Any:
    """Return the value unchanged."""
    return value


# --- any value ---


def plain(value: object, hide: Callable[[str], str] = same) -> object:
    """Return any value as JSON data, with `hide` applied to every text in it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        text = hide(str.__str__(value))
        return (
            text
            if is_unicode(text)
            else {"surrogates": _base64(text.encode("utf-8", "surrogatepass"))}
        )
    if isinstance(value, bytes):
        data = hide(value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        try:
            return {"utf8": data.decode()}
        except UnicodeDecodeError:
            return {"base64": _base64(data)}
    if isinstance(value, float):
        return value if isfinite(value) else {"float": float.__repr__(value)}
    if isinstance(value, int) and fits(value):
        return value
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return {key: plain(inside, hide) for key, inside in cast("Plain", value).items()}
    if isinstance(value, (list, tuple)):
        return [plain(inside, hide) for inside in cast("list[object]", value)]
    return f"<a value of type {type(value).__name__}>"


def restored(data: object) -> Any:
    """Return the value that `plain` has encoded.

    Raises: ValueError, TypeError, KeyError or AttributeError for data that `plain` does not
    produce.
    """
    if not isinstance(data, dict):
        return data
    ((kind, inside),) = cast("Plain", data).items()
    return _KINDS[kind](inside)


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _from_base64(text: str) -> bytes:
    return b64decode(text, validate=True)


_KINDS: Final[Mapping[str, Callable[[str], object]]] = MappingProxyType({
    "float": float,
    "utf8": str.encode,
    "base64": _from_base64,
    "surrogates": lambda text: _from_base64(text).decode("utf-8", "surrogatepass"),
})  # fmt: skip


def is_unicode(text: str) -> bool:
    """Return whether the text can be encoded as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def fits(value: int) -> bool:
    """Return whether an integer is small enough to be written."""
    return -_TOO_LONG < value < _TOO_LONG


# --- cattrs ---


def _strictly(*allowed: type) -> Callable[[object, object], object]:
    def strictly(value: object, _: object) -> object:
        if type(value) not in allowed:
            raise TypeError(
                f"must be {' or '.join(kind.__name__ for kind in allowed)}; got {safe_repr(value)}"
            )
        return value

    return strictly


def _strict() -> Any:
    converter: Any = Converter(forbid_extra_keys=True)
    for kind, allowed in ((str, (str,)), (bool, (bool,)), (int, (int,)), (float, (float, int))):
        converter.register_structure_hook(kind, _strictly(*allowed))
    return converter


# Any: cattrs does not annotate the types of its hooks.
STRICT: Final[Any] = _strict()
"""Decodes plain data."""
BRIEF: Final[Any] = Converter(omit_if_default=True)
"""Encodes values as plain data, without defaults."""
WHOLE: Final[Any] = Converter()
"""Encodes values as plain data, including defaults."""
