"""The scripted exchange behind a real WebSocket server on loopback.

Rules of this file
- Nothing about the protocol is decided here: `ScriptedExchange` says what is answered, this carries it.
- It listens on loopback and nowhere else, stops when its context is left, and leaves no task, thread or socket behind.
- A connection ends as the exchange asks: with a close frame, or (code 1006) with none at all.

    with exchange_in_thread(ScriptedExchange(orders)) as server:
        ...  # connect any client to server.url

It needs the extra `exchange`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

try:
    from websockets.asyncio.server import Server, ServerConnection, serve
    from websockets.exceptions import ConnectionClosed
except ImportError as error:
    raise ImportError("the embedded exchange needs websockets: pip install 'bitget-proto[exchange]'") from error

from bitget_proto import Hangup, Transmit, Wait
from bitget_proto.testing import ABORT, Dropped, ScriptedExchange, ScriptedLink

_CLOSE_TIMEOUT = 1.0
"""Seconds that a client has to answer a close frame, and that a write may take before its connection is cut."""

_T = TypeVar("_T")


class ExchangeServer:
    """A `ScriptedExchange` that real clients can connect to: `async with ExchangeServer(exchange) as server: server.url`.

    `port` 0 takes a free one. The exchange's wall clock is set to the real one, so that the stamps of logins are valid.
    """

    def __init__(self, exchange: ScriptedExchange | None = None, *, port: int = 0) -> None:
        self.exchange: ScriptedExchange = ScriptedExchange() if exchange is None else exchange
        self._port = port
        self._server: Server | None = None
        self._sockets: dict[ServerConnection, _Connected] = {}
        self._started = 0.0
        self._reading = True

    def __repr__(self) -> str:
        return f"<ExchangeServer {self.url}>" if self._server is not None else "<ExchangeServer, not running>"

    @property
    def url(self) -> str:
        """Where it listens: `ws://127.0.0.1:PORT/v2/ws/private` (any path is served).

        Raises: RuntimeError outside its context.
        """
        if self._server is None:
            raise RuntimeError("the exchange is not running: use it in `async with`, or exchange_in_thread in `with`")
        port = self._server.sockets[0].getsockname()[1]
        return f"ws://127.0.0.1:{port}/v2/ws/private"

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._sockets)

    def say(self, text: str) -> None:
        """Say anything to every client that is connected: a push, a notice, garbage."""
        for connected in self._sockets.values():
            connected.link.say(text, self.now())
            connected.woken.set()

    def drop(self) -> None:
        """Cut every connection now, without a close frame, as a dying network does."""
        for socket in self._sockets:
            socket.transport.abort()

    def stop_reading(self) -> None:
        """From now on read nothing from any client, while the sockets stay open."""
        self._reading = False
        for socket in self._sockets:
            socket.transport.pause_reading()

    def now(self) -> float:
        """Seconds since the server was started: the `now` of its exchange."""
        return time.monotonic() - self._started

    async def __aenter__(self) -> Self:
        self._started = time.monotonic()
        self.exchange.epoch = time.time()
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            self._port,
            # Pings of the WebSocket's own do not count here; the exchange's heartbeat is a text.
            ping_interval=None,
            close_timeout=_CLOSE_TIMEOUT,
            max_size=2**22,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close(close_connections=False)
            self.drop()
            await server.wait_closed()

    async def _serve(self, socket: ServerConnection) -> None:
        connected = self._sockets[socket] = _Connected(socket, self.exchange.link(), self.now)
        if not self._reading:
            socket.transport.pause_reading()
        try:
            await connected.run()
        finally:
            del self._sockets[socket]


class _Connected:
    """One client: reads when something is there or due, writes what the link gives."""

    def __init__(self, socket: ServerConnection, link: ScriptedLink, now: Callable[[], float]) -> None:
        self.socket = socket
        self.link = link
        self.woken = asyncio.Event()
        self._now = now

    async def run(self) -> None:
        self.link.opened(self._now())
        reading = asyncio.ensure_future(self.socket.recv())
        try:
            while (until := await self._drain()) is not None:
                self.woken.clear()
                waking = asyncio.ensure_future(self.woken.wait())
                await asyncio.wait(
                    {reading, waking}, timeout=max(0.0, until - self._now()), return_when=asyncio.FIRST_COMPLETED
                )
                waking.cancel()
                if reading.done():
                    message = reading.result()
                    reading = asyncio.ensure_future(self.socket.recv())
                    self.link.receive(message, self._now())
                if self._now() >= until:
                    self.link.handle_timeout(self._now())
        except (ConnectionClosed, TimeoutError) as error:
            self.link.lost(self._now(), str(error))
            self.socket.transport.abort()
        finally:
            reading.cancel()
            await asyncio.wait({reading})
            if not reading.cancelled():
                reading.exception()  # how the connection ended is known already

    async def _drain(self) -> float | None:
        """Write what there is to write; when something is due next, or None when the connection is over."""
        while True:
            output = self.link.poll(self._now())
            match output:
                case Transmit(text=text):
                    await asyncio.wait_for(self.socket.send(text), _CLOSE_TIMEOUT)
                case Hangup(code=code, reason=reason):
                    if code == ABORT:
                        self.socket.transport.abort()
                    else:
                        await self.socket.close(code, reason)
                case Dropped():
                    return None
                case Wait(until=until):
                    return self._now() + 3600.0 if until is None else until


@contextmanager
def exchange_in_thread(exchange: ScriptedExchange | None = None, *, port: int = 0) -> Generator[ExchangeThread]:
    """Run an `ExchangeServer` in a thread of its own, for code that has no event loop or another one.

    Raises: OSError when the port is taken.
    """
    running: list[ExchangeThread] = []
    failed: list[BaseException] = []
    started, stop = threading.Event(), asyncio.Event()

    async def main() -> None:
        async with ExchangeServer(exchange, port=port) as server:
            running.append(ExchangeThread(server, asyncio.get_running_loop()))
            started.set()
            await stop.wait()

    def body() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the start
            failed.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=body, name="bitget exchange")
    thread.start()
    started.wait()
    try:
        if failed:
            raise failed[0]
        yield running[0]
    finally:
        if running:
            running[0].loop.call_soon_threadsafe(stop.set)
        thread.join()
    if failed:
        raise failed[0]


class ExchangeThread:
    """The handle of an exchange that runs in another thread: the words of `ExchangeServer`, callable from anywhere."""

    def __init__(self, server: ExchangeServer, loop: asyncio.AbstractEventLoop) -> None:
        self.server: ExchangeServer = server
        self.loop: asyncio.AbstractEventLoop = loop
        self.url: str = server.url
        self.exchange: ScriptedExchange = server.exchange

    def __repr__(self) -> str:
        return f"<ExchangeThread {self.url}>"

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return self.server.connections

    def say(self, text: str) -> None:
        """As `ExchangeServer.say`."""
        self.call(lambda: self.server.say(text))

    def drop(self) -> None:
        """As `ExchangeServer.drop`."""
        self.call(self.server.drop)

    def stop_reading(self) -> None:
        """As `ExchangeServer.stop_reading`."""
        self.call(self.server.stop_reading)

    def call(self, function: Callable[[], _T]) -> _T:
        """Run a function in the server's thread, between two of its steps, and give what it gives."""

        async def run() -> _T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(timeout=10.0)
