"""A driver over a non-blocking socket, for loops that poll.

Use this with a loop of your own; raw_selectors.py and game_loop.py are two examples. Only the
opening and the closing handshake block.
"""

import socket
import time
from collections import deque
from contextlib import suppress

from bitget_proto import Connection
from driver import CLOSING, Call, Driver, OnEvent
from sansio_websocket import WebSocket


class PlainSocket(Driver):
    """Drives one connection.

    The loop calls `do_calls`, `flush`, `read` and, when `overdue`, `due`.
    """

    def __init__(self, conn: Connection, url: str, on_event: OnEvent = bool) -> None:
        super().__init__(conn, on_event)
        self.websocket, self.out, self.calls = WebSocket(url), b"", deque[Call]()

    def dial(self, timeout: float = 5.0) -> None:
        """Open the WebSocket. A failure is reported as a lost connection."""
        try:
            self.socket = socket.create_connection(self.websocket.address, timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.sendall(self.websocket.start())
            while not self.websocket.opened:
                self.websocket.feed(self.socket.recv(2**14))
                if self.websocket.over is not None:
                    raise OSError(self.websocket.over)  # noqa: TRY301 - handled below
            self.socket.settimeout(0)
        except OSError as error:
            self.lost(str(error))
        else:
            self.opened()

    def call(self, fn: Call) -> None:
        """Queue a call from another thread (rule 10)."""
        self.calls.append(fn)

    def do_calls(self) -> None:
        while self.calls and not self.over:
            self.do(self.calls.popleft())

    def can_write(self) -> bool:
        return not self.out

    def write(self, text: str) -> None:
        self.out += self.websocket.text(text)
        self.send()

    def hang_up(self, code: int, reason: str) -> None:
        self.out += self.websocket.close(code, reason)

    def arm(self, until: float | None) -> None:
        """Do nothing: the loop checks `patience` or `overdue`."""

    def send(self) -> None:
        # OSError: it would block, or the connection is broken, which the next read finds.
        with suppress(OSError):
            self.out = self.out[self.socket.send(self.out) :]

    def flush(self) -> None:
        """Write as much as the socket takes; when everything is written, drain."""
        if self.out:
            self.send()
            if not self.out:
                self.drain()

    def read(self, at_most: int = 100) -> None:
        """Pass on up to `at_most` messages (rule 4). `unread` is True when more are buffered."""
        for _ in range(at_most):
            if self.over:
                return
            if self.websocket.arrived:
                self.received(self.websocket.arrived.popleft())
            elif self.websocket.over is not None:
                self.lost(self.websocket.over)
            else:
                try:
                    self.out += self.websocket.feed(self.socket.recv(2**14))
                except BlockingIOError:
                    return
                except OSError as error:
                    self.lost(str(error))

    @property
    def unread(self) -> bool:
        """Whether there is input that `select` on the socket does not report."""
        return bool(self.websocket.arrived) or self.websocket.over is not None

    def leave(self) -> None:
        """Write the rest with the close frame, wait briefly for the peer's answer, and close."""
        if not hasattr(self, "socket"):  # it never connected
            return
        end = time.monotonic() + CLOSING
        with suppress(OSError), self.socket:
            self.socket.settimeout(CLOSING)
            self.socket.sendall(self.out)
            while self.socket.recv(2**14) and time.monotonic() < end:
                pass
