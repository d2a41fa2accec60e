"""Checks of a socket that the caller brings."""

from __future__ import annotations

from bitget_proto import ValidationError

from .checks import safe_repr


def check_sock(sock: object) -> None:
    """Let nothing pass that cannot be a socket; those of other worlds, gevent's for example, can.

    Raises: ValidationError.
    """
    if sock is not None and not (hasattr(sock, "fileno") and hasattr(sock, "settimeout")):
        raise ValidationError(
            f"sock must be a socket that is connected, or None; got {safe_repr(sock)}"
        )
