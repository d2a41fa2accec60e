"""Open connections and sessions over asyncio.

Rules of this file
- Nothing about the protocol is decided here: `Driver` carries what the core hands out, and keeps the driver contract.
- One timer handle. A task is for the time of a dial. Every wait is bounded: to open, to write, to close.
- A link is one WebSocket, see `_link`. Who frames its messages, the caller chooses.
"""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import Literal, TypeAlias

from bitget_proto import (
    Budget,
    Codec,
    Config,
    Connection,
    Credentials,
    Session,
    SessionConfig,
    ValidationError,
    record,
)

from .._driver.channel import AsyncDriver, Channel, SessionChannel, is_up
from .._driver.checks import safe_repr
from .._driver.driver import Account, Jitter
from .._driver.limits import Limits
from .._driver.single_link import Core, SingleLink
from .._driver.sockets import check_sock
from .._driver.url import LIVE_URL
from ._link import AsyncioLink
from ._websockets_link import WebsocketsLink

Framing: TypeAlias = Literal["websockets", "picows"]
"""The library that frames messages: websockets, or picows, which is faster and needs the extra `picows`."""

_QUIET = 4
"""Turns of the loop without a message after which everything is taken to have arrived: a link that gave others their turn reads
on in the third.
"""


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
    framing: Framing = "websockets",
) -> AsyncGenerator[Channel]:
    """Connect, log in, and give a `Channel`; leaving closes it.

    `tls` is what the server's certificate is checked with, the system's authorities by default. `wall_clock` gives seconds
    since 1970 for the stamp of the login. `sock` is a socket that is connected already, through a proxy for example: it is
    closed with the channel. All times inside are of `bitget_transports.clock`, which those who share a `budget` use as well.

    `trace` is called with each line of a record of this life, such as the `write` of a file: see `bitget_proto.record`.

    `framing` names the library that frames messages. `"picows"` is faster and needs the extra `picows`. It takes TCP sockets
    alone, and over TLS it holds up to 64 KiB that it does not show: a stall is seen only behind them, and more cancels than
    one may be `Unresolved(sent=True)` that never left.

    Leaving without an error waits for what is in flight, as `Channel.close` does; with one it ends at once.

    Raises: ConnectFailed, or UpgradeRefused and LoginRefused, which are kinds of it; ValidationError for what makes no sense,
    and then nothing was dialled.
    """
    account = Account.of(credentials, url, tls, wall_clock, allow_plaintext=allow_plaintext)
    connection = record(Connection(config, codec, budget), trace)
    driver = AsyncioDriver(
        SingleLink(connection), account, limits, connection.config, sock, framing
    )
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
    framing: Framing = "websockets",
) -> AsyncGenerator[SessionChannel]:
    """Connect, log in, and stay connected: as `connect`, and what a dropped connection leaves is taken up by the next one.

    It dials again with backoff until the login is refused, and moves to a new connection before the exchange cuts the old one.
    `jitter` gives numbers from 0 to 1 that spread the dials of a fleet. When the exchange refuses the stamp of a login, the
    next one is stamped with the exchange's own time, from its answer to the handshake.

    `trace` is called with each line of a record of this life, such as the `write` of a file: see `bitget_proto.record`.
    `framing` is that of `connect`.

    Raises: as `connect`; ConnectFailed also when no login was accepted within `Limits.up_timeout`.
    """
    account = Account.of(credentials, url, tls, wall_clock, allow_plaintext=allow_plaintext)
    asked = Jitter(jitter)
    session = record(
        Session(config, codec, budget, jitter=asked if callable(jitter) else jitter), trace
    )
    driver = AsyncioDriver(
        session, account, limits, session.config.link, framing=framing, jitter=asked
    )
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
        self,
        core: Core,
        account: Account,
        limits: Limits | None,
        config: Config,
        sock: socket.socket | None = None,
        framing: Framing = "websockets",
        jitter: Jitter | None = None,
    ) -> None:
        super().__init__(core, account, limits, config, jitter)
        self._framed = _link(framing)
        check_sock(sock)
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._alive: set[AsyncioLink] = set()
        """The links whose sockets are not closed."""
        self._timer: asyncio.TimerHandle | None = None
        """Set for `armed`; when `until` is later by then, it is set again as it fires."""

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
            self.drain(self.now())
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

    def dial(self, number: int) -> AsyncioLink:
        link = self._framed(self, number, self._alive.discard)
        self._alive.add(link)
        sock, self._sock = self._sock, None
        # Not `create_task`: a factory that begins tasks at once would have the end told before the driver knows the link.
        link.opening = asyncio.Task(link.open(sock), loop=self._loop)
        link.opening.add_done_callback(link.dialled)
        return link

    # --- time ---

    def rearm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.armed = self.until
        self._timer = self._loop.call_later(max(0.0, self.armed - self.now()), self._due)

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
        now = max(self.now(), self.until) if self.armed == self.until else self.now()
        self.armed, self._timer = inf, None
        self.fire(now)


def _link(framing: str) -> type[AsyncioLink]:
    if framing == "websockets":
        return WebsocketsLink
    if framing == "picows":
        from ._picows_link import PicowsLink

        return PicowsLink
    raise ValidationError(f"framing must be 'websockets' or 'picows'; got {safe_repr(framing)}")
