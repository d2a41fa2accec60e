"""Checks of arguments, and how error messages quote a refused value."""

from __future__ import annotations

import sys
from math import inf
from typing import Any

import attrs

from bitget_proto import Codec, Dialect, LocalProtocolError, ValidationError

_SHOWN = 48
"""The number of characters of a refused value that an error message quotes."""


def safe_repr(value: object) -> str:
    """Return the value as an error message may quote it: short and on one line. Never raise."""
    if isinstance(value, str):
        text = str.__str__(value)
        return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}… ({len(text)} characters)"
    if value is None or type(value) is bool:
        return repr(value)
    if type(value) is float or (type(value) is int and -(10**20) < value < 10**20):
        return f"the {type(value).__name__} {value!r}"
    return f"a value of type {type(value).__name__}"


def check_seconds(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Validate a limit in seconds, or None."""
    if value is None:
        return
    if (
        isinstance(value, bool)
        or not isinstance(value, (float, int))
        or not 0 < value <= sys.float_info.max
    ):
        raise ValidationError(
            f"{attribute.name} must be a finite number of seconds above 0, or None for no limit; "
            f"got {safe_repr(value)}"
        )


def check_timeout(timeout: object) -> None:
    """Check a timeout as `Connection.cancel` does.

    Raises: ValidationError for a timeout that it refuses.
    """
    if (
        isinstance(timeout, bool)
        or not isinstance(timeout, (float, int))
        or not (0 < timeout <= sys.float_info.max or timeout == inf)
    ):
        raise ValidationError(
            f"timeout must be a number of seconds above 0 (math.inf or None for no limit); "
            f"got {safe_repr(timeout)}"
        )


def check_count(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Validate a limit that is a count, or None."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValidationError(
            f"{attribute.name} must be a whole number from 1 up, or None for no limit; "
            f"got {safe_repr(value)}"
        )


def check_unused(*, used: bool) -> None:
    """Check that an `Opener` was not used before.

    Raises: LocalProtocolError.
    """
    if used:
        raise LocalProtocolError(
            "the object that connect or open_session returns opens one channel, and this one was used "
            "before: call connect or open_session again"
        )


def codec_for(dialect: Dialect | None, codec: Codec | None) -> Codec:
    """Return the codec to use.

    Raises: ValidationError if the codec is for another dialect, or not a codec.
    """
    if codec is None:
        return Codec(dialect=Dialect.CLASSIC if dialect is None else dialect)
    if not isinstance(codec, Codec):
        raise ValidationError(f"codec must be a Codec, or None; got {safe_repr(codec)}")
    if dialect is not None and codec.dialect is not dialect:
        raise ValidationError(
            f"dialect is {dialect}, and codec is for {codec.dialect}: pass a Codec with this "
            "dialect, or leave dialect out"
        )
    return codec
