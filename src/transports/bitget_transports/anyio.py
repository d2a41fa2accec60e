"""Cancel orders from anyio, on asyncio or on trio, over httpx-ws: over the network, or in process against an ASGI app.

    async with bitget_transports.anyio.connect(credentials) as channel:
        outcome = await channel.cancel(CancelOrder("BTCUSDT", order_id="…"))

Rules of this file
- Nothing about the protocol is decided here: it carries what `Connection` hands out, and keeps the driver contract.
- Three tasks, all of them of the channel's context: one reads, one writes, one keeps the time. None of them raises.
- A frame is written by the writer's task alone: a wait that is cancelled cannot cut a frame short.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from math import inf

try:
    import anyio
    import anyio.lowlevel
except ImportError as error:
    raise ImportError("this transport needs anyio: pip install 'bitget-proto[anyio]'") from error
import httpx

from bitget_proto import (
    Budget,
    Codec,
    Config,
    Connection,
    Credentials,
    Hangup,
    SignedLogin,
    Transmit,
    ValidationError,
    sign_login,
)

from ._channel import Channel, Events, Outcomes, logged_in
from ._errors import ConnectFailed
from ._httpx import Broken, HttpxWebSocket
from ._inbox import Inbox
from ._limits import Limits
from ._target import LIVE_URL, Target

__all__ = ["Channel", "Events", "Outcomes", "connect"]

_QUIET, _AT_MOST = 12, 500
"""Steps of the event loop without a message after which everything is taken to have arrived, and the most that are given."""


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
    client: httpx.AsyncClient | None = None,
) -> AsyncGenerator[Channel]:
    """Connect, log in, and give a `Channel`; leaving closes it.

    `tls` is what the server's certificate is checked with, the system's authorities by default. `wall_clock` gives seconds
    since 1970 for the stamp of the login. `client` is an httpx client of your own, for proxies of your own or an app in
    process (`httpx_ws.transport.ASGIWebSocketTransport`); without it one is made, which takes its proxies from the
    environment (HTTPS_PROXY, NO_PROXY) except to loopback. All times inside are of `time.monotonic`, which those who share a
    `budget` use as well.

    Leaving without an error waits for what is in flight, as `Channel.close` does; with one it ends at once.

    Raises: ConnectFailed, or UpgradeRefused and LoginRefused, which are kinds of it; ValidationError for what makes no sense,
    and then nothing was dialled.
    """
    if client is not None and tls is not None:
        raise ValidationError("tls was given beside a client, which has its own: make the client with verify=tls")
    target = Target.of(url, tls, allow_plaintext=allow_plaintext)
    limits = Limits() if limits is None else limits
    # Signed before anything is dialled: a key that cannot sign needs no connection.
    sign_login(credentials, int(wall_clock()))
    connection = Connection(config, codec, budget)
    link = HttpxWebSocket(target, limits, connection.config.max_message, client)
    driver = _Driver(connection, link, limits, lambda: sign_login(credentials, int(wall_clock())))
    raised: BaseException | None = None
    async with anyio.create_task_group() as tasks:
        for task in (driver.read, driver.write, driver.keep_time):
            tasks.start_soon(task)
        try:
            await logged_in(driver, target)
            channel = Channel(driver)
            yield channel
            await channel.close()
        except BaseException as error:  # noqa: BLE001 - raised below, where no group is made of it
            raised = error
        driver.end()
        with anyio.CancelScope(shield=True):
            await driver.gone.wait()
        tasks.cancel_scope.cancel()
    if raised is not None:
        raise raised


class _Driver:
    """Drives a connection: the rules are those of docs/driver.md."""

    now = staticmethod(time.monotonic)
    flag = staticmethod(anyio.Event)

    def __init__(
        self, connection: Connection, link: HttpxWebSocket, limits: Limits, login: Callable[[], SignedLogin]
    ) -> None:
        self.inbox = Inbox(connection, limits)
        self.failure: ConnectFailed | None = None
        """Why there never was a WebSocket."""
        self.gone = anyio.Event()
        """Set when the socket is closed."""

        self._connection = connection
        self._link = link
        self._limits = limits
        self._login = login
        self._open = False
        self._arrived = 0
        """How many messages have."""
        self._outgoing: Transmit | None = None
        """The frame that waits to leave, or is leaving: one at most."""
        self._leaving = False
        self._to_write = anyio.Event()
        self._until = inf
        """When the connection wants to be woken."""
        self._armed = inf
        """For when the clock's task sleeps: not after `_until`. When it is earlier it sleeps again."""
        self._sooner = anyio.Event()

    # --- the three tasks ---

    async def read(self) -> None:
        reason = "cancelled"
        try:
            reason = await self._link.run(self._opened, self._received)
        except ConnectFailed as failure:
            self.failure = failure
            reason = str(failure)
        finally:
            self._lost(reason)
            self.gone.set()

    async def write(self) -> None:
        while True:
            await self._to_write.wait()
            self._to_write = anyio.Event()
            while self._outgoing is not None:
                self._leaving = True
                try:
                    with anyio.fail_after(self._limits.write_timeout):
                        await self._link.write(self._outgoing.text)
                except TimeoutError:
                    self._lost(f"the exchange took nothing for {self._limits.write_timeout} s")
                    self._link.hang_up(1001, "")
                    return
                except Broken as error:
                    self._lost(str(error))
                    self._link.hang_up(1001, "")
                    return
                self._leaving, self._outgoing = False, None
                self.drain()

    async def keep_time(self) -> None:
        while True:
            self._armed = self._until
            self._sooner = anyio.Event()
            with anyio.move_on_after(None if self._armed == inf else self._armed - self.now()):
                await self._sooner.wait()
            if self.now() >= self._until:
                await self._let_arrive()
                if self.now() >= self._until and self.inbox.closed is None:
                    self._connection.handle_timeout(self.now())
                self.drain()

    async def _let_arrive(self) -> None:
        """What has arrived goes first, but not without end: a message takes some steps from the socket to `_received`."""
        quiet, arrived = 0, self._arrived
        for _ in range(_AT_MOST):
            await anyio.lowlevel.checkpoint()
            quiet = quiet + 1 if self._arrived == arrived else 0
            arrived = self._arrived
            if quiet == _QUIET:
                return

    # --- the link happened ---

    def _opened(self) -> None:
        self._open = True
        self._connection.opened(self.now(), login=self._login())
        self.drain()

    def _received(self, message: str | bytes) -> None:
        self._arrived += 1
        if self.inbox.closed is None:
            self._connection.receive(message, self.now())
            self.drain()

    def _lost(self, reason: str) -> None:
        if self.inbox.closed is None:
            frame = None if self._leaving else self._outgoing
            unsent = () if frame is None or frame.id is None else (frame.id,)
            self._connection.lost(self.now(), reason, unsent)
            self.drain()

    def end(self) -> None:
        """Nobody wants anything any more: whatever is still open ends now, and `gone` follows, bounded."""
        for _ in ("what was sent is waited for", "what was sent is not waited for"):
            self._connection.close(self.now())
            self.drain()

    # --- the way out ---

    def drain(self) -> None:
        while True:
            output = self.inbox.poll(self.now(), self._open and self._outgoing is None)
            if isinstance(output, Transmit):
                self._outgoing = output
                self._to_write.set()
            elif isinstance(output, Hangup):
                self._link.hang_up(output.code, output.reason)
            else:
                break
        self._until = inf if output.until is None else output.until
        if self._until < self._armed:
            self._sooner.set()
