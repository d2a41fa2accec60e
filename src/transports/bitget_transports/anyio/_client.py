"""`connect` and `open_session` over anyio.

- All tasks run in the channel's context, and none raises: one for the timer, two for each link,
  which read and write, and one for each REST request of a cancel.
- Only the writing task writes frames, so that a cancelled wait cannot cut a frame short.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from math import inf
from typing import Any, Literal

try:
    import anyio
    import anyio.lowlevel
except ImportError as error:
    raise ImportError("this transport needs anyio: pip install 'bitget-proto[anyio]'") from error

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
from .._driver.errors import ConnectFailed
from .._driver.http_client import HttpClient, library_of
from .._driver.limits import Limits
from .._driver.log import with_trace_log
from .._driver.proxy import unless_connected
from .._driver.reporter import Observe
from .._driver.rest import LONGEST, SendRest
from .._driver.single_link import Core, SingleLink
from .._driver.url import url_for
from ._httpx_link import Broken, HttpxWebSocket, Refused

_QUIET_TURNS = 12
"""After this many steps of the event loop without a byte, everything counts as arrived."""


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
    client: HttpClient | None = None,
) -> Opener[Channel]:
    """Connect and log in, for a `Channel`. Leaving `async with` closes the channel; `Opener.open`
    opens one without a context.

    `dialect` is the API of the account: `Dialect.UNIFIED` for a unified one. The default is the
    dialect of `codec`, or `Dialect.CLASSIC` without a codec. The default `url` is the dialect's URL
    for live trading.

    `tls` verifies the server's certificate; by default the system's certificate authorities are
    used. `wall_clock` returns seconds since 1970, for the timestamp of the login. `client` is your
    own `AsyncClient` of httpx or httpx2, for example one for an app in the same process
    (`httpx_ws.transport.ASGIWebSocketTransport`). It uses its own proxy settings. All times are on
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

    If the `with` block ends without an exception, the channel waits for the cancels in flight, as
    `Channel.close` does. With an exception, the channel ends at once.

    Raises: ConnectFailed, or its subclasses UpgradeRefused and LoginRefused; ValidationError for an
    invalid argument, before anything is dialled.
    """

    def channel() -> Channel:
        _check_client(client, tls)
        chosen = codec_for(dialect, codec)
        account = Account.of(
            credentials,
            url_for(url, chosen.dialect),
            tls,
            wall_clock,
            allow_plaintext=allow_plaintext,
            proxy=unless_connected(proxy, client, "client"),
        )
        connection = record(Connection(config, chosen, budget), with_trace_log(trace))
        driver = AnyioDriver(
            SingleLink(connection), account, limits, connection.config, client, observe
        )
        driver.share(budget)
        return Channel(driver, use_rest(driver, account, rest, client, orders=orders))

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
    client: HttpClient | None = None,
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
    for example. See `bitget_proto.record`.

    Raises: the same as `connect`; ConnectFailed also when no login was accepted within
    `Limits.up_timeout`; ImportError if `rest_after` is set, `rest` was not passed and httpx is not
    installed.
    """

    def channel() -> SessionChannel:
        _check_client(client, tls)
        chosen = codec_for(dialect, codec)
        account = Account.of(
            credentials,
            url_for(url, chosen.dialect),
            tls,
            wall_clock,
            allow_plaintext=allow_plaintext,
            proxy=unless_connected(proxy, client, "client"),
        )
        session = record(Session(config, chosen, budget, jitter=jitter), with_trace_log(trace))
        driver = AnyioDriver(session, account, limits, session.config.link, client, observe)
        driver.share(budget)
        return SessionChannel(
            driver, use_rest(driver, account, rest, client, orders=orders, session=session)
        )

    return Opener(channel)


def _check_client(client: object, tls: ssl.SSLContext | None) -> None:
    if client is not None and library_of(client) is None:
        raise ValidationError(
            f"client must be an httpx.AsyncClient, an httpx2.AsyncClient, or None; got "
            f"{safe_repr(client)}"
        )
    if client is not None and tls is not None:
        raise ValidationError(
            "tls was given with a client, which has its own: create the client with verify=tls"
        )


def _current_loop(native_token: object) -> Callable[[], object]:
    """Return the function that returns this event loop when it is running.

    `current_token` of anyio itself takes ten times longer.
    """
    if isinstance(native_token, asyncio.AbstractEventLoop):
        return asyncio.get_running_loop
    from trio.lowlevel import current_trio_token

    return current_trio_token


class AnyioDriver(AsyncDriver):
    """The driver on anyio."""

    def __init__(
        self,
        core: Core,
        account: Account,
        limits: Limits | None,
        config: Config,
        client: HttpClient | None,
        observe: Observe | None = None,
    ) -> None:
        token = anyio.lowlevel.current_token()
        super().__init__(core, account, limits, config, _current_loop(token.native_token), observe)
        self.client = client
        self._tasks = anyio.create_task_group()
        self._alive: set[_Link] = set()
        """The links whose sockets are not closed."""
        self._requests: dict[anyio.CancelScope, anyio.Event] = {}
        """The unfinished REST requests of cancels. The event of each is set when it has ended."""
        self._sooner = anyio.Event()
        self._event = type(self._sooner)
        """The event class for this loop; `anyio.Event()` detects the loop on every call."""

    def flag(self) -> anyio.Event:
        """Return a new flag for anyio."""
        return self._event()

    async def wait(self, flag: Flag, seconds: float) -> None:
        """Wait until the flag is set, for at most this many seconds."""
        with anyio.move_on_after(None if seconds == inf else seconds):
            await flag.wait()

    @asynccontextmanager
    async def bounded(self, seconds: float) -> AsyncGenerator[None]:
        with anyio.fail_after(seconds):
            yield

    def pause(self) -> Awaitable[None]:
        return anyio.lowlevel.checkpoint()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        raised: BaseException | None = None
        async with self._tasks:
            try:
                self.drain(self.now())
                self._tasks.start_soon(self._keep_time)
                await self._up_within(self.up_timeout)
                yield
            except BaseException as error:  # noqa: BLE001 - raised below, outside of the task group
                raised = error
            self.end()
            with anyio.CancelScope(shield=True):
                for scope, over in list(self._requests.items()):
                    scope.cancel()
                    await over.wait()
                for link in list(self._alive):
                    await link.finished.wait()
                if self.last_step is not None:
                    await self.last_step()
            self._tasks.cancel_scope.cancel()
        if raised is not None:
            raise raised

    def spawn(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        scope = anyio.CancelScope()
        self._requests[scope] = self._event()
        self._tasks.start_soon(self._request, scope, run)

    async def _request(
        self, scope: anyio.CancelScope, run: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        try:
            with scope:
                scope.deadline = anyio.current_time() + LONGEST
                await run()
        finally:
            self._requests.pop(scope).set()

    async def _up_within(self, seconds: float | None) -> None:
        with anyio.move_on_after(seconds) as waiting:
            await wait_until_up(self)
        if waiting.cancelled_caught:
            raise self.first_login.timeout_error()

    def dial(self, number: int) -> _Link:
        link = _Link(self, number)
        self._alive.add(link)
        self._tasks.start_soon(link.read)
        self._tasks.start_soon(link.keep_writing)
        return link

    def forget(self, link: _Link) -> None:
        """Forget a link whose socket is closed."""
        self._alive.discard(link)

    # --- time ---

    def rearm(self) -> None:
        self._sooner.set()

    async def _keep_time(self) -> None:
        while True:
            self.armed = self.until
            self._sooner = anyio.Event()
            with anyio.move_on_after(None if self.armed == inf else self.armed - self.now()):
                await self._sooner.wait()
            if self.now() >= self.until:
                await self._process_arrivals()
                if self.now() >= self.until:
                    self.fire(self.now())

    async def _process_arrivals(self) -> None:
        """Wait, in bounded time, for messages that are on their way from the socket to here."""
        self.arrivals.restart()
        while not self.arrivals.timers_may_fire(_QUIET_TURNS):
            await anyio.lowlevel.checkpoint()


class _Link:
    """One WebSocket, and the two tasks that read and write it."""

    def __init__(self, driver: AnyioDriver, number: int) -> None:
        self._driver = driver
        self._number = number
        self._websocket = HttpxWebSocket(
            driver.account.target,
            driver.limits,
            driver.max_message,
            driver.client,
            driver.arrivals,
        )
        self._outgoing: tuple[str, tuple[str, ...]] | None = None
        """The frame that waits to be written, or is being written, and the ids of its cancels."""
        self._leaving = False
        self._to_write = anyio.Event()
        self._over = False

        self.address = None
        self.stalled_since = inf
        self.finished = anyio.Event()
        """Set when the socket is closed."""

    # --- its tasks ---

    async def read(self) -> None:
        driver, number = self._driver, self._number
        try:
            driver.lost(number, await self._websocket.run(self._opened, self._received))
        except ConnectFailed as failure:
            driver.failed(number, failure)
        finally:
            driver.lost(number, "cancelled")
            self._over = True
            self._to_write.set()
            self.finished.set()
            driver.forget(self)

    async def keep_writing(self) -> None:
        while not self._over:
            await self._to_write.wait()
            self._to_write = self._driver.flag()
            while self._outgoing is not None and not self._over:
                self._leaving = True
                try:
                    await self._websocket.write(self._outgoing[0])
                except Refused:
                    self._leaving = False
                    return
                except Broken as error:
                    self._driver.lost(self._number, str(error))
                    self._websocket.hang_up(1001, "")
                    return
                self._leaving, self._outgoing, self.stalled_since = False, None, inf
                self._driver.flowing(self._number)

    # --- callbacks of the WebSocket ---

    def _opened(self, date: str | None) -> None:
        self._driver.opened(self._number, date)

    def _received(self, message: str | bytes) -> None:
        self._driver.received(self._number, message)

    # --- methods of `Link` ---

    def write(self, text: str, ids: tuple[str, ...]) -> None:
        self._outgoing = (text, ids)
        self.stalled_since = self._driver.now()
        self._driver.stalled(self._number)
        self._to_write.set()

    def take_back(self) -> tuple[str, ...]:
        if self._outgoing is None or self._leaving:
            return ()
        (_, ids), self._outgoing = self._outgoing, None
        return ids

    def hang_up(self, code: int, reason: str) -> None:
        self._websocket.hang_up(code, reason)

    def reset(self) -> None:
        self._websocket.reset()
