"""Checks a socket that the caller passes."""

from __future__ import annotations

from bitget_proto import ValidationError

from .checks import safe_repr


def check_sock(sock: object) -> None:
    """Check that this can be a socket. Other kinds of sockets, such as gevent's, are accepted.

    Raises: ValidationError for anything else.
    """
    if sock is not None and not (hasattr(sock, "fileno") and hasattr(sock, "settimeout")):
        raise ValidationError(f"sock must be a connected socket, or None; got {safe_repr(sock)}")
