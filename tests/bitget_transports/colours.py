"""One way to run a test on every colour of channel: `Colour.run(scenario)`.

A scenario is a coroutine function that takes `connect` and uses it with `async with` and `await`. On the blocking colour the
same words are wrapped in coroutines that never wait, and the scenario is run to its end in one go.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from enum import Enum
from functools import partial
from typing import Any, Protocol, TypeVar

import anyio

import bitget_transports.anyio
import bitget_transports.asyncio
import bitget_transports.blocking
from bitget_proto import CancelOrder, Config, Credentials, Outcome, Policy, SessionState, State
from bitget_proto._machine.arguments import Queued
from bitget_proto.testing import ExchangeConfig, ScriptedExchange
from bitget_transports import ChannelEvent

BOUND = 30.0
"""Seconds after which a scenario is given up."""

KEY = Credentials("key", "secret", "passphrase")

T = TypeVar("T")


class AnyEvents(Protocol):
    def take(self) -> ChannelEvent | None: ...
    def __aiter__(self) -> AsyncIterator[ChannelEvent]: ...


class AnyChannel(Protocol):
    """The words of a channel, whatever its colour."""

    @property
    def events(self) -> AnyEvents: ...
    @property
    def state(self) -> State: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def capacity(self) -> int: ...
    def cancel(
        self,
        order: CancelOrder,
        id: str | None = None,
        timeout: float | None = None,
        *,
        urgent: bool = False,
    ) -> Awaitable[Outcome]: ...
    def cancel_many(
        self, orders: Iterable[CancelOrder], timeout: float | None = None
    ) -> AsyncIterator[Outcome]: ...
    def withdraw(self, id: str) -> Awaitable[bool]: ...
    def send(self, text: str) -> Awaitable[None]: ...
    def close(self, queued: Queued = "drop", within: float | None = None) -> Awaitable[None]: ...


class AnySession(Protocol):
    """The words of a channel that stays connected."""

    @property
    def events(self) -> AnyEvents: ...
    @property
    def state(self) -> SessionState: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def capacity(self) -> int: ...
    def cancel(
        self,
        order: CancelOrder,
        id: str | None = None,
        timeout: float | None = None,
        policy: Policy | None = None,
        *,
        urgent: bool = False,
    ) -> Awaitable[Outcome]: ...
    def cancel_many(
        self,
        orders: Iterable[CancelOrder],
        timeout: float | None = None,
        policy: Policy | None = None,
    ) -> AsyncIterator[Outcome]: ...
    def withdraw(self, id: str) -> Awaitable[bool]: ...
    def send(self, text: str) -> Awaitable[None]: ...
    def close(self, queued: Queued = "drop", within: float | None = None) -> Awaitable[None]: ...


Connect = Callable[..., AbstractAsyncContextManager[AnyChannel]]
OpenSession = Callable[..., AbstractAsyncContextManager[AnySession]]
Scenario = Callable[[Connect], Coroutine[Any, Any, T]]
SessionScenario = Callable[[OpenSession], Coroutine[Any, Any, T]]


class Colour(Enum):
    ASYNCIO = "asyncio"
    UVLOOP = "uvloop"
    PICOWS = "asyncio framed by picows"
    PICOWS_UVLOOP = "uvloop framed by picows"
    ANYIO_ASYNCIO = "anyio on asyncio"
    ANYIO_TRIO = "anyio on trio"
    BLOCKING = "blocking"

    def run(self, scenario: Scenario[T]) -> T:
        """Run a scenario to its end, within `BOUND` seconds."""
        return self._run(scenario, "connect", _blocking_connect)

    def run_session(self, scenario: SessionScenario[T]) -> T:
        """Run a scenario that is given `open_session`."""
        return self._run(scenario, "open_session", _blocking_open_session)

    def _run(self, scenario: Callable[..., Coroutine[Any, Any, T]], word: str, blocking: Any) -> T:
        match self:
            case Colour.ASYNCIO:
                return asyncio.run(_bounded(scenario, getattr(bitget_transports.asyncio, word)))
            case Colour.UVLOOP:
                import uvloop

                return uvloop.run(_bounded(scenario, getattr(bitget_transports.asyncio, word)))
            case Colour.PICOWS:
                return asyncio.run(_bounded(scenario, _framed_by_picows(word)))
            case Colour.PICOWS_UVLOOP:
                import uvloop

                return uvloop.run(_bounded(scenario, _framed_by_picows(word)))
            case Colour.ANYIO_ASYNCIO | Colour.ANYIO_TRIO:
                backend = self.value.removeprefix("anyio on ")
                return anyio.run(
                    _bounded, scenario, getattr(bitget_transports.anyio, word), backend=backend
                )
            case Colour.BLOCKING:
                return _at_once(scenario(blocking))


ASYNCIO = (Colour.ASYNCIO, Colour.UVLOOP, Colour.PICOWS, Colour.PICOWS_UVLOOP)
"""Those of `bitget_transports.asyncio`."""


def _framed_by_picows(word: str) -> Any:
    return partial(getattr(bitget_transports.asyncio, word), framing="picows")


async def _bounded(scenario: Callable[..., Coroutine[Any, Any, T]], connect: Any) -> T:
    with anyio.fail_after(BOUND):
        return await scenario(connect)


def _at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise AssertionError("a scenario for the blocking colour must not wait for anything else")


class _BlockingEvents:
    def __init__(self, channel: bitget_transports.blocking.Channel) -> None:
        self._events = channel.events

    def take(self) -> ChannelEvent | None:
        return self._events.take()

    async def __aiter__(self) -> AsyncIterator[ChannelEvent]:
        for event in self._events:
            yield event


class BlockingChannel:
    """The blocking channel in the words of the others. `blocking` is the channel itself."""

    def __init__(self, channel: bitget_transports.blocking.Channel) -> None:
        self.blocking = channel
        self.events = _BlockingEvents(channel)

    @property
    def state(self) -> Any:
        return self.blocking.state

    @property
    def in_flight(self) -> int:
        return self.blocking.in_flight

    @property
    def capacity(self) -> int:
        return self.blocking.capacity

    async def cancel(
        self,
        order: CancelOrder,
        id: str | None = None,
        timeout: float | None = None,
        *,
        urgent: bool = False,
    ) -> Outcome:
        return self.blocking.cancel(order, id, timeout, urgent=urgent)

    async def cancel_many(
        self, orders: Iterable[CancelOrder], timeout: float | None = None
    ) -> AsyncGenerator[Outcome]:
        for outcome in self.blocking.cancel_many(orders, timeout):
            yield outcome

    async def withdraw(self, id: str) -> bool:
        return self.blocking.withdraw(id)

    async def send(self, text: str) -> None:
        self.blocking.send(text)

    async def close(self, queued: Queued = "drop", within: float | None = None) -> None:
        self.blocking.close(queued, within)


@asynccontextmanager
async def _blocking_connect(*arguments: Any, **options: Any) -> AsyncGenerator[BlockingChannel]:
    with bitget_transports.blocking.connect(*arguments, **options) as channel:
        yield BlockingChannel(channel)


class BlockingSession(BlockingChannel):
    """The same of a channel that stays connected."""

    blocking: bitget_transports.blocking.SessionChannel

    async def cancel(
        self,
        order: CancelOrder,
        id: str | None = None,
        timeout: float | None = None,
        policy: Policy | None = None,
        *,
        urgent: bool = False,
    ) -> Outcome:
        return self.blocking.cancel(order, id, timeout, policy, urgent=urgent)

    async def cancel_many(
        self,
        orders: Iterable[CancelOrder],
        timeout: float | None = None,
        policy: Policy | None = None,
    ) -> AsyncGenerator[Outcome]:
        for outcome in self.blocking.cancel_many(orders, timeout, policy):
            yield outcome


@asynccontextmanager
async def _blocking_open_session(
    *arguments: Any, **options: Any
) -> AsyncGenerator[BlockingSession]:
    with bitget_transports.blocking.open_session(*arguments, **options) as channel:
        yield BlockingSession(channel)


FAST = Config(messages_per_second=None)
"""No pace."""


def orders(count: int) -> list[CancelOrder]:
    return [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(1, count + 1)]


def fast_exchange(count: int = 0, **options: Any) -> ScriptedExchange:
    """An exchange with so many orders and without paces."""
    config = ExchangeConfig(messages_per_second=None, max_in_flight=None)
    return ScriptedExchange(orders(count), config=config, cancels_per_second=None, **options)
