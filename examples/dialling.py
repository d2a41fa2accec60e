"""The first and the last second of a plain socket that carries a WebSocket: the handshakes, which may block.

Take this when your loop may stand still while it dials; what lies between the two never blocks.
"""

import socket
import time
from contextlib import suppress

from sansio_websocket import CLOSING, WebSocket


def dial(websocket: WebSocket, timeout: float = 5.0) -> socket.socket:
    """A socket over which the WebSocket is open; it does not block.

    Raises: OSError, also when the handshake is refused.
    """
    dialled = socket.create_connection(websocket.address, timeout)
    try:
        dialled.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        dialled.sendall(websocket.start())
        while not websocket.opened:
            websocket.feed(dialled.recv(2**14))
            if websocket.over is not None:
                raise OSError(websocket.over)  # noqa: TRY301 - as a dial that fails
        dialled.settimeout(0)
    except BaseException:
        dialled.close()
        raise
    return dialled


def leave(dialled: socket.socket, out: bytes) -> None:
    """Write what is left, a close frame at its end, and give the other side some time to answer; then close."""
    end = time.monotonic() + CLOSING
    with dialled, suppress(OSError):
        dialled.settimeout(CLOSING)
        dialled.sendall(out)
        while dialled.recv(2**14) and time.monotonic() < end:
            pass
