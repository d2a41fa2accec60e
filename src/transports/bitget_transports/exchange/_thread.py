"""The embedded exchange in a thread of its own, for code without an event loop or with another one.

The methods of the handle are those of the server, callable from any thread; each runs in the
server's thread, between two of its steps. The thread ends when the context exits, and an error in
it is raised there. The thread does not keep a program alive that ends without leaving the context.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

from bitget_proto.testing import ScriptedExchange

from .._driver.set_module import set_module
from ._controls import _Controls
from ._server import ExchangeServer

_CALL_TIMEOUT = 10.0
"""Seconds within which the server's thread must have run a call."""

_T = TypeVar("_T")


@contextmanager
def exchange_in_thread(
    exchange: ScriptedExchange | None = None,
    *,
    port: int = 0,
    tls: ssl.SSLContext | None = None,
    write_timeout: float = 5.0,
) -> Generator[ExchangeThread]:
    """Run an `ExchangeServer` in its own thread; a context manager that gives an `ExchangeThread`.

    Raises: OSError when the port is taken; any error of the thread when the context exits.
    """
    running: list[ExchangeThread] = []
    failed: list[BaseException] = []
    started, stop = threading.Event(), asyncio.Event()

    async def main() -> None:
        async with ExchangeServer(
            exchange, port=port, tls=tls, write_timeout=write_timeout
        ) as server:
            running.append(ExchangeThread(server, asyncio.get_running_loop()))
            started.set()
            await stop.wait()

    def body() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001 - raised when the context exits
            failed.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=body, name="bitget exchange", daemon=True)
    thread.start()
    started.wait()
    try:
        if running:
            yield running[0]
    finally:
        if running:
            running[0].loop.call_soon_threadsafe(stop.set)
        thread.join()
        if failed:
            # If the body has failed too, its error remains the __context__ of this one.
            raise failed[0]


@set_module("bitget_transports.exchange")
class ExchangeThread(_Controls):
    """The handle of an exchange in another thread: the methods of `ExchangeServer`, thread-safe."""

    def __init__(self, server: ExchangeServer, loop: asyncio.AbstractEventLoop) -> None:
        self.server: ExchangeServer = server
        self.loop: asyncio.AbstractEventLoop = loop
        self.url: str = server.url
        self.exchange: ScriptedExchange = server.exchange

    def __repr__(self) -> str:
        return f"<ExchangeThread {self.url}>"

    @property
    def connections(self) -> int:
        """How many clients have an open WebSocket."""
        return self.call(lambda: self.server.connections)

    def now(self) -> float:
        """Like `ExchangeServer.now`."""
        return self.server.now()

    def say(self, text: str) -> None:
        """Like `ExchangeServer.say`."""
        self.call(lambda: self.server.say(text))

    def drop(self) -> None:
        """Like `ExchangeServer.drop`."""
        self.call(self.server.drop)

    def hang_up(self, code: int = 1001, reason: str = "") -> None:
        """Like `ExchangeServer.hang_up`."""
        self.call(lambda: self.server.hang_up(code, reason))

    def stop_reading(self) -> None:
        """Like `ExchangeServer.stop_reading`."""
        self.call(self.server.stop_reading)

    def resume_reading(self) -> None:
        """Like `ExchangeServer.resume_reading`."""
        self.call(self.server.resume_reading)

    def call(self, function: Callable[[], _T]) -> _T:
        """Call a function in the server's thread, between two of its steps, and return its result.

        Raises: what the function raises; RuntimeError when the server has stopped.
        """
        done: Future[_T] = Future()

        def run() -> None:
            try:
                done.set_result(function())
            except BaseException as error:  # noqa: BLE001 - raised in the caller
                done.set_exception(error)

        try:
            self.loop.call_soon_threadsafe(run)
        except RuntimeError:
            raise RuntimeError("the exchange is not running: its context has been left") from None
        return done.result(timeout=_CALL_TIMEOUT)
