"""Adapters that run this package's transports under the conformance kit.

    python -m bitget_proto.testing bitget_transports.conformance:asyncio
    python -m bitget_proto.testing --session bitget_transports.conformance:asyncio

Each function makes a driver for a connection or a session, and a URL: `asyncio`, `uvloop`, `picows`
(asyncio, framed by picows), `anyio` (on asyncio), `trio` (anyio on trio), and `blocking`. The
transport's own driver runs, with the kit's core in place of its own; its events are not read.

It also serves as an example for other drivers: `run` blocks until the core has ended; `call`
runs a function in the driver's thread, from another thread, and drains.
"""

from __future__ import annotations

import asyncio as _asyncio
import selectors
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Any

import anyio as _anyio
from anyio import from_thread, lowlevel

from bitget_proto import CancelOrder, Config, Connection, Credentials, Session

from ._driver.account import Account
from ._driver.async_driver import AsyncDriver, wait_for_event
from ._driver.channel import Channel
from ._driver.driver import Driver
from ._driver.errors import ConnectFailed
from ._driver.limits import Limits
from ._driver.single_link import Core, SingleLink
from .anyio import _client as _on_anyio
from .asyncio import _client as _on_asyncio
from .blocking._driver import BlockingDriver

__all__ = ["anyio", "asyncio", "blocking", "picows", "trio", "uvloop"]

_LIMITS = Limits(close_timeout=0.3)
_KEY = Credentials("key", "secret", "passphrase")

_Call = Callable[[Any, float], object]
"""A function of a `Connection` or a `Session`, and a time."""


class _Adapter(ABC):
    """Base of the adapters: a driver with the `run` and `call` that the kit needs."""

    def __init__(self, given: Connection | Session, url: str) -> None:
        self.given = given
        self.core: Core = SingleLink(given) if isinstance(given, Connection) else given
        self.config = given.config if isinstance(given, Connection) else given.config.link
        self.account = Account.of(_KEY, url, None, time.time, allow_plaintext=False)

    @abstractmethod
    def run(self) -> None:
        """Dial, and drive the core until it has ended."""

    @abstractmethod
    def call(self, fn: _Call) -> None:
        """Run `fn` in the driver's thread, then drain; callable from any thread."""

    def do(self, driver: Driver, fn: _Call) -> None:
        """Run `fn` and drain. Called in the driver's thread."""
        now = driver.now()
        fn(self.given, now)
        driver.drain(now)


class _LoopAdapter(_Adapter):
    """Base of the adapters for drivers on an event loop."""

    driver: AsyncDriver

    async def until_closed(self, driver: _on_asyncio.AsyncioDriver | _on_anyio.AnyioDriver) -> None:
        """Run the driver until its core has ended, as `connect` and `open_session` do."""
        self.driver = driver
        with suppress(ConnectFailed):  # the core knows it already
            async with driver.running():
                while driver.router.closed is None:
                    await wait_for_event(driver)

    async def cancel_order(self, order: CancelOrder) -> None:
        """Cancel an order and wait for its outcome, until the wait is cancelled."""
        await Channel(self.driver).cancel(order)


class _AsyncioAdapter(_LoopAdapter):
    def __init__(
        self,
        given: Connection | Session,
        url: str,
        loop: Callable[[], _asyncio.AbstractEventLoop] | None = None,
        framing: _on_asyncio.Framing = "websockets",
    ) -> None:
        super().__init__(given, url)
        self._framing: _on_asyncio.Framing = framing
        self._runner = _asyncio.Runner(loop_factory=loop)

    def run(self) -> None:
        with self._runner as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        driver = _on_asyncio.AsyncioDriver(
            self.core,
            self.account,
            _LIMITS,
            self.config,
            framing=self._framing,
        )
        await self.until_closed(driver)

    def call(self, fn: _Call) -> None:
        self._runner.get_loop().call_soon_threadsafe(self.do, self.driver, fn)

    def abandon(self, order: CancelOrder) -> None:
        """Wait for an outcome in a task, and cancel the task once it is waiting."""
        self._runner.get_loop().call_soon_threadsafe(self._begin_and_cancel, order)

    def _begin_and_cancel(self, order: CancelOrder) -> None:
        loop = self._runner.get_loop()
        self._task = loop.create_task(self.cancel_order(order))
        loop.call_soon(lambda: loop.call_soon(self._task.cancel))


class _AnyioAdapter(_LoopAdapter):
    def __init__(self, given: Connection | Session, url: str, backend: str) -> None:
        super().__init__(given, url)
        self._backend = backend
        self._token: lowlevel.EventLoopToken | None = None

    def run(self) -> None:
        _anyio.run(self._main, backend=self._backend)

    async def _main(self) -> None:
        self._token = lowlevel.current_token()
        driver = _on_anyio.AnyioDriver(self.core, self.account, _LIMITS, self.config, None)
        await self.until_closed(driver)

    def call(self, fn: _Call) -> None:
        from_thread.run_sync(self.do, self.driver, fn, token=self._token)

    def abandon(self, order: CancelOrder) -> None:
        """Wait for an outcome in a task group, and cancel its scope once it is waiting."""

        async def begin_and_cancel() -> None:
            async with _anyio.create_task_group() as tasks:
                tasks.start_soon(self.cancel_order, order)
                await lowlevel.checkpoint()
                tasks.cancel_scope.cancel()

        from_thread.run(begin_and_cancel, token=self._token)


class _BlockingAdapter(_Adapter):
    """A thread that turns the blocking driver and runs queued calls between two turns."""

    def __init__(self, given: Connection | Session, url: str) -> None:
        super().__init__(given, url)
        self._calls: deque[_Call] = deque()
        self._driver = _Pump(
            self.core,
            self.account,
            _LIMITS,
            self.config,
            selectors.DefaultSelector,
            self._do_calls,
        )

    def run(self) -> None:
        driver = self._driver
        with suppress(ConnectFailed), driver.running():
            while driver.router.closed is None:
                driver.run_once(inf)

    def call(self, fn: _Call) -> None:
        self._calls.append(fn)

    def _do_calls(self) -> None:
        while self._calls:
            self.do(self._driver, self._calls.popleft())


class _Pump(BlockingDriver):
    """A `BlockingDriver` that calls `between` before each turn and waits at most `_TICK`."""

    _TICK = 0.005

    def __init__(
        self,
        core: Core,
        account: Account,
        limits: Limits,
        config: Config,
        selector: Callable[[], selectors.BaseSelector],
        between: Callable[[], object],
    ) -> None:
        super().__init__(core, account, limits, config, selector)
        self._between = between

    def run_once(self, deadline: float) -> None:
        self._between()
        super().run_once(min(deadline, self.now() + self._TICK))


def asyncio(given: Connection | Session, url: str) -> _AsyncioAdapter:
    """Make a driver of `bitget_transports.asyncio`, on asyncio's own loop."""
    return _AsyncioAdapter(given, url)


def uvloop(given: Connection | Session, url: str) -> _AsyncioAdapter:
    """Make a driver of `bitget_transports.asyncio`, on uvloop."""
    from uvloop import new_event_loop

    return _AsyncioAdapter(given, url, new_event_loop)


def picows(given: Connection | Session, url: str) -> _AsyncioAdapter:
    """Make a driver of `bitget_transports.asyncio`, on asyncio's own loop, framed by picows."""
    return _AsyncioAdapter(given, url, framing="picows")


def anyio(given: Connection | Session, url: str) -> _AnyioAdapter:
    """Make a driver of `bitget_transports.anyio`, on asyncio."""
    return _AnyioAdapter(given, url, "asyncio")


def trio(given: Connection | Session, url: str) -> _AnyioAdapter:
    """Make a driver of `bitget_transports.anyio`, on trio."""
    return _AnyioAdapter(given, url, "trio")


def blocking(given: Connection | Session, url: str) -> _BlockingAdapter:
    """Make a driver of `bitget_transports.blocking`."""
    return _BlockingAdapter(given, url)
