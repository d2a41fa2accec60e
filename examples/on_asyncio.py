"""Base classes for drivers on asyncio: a timer, `await cancel(...)`, tasks for the WebSocket.

Use them with the WebSocket client that your program already has; the files own_*.py show what is
left to write. They work with uvloop too.
"""

import asyncio
import logging
from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from bitget_proto import (
    Accepted,
    CancelOrder,
    Closed,
    Connection,
    Event,
    Outcome,
    Ready,
    Rejected,
    Unresolved,
)
from bitget_proto.testing import StrictConnection
from bitget_transports.exchange import exchange_in_thread
from driver import CLOSING, Call, Driver, now
from embedded import ORDERS, exchange, report

_log = logging.getLogger("carrier")


class OnAsyncio(Driver):
    """Drives a connection on asyncio. Callers await the outcome of a cancel."""

    def __init__(self, conn: Connection, url: str) -> None:
        super().__init__(conn, self.handle_event)
        self.url = url
        self.waiting: dict[str, asyncio.Future[Outcome]] = {}
        self.timer: asyncio.Handle | None = None

    @abstractmethod
    async def dial(self) -> None:
        """Open the WebSocket, then call `opened`. Raises: OSError."""

    @abstractmethod
    async def leave(self) -> None:
        """Close the WebSocket in bounded time. Called after the connection has ended."""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["OnAsyncio"]:
        """Connect and log in. On exit every cancel gets its outcome and the WebSocket is closed.

        Raises: ConnectionError.
        """
        self.loop, self.ready, self.ended = (
            asyncio.get_running_loop(),
            asyncio.Event(),
            asyncio.Event(),
        )
        try:
            await self.dial()
        except OSError as error:
            self.lost(str(error))
            raise ConnectionError(f"cannot connect: {error}") from error
        try:
            await self.ready.wait()
            if self.over:
                raise ConnectionError("the login was not accepted: see the log")
            yield self
        finally:
            self.do(lambda conn, now: conn.close(now))
            await self.ended.wait()
            await self.leave()

    async def cancel(self, order: CancelOrder, timeout: float | None = None) -> Outcome:
        """Cancel an order. Cancelling the await does not cancel the request (rule 6)."""
        future: asyncio.Future[Outcome] = self.loop.create_future()
        self.waiting[self.conn.cancel(order, now(), timeout=timeout)] = future
        self.drain()
        return await future

    def handle_event(self, event: Event) -> None:
        match event:
            case Accepted(id=id) | Rejected(id=id) | Unresolved(id=id):
                if (future := self.waiting.pop(id, None)) is not None and not future.done():
                    future.set_result(event)
            case Ready():
                self.ready.set()
            case Closed():
                self.ready.set()
                self.ended.set()
            case _:
                _log.info("%s", event)

    def arm(self, until: float | None) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if until is not None:
            self.timer = self.loop.call_later(max(0.0, until - now()), self.soon)

    def soon(self, turns: int = 10) -> None:
        """Call `due` after some iterations of the loop: messages are read first (rule 4)."""
        if turns:
            self.timer = self.loop.call_soon(self.soon, turns - 1)
        else:
            self.due()

    # --- for other threads ---

    def run(self) -> None:
        """Drive the connection until it is closed, in a new event loop."""
        asyncio.run(self.main())

    async def main(self) -> None:
        with suppress(ConnectionError):  # already reported to the connection
            async with self.running():
                await self.ended.wait()

    def call(self, fn: Call) -> None:  # rule 10
        self.loop.call_soon_threadsafe(self.do, fn)

    def abandon(self, order: CancelOrder) -> None:
        """Await an outcome, and cancel the await at once."""
        asyncio.run_coroutine_threadsafe(asyncio.wait_for(self.cancel(order), 0.01), self.loop)


class Carrier(OnAsyncio):
    """Drives a connection over a WebSocket whose send and receive are coroutines."""

    errors: tuple[type[Exception], ...] = (OSError,)
    """The exceptions that sending and receiving raise when the WebSocket has ended."""

    reading: asyncio.Task[None] | None = None
    writing: asyncio.Task[None] | None = None
    closing: asyncio.Task[None] | None = None

    @abstractmethod
    def messages(self) -> AsyncIterator[str | bytes]:
        """Yield the messages until the WebSocket ends."""

    @abstractmethod
    async def send(self, text: str) -> None:
        """Send a text message, and wait until it is written."""

    @abstractmethod
    async def close(self, code: int, reason: str) -> None:
        """Close the WebSocket, and wait for the peer."""

    @abstractmethod
    async def abort(self) -> None:
        """Close the socket if it is still open."""

    def opened(self) -> None:
        self.reading = self.loop.create_task(self.read())
        super().opened()

    def hang_up(self, code: int, reason: str) -> None:
        self.closing = self.loop.create_task(self.close(code, reason))

    async def leave(self) -> None:
        closing = self.closing or self.loop.create_task(self.close(1000, ""))
        await asyncio.wait([closing], timeout=CLOSING)
        await self.abort()
        for task in (closing, self.writing, self.reading):
            if task is not None:
                task.cancel()

    def can_write(self) -> bool:
        return self.writing is None

    def write(self, text: str) -> None:
        self.writing = self.loop.create_task(self.sent(text))

    async def sent(self, text: str) -> None:
        try:
            await self.send(text)
        except self.errors as error:
            self.lost(str(error))
        else:
            self.writing = None
            self.drain()

    async def read(self) -> None:  # rule 7: the reader never blocks on anything else
        reason = "closed by the peer"
        try:
            async for message in self.messages():
                self.received(message)
                await asyncio.sleep(0)  # buffered messages come without a wait: let timers run
        except self.errors as error:
            reason = str(error)
        self.lost(reason)


async def show(make: Callable[[Connection, str], OnAsyncio]) -> None:
    """Cancel eight orders, two of which have already ended."""
    with exchange_in_thread(exchange()) as server:
        carrier = make(StrictConnection(), server.url)
        async with carrier.running():
            report(await asyncio.gather(*(carrier.cancel(order) for order in ORDERS)))
