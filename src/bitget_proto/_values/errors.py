"""What a caller is told when it asks for something that cannot be.

Rules of this file
- An error here means that the caller's own call was wrong: what the exchange says is never an exception, it is an event.
- Whoever raises one of these has changed nothing yet, so that the caller can mend the call and go on.
- A message says what came, what is allowed and what to do. It never holds a secret.
"""

from __future__ import annotations

from .set_module import set_module

_SHOWN = 48
"""How many characters of a refused value an error message repeats."""


@set_module("bitget_proto")
class LocalProtocolError(Exception):
    """The call broke a rule of this library, and nothing has changed.

    h11 and h2 use the same name for the same thing: «local» is the side that you are responsible for.
    """


@set_module("bitget_proto")
class ValidationError(LocalProtocolError, ValueError):
    """A value is not one that the exchange, or this library, takes; the message names the field and the likely fix."""


@set_module("bitget_proto")
class NoRoom(LocalProtocolError):
    """A bounded store is full: wait for an outcome (or for a frame of your own to leave) and ask again."""


def check_part(name: str, part: object, kind: type) -> None:
    """Let nothing pass that is neither of this kind nor None.

    Raises: ValidationError.
    """
    if part is not None and not isinstance(part, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise ValidationError(
            f"{name} must be {article} {kind.__name__}, or None; got {safe_repr(part)}"
        )


def safe_repr(value: object) -> str:
    """The value as an error message may repeat it: short, on one line, and never raising."""
    if isinstance(value, str):
        text = str.__str__(value)
        return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}… ({len(text)} characters)"
    if value is None or type(value) is bool:
        return repr(value)
    if type(value) is float or (type(value) is int and -(10**20) < value < 10**20):
        return f"the {type(value).__name__} {value!r}"
    return f"a value of type {type(value).__name__}"
