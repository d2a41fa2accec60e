"""A driver over a plain socket that does not block, for loops that poll.

Take this when your loop is your own; raw_selectors.py and game_loop.py are two. Only the two handshakes block, at the beginning
and at the end.
"""

import socket
import time
from collections import deque
from contextlib import suppress

from bitget_proto import Connection
from driver import CLOSING, Call, Driver, Tell
from sansio_websocket import WebSocket


class PlainSocket(Driver):
    """Drives one connection, for a loop that calls `do_calls`, `flush`, `read` and, when it is time, `due`."""

    def __init__(self, conn: Connection, url: str, tell: Tell = bool) -> None:
        super().__init__(conn, tell)
        self.websocket, self.out, self.calls = WebSocket(url), b"", deque[Call]()

    def dial(self, timeout: float = 5.0) -> None:
        """Open the WebSocket; a dial that fails is a connection that is lost."""
        try:
            self.socket = socket.create_connection(self.websocket.address, timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.sendall(self.websocket.start())
            while not self.websocket.opened:
                self.websocket.feed(self.socket.recv(2**14))
                if self.websocket.over is not None:
                    raise OSError(self.websocket.over)  # noqa: TRY301 - as a dial that fails
            self.socket.settimeout(0)
        except OSError as error:
            self.lost(str(error))
        else:
            self.opened()

    def call(self, fn: Call) -> None:
        """From another thread (rule 10)."""
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
        """Nothing: the loop asks `patience`, or `overdue`."""

    def send(self) -> None:
        with suppress(
            OSError
        ):  # when it would block; and a connection that broke is found by the next read
            self.out = self.out[self.socket.send(self.out) :]

    def flush(self) -> None:
        """Write what can be written, and ask for more when it is all."""
        if self.out:
            self.send()
            if not self.out:
                self.drain()

    def read(self, at_most: int = 100) -> None:
        """Hand over what has arrived, but not without end (rule 4): `unread` tells whether there is more."""
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
        """Whether something waits that the socket does not tell of."""
        return bool(self.websocket.arrived) or self.websocket.over is not None

    def leave(self) -> None:
        """Write what is left, a close frame at its end, and give the other side some time to answer; then close."""
        if not hasattr(self, "socket"):  # nobody was there
            return
        end = time.monotonic() + CLOSING
        with suppress(OSError), self.socket:
            self.socket.settimeout(CLOSING)
            self.socket.sendall(self.out)
            while self.socket.recv(2**14) and time.monotonic() < end:
                pass
