"""The embedded exchange in an asyncio event loop.

The server accepts clients and gives each its own link. Its control methods never wait: they apply
to the clients that are connected at that moment, or to the next ones. Leaving the context takes a
bounded time; clients that are still connected are cut. A client that gives up before its WebSocket
is open is not an error; any other error is raised when the context exits.
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
from ._client import Client, ServerState
from ._controls import _Controls

_TLS_TIMEOUT = 10.0
"""Seconds that a client has for its TLS handshake."""

_LEAVE_TIMEOUT = 10.0
"""Seconds within which cut connections must have ended."""

_T = TypeVar("_T")


@set_module("bitget_transports.exchange")
class ExchangeServer(_Controls):
    """A `ScriptedExchange` that real clients can connect to.

    Use it as in `async with ExchangeServer(exchange) as server: server.url`. `port` 0 takes a free
    port. With `tls`, an `ssl.SSLContext` for a server with its certificate, it serves
    `wss://localhost`. `write_timeout` is how many seconds a client may leave sent data unread
    before its connection is cut. The exchange's wall clock is set to the real time, so that login
    timestamps are valid.
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
        self._state = ServerState(self.exchange, write_timeout)
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._handshakes: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return (
            f"<ExchangeServer {self.url}>"
            if self._listener is not None
            else "<ExchangeServer, not running>"
        )

    @property
    def url(self) -> str:
        """The URL to connect to: `ws://127.0.0.1:PORT/v2/ws/private` for classic accounts.

        With TLS it is `wss://localhost:PORT/v2/ws/private`. Any path is served.

        Raises: RuntimeError outside the context.
        """
        if self._listener is None:
            raise RuntimeError(
                "the exchange is not running: use it in `async with`, or exchange_in_thread in `with`"
            )
        origin = "ws://127.0.0.1" if self._tls is None else "wss://localhost"
        return f"{origin}:{self._listener.getsockname()[1]}{self.exchange.config.dialect.path}"

    @property
    def connections(self) -> int:
        """How many clients have an open WebSocket."""
        return sum(client.connected for client in self._state.clients)

    def now(self) -> float:
        """Seconds since the server was started: the `now` of its exchange."""
        return self._state.now()

    def call(self, function: Callable[[], _T]) -> _T:
        """Call a function, between two steps of the exchange, and return its result.

        Use it from the event loop of the server.
        """
        return function()

    # --- connection faults at run time ---

    def say(self, text: str) -> None:
        """Send any text to every connected client: a push, a notice, garbage."""
        for client in tuple(self._state.clients):
            client.say(text)

    def drop(self) -> None:
        """Cut every connection now, without a close frame, like a network failure."""
        for client in tuple(self._state.clients):
            client.abort()

    def hang_up(self, code: int = 1001, reason: str = "") -> None:
        """Close every connection with a close frame of this code; 1006 sends none.

        Raises: ValueError for a code that no close frame may carry; no connection is closed then.
        """
        if code != ABORT and not (code in EXTERNAL_CLOSE_CODES or 3000 <= code < 5000):
            raise ValueError(
                f"code must be one that a close frame may carry, such as 1001 or 3000 to 4999, or 1006 for no frame; got {code}"
            )
        for client in tuple(self._state.clients):
            client.hang_up(code, reason)

    def stop_reading(self) -> None:
        """Stop reading from all clients, present and future; the sockets stay open."""
        self._read(reading=False)

    def resume_reading(self) -> None:
        """Read again; data that has arrived in the meantime is answered now."""
        self._read(reading=True)

    def _read(self, *, reading: bool) -> None:
        self._state.reading = reading
        for client in tuple(self._state.clients):
            client.update_reading()

    # --- context ---

    async def __aenter__(self) -> Self:
        listener = socket.create_server(("127.0.0.1", self._port), backlog=128)
        listener.settimeout(0.0)
        self._listener = listener
        self._state.started = time.monotonic()
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
            if self._state.countdown is not None:
                self._state.countdown.cancel()
            ended = [client.left for client in self._state.clients]
            self.drop()
        failures, self._state.failures = self._state.failures, []
        try:
            async with asyncio.timeout(_LEAVE_TIMEOUT):
                for event in ended:
                    await event.wait()
        except TimeoutError as late:
            failures.append(late)
        # If the body has failed too, its error remains the __context__ of this one.
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
                handshake = loop.create_task(self._open_client(accepted))
                self._handshakes.add(handshake)
                handshake.add_done_callback(self._handshakes.discard)
        except Exception as error:  # noqa: BLE001 - raised when the context exits
            self._state.failures.append(error)
            self.drop()

    async def _stop_accepting(self, listener: socket.socket, accepting: asyncio.Task[None]) -> None:
        """Wake the accepting task by connecting to it, and cancel pending handshakes.

        Cancelling an accept could lose a socket that it has just accepted.
        """
        with socket.socket() as waker:
            waker.settimeout(0.0)
            if waker.connect_ex(listener.getsockname()) not in (0, EINPROGRESS, EWOULDBLOCK):
                # The listener cannot be reached, so there is no socket to lose.
                accepting.cancel()
            await asyncio.wait([accepting])
        handshakes = tuple(self._handshakes)
        for handshake in handshakes:
            handshake.cancel()
        await asyncio.gather(*handshakes, return_exceptions=True)

    async def _open_client(self, accepted: socket.socket) -> None:
        """Make a client of an accepted socket; one that fails the TLS handshake is ignored."""
        try:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: Client(self._state),
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else _TLS_TIMEOUT,
            )
        except OSError:
            accepted.close()
        except Exception as error:  # noqa: BLE001 - raised when the context exits
            self._state.failures.append(error)
            accepted.close()
