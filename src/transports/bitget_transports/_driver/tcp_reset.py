"""Has a socket discard what it holds when it is closed, so that none of it is delivered afterwards.

SO_LINGER with a time of 0: the system drops what is in the send buffer and resets the connection. Without it, it goes on
delivering what the buffer holds long after the socket is closed ("the closing is done in the background", socket(7)).
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import Protocol

from .exception_origin import suppress_ours

_AT_ONCE = struct.pack("HH" if sys.platform == "win32" else "ii", 1, 0)
"""struct linger: on, for 0 seconds."""


class HasOptions(Protocol):
    """A socket, or uvloop's stand-in for one."""

    def setsockopt(self, level: int, option: int, value: int | bytes, /) -> object: ...


def reset_when_closed(sock: HasOptions) -> None:
    """From now on closing the socket aborts the connection. Harmless for one that is closed, and for other kinds."""
    with suppress_ours(OSError, ValueError, called=(sock, "uvloop", "trio")):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
