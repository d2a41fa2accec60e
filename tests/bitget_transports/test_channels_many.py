"""Many cancels at once, on every colour: what is taken, when, and where the outcomes go when the loop is left."""

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

from .colours import ASYNCIO, FAST, KEY, AnyChannel, Colour, Connect, fast_exchange, orders

pytestmark = pytest.mark.parametrize("colour", Colour)

FEW = Config(messages_per_second=None, max_in_flight=3)

AWAITING = (*ASYNCIO, Colour.ANYIO_ASYNCIO, Colour.ANYIO_TRIO)


def slowly(seen: list[CancelOrder]) -> Iterator[CancelOrder]:
    for order in orders(60):
        time.sleep(0.005)
        seen.append(order)
        yield order


def test_orders_that_come_slowly_do_not_hold_up_what_arrives(colour: Colour) -> None:
    seen: list[CancelOrder] = []
    with exchange_in_thread(fast_exchange(60)) as server:

        async def scenario(connect: Connect) -> list[int]:
            taken: list[int] = []
            async with connect(KEY, url=server.url, config=FAST) as channel:
                async for outcome in channel.cancel_many(slowly(seen)):
                    assert isinstance(outcome, Accepted)
                    taken.append(len(seen))
            return taken

        taken = colour.run(scenario)
    assert len(taken) == 60
    assert taken[0] < 60


def test_a_wait_that_is_cancelled_while_orders_come_slowly_leaves_what_was_taken(
    colour: Colour,
) -> None:
    if colour not in AWAITING:
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

        assert numbers(colour.run(scenario)) == numbers_of(seen)


class Pulled:
    """Orders that tell how many were taken."""

    def __init__(self, count: int) -> None:
        self.count = 0
        self._orders = orders(count)

    def __iter__(self) -> Iterator[CancelOrder]:
        for order in self._orders:
            self.count += 1
            yield order


async def outcomes_in_events(channel: AnyChannel, count: int) -> list[Outcome]:
    """So many outcomes, out of the events."""
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


def test_no_more_orders_are_taken_than_there_is_room_for_however_slow_the_reader(
    colour: Colour,
) -> None:
    pulled = Pulled(20)
    with exchange_in_thread(fast_exchange(20)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=FEW) as channel:
                read = 0
                async for outcome in channel.cancel_many(pulled):
                    assert isinstance(outcome, Accepted)
                    read += 1
                    assert pulled.count - read <= 3
                    if colour in AWAITING:
                        await anyio.lowlevel.checkpoint()
                        assert pulled.count - read <= 3
                assert read == 20

        colour.run(scenario)
    assert len(server.exchange.log) == 20


def test_when_the_loop_is_left_early_the_other_outcomes_are_events_at_once(colour: Colour) -> None:
    pulled = Pulled(10)
    gc.disable()  # what waits for the collector waits for ever
    try:
        with exchange_in_thread(fast_exchange(10)) as server:

            async def scenario(connect: Connect) -> None:
                async with connect(KEY, url=server.url, config=FEW) as channel:
                    async with aclosing_if_blocking(colour, channel, pulled) as outcomes:
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

            colour.run(scenario)
    finally:
        gc.enable()


def aclosing_if_blocking(colour: Colour, channel: AnyChannel, some: Any) -> Any:
    """The blocking words stand behind an async generator here, which only its loop would finalise."""
    made: Any = channel.cancel_many(some)
    return aclosing(made) if colour is Colour.BLOCKING else _Plain(made)


class _Plain:
    def __init__(self, made: AsyncIterator[Outcome]) -> None:
        self._made: AsyncIterator[Outcome] | None = made

    async def __aenter__(self) -> AsyncIterator[Outcome]:
        made, self._made = self._made, None
        assert made is not None
        return made

    async def __aexit__(self, *_: object) -> None:
        pass


def test_what_was_never_begun_takes_nothing(colour: Colour) -> None:
    pulled = Pulled(3)
    with exchange_in_thread(fast_exchange(3)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url) as channel:
                channel.cancel_many(pulled)
                await channel.close()

        colour.run(scenario)
    assert (pulled.count, server.exchange.log) == (0, [])


def test_orders_that_raise_in_the_middle_raise_to_the_reader_and_lose_no_outcome(
    colour: Colour,
) -> None:
    def some() -> Iterator[CancelOrder]:
        yield from orders(2)
        raise KeyError("no more")

    with exchange_in_thread(fast_exchange(2)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=FAST) as channel:
                with pytest.raises(KeyError, match="no more"):
                    await anext(channel.cancel_many(some()))
                assert numbers(await outcomes_in_events(channel, 2)) == [1, 2]

        colour.run(scenario)


def test_rubbish_in_the_middle_is_refused_and_loses_no_outcome(colour: Colour) -> None:
    some: Any = [*orders(2), "rubbish", *orders(3)]
    with exchange_in_thread(fast_exchange(2)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=FAST) as channel:
                with pytest.raises(ValidationError, match="rubbish"):
                    await anext(channel.cancel_many(some))
                assert numbers(await outcomes_in_events(channel, 2)) == [1, 2]
                assert channel.capacity == 1000

        colour.run(scenario)


def test_two_at_once_share_the_room_and_each_gets_its_own(colour: Colour) -> None:
    with exchange_in_thread(fast_exchange(40)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=FEW) as channel:
                found: list[list[Outcome]] = [[], []]

                async def some(which: int) -> None:
                    async for outcome in channel.cancel_many(orders(40)[which * 20 :][:20]):
                        found[which].append(outcome)
                        if colour is Colour.BLOCKING and which == 0 and len(found[0]) == 1:
                            await some(1)  # the one inside the other

                if colour is Colour.BLOCKING:
                    await some(0)
                else:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(some, 0)
                        tasks.start_soon(some, 1)
                assert numbers(found[0]) == [*range(1, 21)]
                assert numbers(found[1]) == [*range(21, 41)]

        colour.run(scenario)


def test_a_wait_that_is_cancelled_in_the_middle_gives_up_the_wait_alone(colour: Colour) -> None:
    if colour is Colour.BLOCKING:
        return  # nothing can cancel it
    pulled = Pulled(10)
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
                assert [outcome async for outcome in made] == []  # it is over
                assert numbers(found + await outcomes_in_events(channel, 3)) == [1, 2, 3, 4]
                assert pulled.count == 4

        colour.run(scenario)


def test_one_is_read_by_one_task_at_a_time(colour: Colour) -> None:
    if colour is Colour.BLOCKING:
        return  # Python refuses it by itself
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

        colour.run(scenario)


def test_closing_it_wakes_whoever_waits_for_it(colour: Colour) -> None:
    if colour is Colour.BLOCKING:
        return  # nobody else can close it
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

        colour.run(scenario)


def give_up(channel: AnyChannel, some: list[CancelOrder]) -> None:
    """Cancel each of them, as one whose wait is given up at once."""
    real: Any = getattr(channel, "blocking", channel)
    driver, inbox = real._driver, real._driver.inbox
    for order in some:
        waiter = Waiter(lambda: None)
        inbox.cancel(waiter, order, driver.now())
        inbox.abandon(waiter)
        driver.drain(driver.now())


def test_outcomes_that_nobody_reads_hold_every_place_until_they_are_read(colour: Colour) -> None:
    with exchange_in_thread(fast_exchange(9)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=FEW) as channel:
                give_up(channel, orders(3))
                # One waits for the room that they will make, until they have come and nobody has read them.
                with pytest.raises(NoRoom, match="unread outcomes"):
                    await anext(channel.cancel_many(orders(9)[3:]))
                assert channel.capacity == 0
                with pytest.raises(NoRoom, match="unread outcomes"):
                    await channel.cancel(orders(9)[8])
                assert numbers(await outcomes_in_events(channel, 3)) == [1, 2, 3]
                assert channel.capacity == 3
                assert isinstance(await channel.cancel(orders(9)[8]), Accepted)

        colour.run(scenario)
    assert len(server.exchange.log) == 4


def test_the_blocking_colour_never_waits_for_what_its_own_caller_would_have_to_read(
    colour: Colour,
) -> None:
    if colour is not Colour.BLOCKING:
        return
    with exchange_in_thread(fast_exchange(9)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=FEW) as channel:
                begun = channel.cancel_many(orders(3))
                await anext(begun)
                give_up(channel, orders(4)[3:])
                with pytest.raises(NoRoom, match="continue the cancel_many"):
                    await anext(channel.cancel_many(orders(9)[4:]))
                assert len([outcome async for outcome in begun]) == 2
                assert [outcome async for outcome in channel.cancel_many(orders(9)[4:])]

        colour.run(scenario)


def test_a_cancel_that_raises_as_it_leaves_is_a_wait_given_up_and_its_outcome_an_event(
    colour: Colour,
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
                # On the blocking colour the step is torn, and the channel has ended.
                assert (channel.in_flight, channel.capacity) == (
                    0,
                    0 if colour is Colour.BLOCKING else 3,
                )

        colour.run(scenario)
