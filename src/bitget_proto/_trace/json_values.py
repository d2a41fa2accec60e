"""Values as a line of JSON can hold them, and back.

Rules of this file
- Exact: what is read back is what was written. A number stays what it was, to the last bit; text and bytes are told apart.
- Nothing fails to be written: of what JSON has no way to hold, the type is.
- Reading is strict: no coercion, and no field that is not known here.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from math import isfinite
from types import MappingProxyType
from typing import Any, Final, TypeAlias, cast

from cattrs import Converter

from .._values.errors import safe_repr

Plain: TypeAlias = dict[str, Any]
"""An object of JSON."""

_TOO_LONG: Final[int] = 10**300
"""The first integer that is not written. No time and no number of a link comes near it."""

dumps: Final = json.JSONEncoder(separators=(",", ":")).encode


def line(data: Plain) -> str:
    """One line, with its end."""
    return dumps(data) + "\n"


def loaded(text: str) -> Plain | None:
    """A line as plain data; None for what is no object of JSON."""
    try:
        data: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return cast("Plain", data) if isinstance(data, dict) else None


def same(value: Any) -> Any:
    """The value itself."""
    return value


# --- any value ---


def plain(value: object, hide: Callable[[str], str] = same) -> object:
    """Any value as JSON can hold it, and every text in it as `hide` leaves it."""
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
    if isinstance(value, dict):
        return {key: plain(inside, hide) for key, inside in cast("Plain", value).items()}
    if isinstance(value, (list, tuple)):
        return [plain(inside, hide) for inside in cast("list[object]", value)]
    return f"<a value of type {type(value).__name__}>"


def restored(data: object) -> Any:
    """What `plain` has written, as it was.

    Raises: ValueError, TypeError, KeyError or AttributeError for what it has not.
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
    """Whether UTF-8 can hold this text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def fits(value: int) -> bool:
    """Whether an integer is short enough to be written."""
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


# Any: cattrs' annotations leave the types of its hooks open.
STRICT: Final[Any] = _strict()
"""From plain data to values."""
BRIEF: Final[Any] = Converter(omit_if_default=True)
"""From values to plain data, and no default."""
WHOLE: Final[Any] = Converter()
"""From values to plain data, defaults and all."""
