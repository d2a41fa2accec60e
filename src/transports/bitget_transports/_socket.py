"""One WebSocket on a socket that never blocks, waited for with a selector: the blocking transport's way of doing I/O.

Rules of this file
- It reads, writes and waits when it is told to, and each time at most for as long as it is told.
- How the socket ended is said once, in `over`. Nothing raises after it was open.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import time
from math import inf

from ._limits import Limits
from ._opening import could_not_connect, took_too_long
from ._target import Target
from ._websocket import WebSocket

_READ = 2**16
"""Bytes that are read at a time, and so how much arrives before the timers have their turn."""

now = time.monotonic


class SocketLink:
    """One WebSocket on a socket that never blocks: reads, writes and waits when its channel says so."""

    def __init__(
        self, target: Target, limits: Limits, max_message: int | None, waiting: selectors.BaseSelector
    ) -> None:
        self.target = target
        self.stalled_since = inf
        """Since when a frame cannot leave; infinity while all have."""
        self._limits = limits
        self._waiting = waiting
        self._websocket = WebSocket(target, max_message)
        self._sock: socket.socket | None = None
        self._interest = 0
        self._out = b""
        self._last: tuple[str | None, int] = (None, 0)
        """The id and the size in bytes of the frame written last."""
        self._broken: str | None = None
        """How the socket ended."""

    @property
    def over(self) -> str | None:
        """Why no more messages will come; None while they may."""
        return self._websocket.over or self._broken

    def open(self, sock: socket.socket | None) -> None:
        """Connect, agree on TLS, and open the WebSocket, within `Limits.open_timeout`.

        Raises: ConnectFailed.
        """
        target, timeout = self.target, self._limits.open_timeout
        deadline = inf if timeout is None else now() + timeout
        try:
            self._sock = sock or socket.create_connection((target.host, target.port), timeout)
            self._sock.settimeout(0.0)
            if self._sock.family in (socket.AF_INET, socket.AF_INET6):
                self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if target.tls is not None:
                self._agree_on_tls(target.tls, deadline)
            self._put(self._websocket.start())
            while not self._websocket.opened and self.over is None:
                self._wait_in_time(deadline)
                self.read()
                self.flush()
        except TimeoutError as error:
            raise took_too_long(target, self._limits) from error
        except OSError as error:
            raise could_not_connect(target, error) from error
        if not self._websocket.opened:
            raise self._websocket.refusal()

    def wait(self, until: float, interest: int = 0) -> None:
        """Wait until there is something to read or room to write, or for the time."""
        sock = self._sock
        if sock is None or self.over is not None:
            return
        interest = interest or selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
        if interest != self._interest:
            (self._waiting.modify if self._interest else self._waiting.register)(sock, interest)
            self._interest = interest
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            until = -inf
        self._waiting.select(None if until == inf else max(0.0, until - now()))

    def read(self) -> list[bytes]:
        """The messages that have arrived, out of at most so many bytes."""
        if self._sock is None or self._broken is not None:
            return []
        try:
            data = self._sock.recv(_READ)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return []
        except OSError as error:
            self._broken = f"the connection broke: {error}"
            return []
        if not data:
            self._websocket.end_of_stream()
            self._broken = "the connection ended"
            return []
        messages = self._websocket.receive(data)
        self._put(self._websocket.outgoing())
        return messages

    def write(self, text: str, id: str | None) -> None:
        data = self._websocket.encode(text)
        self._last = (id, len(data))
        self._put(data)

    def flush(self) -> None:
        """Write what could not leave so far."""
        if self._out:
            self._put(b"")

    def unsent(self) -> tuple[str, ...]:
        """The cancel whose frame waits to leave, when not one byte of it has."""
        id, size = self._last
        # TLS may have written a part of what it does not call written.
        tls = isinstance(self._sock, ssl.SSLSocket)
        return (id,) if id is not None and not tls and self._out and len(self._out) >= size else ()

    def hang_up(self, code: int, reason: str) -> None:
        self._put(self._websocket.hang_up(code, reason))

    def wait_for_the_end(self) -> None:
        """Wait until the other side has ended the connection, for `Limits.close_timeout` at most."""
        timeout = self._limits.close_timeout
        deadline = inf if timeout is None else now() + timeout
        while self._sock is not None and self._broken is None and now() < deadline:
            if self._interest:
                self._waiting.modify(self._sock, selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0))
            self._waiting.select(None if deadline == inf else max(0.0, deadline - now()))
            self.read()
            self.flush()

    def close(self) -> None:
        if self._sock is not None:
            if self._interest:
                self._waiting.unregister(self._sock)
                self._interest = 0
            self._sock.close()
            self._sock = None

    # --- inside ---

    def _agree_on_tls(self, tls: ssl.SSLContext, deadline: float) -> None:
        sock = self._sock
        assert sock is not None  # noqa: S101 - connected before
        self._sock = wrapped = tls.wrap_socket(sock, server_hostname=self.target.host, do_handshake_on_connect=False)
        while True:
            try:
                wrapped.do_handshake()
            except ssl.SSLWantReadError:
                self._wait_in_time(deadline, selectors.EVENT_READ)
            except ssl.SSLWantWriteError:
                self._wait_in_time(deadline, selectors.EVENT_WRITE)
            else:
                return

    def _wait_in_time(self, deadline: float, interest: int = 0) -> None:
        self.wait(deadline, interest)
        if now() >= deadline:
            raise TimeoutError

    def _put(self, data: bytes) -> None:
        """Write as much as leaves at once, and keep the rest."""
        self._out = data = self._out + data
        if not data or self._sock is None or self._broken is not None:
            return
        try:
            self._out = data[self._sock.send(data) :]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            self._broken = f"the connection broke: {error}"
        self.stalled_since = min(self.stalled_since, now()) if self._out else inf
