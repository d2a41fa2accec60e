"""Cancel orders from asyncio (or uvloop): callbacks all the way, no task and no queue between the socket and your `await`.

    async with bitget_transports.asyncio.connect(credentials) as channel:
        outcome = await channel.cancel(CancelOrder("BTCUSDT", order_id="…"))

Rules of this file
- Nothing about the protocol is decided here: it carries what `Connection` hands out, and keeps the driver contract.
- One timer handle. Every wait is bounded: to open, to write, to close.
- At most one frame is with the transport unwritten: the write buffer's limit is 0, so a stall shows at the next byte.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import cast

from bitget_proto import Budget, Codec, Config, Connection, Credentials, Hangup, Transmit, sign_login

from ._channel import Channel, Events, Outcomes, logged_in
from ._errors import ConnectFailed
from ._inbox import Inbox
from ._limits import Limits
from ._opening import could_not_connect, took_too_long
from ._target import LIVE_URL, Target
from ._websocket import WebSocket

__all__ = ["Channel", "Events", "Outcomes", "connect"]


@asynccontextmanager
async def connect(
    credentials: Credentials,
    *,
    url: str = LIVE_URL,
    config: Config | None = None,
    codec: Codec | None = None,
    budget: Budget | None = None,
    tls: ssl.SSLContext | None = None,
    allow_plaintext: bool = False,
    limits: Limits | None = None,
    wall_clock: Callable[[], float] = time.time,
    sock: socket.socket | None = None,
) -> AsyncGenerator[Channel]:
    """Connect, log in, and give a `Channel`; leaving closes it.

    `tls` is what the server's certificate is checked with, the system's authorities by default. `wall_clock` gives seconds
    since 1970 for the stamp of the login. `sock` is a socket that is connected already, through a proxy for example: it is
    closed with the channel. All times inside are of `time.monotonic`, which those who share a `budget` use as well.

    Leaving without an error waits for what is in flight, as `Channel.close` does; with one it ends at once.

    Raises: ConnectFailed, or UpgradeRefused and LoginRefused, which are kinds of it; ValidationError for what makes no sense,
    and then nothing was dialled.
    """
    target = Target.of(url, tls, allow_plaintext=allow_plaintext)
    limits = Limits() if limits is None else limits
    driver = _Driver(Connection(config, codec, budget), target, limits)
    try:
        await driver.open(credentials, wall_clock, sock)
        channel = Channel(driver)
        yield channel
        await channel.close()
    finally:
        await driver.end()


class _Link(asyncio.Protocol):
    """One WebSocket on an asyncio transport: tells its driver what happened, writes what it is given."""

    def __init__(self, driver: _Driver, target: Target, limits: Limits, max_message: int | None) -> None:
        self._driver = driver
        self._limits = limits
        self._tls = target.tls is not None
        self.websocket = WebSocket(target, max_message)
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        """Done when the handshake is, or has failed."""
        self.gone: asyncio.Future[None] = loop.create_future()
        """Done when the socket is closed."""
        self.stalled_since = inf
        """Since when a frame cannot leave; infinity while all have."""
        self._transport: asyncio.Transport | None = None
        self._last: tuple[str | None, int] = (None, 0)
        """The id and the size in bytes of the frame written last."""
        self._cut: asyncio.TimerHandle | None = None

    # --- the transport happened ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have no base class.
        self._transport = transport = cast("asyncio.Transport", transport)
        # A TLS transport asks «at least», a plain one «more than».
        transport.set_write_buffer_limits(high=1 if self._tls else 0)
        transport.write(self.websocket.start())

    def data_received(self, data: bytes) -> None:
        websocket, driver = self.websocket, self._driver
        for message in websocket.receive(data):
            driver.received(message)
        if (answer := websocket.outgoing()) and self._transport is not None:
            self._transport.write(answer)
        if not self.opened.done() and (websocket.opened or websocket.over is not None):
            self.opened.set_result(None)
        if websocket.over is not None:
            driver.lost(websocket.over)
            self.close()

    def eof_received(self) -> None:
        self.websocket.end_of_stream()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.websocket.over:
            self.websocket.end_of_stream()
        self._driver.lost(f"the connection broke: {exc}" if exc else self.websocket.over or "the connection ended")
        self.stalled_since = inf
        if self._cut is not None:
            self._cut.cancel()
        for done in (self.opened, self.gone):
            if not done.done():
                done.set_result(None)

    def pause_writing(self) -> None:
        self.stalled_since = time.monotonic()

    def resume_writing(self) -> None:
        self.stalled_since = inf
        self._driver.drain()

    # --- the driver wants something ---

    def write(self, text: str, id: str | None) -> None:
        data = self.websocket.encode(text)
        self._last = (id, len(data))
        if self._transport is not None:
            self._transport.write(data)

    def unsent(self) -> tuple[str, ...]:
        """The cancel whose frame is with the transport, when not one byte of it has left."""
        id, size = self._last
        if id is None or self._tls or self.stalled_since == inf or self._transport is None:
            return ()
        return (id,) if self._transport.get_write_buffer_size() >= size else ()

    def hang_up(self, code: int, reason: str) -> None:
        """Close in good order, bounded."""
        if self._transport is not None and (data := self.websocket.hang_up(code, reason)):
            self._transport.write(data)
        if self._cut is None:
            timeout = self._limits.close_timeout
            if timeout is not None:
                self._cut = asyncio.get_running_loop().call_later(timeout, self.abort)

    def close(self) -> None:
        """The other side has ended the WebSocket: write what is left, bounded, and close."""
        if self._transport is not None:
            self.hang_up(1000, "")
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class _Driver:
    """Drives a connection: the rules are those of docs/driver.md."""

    def __init__(self, connection: Connection, target: Target, limits: Limits) -> None:
        self.inbox = Inbox(connection, limits)
        self.failure: ConnectFailed | None = None
        self._connection = connection
        self._target = target
        self._limits = limits
        self._link: _Link | None = None
        self._loop = asyncio.get_running_loop()
        self._until = inf
        """When the connection wants to be woken."""
        self._timer: asyncio.TimerHandle | None = None
        self._armed = inf
        """For when the timer is armed: not after `_until`. When it is earlier it is armed again as it fires."""

    now = staticmethod(time.monotonic)
    flag = staticmethod(asyncio.Event)

    async def open(self, credentials: Credentials, wall_clock: Callable[[], float], sock: socket.socket | None) -> None:
        target, limits = self._target, self._limits
        # Signed before anything is dialled: a key that cannot sign needs no connection.
        sign_login(credentials, int(wall_clock()))
        link = _Link(self, target, limits, self._connection.config.max_message)
        try:
            async with asyncio.timeout(limits.open_timeout):
                if sock is None:
                    await self._loop.create_connection(
                        lambda: link, target.host, target.port, ssl=target.tls, server_hostname=_name(target)
                    )
                else:
                    sock.settimeout(0.0)
                    await self._loop.create_connection(
                        lambda: link, sock=sock, ssl=target.tls, server_hostname=_name(target)
                    )
                self._link = link
                await link.opened
        except TimeoutError as error:
            link.abort()
            raise took_too_long(target, limits) from error
        except OSError as error:
            raise could_not_connect(target, error) from error
        except BaseException:
            link.abort()
            raise
        if not link.websocket.opened:
            raise link.websocket.refusal()
        self._connection.opened(self.now(), login=sign_login(credentials, int(wall_clock())))
        self.drain()
        await logged_in(self, target)

    async def end(self) -> None:
        """Nobody wants anything any more: whatever is still open ends now, and the socket with it, bounded."""
        connection, link = self._connection, self._link
        connection.close(self.now())
        self.drain()
        connection.close(self.now())
        self.drain()
        if link is not None:
            try:
                await link.gone
            finally:
                link.abort()
                if self._timer is not None:
                    self._timer.cancel()

    # --- the link happened ---

    def received(self, message: bytes) -> None:
        if self.inbox.closed is None:
            self._connection.receive(message, self.now())
            self.drain()

    def lost(self, reason: str, unsent: tuple[str, ...] = ()) -> None:
        if self.inbox.closed is None and self._link is not None:
            self._connection.lost(self.now(), reason, unsent)
            self.drain()

    # --- the way out ---

    def drain(self) -> None:
        link = self._link
        while True:
            output = self.inbox.poll(self.now(), link is not None and link.stalled_since == inf)
            if isinstance(output, Transmit):
                assert link is not None  # noqa: S101 - not writable without one
                link.write(output.text, output.id)
            elif isinstance(output, Hangup):
                if link is not None:
                    link.hang_up(output.code, output.reason)
            else:
                break
        self._until = inf if output.until is None else output.until
        if link is not None and self._limits.write_timeout is not None:
            self._until = min(self._until, link.stalled_since + self._limits.write_timeout)
        if self._until < self._armed:
            self._arm()

    # --- time ---

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed = self._until
        self._timer = None
        if self._armed < inf:
            self._timer = self._loop.call_later(max(0.0, self._armed - self.now()), self._due)

    def _due(self) -> None:
        """The timer fired. What has arrived goes first: one turn of the loop, with all that its sockets bring, lies between."""
        self._loop.call_soon(self._loop.call_soon, self._fire)

    def _fire(self) -> None:
        armed, until = self._armed, self._until
        self._armed = inf
        self._timer = None
        now = self.now()
        if armed == until:
            now = max(now, until)
        link, patience = self._link, self._limits.write_timeout
        if link is not None and patience is not None and now >= link.stalled_since + patience:
            self.lost(f"the exchange took nothing for {patience} s", link.unsent())
            link.abort()
        elif self.inbox.closed is None:
            self._connection.handle_timeout(now)
        self.drain()


def _name(target: Target) -> str | None:
    return None if target.tls is None else target.host
