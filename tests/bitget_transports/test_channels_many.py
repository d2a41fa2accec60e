"""`cancel_many` on every transport: when orders are taken, and where the outcomes go."""

from __future__ import annotations

import gc
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any
from unittest.mock import patch

import anyio
import pytest

from bitget_proto import (
    Accepted,
    CancelOrder,
    Config,
    LocalProtocolError,
    NoRoom,
    Outcome,
    Unresolved,
    ValidationError,
)
from bitget_proto.testing import Fault
from bitget_transports._driver.outcome_router import Waiter
from bitget_transports.exchange import exchange_in_thread

from .colours import ASYNCIO, FAST, KEY, AnyChannel, Connect, Flavour, fast_exchange, orders

pytestmark = pytest.mark.parametrize("flavour", Flavour)

FEW = Config(messages_per_second=None, max_in_flight=3)

AWAITING = (*ASYNCIO, Flavour.ANYIO_ASYNCIO, Flavour.ANYIO_TRIO)


def slowly(seen: list[CancelOrder]) -> Iterator[CancelOrder]:
    for order in orders(60):
        time.sleep(0.005)
        seen.append(order)
        yield order


def test_a_slow_iterable_of_orders_does_not_delay_outcomes(flavour: Flavour) -> None:
    seen: list[CancelOrder] = []
    with exchange_in_thread(fast_exchange(60)) as server:

        async def scenario(connect: Connect) -> list[int]:
            taken: list[int] = []
            async with connect(KEY, url=server.url, config=FAST) as channel:
                async for outcome in channel.cancel_many(slowly(seen)):
                    assert isinstance(outcome, Accepted)
                    taken.append(len(seen))
            return taken

        taken = flavour.run(scenario)
    assert len(taken) == 60
    assert taken[0] < 60


def test_cancelling_the_wait_during_a_slow_iterable_loses_no_outcome(
    flavour: Flavour,
) -> None:
    if flavour not in AWAITING:
        return
    seen: list[CancelOrder] = []
    with exchange_in_thread(fast_exchange(60)) as server:

        async def scenario(connect: Connect) -> list[Outcome]:
            found: list[Outcome] = []
            async with connect(KEY, url=server.url, config=FAST) as channel:
                with anyio.move_on_after(0.1):
                    async for outcome in channel.cancel_many(slowly(seen)):
                        found.append(outcome)
                assert len(seen) < 60
                return found + await outcomes_in_events(channel, len(seen) - len(found))

        assert numbers(flavour.run(scenario)) == numbers_of(seen)


class CountedOrders:
    """Orders that count how many were taken."""

    def __init__(self, count: int) -> None:
        self.count = 0
        self._orders = orders(count)

    def __iter__(self) -> Iterator[CancelOrder]:
        for order in self._orders:
            self.count += 1
            yield order


async def outcomes_in_events(channel: AnyChannel, count: int) -> list[Outcome]:
    """Read `count` outcomes from the events."""
    found: list[Outcome] = []
    async for event in channel.events:
        if isinstance(event, (Accepted, Unresolved)):
            found.append(event)
        if len(found) == count:
            break
    return found


def numbers_of(taken: list[CancelOrder]) -> list[int]:
    return [int(order.order_id or 0) for order in taken]


def numbers(outcomes: list[Outcome]) -> list[int]:
    return sorted(int(outcome.order.order_id or 0) for outcome in outcomes)


def test_orders_are_taken_only_as_capacity_allows(
    flavour: Flavour,
) -> None:
    pulled = CountedOrders(20)
    with exchange_in_thread(fast_exchange(20)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=FEW) as channel:
                read = 0
                async for outcome in channel.cancel_many(pulled):
                    assert isinstance(outcome, Accepted)
                    read += 1
                    assert pulled.count - read <= 3
                    if flavour in AWAITING:
                        await anyio.lowlevel.checkpoint()
                        assert pulled.count - read <= 3
                assert read == 20

        flavour.run(scenario)
    assert len(server.exchange.log) == 20


def test_outcomes_become_events_when_the_loop_is_left_early(flavour: Flavour) -> None:
    pulled = CountedOrders(10)
    gc.disable()  # nothing may depend on the garbage collector
    try:
        with exchange_in_thread(fast_exchange(10)) as server:

            async def scenario(connect: Connect) -> None:
                async with connect(KEY, url=server.url, config=FEW) as channel:
                    async with aclosing_if_blocking(flavour, channel, pulled) as outcomes:
                        read: list[Outcome] = []
                        async for outcome in outcomes:
                            read.append(outcome)
                            break
                    del outcomes
                    taken = pulled.count
                    assert taken <= 4
                    rest = await outcomes_in_events(channel, taken - 1)
                    assert numbers(read + rest) == [*range(1, taken + 1)]
                    assert pulled.count == taken
                    assert (channel.in_flight, channel.capacity) == (0, 3)

            flavour.run(scenario)
    finally:
        gc.enable()


def aclosing_if_blocking(flavour: Flavour, channel: AnyChannel, some: Any) -> Any:
    """Close the wrapper of the blocking transport: only an event loop would finalise it."""
    made: Any = channel.cancel_many(some)
    return aclosing(made) if flavour is Flavour.BLOCKING else _NotClosed(made)


class _NotClosed:
    def __init__(self, made: AsyncIterator[Outcome]) -> None:
        self._made: AsyncIterator[Outcome] | None = made

    async def __aenter__(self) -> AsyncIterator[Outcome]:
        made, self._made = self._made, None
        assert made is not None
        return made

    async def __aexit__(self, *_: object) -> None:
        pass


def test_a_cancel_many_that_is_not_iterated_takes_no_orders(flavour: Flavour) -> None:
    pulled = CountedOrders(3)
    with exchange_in_thread(fast_exchange(3)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url) as channel:
                channel.cancel_many(pulled)
                await channel.close()

        flavour.run(scenario)
    assert (pulled.count, server.exchange.log) == (0, [])


async def put_into(found: list[Outcome], outcomes: AsyncIterator[Outcome]) -> None:
    async for outcome in outcomes:
        found.append(outcome)


def test_an_exception_in_the_orders_is_raised_and_loses_no_outcome(
    flavour: Flavour,
) -> None:
    def some() -> Iterator[CancelOrder]:
        yield from orders(2)
        raise KeyError("no more")

    with exchange_in_thread(fast_exchange(2)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=FAST) as channel:
                found: list[Outcome] = []
                with pytest.raises(KeyError, match="no more"):
                    await put_into(found, channel.cancel_many(some()))
                found += await outcomes_in_events(channel, 2 - len(found))
                assert numbers(found) == [1, 2]

        flavour.run(scenario)


def test_an_invalid_order_is_refused_and_loses_no_outcome(flavour: Flavour) -> None:
    some: Any = [*orders(2), "rubbish", *orders(3)]
    with exchange_in_thread(fast_exchange(2)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=FAST) as channel:
                found: list[Outcome] = []
                with pytest.raises(ValidationError, match="rubbish"):
                    await put_into(found, channel.cancel_many(some))
                found += await outcomes_in_events(channel, 2 - len(found))
                assert numbers(found) == [1, 2]
                assert channel.capacity == 1000

        flavour.run(scenario)


def test_two_cancel_many_share_capacity_and_get_their_own_outcomes(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(40)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=FEW) as channel:
                found: list[list[Outcome]] = [[], []]

                async def some(which: int) -> None:
                    async for outcome in channel.cancel_many(orders(40)[which * 20 :][:20]):
                        found[which].append(outcome)
                        if flavour is Flavour.BLOCKING and which == 0 and len(found[0]) == 1:
                            await some(1)  # nested

                if flavour is Flavour.BLOCKING:
                    await some(0)
                else:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(some, 0)
                        tasks.start_soon(some, 1)
                assert numbers(found[0]) == [*range(1, 21)]
                assert numbers(found[1]) == [*range(21, 41)]

        flavour.run(scenario)


def test_cancelling_the_wait_does_not_cancel_the_orders_taken(flavour: Flavour) -> None:
    if flavour is Flavour.BLOCKING:
        return  # it cannot be cancelled
    pulled = CountedOrders(10)
    with exchange_in_thread(fast_exchange(10)) as server:
        server.inject(None, Fault.LATE, Fault.LATE, Fault.LATE)
        server.exchange.late_by = 0.15

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=FEW) as channel:
                made = channel.cancel_many(pulled)
                found: list[Outcome] = []
                with anyio.CancelScope() as middle:
                    async for outcome in made:
                        found.append(outcome)
                        middle.cancel()
                assert (len(found), pulled.count) == (1, 4)
                assert [outcome async for outcome in made] == []  # the iterator has ended
                assert numbers(found + await outcomes_in_events(channel, 3)) == [1, 2, 3, 4]
                assert pulled.count == 4

        flavour.run(scenario)


def test_a_cancel_many_is_read_by_one_task_at_a_time(flavour: Flavour) -> None:
    if flavour is Flavour.BLOCKING:
        return  # Python itself refuses it
    with exchange_in_thread(fast_exchange(2)) as server:
        server.inject(Fault.LATE)
        server.exchange.late_by = 0.05

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url) as channel:
                made = channel.cancel_many(orders(1))

                async def second() -> None:
                    with pytest.raises(LocalProtocolError, match="already awaited"):
                        await anext(made)

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(second)
                    assert [outcome async for outcome in made]

        flavour.run(scenario)


def test_closing_the_iterator_wakes_its_reader(flavour: Flavour) -> None:
    if flavour is Flavour.BLOCKING:
        return  # no other task can close it
    with exchange_in_thread(fast_exchange(2)) as server:
        server.inject(Fault.LATE, Fault.LATE)
        server.exchange.late_by = 0.05

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url) as channel:
                made: Any = channel.cancel_many(orders(2))

                async def close() -> None:
                    made.close()

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(close)
                    assert [outcome async for outcome in made] == []
                assert numbers(await outcomes_in_events(channel, 2)) == [1, 2]

        flavour.run(scenario)


def cancel_and_abandon(channel: AnyChannel, some: list[CancelOrder]) -> None:
    """Cancel each order and abandon the wait at once."""
    real: Any = getattr(channel, "blocking", channel)
    driver, router = real._driver, real._driver.router
    for order in some:
        waiter = Waiter(lambda: None)
        router.cancel(waiter, order, driver.now())
        router.abandon(waiter)
        driver.drain(driver.now())


def test_unread_outcomes_use_capacity_until_they_are_read(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(9)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=FEW) as channel:
                cancel_and_abandon(channel, orders(3))
                # `cancel_many` waits for capacity until the outcomes have arrived and stay unread.
                with pytest.raises(NoRoom, match="unread outcomes"):
                    await anext(channel.cancel_many(orders(9)[3:]))
                assert channel.capacity == 0
                with pytest.raises(NoRoom, match="unread outcomes"):
                    await channel.cancel(orders(9)[8])
                assert numbers(await outcomes_in_events(channel, 3)) == [1, 2, 3]
                assert channel.capacity == 3
                assert isinstance(await channel.cancel(orders(9)[8]), Accepted)

        flavour.run(scenario)
    assert len(server.exchange.log) == 4


def test_the_blocking_transport_raises_no_room_instead_of_deadlock(
    flavour: Flavour,
) -> None:
    if flavour is not Flavour.BLOCKING:
        return
    with exchange_in_thread(fast_exchange(9)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=FEW) as channel:
                begun = channel.cancel_many(orders(3))
                await anext(begun)
                cancel_and_abandon(channel, orders(4)[3:])
                with pytest.raises(NoRoom, match="continue the cancel_many"):
                    await anext(channel.cancel_many(orders(9)[4:]))
                assert len([outcome async for outcome in begun]) == 2
                assert [outcome async for outcome in channel.cancel_many(orders(9)[4:])]

        flavour.run(scenario)


def test_the_outcome_of_a_cancel_call_that_raises_is_an_event(
    flavour: Flavour,
) -> None:
    with exchange_in_thread(fast_exchange(1)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=FEW) as channel:
                real: Any = getattr(channel, "blocking", channel)
                drain = real._driver.drain

                def drain_and_raise(now: float) -> None:
                    drain(now)
                    raise KeyError("no")

                with patch.object(real._driver, "drain", drain_and_raise), pytest.raises(KeyError):
                    await channel.cancel(orders(1)[0])
                assert numbers(await outcomes_in_events(channel, 1)) == [1]
                # The blocking channel has ended: its step was interrupted.
                assert (channel.in_flight, channel.capacity) == (
                    0,
                    0 if flavour is Flavour.BLOCKING else 3,
                )

        flavour.run(scenario)
