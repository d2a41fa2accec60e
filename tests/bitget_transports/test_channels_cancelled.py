"""A task is cancelled, or a thread interrupted, at each wait: nothing is lost or left behind.

The same run of a channel is repeated and cancelled at its first wait, then at its second, and so
on until a run completes.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
import time
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import suppress
from functools import partial
from types import coroutine
from typing import Any

import anyio
import pytest

from bitget_proto import Accepted, CancelOrder, Config, Outcome, Rejected, State, Unresolved
from bitget_proto.testing import Fault
from bitget_transports import ConnectFailed, Limits
from bitget_transports.exchange import ExchangeThread, exchange_in_thread
from bitget_transports.faults.hostile_server import HostileServer, Victim

from .colours import ASYNCIO, KEY, AnyChannel, Connect, Flavour, Scenario, fast_exchange, orders
from .tidy import nothing_left, tidy

CONFIG = Config(messages_per_second=None, max_in_flight=2)
LIMITS = Limits(close_timeout=1.0)

Way = Callable[[Coroutine[Any, Any, None], int], Coroutine[Any, Any, int | None]]
"""Cancels a coroutine at its n-th wait; returns None if it was cancelled."""

OUTCOMES = (Accepted, Rejected, Unresolved)


class Run:
    """One run of a channel, with all its outcomes."""

    def __init__(self, server: ExchangeThread) -> None:
        self.server = server
        self.url = server.url
        self.channel: AnyChannel | None = None
        self.known: list[Outcome] = []
        self._before = len(server.exchange.log)

    async def play(self, connect: Connect, **options: Any) -> None:
        async with connect(
            KEY, url=self.url, config=CONFIG, limits=LIMITS, **options
        ) as self.channel:
            await self.work()
            channel = self.channel
            await channel.send("x")
            with suppress(StopAsyncIteration):
                self._read(await anext(aiter(channel.events)))
            self.known.append(await channel.cancel(orders(7)[6]))
            await channel.close()
            async for event in channel.events:
                self._read(event)

    async def work(self) -> None:
        assert self.channel is not None
        self.known.append(await self.channel.cancel(orders(1)[0]))
        async for outcome in self.channel.cancel_many(orders(6)[1:]):
            self.known.append(outcome)

    async def work_and_go_on(self, connect: Connect, way: Way, at: int) -> int | None:
        """Cancel only the work; the channel goes on, and later outcomes become events."""
        async with connect(KEY, url=self.url, config=CONFIG, limits=LIMITS) as self.channel:
            steps = await way(self.work(), at)
            with anyio.fail_after(5.0):
                while self.channel.in_flight:
                    self._read(await anext(aiter(self.channel.events)))
            while (event := self.channel.events.take()) is not None:
                self._read(event)
            assert not any(isinstance(outcome, Unresolved) for outcome in self.known)
            assert self.channel.capacity == 2
            self.known.append(await self.channel.cancel(orders(7)[6]))
        return steps

    def check(self) -> None:
        """Check that each cancel the exchange saw has one outcome that does not say unsent."""
        end = time.monotonic() + 5.0
        while self.server.connections and time.monotonic() < end:
            time.sleep(0.0005)
        assert time.monotonic() < end
        if self.channel is not None:
            assert self.channel.state is State.CLOSED
            assert self.channel.in_flight == 0
            while (event := self.channel.events.take()) is not None:
                self._read(event)
        ids = [outcome.id for outcome in self.known]
        assert len(set(ids)) == len(ids)
        unsent = {
            outcome.id
            for outcome in self.known
            if isinstance(outcome, Unresolved) and not outcome.sent
        }
        received = {act.id for act in self.server.exchange.log[self._before :]}
        assert received <= set(ids) - unsent
        assert len(ids) <= 7

    def _read(self, event: object) -> None:
        if isinstance(event, OUTCOMES):
            self.known.append(event)


@coroutine
def stepping(
    inner: Coroutine[Any, Any, None], places: dict[int, Callable[[], object]]
) -> Generator[Any, Any, int]:
    """Run a coroutine, call `places[n]` at its n-th wait, and return the number of waits."""
    step, value, error = 0, None, None
    while True:
        try:
            trap = inner.send(value) if error is None else inner.throw(error)
        except StopIteration:
            return step
        step += 1
        places.get(step, int)()
        value = error = None
        try:
            value = yield trap
        except BaseException as thrown:  # noqa: BLE001 - thrown into the coroutine
            error = thrown


def by_task(work: Coroutine[Any, Any, None], at: int) -> Coroutine[Any, Any, int | None]:
    return _by_task(work, {at: lambda task: task.cancel()})


def by_task_soon(work: Coroutine[Any, Any, None], at: int) -> Coroutine[Any, Any, int | None]:
    return _by_task(work, {at: lambda task: asyncio.get_running_loop().call_soon(task.cancel)})


def by_task_twice(work: Coroutine[Any, Any, None], at: int) -> Coroutine[Any, Any, int | None]:
    return _by_task(work, {at: lambda task: task.cancel(), at + 1: lambda task: task.cancel()})


async def _by_task(
    work: Coroutine[Any, Any, None], places: dict[int, Callable[[asyncio.Task[Any]], object]]
) -> int | None:
    async def run() -> int:
        task = asyncio.current_task()
        assert task is not None
        return await stepping(
            work, {step: partial(cancel, task) for step, cancel in places.items()}
        )

    try:
        return await asyncio.create_task(run())
    except asyncio.CancelledError:
        return None


async def by_scope(work: Coroutine[Any, Any, None], at: int) -> int | None:
    with anyio.CancelScope() as scope:
        return await stepping(work, {at: scope.cancel})
    return None


async def by_timeout(work: Coroutine[Any, Any, None], at: int) -> int | None:
    try:
        async with asyncio.timeout(None) as timeout:
            return await stepping(work, {at: lambda: timeout.reschedule(0.0)})
    except TimeoutError:
        return None


WAYS = [
    *[(Flavour.ASYNCIO, way) for way in (by_task, by_task_soon, by_task_twice, by_timeout)],
    *[(Flavour.UVLOOP, way) for way in (by_task, by_task_twice)],
    *[(Flavour.PICOWS, way) for way in (by_task, by_task_twice, by_timeout)],
    (Flavour.PICOWS_UVLOOP, by_task),
    *[(Flavour.ANYIO_ASYNCIO, way) for way in (by_task, by_task_soon, by_task_twice, by_scope)],
    (Flavour.ANYIO_TRIO, by_scope),
]


@pytest.fixture(params=[False, True], ids=["at once", "late"])
def server(request: pytest.FixtureRequest) -> Iterator[ExchangeThread]:
    """Run an exchange that answers at once, or so late that a cancel is always in flight."""
    with exchange_in_thread(fast_exchange(10)) as running:
        if request.param:
            running.inject(*[Fault.LATE] * 10_000)
            running.exchange.late_by = 0.001
        yield running


@pytest.mark.parametrize(
    ("flavour", "way"), WAYS, ids=lambda value: getattr(value, "__name__", None)
)
def test_cancelling_the_task_at_any_wait_loses_no_outcome(
    server: ExchangeThread, flavour: Flavour, way: Way
) -> None:
    async def cancelled_at(connect: Connect, at: int) -> bool:
        run = Run(server)
        steps = await way(run.play(connect), at)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()  # let cancelled tasks end
        run.check()
        return steps is None

    with nothing_left():
        assert flavour.run(tidy(until_one_completes(cancelled_at))) > 5


@pytest.mark.parametrize(
    ("flavour", "way"), WAYS, ids=lambda value: getattr(value, "__name__", None)
)
def test_outcomes_of_a_wait_cancelled_at_any_point_become_events(
    server: ExchangeThread, flavour: Flavour, way: Way
) -> None:
    async def cancelled_at(connect: Connect, at: int) -> bool:
        run = Run(server)
        steps = await run.work_and_go_on(connect, way, at)
        run.check()
        return steps is None

    with nothing_left():
        assert flavour.run(tidy(until_one_completes(cancelled_at))) > 3


def until_one_completes(
    cancelled_at: Callable[[Connect, int], Coroutine[Any, Any, bool]],
) -> Scenario[int]:
    async def scenario(connect: Connect) -> int:
        at = 1
        while await cancelled_at(connect, at):
            at += 1
        return at

    return scenario


class Interrupted(selectors.DefaultSelector):
    """A selector that raises KeyboardInterrupt at the n-th call."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._left = at

    def select(self, timeout: float | None = None) -> Any:
        self._left -= 1
        if not self._left:
            raise KeyboardInterrupt
        return super().select(timeout)


def test_interrupting_the_thread_at_any_wait_loses_no_outcome(
    server: ExchangeThread,
) -> None:
    def interrupted_at(at: int) -> bool:
        async def scenario(connect: Connect) -> None:
            await run.play(connect, selector=lambda: Interrupted(at))

        run = Run(server)
        try:
            Flavour.BLOCKING.run(scenario)
        except KeyboardInterrupt:
            return True
        finally:
            run.check()
        return False

    with nothing_left():
        at = 1
        while interrupted_at(at):
            at += 1
        assert at > 5


@pytest.mark.parametrize("server", [False], indirect=True)
@pytest.mark.parametrize("flavour", [*ASYNCIO, Flavour.ANYIO_ASYNCIO, Flavour.ANYIO_TRIO])
def test_cancelling_the_await_does_not_cancel_the_request(
    server: ExchangeThread, flavour: Flavour
) -> None:
    server.inject(Fault.LATE, Fault.LATE)
    server.exchange.late_by = 0.1

    async def scenario(connect: Connect) -> None:
        async with connect(KEY, url=server.url) as channel:
            with anyio.move_on_after(0.02) as scope:
                await channel.cancel(orders(1)[0], id="given up")
            assert scope.cancelled_caught
            assert channel.in_flight == 1
            if flavour is not Flavour.ANYIO_TRIO:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(
                        channel.cancel(CancelOrder("BTCUSDT", order_id="2"), id="too"), 0.02
                    )
                assert channel.in_flight == 2
            async for event in channel.events:
                assert isinstance(event, Accepted)
                assert event.id in ("given up", "too")
                if not channel.in_flight:
                    break
            assert channel.capacity >= 998

    flavour.run(scenario)


@pytest.mark.parametrize("flavour", ASYNCIO)
def test_cancelling_the_dial_task_makes_connect_fail(
    flavour: Flavour,
) -> None:
    async def scenario(connect: Connect) -> None:
        waiting = asyncio.current_task()

        async def cancel_the_dial() -> None:
            await connected.wait()
            for task in asyncio.all_tasks() - {waiting, asyncio.current_task()}:
                task.cancel()

        connected = asyncio.Event()
        cancelling = asyncio.create_task(cancel_the_dial())
        loop = asyncio.get_running_loop()

        def behave(victim: Victim) -> None:
            victim.read_head()
            loop.call_soon_threadsafe(connected.set)
            victim.hold()

        with (
            HostileServer(behave) as server,
            pytest.raises(ConnectFailed, match="the dial was cancelled"),
        ):
            async with connect(KEY, url=server.url):
                raise AssertionError("not reached")
        await cancelling

    flavour.run(tidy(scenario))


@pytest.mark.skipif(
    not hasattr(asyncio, "eager_task_factory"), reason="eager tasks need Python 3.12"
)
def test_an_immediate_dial_failure_is_raised_with_eager_tasks() -> None:
    async def scenario(connect: Connect) -> None:
        asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009 - the types of 3.11 lack it
        with pytest.raises(ConnectFailed):
            async with connect(KEY, url="ws://127.0.0.1:9/", sock=socket.socket()):
                raise AssertionError("not reached")

    Flavour.ASYNCIO.run(scenario)
