"""Makes a socket discard its send buffer when it is closed, so that none of it is delivered.

With SO_LINGER and a time of 0, the system drops the send buffer and resets the connection. Without
that option it continues to deliver the buffer long after the socket is closed ("the closing is done
in the background", socket(7)).
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
    """A socket, or the object that uvloop provides in its place."""

    def setsockopt(self, level: int, option: int, value: int | bytes, /) -> object: ...


def reset_when_closed(sock: HasOptions) -> None:
    """Make closing this socket abort the connection.

    This does nothing for a closed socket, and for one that is not TCP.
    """
    with suppress_ours(OSError, ValueError, called=(sock, "uvloop", "trio")):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
