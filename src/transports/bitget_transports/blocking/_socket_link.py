"""One WebSocket on a non-blocking socket, for the blocking transport.

- A link never waits: the driver waits in its selector for the events in `interest`, then calls
  `step`.
- Each step processes at most one turn. While more data waits, nothing is read.
- Opening is a generator, from resolving the name to the handshake; each `yield` gives the events to
  wait for, or None while the sockets that race in `Dial` are watched instead.
- The driver gets one report of the end. Only exceptions from the caller's own code are raised: see
  `exception_origin`.

The only blocking operation is resolving a host name in the system.
"""

from __future__ import annotations

import selectors
import socket
import ssl
from collections.abc import Generator
from math import inf

from .._driver.address_race import Address
from .._driver.connect_errors import connection_broken, could_not_connect, took_too_long
from .._driver.driver import Driver
from .._driver.errors import ConnectFailed
from .._driver.exception_origin import is_systems, raised_by_caller
from .._driver.proxy import Proxy
from .._driver.tcp_reset import reset_when_closed
from .._driver.tunnel import Tunnel
from .._driver.turns import READ, Unprocessed
from .._driver.websocket import WebSocket
from ._dial import Dial, Watcher, resolver_package

_OPEN = -1
"""Stands for the end of opening."""

_WAITS = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class SocketLink:
    """One WebSocket, from its dial to its end."""

    def __init__(
        self, driver: Driver, number: int, sock: socket.socket | None, watcher: Watcher
    ) -> None:
        self.stalled_since = inf
        self.deadline = inf
        """When to step even without an event. During opening: at the timeout of opening, or earlier
        for the next attempt to connect. During closing: at the timeout of closing.
        """
        self.sock: socket.socket | None = None
        self.watched = 0
        """The events that the selector waits for on the socket; 0 when it is not registered."""

        self._driver = driver
        self._number = number
        self._watcher = watcher
        """Is notified of each change of the socket, and of its end."""
        self._target = driver.account.target
        self._via = self._target.proxy if sock is None else None
        """The proxy, for error messages. None once its tunnel is open: later errors are the
        exchange's.
        """
        self._websocket = WebSocket(self._target, driver.max_message)
        self._opening: Generator[int | None] | None = self._open(sock)
        self._opening_wants: int | None = 0
        self._dial: Dial | None = None
        """The race of the host's addresses; None before it begins, and with `sock=`."""
        self._unprocessed = Unprocessed()
        self._out = b""
        self._total_queued = 0
        """The number of bytes queued for writing so far, sent or not."""
        self._last: tuple[tuple[str, ...], int, int] = ((), 0, 0)
        """The ids and the size of the last frame, and `_total_queued` at its end."""
        self._tls = False
        self._broken: str | None = None
        """Why the socket failed."""
        self._ended = False
        """Whether the stream has ended."""
        self._closing = False
        timeout = driver.limits.open_timeout
        self._open_by = self.deadline = inf if timeout is None else driver.now() + timeout

    @property
    def address(self) -> Address | None:
        """Like `Link.address`."""
        return None if self._dial is None else self._dial.race.winner

    @property
    def interest(self) -> int | None:
        """Like `Watched.interest`."""
        if self._opening is not None:
            return self._opening_wants
        if not self._closing and (
            self._unprocessed
            or self._websocket.end_reason
            or self._broken
            or (self._tls and self._has_pending())
        ):
            return 0
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)

    def step(self) -> None:
        """Read what has arrived, write what can be written, and report to the driver."""
        if self._opening is not None:
            self._step_opening(self._opening)
            return
        waited = bool(self._unprocessed)
        has_read = not waited and self._read()
        if self._closing:
            self._unprocessed.clear()
        self._parse()
        if self._out:
            self._flush()
        if self._closing:
            if self._ended or self._driver.now() >= self.deadline:
                self.close()
            return
        for message in self._unprocessed.next_messages():
            self._driver.received(self._number, message)
        # After a failed write, what has arrived still counts.
        over = self._websocket.end_reason or (None if waited or has_read else self._broken)
        if over is not None and not self._unprocessed:
            self._driver.lost(self._number, over)
            self._begin_to_close()
            if not self._out:
                self.close()  # the peer's close frame is answered, and nothing is left to write

    # --- methods of `Link` ---

    def write(self, text: str, ids: tuple[str, ...]) -> None:
        data = self._websocket.encode(text)
        self._out += data
        self._total_queued += len(data)
        self._last = (ids, len(data), self._total_queued)
        self._flush()
        if not data:
            # The peer has closed: the end is about to be reported.
            self.stalled_since = self._driver.now()
            self._driver.stalled(self._number)

    def take_back(self) -> tuple[str, ...]:
        ids, size, end = self._last
        if not size:
            return ids
        # TLS may have written a part of a frame that `send` did not report as written.
        if not ids or self._tls or len(self._out) < size + self._total_queued - end:
            return ()
        self._out = b""
        self._broken = self._broken or "an unsent frame was taken back"
        return ids

    def hang_up(self, code: int, reason: str) -> None:
        if self._opening is not None:
            self._opening.close()
            self._opening = None
            self.close()
        elif self.sock is not None:
            self._put(self._websocket.hang_up(code, reason))
            self._flush()
            self._begin_to_close()

    def reset(self) -> None:
        if self._opening is not None:
            self._opening.close()
            self._opening = None
        if self.sock is not None:
            reset_when_closed(self.sock)
        self.close()

    def close(self) -> None:
        """Close the socket now."""
        if self._dial is not None:
            self._dial.close()
        self._watcher.unwatch(self)
        if self.sock is not None:
            self.sock.close()
            self.sock = None
        self._watcher.forget(self)

    # --- opening ---

    def _step_opening(self, opening: Generator[int | None]) -> None:
        driver, target = self._driver, self._target
        try:
            if driver.now() >= self._open_by:
                race = None if self._dial is None else self._dial.race
                raise self._websocket.early_refusal() or took_too_long(
                    target, driver.limits, race, self._via
                )
            wants = next(opening, _OPEN)
        except OSError as error:
            if isinstance(error, ConnectFailed) and not raised_by_caller(error):
                failure = error
            elif is_systems(error, self.sock, target.tls, resolver_package()):
                failure = could_not_connect(target, error, self._via)
            else:
                raise
            self._opening = None
            self.close()
            driver.failed(self._number, failure)
            return
        if wants != _OPEN:
            self._opening_wants = wants
            return
        self._opening, self.deadline = None, inf
        driver.opened(self._number, self._websocket.date)

    def _open(self, sock: socket.socket | None) -> Generator[int | None]:
        target = self._target
        self.sock = sock
        if sock is None:
            yield from self._connect()
        else:
            sock.settimeout(0.0)
        assert self.sock is not None  # noqa: S101 - connected
        if self.sock.family in (socket.AF_INET, socket.AF_INET6):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._via is not None:
            yield from self._open_tunnel(self._via)
            self._via = None
        if target.tls is not None:
            yield from self._start_tls(target.tls, self.sock)
        self._out = self._websocket.start()
        while True:
            self._flush()
            if self._unprocessed:
                yield 0
            else:
                yield selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
                self._read()
            self._parse()
            if self._websocket.opened:
                return
            if self._websocket.end_reason or (self._broken and not self._unprocessed):
                raise self._websocket.handshake_error()

    def _connect(self) -> Generator[None]:
        """Connect to the first address of the host, or of the proxy, that answers."""
        driver, target = self._driver, self._target
        race = driver.addresses.race(socket.getaddrinfo(*target.dialled, type=socket.SOCK_STREAM))
        self._dial = Dial(race, self._watcher, self.step)
        while True:
            self._dial.begin_due(driver.now)
            if race.winner is not None:
                break
            if race.exhausted:
                raise could_not_connect(target, race.error(), self._via)
            self.deadline = min(self._open_by, race.until)
            yield None
        self.deadline = self._open_by
        self._dial.hand_over(self)

    def _open_tunnel(self, proxy: Proxy) -> Generator[int]:
        """Ask the proxy, to which the socket is connected, to connect to the exchange."""
        tunnel = Tunnel(proxy, self._target)
        try:
            while True:
                self._out += tunnel.outgoing()
                self._flush()
                if tunnel.opened:
                    return
                yield selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
                self._read()
                while part := self._unprocessed.next_part():
                    tunnel.receive(part)
                if self._ended or self._broken is not None:
                    tunnel.receive(b"")
        finally:
            tunnel.close()

    def _start_tls(self, tls: ssl.SSLContext, sock: socket.socket) -> Generator[int]:
        self._watcher.unwatch(self)
        self.sock = wrapped = tls.wrap_socket(
            sock, server_hostname=self._target.host, do_handshake_on_connect=False
        )
        self._tls = True
        while True:
            try:
                wrapped.do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
                if not is_systems(error, wrapped, tls):
                    raise
                wants = (
                    selectors.EVENT_READ
                    if isinstance(error, ssl.SSLWantReadError)
                    else selectors.EVENT_WRITE
                )
            else:
                return
            yield wants

    # --- bytes ---

    def _has_pending(self) -> bool:
        """Return whether TLS has decrypted data that the selector does not see."""
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def _read(self) -> bool:
        """Read a bounded number of bytes. Return whether there were any."""
        left = READ
        while left > 0 and self.sock is not None and not self._ended:
            try:
                data = self.sock.recv(left)
            except OSError as error:
                if not is_systems(error, self.sock):
                    raise
                if isinstance(error, _WAITS):
                    break
                self._ended, self._broken = True, connection_broken(error)
                break
            if not data:
                self._ended = True
                break
            self._unprocessed.add(data)
            left -= len(data)
            if not self._tls:
                break  # TLS returns one record, and may have more
        return left < READ

    def _parse(self) -> None:
        """Parse one turn, and process the end of the stream after everything that was read."""
        websocket, unprocessed = self._websocket, self._unprocessed
        if part := unprocessed.next_part():
            self._driver.arrivals.bytes += len(part)
            unprocessed.messages.extend(websocket.receive(part))
        if self._ended and self._broken is None and not unprocessed.parts:
            websocket.end_of_stream()
        if websocket.has_outgoing:
            self._put(websocket.outgoing(stalled=bool(self._out)))
        if websocket.end_reason:
            unprocessed.parts.clear()  # nothing counts after a close frame

    def _put(self, data: bytes) -> None:
        self._out += data
        self._total_queued += len(data)

    def _flush(self) -> None:
        """Write as much as possible without waiting, and keep the rest."""
        if self._out and self.sock is not None and self._broken is None:
            try:
                self._out = self._out[self.sock.send(self._out) :]
            except OSError as error:
                if not is_systems(error, self.sock):
                    raise
                if not isinstance(error, _WAITS):
                    self._broken = connection_broken(error)
        if not self._out:
            if self.stalled_since != inf:
                self.stalled_since = inf
                self._driver.flowing(self._number)
        elif self.stalled_since == inf:
            self.stalled_since = self._driver.now()
            self._driver.stalled(self._number)

    def _begin_to_close(self) -> None:
        """Wait, in bounded time, for the peer to close the socket."""
        self._closing = True
        timeout = self._driver.limits.close_timeout
        self.deadline = inf if timeout is None else self._driver.now() + timeout
        if self._ended or self._broken is not None:
            self.close()
