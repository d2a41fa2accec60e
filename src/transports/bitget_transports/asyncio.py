"""Cancel orders from asyncio (or uvloop): callbacks all the way, no task and no queue between the socket and your `await`.

    async with bitget_transports.asyncio.connect(credentials) as channel:
        outcome = await channel.cancel(CancelOrder("BTCUSDT", order_id="…"))

Rules of this file
- Nothing about the protocol is decided here: `Driver` carries what the core hands out, and keeps the driver contract.
- One timer handle. A task is for the time of a dial. Every wait is bounded: to open, to write, to close.
- At most one frame is with the transport unwritten: the write buffer's limit is 0, so a stall shows at the next byte.

It is a little long because the two ways to connect tell all they promise, and because the driver and its link call each other.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import cast

from bitget_proto import Budget, Codec, Config, Connection, Credentials, Session, SessionConfig, record

from ._channel import AsyncDriver, Channel, Events, Outcomes, SessionChannel, is_up
from ._cork import cork
from ._driver import Account
from ._limits import Limits
from ._lone import Core, Lone
from ._reasons import could_not_connect, took_too_long
from ._socket import check_sock
from ._target import LIVE_URL
from ._websocket import WebSocket

_READ = 2**16
"""Bytes that are read at a time."""

_LONG = 0.01
"""Seconds after which what was read at a time took long."""

_QUIET = 4
"""Turns of the loop without a message after which everything is taken to have arrived: a link that gave others their turn reads
on in the third.
"""

__all__ = ["Channel", "Events", "Outcomes", "SessionChannel", "connect", "open_session"]


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
    trace: Callable[[str], object] | None = None,
    sock: socket.socket | None = None,
) -> AsyncGenerator[Channel]:
    """Connect, log in, and give a `Channel`; leaving closes it.

    `tls` is what the server's certificate is checked with, the system's authorities by default. `wall_clock` gives seconds
    since 1970 for the stamp of the login. `sock` is a socket that is connected already, through a proxy for example: it is
    closed with the channel. All times inside are of `time.monotonic`, which those who share a `budget` use as well.

    `trace` is called with each line of a record of this life, such as the `write` of a file: see `bitget_proto.record`.

    Leaving without an error waits for what is in flight, as `Channel.close` does; with one it ends at once.

    Raises: ConnectFailed, or UpgradeRefused and LoginRefused, which are kinds of it; ValidationError for what makes no sense,
    and then nothing was dialled.
    """
    account = Account.of(credentials, url, tls, wall_clock, allow_plaintext=allow_plaintext)
    connection = record(Connection(config, codec, budget), trace)
    driver = AsyncioDriver(Lone(connection), account, limits, connection.config, sock)
    async with driver.running():
        channel = Channel(driver)
        yield channel
        await channel.close()


@asynccontextmanager
async def open_session(
    credentials: Credentials,
    *,
    url: str = LIVE_URL,
    config: SessionConfig | None = None,
    codec: Codec | None = None,
    budget: Budget | None = None,
    tls: ssl.SSLContext | None = None,
    allow_plaintext: bool = False,
    limits: Limits | None = None,
    wall_clock: Callable[[], float] = time.time,
    trace: Callable[[str], object] | None = None,
    jitter: Callable[[], float] = random.random,
) -> AsyncGenerator[SessionChannel]:
    """Connect, log in, and stay connected: as `connect`, and what a dropped connection leaves is taken up by the next one.

    It dials again with backoff until the login is refused, and moves to a new connection before the exchange cuts the old one.
    `jitter` gives numbers from 0 to 1 that spread the dials of a fleet. When the exchange refuses the stamp of a login, the
    next one is stamped with the exchange's own time, from its answer to the handshake.

    `trace` is called with each line of a record of this life, such as the `write` of a file: see `bitget_proto.record`.

    Raises: as `connect`; ConnectFailed also when no login was accepted within `Limits.up_timeout`.
    """
    account = Account.of(credentials, url, tls, wall_clock, allow_plaintext=allow_plaintext)
    session = record(Session(config, codec, budget, jitter=jitter), trace)
    driver = AsyncioDriver(session, account, limits, session.config.link)
    async with driver.running(driver.limits.up_timeout):
        channel = SessionChannel(driver)
        yield channel
        await channel.close()


class _Flag:
    """Set once and waited for by one: a tenth of what an `asyncio.Event` does, on the way of every cancel."""

    __slots__ = ("_future",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._future: asyncio.Future[None] = loop.create_future()

    def set(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    def wait(self) -> asyncio.Future[None]:
        return self._future


class AsyncioDriver(AsyncDriver):
    def __init__(
        self, core: Core, account: Account, limits: Limits | None, config: Config, sock: socket.socket | None = None
    ) -> None:
        super().__init__(core, account, limits, config)
        check_sock(sock)
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._alive: set[_Link] = set()
        """The links whose sockets are not closed."""
        self._timer: asyncio.TimerHandle | None = None
        self._armed = inf
        """For when the timer is armed: not after `until`. When it is earlier it is armed again as it fires."""

    def flag(self) -> _Flag:
        """A new one, of asyncio's kind."""
        return _Flag(self._loop)

    def pause(self) -> Awaitable[None]:
        """One turn of the loop for the others."""
        return asyncio.sleep(0)

    @asynccontextmanager
    async def running(self, up_timeout: float | None = None) -> AsyncGenerator[None]:
        """Dial, and wait until a login is accepted; at the end close everything, bounded."""
        try:
            self.drain()
            try:
                async with asyncio.timeout(up_timeout):
                    await is_up(self)
            except TimeoutError:
                raise self.not_up_in_time() from None
            yield
        finally:
            self.end()
            try:
                for link in list(self._alive):
                    await link.gone.wait()
            finally:
                for link in list(self._alive):
                    link.abort()
                if self._timer is not None:
                    self._timer.cancel()

    def dial(self, number: int) -> _Link:
        link = _Link(self, number)
        self._alive.add(link)
        sock, self._sock = self._sock, None
        # Not `create_task`: a factory that begins tasks at once would have the end told before the driver knows the link.
        link.opening = asyncio.Task(link.open(sock), loop=self._loop)
        link.opening.add_done_callback(link.dialled)
        return link

    def gone(self, link: _Link) -> None:
        """The socket of this link is closed."""
        self._alive.discard(link)

    # --- time ---

    def rearm(self) -> None:
        if self.until < self._armed:
            if self._timer is not None:
                self._timer.cancel()
            self._armed = self.until
            self._timer = self._loop.call_later(max(0.0, self._armed - self.now()), self._due)

    def _due(self) -> None:
        """The timer fired. What has arrived goes first: turns of the loop lie between, until its sockets bring no more."""
        self._loop.call_soon(self._let_arrive, 0, self._overdue)

    def _let_arrive(self, quiet: int, overdue: int) -> None:
        """Without end it does not go on: `received` fires what is due among too many messages."""
        if quiet == _QUIET:
            self._fire()
        else:
            quiet = quiet + 1 if self._overdue == overdue else 0
            self._loop.call_soon(self._let_arrive, quiet, self._overdue)

    def _fire(self) -> None:
        # A loop may be a tick early, and a tick early is not yet.
        now = max(self.now(), self.until) if self._armed == self.until else self.now()
        self._armed, self._timer = inf, None
        self.fire(now)


class _Link(asyncio.BufferedProtocol):
    """One WebSocket on an asyncio transport."""

    def __init__(self, driver: AsyncioDriver, number: int) -> None:
        self._driver = driver
        self._number = number
        self._tls = driver.account.target.tls is not None
        self._websocket = WebSocket(driver.account.target, driver.max_message)
        self._transport: asyncio.Transport | None = None
        # asyncio's own buffer for each read has 256 KiB, which the system makes and takes back each time: 13 µs a message.
        # A view, because asyncio's TLS writes into slices of it.
        self._buffer = memoryview(bytearray(_READ))
        self._given = 0
        """How many bytes the transport was given so far."""
        self._last: tuple[str | None, int, int] = (None, 0, 0)
        """The id and the size in bytes of the frame written last, and how many bytes were given up to its end."""
        self._refused = False
        """Whether the transport did not take that frame."""
        self._shaken = asyncio.Event()
        """Set when the handshake is done, or has failed."""
        self._cut: asyncio.TimerHandle | None = None
        self._closed = False
        """Whether the transport's socket is closed."""
        self._agreeing = False
        """Whether TLS has begun to stand between the transport and this."""
        self._spoke_first = False
        """Whether something came before."""

        self.opening: asyncio.Task[None] | None = None
        self.stalled_since = inf
        self.gone = asyncio.Event()
        """Set when the socket is closed, and the dial's task has ended."""

    async def open(self, sock: socket.socket | None) -> None:
        """Open the WebSocket, within `Limits.open_timeout`, or tell the driver why not."""
        driver, loop = self._driver, asyncio.get_running_loop()
        target, limits = driver.account.target, driver.limits
        failure = None
        try:
            async with asyncio.timeout(limits.open_timeout):
                if sock is None:
                    await loop.create_connection(lambda: self, target.host, target.port)
                else:
                    sock.getpeername()  # raises for one that is not connected, of which uvloop would not let go
                    sock.settimeout(0.0)
                    await loop.create_connection(lambda: self, sock=sock)
                if target.tls is not None:
                    await self._agree_on_tls(target.tls, target.host)
                self._put(self._websocket.start())
                await self._shaken.wait()
            if not self._websocket.opened:
                failure = self._websocket.refusal()
        except TimeoutError as error:
            failure = self._websocket.refused() or took_too_long(target, limits)
            failure.__cause__ = error
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for this dial
            failure = could_not_connect(target, error)
        finally:
            if sock is not None and self._transport is None:
                sock.close()
        if failure is not None:
            self.abort()
            driver.failed(self._number, failure)

    def dialled(self, opening: asyncio.Task[None]) -> None:
        """The dial has ended. One that was given up may not even have begun, and uvloop does not tell its transport's end."""
        if self._transport is None or opening.cancelled():
            self.abort()
            self._gone()
            # Who cancels all tasks cancels this one, and somebody may wait for it.
            self._driver.lost(self._number, "the dial was cancelled")
        elif self._closed:
            self._gone()

    # --- the transport happened ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have no base class.
        self._transport = transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=0)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - a hint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self._buffer[:nbytes])
        if self._tls and not self._agreeing:
            self._spoke_first = True
            return
        began = self._driver.now()
        self._take_in(data)
        if self._driver.now() - began >= _LONG and self._transport is not None and not self._transport.is_closing():
            # Under load others have their turn between any two reads: uvloop alone would read 32 times.
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._read_on)

    def eof_received(self) -> None:
        self._websocket.end_of_stream()

    def connection_lost(self, exc: Exception | None) -> None:
        websocket = self._websocket
        websocket.end_of_stream()
        self._shaken.set()
        self._closed = True
        if self.opening is None or self.opening.done():
            self._gone()
        if websocket.opened:
            self._driver.lost(self._number, f"the connection broke: {exc}" if exc else websocket.over or "")

    def pause_writing(self) -> None:
        self.stalled_since = self._driver.now()
        self._driver.stalled(self._number)

    def resume_writing(self) -> None:
        self.stalled_since = inf
        self._driver.flowing(self._number)

    # --- the driver wants something ---

    def write(self, text: str, id: str | None) -> None:
        data = self._websocket.encode(text)
        self._last = (id, len(data), self._given + len(data))
        self._put(data)
        if not data or cast("asyncio.Transport", self._transport).is_closing():
            # The other side has closed, or the transport broke: the driver is about to be told. What came before had left.
            self._refused = True
            self.pause_writing()

    def cork(self, *, corked: bool) -> None:
        sock = None if self._transport is None else self._transport.get_extra_info("socket")
        if sock is not None:
            cork(sock, corked=corked)

    def take_back(self) -> tuple[str, ...]:
        id, size, behind = self._last
        if id is None or self.stalled_since == inf or self._transport is None:
            return ()
        if not size:
            return (id,)
        # A TLS transport does not tell what has left.
        if self._tls or (not self._refused and self._transport.get_write_buffer_size() < size + self._given - behind):
            return ()
        self._stop_sending()
        self.abort()
        return (id,)

    def hang_up(self, code: int, reason: str) -> None:
        if self._websocket.opened and self._transport is not None:
            self._put(self._websocket.hang_up(code, reason))
            self._bound()
        else:
            self.abort()

    def abort(self) -> None:
        """Close the socket now."""
        if self._transport is not None:
            self._transport.abort()
        elif self.opening is not None:
            self.opening.cancel()

    # --- inside ---

    async def _agree_on_tls(self, tls: ssl.SSLContext, host: str) -> None:
        """On top of the plain transport, whose buffer has its limit already: one that is made for TLS holds 64 KiB unseen."""
        plain, self._transport = self._transport, None
        assert plain is not None  # noqa: S101 - connected
        self._agreeing = True
        if plain.is_closing():
            raise ConnectionResetError("it hung up before TLS")
        if self._spoke_first:
            plain.abort()
            raise ssl.SSLError(1, "it spoke first, which no TLS server does")
        try:
            transport = await asyncio.get_running_loop().start_tls(plain, self, tls, server_hostname=host)
        except BaseException:
            plain.abort()
            raise
        self._transport = transport = cast("asyncio.Transport", transport)
        # This one asks «at least», the plain one «more than».
        transport.set_write_buffer_limits(high=1)

    def _put(self, data: bytes) -> None:
        if data and self._transport is not None:
            self._given += len(data)
            self._transport.write(data)

    def _stop_sending(self) -> None:
        """Let nothing leave from now on. uvloop's `abort` lets go of what it holds in the loop's next turn only."""
        sock = None if self._transport is None else self._transport.get_extra_info("socket")
        if sock is not None:
            # uvloop's own stand-in for a socket has no `shutdown`.
            with suppress(OSError), socket.socket(fileno=os.dup(sock.fileno())) as same:
                same.shutdown(socket.SHUT_WR)

    def _read_on(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _take_in(self, data: bytes) -> None:
        websocket, driver = self._websocket, self._driver
        messages = websocket.receive(data)
        if not self._shaken.is_set() and (websocket.opened or websocket.over is not None):
            self._shaken.set()
            if websocket.opened:
                # At once: messages may have come with the handshake's answer.
                driver.opened(self._number, websocket.date)
        for message in messages:
            driver.received(self._number, message)
        self._put(websocket.outgoing(stalled=self.stalled_since < inf))
        if websocket.over is not None:
            if websocket.opened:
                driver.lost(self._number, websocket.over)
            self._close()

    def _close(self) -> None:
        """The other side has ended the WebSocket: write what is left, bounded, and close."""
        if self._transport is not None:
            self._transport.close()
            self._bound()

    def _bound(self) -> None:
        timeout = self._driver.limits.close_timeout
        if self._cut is None and timeout is not None:
            self._cut = asyncio.get_running_loop().call_later(timeout, self.abort)

    def _gone(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
        self.gone.set()
        self._driver.gone(self)
