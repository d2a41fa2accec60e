"""Run one test on every transport: `Flavour.run(scenario)`.

A scenario is a coroutine function that takes `connect` and uses it with `async with` and `await`.
For the blocking transport, the methods are wrapped in coroutines that never wait, so the scenario
runs to completion in one step.
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
from bitget_proto import (
    CancelOrder,
    Config,
    Credentials,
    Final,
    InstType,
    Outcome,
    Policy,
    SessionState,
    State,
)
from bitget_proto._machine.arguments import Queued
from bitget_proto.testing import ExchangeConfig, ScriptedExchange
from bitget_transports import ChannelEvent

BOUND = 30.0
"""Seconds after which a scenario fails."""

KEY = Credentials("key", "secret", "passphrase")

T = TypeVar("T")


class AnyEvents(Protocol):
    def take(self) -> ChannelEvent | None: ...
    def __aiter__(self) -> AsyncIterator[ChannelEvent]: ...


class AnyChannel(Protocol):
    """The methods of a channel that all transports share."""

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
    def confirm(self, outcome: Outcome) -> Awaitable[Final]: ...
    def cancel_all(
        self,
        inst_type: InstType | None = None,
        inst_id: str | None = None,
        *,
        rounds: int = 3,
        by_symbol: bool = False,
    ) -> AsyncIterator[tuple[Outcome, Final | None]]: ...
    def withdraw(self, id: str) -> Awaitable[bool]: ...
    def send(self, text: str) -> Awaitable[None]: ...
    def close(self, queued: Queued = "drop", within: float | None = None) -> Awaitable[None]: ...


class AnySession(Protocol):
    """The methods of a session channel that all transports share."""

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
    def confirm(self, outcome: Outcome) -> Awaitable[Final]: ...
    def cancel_all(
        self,
        inst_type: InstType | None = None,
        inst_id: str | None = None,
        *,
        rounds: int = 3,
        by_symbol: bool = False,
    ) -> AsyncIterator[tuple[Outcome, Final | None]]: ...
    def withdraw(self, id: str) -> Awaitable[bool]: ...
    def send(self, text: str) -> Awaitable[None]: ...
    def close(self, queued: Queued = "drop", within: float | None = None) -> Awaitable[None]: ...


Connect = Callable[..., AbstractAsyncContextManager[AnyChannel]]
OpenSession = Callable[..., AbstractAsyncContextManager[AnySession]]
Scenario = Callable[[Connect], Coroutine[Any, Any, T]]
SessionScenario = Callable[[OpenSession], Coroutine[Any, Any, T]]


class Flavour(Enum):
    ASYNCIO = "asyncio"
    UVLOOP = "uvloop"
    PICOWS = "asyncio framed by picows"
    PICOWS_UVLOOP = "uvloop framed by picows"
    ANYIO_ASYNCIO = "anyio on asyncio"
    ANYIO_TRIO = "anyio on trio"
    BLOCKING = "blocking"

    def run(self, scenario: Scenario[T]) -> T:
        """Run a scenario to completion, within `BOUND` seconds."""
        return self._run(scenario, "connect", _blocking_connect)

    def run_session(self, scenario: SessionScenario[T]) -> T:
        """Run a scenario that takes `open_session`."""
        return self._run(scenario, "open_session", _blocking_open_session)

    def _run(
        self, scenario: Callable[..., Coroutine[Any, Any, T]], function: str, blocking: Any
    ) -> T:
        match self:
            case Flavour.ASYNCIO:
                return asyncio.run(_bounded(scenario, getattr(bitget_transports.asyncio, function)))
            case Flavour.UVLOOP:
                import uvloop

                return uvloop.run(_bounded(scenario, getattr(bitget_transports.asyncio, function)))
            case Flavour.PICOWS:
                return asyncio.run(_bounded(scenario, _framed_by_picows(function)))
            case Flavour.PICOWS_UVLOOP:
                import uvloop

                return uvloop.run(_bounded(scenario, _framed_by_picows(function)))
            case Flavour.ANYIO_ASYNCIO | Flavour.ANYIO_TRIO:
                backend = self.value.removeprefix("anyio on ")
                return anyio.run(
                    _bounded, scenario, getattr(bitget_transports.anyio, function), backend=backend
                )
            case Flavour.BLOCKING:
                return _run_without_waiting(scenario(blocking))


ASYNCIO = (Flavour.ASYNCIO, Flavour.UVLOOP, Flavour.PICOWS, Flavour.PICOWS_UVLOOP)
"""The flavours of `bitget_transports.asyncio`."""


def _framed_by_picows(function: str) -> Any:
    return partial(getattr(bitget_transports.asyncio, function), framing="picows")


async def _bounded(scenario: Callable[..., Coroutine[Any, Any, T]], connect: Any) -> T:
    with anyio.fail_after(BOUND):
        return await scenario(connect)


def _run_without_waiting(coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise AssertionError("a scenario must await nothing but the channel on the blocking transport")


class _BlockingEvents:
    def __init__(self, channel: bitget_transports.blocking.Channel) -> None:
        self._events = channel.events

    def take(self) -> ChannelEvent | None:
        return self._events.take()

    async def __aiter__(self) -> AsyncIterator[ChannelEvent]:
        for event in self._events:
            yield event


class BlockingChannel:
    """The blocking channel with the methods of the others; `blocking` is the channel itself."""

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

    async def confirm(self, outcome: Outcome) -> Final:
        return self.blocking.confirm(outcome)

    async def cancel_all(
        self,
        inst_type: InstType | None = None,
        inst_id: str | None = None,
        *,
        rounds: int = 3,
        by_symbol: bool = False,
    ) -> AsyncGenerator[tuple[Outcome, Final | None]]:
        pairs = self.blocking.cancel_all(inst_type, inst_id, rounds=rounds, by_symbol=by_symbol)
        for pair in pairs:
            yield pair

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
    """The blocking session channel with the methods of the others."""

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
"""A configuration without pacing."""


def orders(count: int) -> list[CancelOrder]:
    return [CancelOrder("BTCUSDT", order_id=str(number)) for number in range(1, count + 1)]


def fast_exchange(count: int = 0, **options: Any) -> ScriptedExchange:
    """Return an exchange with `count` orders and without rate limits."""
    config = ExchangeConfig(messages_per_second=None, max_in_flight=None)
    return ScriptedExchange(orders(count), config=config, cancels_per_second=None, **options)
