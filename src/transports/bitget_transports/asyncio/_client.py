"""`connect` and `open_session` over asyncio.

The driver has one timer handle, and a task only while it dials or waits for a REST response.
Opening, writing and closing are each bounded by a limit. A link is one WebSocket: see `_link`.
"""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import Any, Literal, TypeAlias

from bitget_proto import (
    Budget,
    Codec,
    Config,
    Connection,
    Credentials,
    Dialect,
    Event,
    Final,
    Session,
    SessionConfig,
    SessionEvent,
    ValidationError,
    record,
)

from .._driver.account import Account
from .._driver.async_driver import AsyncDriver, Flag, wait_until_up
from .._driver.channel import Channel, Opener, SessionChannel
from .._driver.checks import codec_for, safe_repr
from .._driver.confirming import use_rest
from .._driver.limits import Limits
from .._driver.log import with_trace_log
from .._driver.proxy import unless_connected
from .._driver.reporter import Observe
from .._driver.rest import LONGEST, SendRest
from .._driver.single_link import Core, SingleLink
from .._driver.sockets import check_sock
from .._driver.url import url_for
from ._link import AsyncioLink
from ._websockets_link import WebsocketsLink

Framing: TypeAlias = Literal["websockets", "picows"]
"""The library that frames messages: websockets, or picows, which is faster and needs the extra
`picows`.
"""

_QUIET_TURNS = 4
"""Timers fire after this many consecutive iterations of the loop in which no byte arrived.

A link that resumes reading receives its next bytes only in the third iteration after that.
"""


def connect(
    credentials: Credentials,
    *,
    url: str | None = None,
    dialect: Dialect | None = None,
    config: Config | None = None,
    codec: Codec | None = None,
    budget: Budget | None = None,
    tls: ssl.SSLContext | None = None,
    allow_plaintext: bool = False,
    proxy: str | Literal[True] | None = True,
    limits: Limits | None = None,
    wall_clock: Callable[[], float] = time.time,
    trace: Callable[[str], object] | None = None,
    observe: Callable[[Event | SessionEvent | Final, float], object] | None = None,
    orders: bool = False,
    rest: SendRest | None = None,
    sock: socket.socket | None = None,
    framing: Framing = "websockets",
) -> Opener[Channel]:
    """Connect and log in, for a `Channel`. Leaving `async with` closes the channel; `Opener.open`
    opens one without a context.

    `dialect` is the API of the account: `Dialect.UNIFIED` for a unified one. The default is the
    dialect of `codec`, or `Dialect.CLASSIC` without a codec. The default `url` is the dialect's URL
    for live trading.

    `tls` verifies the server's certificate; by default the system's certificate authorities are
    used. `wall_clock` returns seconds since 1970, for the timestamp of the login. `sock` is a
    socket that is already connected; it is closed with the channel. All times are on
    `bitget_transports.clock`. Everything that shares a `budget` must use that clock.

    `proxy` is the URL of a proxy: `http://` (through which the channel opens a tunnel with
    CONNECT), `socks5://` or `socks5h://` (with the extra `socks`), with a user and a password if
    the proxy requires them. With None, the channel connects directly. By default the environment
    decides (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY; the lower-case name takes precedence),
    except for loopback. The proxy resolves the name of the exchange.

    `trace` is called with each line of a trace of this connection: pass the `write` method of a
    file, for example. See `bitget_proto.record`.

    `observe(event, time)` is called for each event, outcome and `Final`, including those that a
    call waits for. It must return quickly. `bitget_transports.telemetry` has functions that make
    metrics and spans.

    `orders=True` subscribes to changes of the account's orders, which arrive as `OrderUpdate`
    events, and enables `Channel.confirm` and `Channel.cancel_all`. These send REST requests with
    httpx (the extra `rest`) or with `rest`: a function that takes a `RestRequest` and its headers,
    sends the request to the exchange, and returns the status and the body of the answer. Without
    `rest`, requests go to the exchange's REST host if `url` is one of the exchange's own URLs, and
    otherwise to the host of `url`. Before the first login, an unsigned REST request fetches the
    exchange's time, if the wall clock seems wrong or the answer to the handshake has no date.

    If `wall_clock`, `trace` or `observe` raises an `Exception`, cancels continue. The exception is
    a `CallerError` in `events`, and is logged with its traceback to the logger `bitget_transports`.

    `framing` selects the library that frames messages. `"picows"` is faster and needs the extra
    `picows`. It accepts only TCP sockets. Over TLS it has a buffer of up to 64 KiB that the
    transport cannot see: a stall is noticed only when this buffer is full, and several cancels that
    never left may be `Unresolved(sent=True)`.

    If the `with` block ends without an exception, the channel waits for the cancels in flight, as
    `Channel.close` does. With an exception, the channel ends at once.

    Raises: ConnectFailed, or its subclasses UpgradeRefused and LoginRefused; ValidationError for an
    invalid argument, before anything is dialled.
    """

    def channel() -> Channel:
        chosen = codec_for(dialect, codec)
        account = Account.of(
            credentials,
            url_for(url, chosen.dialect),
            tls,
            wall_clock,
            allow_plaintext=allow_plaintext,
            proxy=unless_connected(proxy, sock, "sock"),
        )
        connection = record(Connection(config, chosen, budget), with_trace_log(trace))
        driver = AsyncioDriver(
            SingleLink(connection), account, limits, connection.config, sock, framing, observe
        )
        driver.share(budget)
        return Channel(driver, use_rest(driver, account, rest, orders=orders))

    return Opener(channel)


def open_session(
    credentials: Credentials,
    *,
    url: str | None = None,
    dialect: Dialect | None = None,
    config: SessionConfig | None = None,
    codec: Codec | None = None,
    budget: Budget | None = None,
    tls: ssl.SSLContext | None = None,
    allow_plaintext: bool = False,
    proxy: str | Literal[True] | None = True,
    limits: Limits | None = None,
    wall_clock: Callable[[], float] = time.time,
    trace: Callable[[str], object] | None = None,
    observe: Callable[[Event | SessionEvent | Final, float], object] | None = None,
    orders: bool = False,
    rest: SendRest | None = None,
    jitter: Callable[[], float] = random.random,
    framing: Framing = "websockets",
) -> Opener[SessionChannel]:
    """Connect, log in, and stay connected: like `connect`, but when a connection is lost, the next
    one takes over its cancels.

    The session redials, with backoff, until the exchange refuses its login for good. It also moves
    to a new connection before the exchange closes the old one. `jitter` returns numbers from 0 to
    1, which spread the dials of many clients. When the exchange refuses the timestamp of a login,
    the next login uses the exchange's own time, from its answer to the handshake.

    With `SessionConfig.rest_after`, cancels that no connection takes are sent by REST, with httpx
    (the extra `rest`) or with `rest`: see `connect`. If `rest` raises, the cancel may have reached
    the exchange: its outcome is `Unresolved(sent=True)`.

    `trace` is called with each line of a trace of this session: pass the `write` method of a file,
    for example. See `bitget_proto.record`. `framing` is as for `connect`.

    Raises: the same as `connect`; ConnectFailed also when no login was accepted within
    `Limits.up_timeout`; ImportError if `rest_after` is set, `rest` was not passed and httpx is not
    installed.
    """

    def channel() -> SessionChannel:
        chosen = codec_for(dialect, codec)
        account = Account.of(
            credentials,
            url_for(url, chosen.dialect),
            tls,
            wall_clock,
            allow_plaintext=allow_plaintext,
            proxy=proxy,
        )
        session = record(Session(config, chosen, budget, jitter=jitter), with_trace_log(trace))
        driver = AsyncioDriver(
            session, account, limits, session.config.link, framing=framing, observe=observe
        )
        driver.share(budget)
        return SessionChannel(
            driver, use_rest(driver, account, rest, orders=orders, session=session)
        )

    return Opener(channel)


class _Flag:
    """A one-shot event for one task. Each cancel needs one; `asyncio.Event` costs ten times more."""

    __slots__ = ("_future",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._future: asyncio.Future[None] = loop.create_future()

    def set(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    def wait(self) -> asyncio.Future[None]:
        return self._future


class AsyncioDriver(AsyncDriver):
    """The driver on asyncio."""

    def __init__(
        self,
        core: Core,
        account: Account,
        limits: Limits | None,
        config: Config,
        sock: socket.socket | None = None,
        framing: Framing = "websockets",
        observe: Observe | None = None,
    ) -> None:
        super().__init__(core, account, limits, config, asyncio.get_running_loop, observe)
        self._framed = _link(framing)
        check_sock(sock)
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._alive: set[AsyncioLink] = set()
        """The links whose sockets are not closed."""
        self._requests: set[asyncio.Task[None]] = set()
        """The unfinished REST requests of cancels."""
        self._timer: asyncio.TimerHandle | None = None
        """The timer for `armed`. It is set again if `until` is later when it fires."""

    def flag(self) -> _Flag:
        """Return a new flag for asyncio."""
        return _Flag(self._loop)

    async def wait(self, flag: Flag, seconds: float) -> None:
        """Wait until the flag is set, for at most this many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(None if seconds == inf else seconds):
                await flag.wait()

    def bounded(self, seconds: float) -> asyncio.Timeout:
        return asyncio.timeout(seconds)

    def pause(self) -> Awaitable[None]:
        """Yield to the event loop once, so that other tasks can run."""
        return asyncio.sleep(0)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        try:
            self.drain(self.now())
            try:
                async with asyncio.timeout(self.up_timeout):
                    await wait_until_up(self)
            except TimeoutError:
                raise self.first_login.timeout_error() from None
            yield
        finally:
            self.end()
            try:
                for request in self._requests:
                    request.cancel()
                for link in list(self._alive):
                    await link.finished.wait()
                if self._requests:
                    await asyncio.wait(self._requests, timeout=self.limits.close_timeout)
            finally:
                for link in list(self._alive):
                    link.abort()
                if self._timer is not None:
                    self._timer.cancel()
                if self._sock is not None:
                    self._sock.close()  # nothing was dialled
                if self.last_step is not None:
                    await self.last_step()

    def spawn(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        # Not `create_task`: with an eager task factory it would run in the middle of a drain.
        request = asyncio.Task(_within(LONGEST, run), loop=self._loop)
        self._requests.add(request)
        request.add_done_callback(self._requests.discard)

    def end_without_loop(self) -> bool:
        closed = super().end_without_loop()
        if closed:
            self._alive.clear()  # the closed loop does not report the end of a socket
        return closed

    def dial(self, number: int) -> AsyncioLink:
        link = self._framed(self, number, self._alive.discard)
        self._alive.add(link)
        sock, self._sock = self._sock, None
        # Not `create_task`: with an eager task factory the dial could end before the driver knows
        # the link.
        link.opening = asyncio.Task(link.open(sock), loop=self._loop)
        link.opening.add_done_callback(link.on_dial_done)
        return link

    # --- time ---

    def rearm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.armed = self.until
        self._timer = self._loop.call_later(max(0.0, self.armed - self.now()), self._on_timer)

    def _on_timer(self) -> None:
        """The timer fired: process what has arrived first, one turn in each iteration of the loop."""
        self.arrivals.restart()
        self._loop.call_soon(self._process_arrivals)

    def _process_arrivals(self) -> None:
        if self.arrivals.timers_may_fire(_QUIET_TURNS):
            self._fire()
        else:
            self._loop.call_soon(self._process_arrivals)

    def _fire(self) -> None:
        # The loop may call a timer one tick early, before the deadline has expired.
        now = max(self.now(), self.until) if self.armed == self.until else self.now()
        self.armed, self._timer = inf, None
        self.fire(now)


async def _within(seconds: float, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await run()


def _link(framing: str) -> type[AsyncioLink]:
    if framing == "websockets":
        return WebsocketsLink
    if framing == "picows":
        from ._picows_link import PicowsLink

        return PicowsLink
    raise ValidationError(f"framing must be 'websockets' or 'picows'; got {safe_repr(framing)}")
