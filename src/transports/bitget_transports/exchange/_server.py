"""The embedded exchange in an event loop: it accepts, hands each client its own link, and does what is asked at run time.

Rules of this file
- What is asked concerns those who are connected at that moment, or the next who come: it never waits.
- To leave its context is bounded in time: clients that are still connected are cut.
- A client that gives up before there is a WebSocket is no failure of ours; any other error is raised where the context is left.

It does not know what is said on a connection: that is `_client`'s, and the exchange's.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from errno import EINPROGRESS, EWOULDBLOCK
from types import TracebackType
from typing import Self, TypeVar

from websockets.frames import EXTERNAL_CLOSE_CODES

from bitget_proto.testing import ABORT, ScriptedExchange

from .._driver.set_module import set_module
from ._client import Client, Floor
from ._controls import _Words

_TLS_TIMEOUT = 10.0
"""Seconds that a client has for its TLS handshake."""

_LEAVE_TIMEOUT = 10.0
"""Seconds that cut connections have to be gone."""

_T = TypeVar("_T")


@set_module("bitget_transports.exchange")
class ExchangeServer(_Words):
    """A `ScriptedExchange` that real clients can connect to: `async with ExchangeServer(exchange) as server: server.url`.

    `port` 0 takes a free one. With `tls`, the context of a server with its certificate, it serves `wss://localhost`.
    `write_timeout` is how many seconds a client may go without reading what was said to it before it is cut. The exchange's
    wall clock is set to the real one, so that the stamps of logins are valid.
    """

    def __init__(
        self,
        exchange: ScriptedExchange | None = None,
        *,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        write_timeout: float = 5.0,
    ) -> None:
        self.exchange: ScriptedExchange = ScriptedExchange() if exchange is None else exchange
        self._port = port
        self._tls = tls
        self._floor = Floor(self.exchange, write_timeout)
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._greetings: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return (
            f"<ExchangeServer {self.url}>"
            if self._listener is not None
            else "<ExchangeServer, not running>"
        )

    @property
    def url(self) -> str:
        """Where it listens: `ws://127.0.0.1:PORT/v2/ws/private`, with TLS `wss://localhost:PORT/v2/ws/private` (any path is
        served).

        Raises: RuntimeError outside its context.
        """
        if self._listener is None:
            raise RuntimeError(
                "the exchange is not running: use it in `async with`, or exchange_in_thread in `with`"
            )
        origin = "ws://127.0.0.1" if self._tls is None else "wss://localhost"
        return f"{origin}:{self._listener.getsockname()[1]}/v2/ws/private"

    @property
    def connections(self) -> int:
        """How many clients have a WebSocket here."""
        return sum(client.connected for client in self._floor.clients)

    def now(self) -> float:
        """Seconds since the server was started: the `now` of its exchange."""
        return self._floor.now()

    def call(self, function: Callable[[], _T]) -> _T:
        """Run a function between two steps of the exchange, which is now: use it from the event loop of the server."""
        return function()

    # --- what goes wrong with connections, at run time ---

    def say(self, text: str) -> None:
        """Say anything to every client that is connected: a push, a notice, garbage."""
        for client in tuple(self._floor.clients):
            client.say(text)

    def drop(self) -> None:
        """Cut every connection now, without a close frame, as a dying network does."""
        for client in tuple(self._floor.clients):
            client.abort()

    def hang_up(self, code: int = 1001, reason: str = "") -> None:
        """Close every connection with a close frame of this code; 1006 sends none.

        Raises: ValueError for a code that no close frame may carry, and nothing has changed.
        """
        if code != ABORT and not (code in EXTERNAL_CLOSE_CODES or 3000 <= code < 5000):
            raise ValueError(
                f"code must be one that a close frame may carry, such as 1001 or 3000 to 4999, or 1006 for no frame; got {code}"
            )
        for client in tuple(self._floor.clients):
            client.hang_up(code, reason)

    def stop_reading(self) -> None:
        """From now on read nothing from any client, while the sockets stay open."""
        self._read(reading=False)

    def resume_reading(self) -> None:
        """Read again: what has arrived meanwhile is answered now."""
        self._read(reading=True)

    def _read(self, *, reading: bool) -> None:
        self._floor.reading = reading
        for client in tuple(self._floor.clients):
            client.arrange_reading()

    # --- its life ---

    async def __aenter__(self) -> Self:
        listener = socket.create_server(("127.0.0.1", self._port), backlog=128)
        listener.settimeout(0.0)
        self._listener = listener
        self._floor.started = time.monotonic()
        self.exchange.epoch = time.time()
        self._accepting = asyncio.create_task(self._accept(listener))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        listener, self._listener = self._listener, None
        if listener is None or self._accepting is None:
            return
        try:
            await self._stop_accepting(listener, self._accepting)
        finally:
            listener.close()
            left = [client.left for client in self._floor.clients]
            self.drop()
        failures, self._floor.failures = self._floor.failures, []
        try:
            async with asyncio.timeout(_LEAVE_TIMEOUT):
                for gone in left:
                    await gone.wait()
        except TimeoutError as late:
            failures.append(late)
        # When the body has failed as well, that stays the context of what is raised here.
        if len(failures) > 1:
            raise BaseExceptionGroup("the embedded exchange failed", failures)
        if failures:
            raise failures[0]

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                accepted, _ = await loop.sock_accept(listener)
                if self._listener is None:
                    accepted.close()
                    return
                greeting = loop.create_task(self._greet(accepted))
                self._greetings.add(greeting)
                greeting.add_done_callback(self._greetings.discard)
        except Exception as error:  # noqa: BLE001 - raised when the context is left
            self._floor.failures.append(error)
            self.drop()

    async def _stop_accepting(self, listener: socket.socket, accepting: asyncio.Task[None]) -> None:
        """Wake the task by a connection of our own: to cancel an accept may lose the socket that it has just accepted."""
        with socket.socket() as knock:
            knock.settimeout(0.0)
            if knock.connect_ex(listener.getsockname()) not in (0, EINPROGRESS, EWOULDBLOCK):
                # It cannot be reached, so that there is no socket to lose.
                accepting.cancel()
            await asyncio.wait([accepting])
        greetings = tuple(self._greetings)
        for greeting in greetings:
            greeting.cancel()
        await asyncio.gather(*greetings, return_exceptions=True)

    async def _greet(self, accepted: socket.socket) -> None:
        """Make a client of an accepted socket. One that gives up before it has its TLS is none of our failures."""
        try:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: Client(self._floor),
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else _TLS_TIMEOUT,
            )
        except OSError:
            accepted.close()
        except Exception as error:  # noqa: BLE001 - raised when the context is left
            self._floor.failures.append(error)
            accepted.close()
