"""Exceptions for misuse of the API.

They are raised only for wrong calls; errors that the exchange reports are events. An exception is
raised before anything has changed, so the caller can correct the call and continue. A message says
what came, what is allowed and what to do, and never contains a secret.
"""

from __future__ import annotations

from .set_module import set_module

_SHOWN = 48
"""The maximum number of characters of a refused value in an error message."""

_ERROR_SHOWN = 200
"""The maximum number of characters of a caller's exception in an event."""


@set_module("bitget_proto")
class LocalProtocolError(Exception):
    """The call broke a rule of this library, and nothing has changed.

    The name is that of h11 and h2, where "local" is the side that the caller is responsible for.
    """


@set_module("bitget_proto")
class ValidationError(LocalProtocolError, ValueError):
    """A value is not allowed, by the exchange or by this library.

    The message names the field and the likely fix.
    """


@set_module("bitget_proto")
class NoRoom(LocalProtocolError):
    """A bounded store is full.

    Try again after an outcome, or after one of your own frames has been sent.
    """


def check_part(name: str, part: object, kind: type, hint: str = "") -> None:
    """Check that `part` is an instance of `kind`, or None.

    Raises: ValidationError for any other value. `hint` is the end of its message.
    """
    if part is not None and not isinstance(part, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise ValidationError(
            f"{name} must be {article} {kind.__name__}, or None; got {safe_repr(part)}{hint}"
        )


def safe_repr(value: object) -> str:
    """Return the value as shown in error messages: short and on one line. Never raises."""
    if isinstance(value, str):
        text = str.__str__(value)
        return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}… ({len(text)} characters)"
    if value is None or type(value) is bool:
        return repr(value)
    if type(value) is float or (type(value) is int and -(10**20) < value < 10**20):
        return f"the {type(value).__name__} {value!r}"
    return f"a value of type {type(value).__name__}"


def safe_error_repr(error: Exception) -> str:
    """Return the `repr` of a caller's exception: short and on one line.

    If the `repr` raises an `Exception`, the name of the class is returned instead.
    """
    try:
        text = str.__str__(repr(error))
    except Exception:  # noqa: BLE001 - it is code of the caller
        text = type(error).__name__
    if not text.isprintable():
        text = repr(text)[1:-1]
    return text if len(text) <= _ERROR_SHOWN else f"{text[:_ERROR_SHOWN]}…"
