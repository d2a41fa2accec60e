"""A task that is cancelled, or a thread that is interrupted, at each place where it waits: nothing is lost, nothing is left.

The same life of a channel is played again and again, and cancelled at its first wait, at its second, and so on until one
comes to its end.
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

from .colours import ASYNCIO, KEY, AnyChannel, Colour, Connect, Scenario, fast_exchange, orders
from .tidy import nothing_left, tidy

CONFIG = Config(messages_per_second=None, max_in_flight=2)
LIMITS = Limits(close_timeout=1.0)

Way = Callable[[Coroutine[Any, Any, None], int], Coroutine[Any, Any, int | None]]
"""A way to cancel: a coroutine at its n-th wait. What it gives is None when it was cancelled."""

OUTCOMES = (Accepted, Rejected, Unresolved)


class Life:
    """The life of one channel, and every outcome that comes out of it."""

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

    async def outlive(self, connect: Connect, way: Way, at: int) -> int | None:
        """Only the work is given up, and the channel goes on: what is still to come, comes as an event."""
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
        """Each cancel that the exchange has seen has one outcome that is known, and is not said to be unsent."""
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
    """Run a coroutine, and call what stands for it at its n-th wait; the number of its waits."""
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
        except BaseException as thrown:  # noqa: BLE001 - it is the coroutine's
            error = thrown


def by_task(life: Coroutine[Any, Any, None], at: int) -> Coroutine[Any, Any, int | None]:
    return _by_task(life, {at: lambda task: task.cancel()})


def by_task_soon(life: Coroutine[Any, Any, None], at: int) -> Coroutine[Any, Any, int | None]:
    return _by_task(life, {at: lambda task: asyncio.get_running_loop().call_soon(task.cancel)})


def by_task_twice(life: Coroutine[Any, Any, None], at: int) -> Coroutine[Any, Any, int | None]:
    return _by_task(life, {at: lambda task: task.cancel(), at + 1: lambda task: task.cancel()})


async def _by_task(
    life: Coroutine[Any, Any, None], places: dict[int, Callable[[asyncio.Task[Any]], object]]
) -> int | None:
    async def run() -> int:
        task = asyncio.current_task()
        assert task is not None
        return await stepping(
            life, {step: partial(cancel, task) for step, cancel in places.items()}
        )

    try:
        return await asyncio.create_task(run())
    except asyncio.CancelledError:
        return None


async def by_scope(life: Coroutine[Any, Any, None], at: int) -> int | None:
    with anyio.CancelScope() as scope:
        return await stepping(life, {at: scope.cancel})
    return None


async def by_timeout(life: Coroutine[Any, Any, None], at: int) -> int | None:
    try:
        async with asyncio.timeout(None) as timeout:
            return await stepping(life, {at: lambda: timeout.reschedule(0.0)})
    except TimeoutError:
        return None


WAYS = [
    *[(Colour.ASYNCIO, way) for way in (by_task, by_task_soon, by_task_twice, by_timeout)],
    *[(Colour.UVLOOP, way) for way in (by_task, by_task_twice)],
    *[(Colour.PICOWS, way) for way in (by_task, by_task_twice, by_timeout)],
    (Colour.PICOWS_UVLOOP, by_task),
    *[(Colour.ANYIO_ASYNCIO, way) for way in (by_task, by_task_soon, by_task_twice, by_scope)],
    (Colour.ANYIO_TRIO, by_scope),
]


@pytest.fixture(params=[False, True], ids=["at once", "late"])
def server(request: pytest.FixtureRequest) -> Iterator[ExchangeThread]:
    """An exchange that answers at once, or so late that something is always in flight."""
    with exchange_in_thread(fast_exchange(10)) as running:
        if request.param:
            running.inject(*[Fault.LATE] * 10_000)
            running.exchange.late_by = 0.001
        yield running


@pytest.mark.parametrize(
    ("colour", "way"), WAYS, ids=lambda value: getattr(value, "__name__", None)
)
def test_a_task_that_is_cancelled_at_any_wait_loses_no_outcome_and_leaves_nothing(
    server: ExchangeThread, colour: Colour, way: Way
) -> None:
    async def cancelled_at(connect: Connect, at: int) -> bool:
        life = Life(server)
        steps = await way(life.play(connect), at)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()  # what was cancelled comes to its end
        life.check()
        return steps is None

    with nothing_left():
        assert colour.run(tidy(until_one_comes_to_its_end(cancelled_at))) > 5


@pytest.mark.parametrize(
    ("colour", "way"), WAYS, ids=lambda value: getattr(value, "__name__", None)
)
def test_what_was_given_up_at_any_wait_comes_as_an_event_while_the_channel_goes_on(
    server: ExchangeThread, colour: Colour, way: Way
) -> None:
    async def cancelled_at(connect: Connect, at: int) -> bool:
        life = Life(server)
        steps = await life.outlive(connect, way, at)
        life.check()
        return steps is None

    with nothing_left():
        assert colour.run(tidy(until_one_comes_to_its_end(cancelled_at))) > 3


def until_one_comes_to_its_end(
    cancelled_at: Callable[[Connect, int], Coroutine[Any, Any, bool]],
) -> Scenario[int]:
    async def scenario(connect: Connect) -> int:
        at = 1
        while await cancelled_at(connect, at):
            at += 1
        return at

    return scenario


class Interrupted(selectors.DefaultSelector):
    """A selector in which Ctrl-C is pressed at the n-th call."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._left = at

    def select(self, timeout: float | None = None) -> Any:
        self._left -= 1
        if not self._left:
            raise KeyboardInterrupt
        return super().select(timeout)


def test_a_thread_that_is_interrupted_at_any_wait_loses_no_outcome_and_leaves_nothing(
    server: ExchangeThread,
) -> None:
    def interrupted_at(at: int) -> bool:
        async def scenario(connect: Connect) -> None:
            await life.play(connect, selector=lambda: Interrupted(at))

        life = Life(server)
        try:
            Colour.BLOCKING.run(scenario)
        except KeyboardInterrupt:
            return True
        finally:
            life.check()
        return False

    with nothing_left():
        at = 1
        while interrupted_at(at):
            at += 1
        assert at > 5


@pytest.mark.parametrize("server", [False], indirect=True)
@pytest.mark.parametrize("colour", [*ASYNCIO, Colour.ANYIO_ASYNCIO, Colour.ANYIO_TRIO])
def test_a_wait_that_is_given_up_is_not_the_request(server: ExchangeThread, colour: Colour) -> None:
    server.inject(Fault.LATE, Fault.LATE)
    server.exchange.late_by = 0.1

    async def scenario(connect: Connect) -> None:
        async with connect(KEY, url=server.url) as channel:
            with anyio.move_on_after(0.02) as scope:
                await channel.cancel(orders(1)[0], id="given up")
            assert scope.cancelled_caught
            assert channel.in_flight == 1
            if colour is not Colour.ANYIO_TRIO:
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

    colour.run(scenario)


@pytest.mark.parametrize("colour", ASYNCIO)
def test_who_cancels_the_task_of_a_dial_gives_up_the_dial_and_nobody_waits_for_it(
    colour: Colour,
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

    colour.run(tidy(scenario))


@pytest.mark.skipif(
    not hasattr(asyncio, "eager_task_factory"), reason="tasks begin at once from Python 3.12 on"
)
def test_a_dial_that_fails_before_its_first_wait_is_told_to_a_loop_that_begins_tasks_at_once() -> (
    None
):
    async def scenario(connect: Connect) -> None:
        asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009 - which the types of 3.11 lack
        with pytest.raises(ConnectFailed):
            async with connect(KEY, url="ws://127.0.0.1:9/", sock=socket.socket()):
                raise AssertionError("not reached")

    Colour.ASYNCIO.run(scenario)
