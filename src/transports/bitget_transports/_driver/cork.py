"""Lets many frames leave in one packet, where the system can: Linux's TCP_CORK.

Rules of this file
- A frame that was written has left for the kernel, corked or not: only the packet waits, at most 200 ms ("If this option is
  set, then ... there is a 200 millisecond ceiling on the time for which output is corked", tcp(7)).
- A system or a socket without it, or one that is closed already, writes packets as it likes.
"""

from __future__ import annotations

import socket
from typing import Protocol

from .exception_origin import suppress_ours

_TCP_CORK: int | None = getattr(socket, "TCP_CORK", None)


class HasOptions(Protocol):
    """A socket, or what uvloop shows for one."""

    def setsockopt(self, level: int, option: int, value: int | bytes, /) -> object: ...


def cork(sock: HasOptions, *, corked: bool) -> None:
    """Hold packets back that are not full, or let them go."""
    if _TCP_CORK is not None:
        # uvloop's stand-in for a socket raises ValueError where it is closed.
        with suppress_ours(OSError, ValueError, called=(sock, "uvloop")):
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_CORK, int(corked))
