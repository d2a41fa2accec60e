"""Leaving a channel, on every colour: what the body raises comes out as itself, and nothing stays behind."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import anyio
import pytest

import bitget_transports.blocking
from bitget_proto import Accepted, Config, State, Unresolved, WhyClosed, WhyUnresolved
from bitget_proto.testing import Fault
from bitget_transports._driver.outcome_router import Waiter
from bitget_transports.exchange import exchange_in_thread
from bitget_transports.faults.hostile_server import After, HostileServer, Victim

from .colours import FAST, KEY, AnyChannel, Colour, Connect, fast_exchange, orders
from .endings import closed
from .tidy import CLOSE, frame, nothing_left, tidy

pytestmark = pytest.mark.parametrize("colour", Colour)

RAISED = [
    ZeroDivisionError("mine"),
    KeyboardInterrupt("mine"),
    SystemExit("mine"),
    ExceptionGroup("mine", [ValueError("one"), KeyError("two")]),
    BaseExceptionGroup("mine", [KeyboardInterrupt("one")]),
    TimeoutError("mine"),
    StopIteration("mine"),
    StopAsyncIteration("mine"),
]


def fail(error: BaseException) -> None:
    raise error


def begin(channel: AnyChannel, id: str) -> None:
    """Cancel an order and do not wait."""
    real: Any = getattr(channel, "blocking", channel)
    driver, inbox = real._driver, real._driver.inbox
    waiter = Waiter(lambda: None)
    inbox.cancel(waiter, orders(1)[0], driver.now(), id)
    inbox.abandon(waiter)
    driver.drain(driver.now())


@pytest.mark.parametrize("raised", RAISED, ids=lambda error: type(error).__name__)
def test_what_the_body_raises_comes_out_as_itself_and_ends_the_channel_at_once(
    colour: Colour, raised: BaseException
) -> None:
    channels: list[AnyChannel] = []
    came: list[BaseException] = []
    with exchange_in_thread(fast_exchange(1)) as server:
        server.inject(Fault.SILENT)

        async def scenario(connect: Connect) -> None:
            try:
                async with connect(
                    KEY, url=server.url, config=Config(drain_timeout=60.0)
                ) as channel:
                    channels.append(channel)
                    begin(channel, "open")
                    fail(raised)
            except BaseException as error:  # noqa: BLE001 - an event loop would not let some of them through
                came.append(error)

        with nothing_left():
            began = time.monotonic()
            colour.run(tidy(scenario))
            assert time.monotonic() - began < 30.0  # it did not drain
        assert len(came) == 1
        assert came[0] is raised
        channel = channels[0]
        outcome = channel.events.take()
        assert isinstance(outcome, Unresolved)
        assert (outcome.id, outcome.why) == ("open", WhyUnresolved.CLOSED)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_comes_all_the_way_out(colour: Colour, interrupt: type[BaseException]) -> None:
    with exchange_in_thread(fast_exchange()) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url):
                raise interrupt

        with nothing_left(), pytest.raises(interrupt):
            colour.run(scenario)


def test_leaving_without_an_error_waits_for_what_was_sent(colour: Colour) -> None:
    channels: list[AnyChannel] = []
    with exchange_in_thread(fast_exchange(1)) as server:
        server.inject(Fault.LATE)
        server.exchange.late_by = 0.1

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url) as channel:
                channels.append(channel)
                begin(channel, "late")
                if colour is not Colour.BLOCKING:
                    await anyio.lowlevel.checkpoint()

        colour.run(tidy(scenario))
        assert isinstance(outcome := channels[0].events.take(), Accepted)
        assert outcome.id == "late"


def test_a_drain_that_comes_to_nothing_is_bounded(colour: Colour) -> None:
    channels: list[AnyChannel] = []
    with exchange_in_thread(fast_exchange(1)) as server:
        server.inject(Fault.SILENT)

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=Config(drain_timeout=0.1)) as channel:
                channels.append(channel)
                begin(channel, "silent")
                if colour is not Colour.BLOCKING:
                    await anyio.lowlevel.checkpoint()

        colour.run(tidy(scenario))
        outcome = channels[0].events.take()
        assert isinstance(outcome, Unresolved)
        assert (outcome.sent, outcome.why) == (True, WhyUnresolved.CLOSED)


def test_what_is_queued_when_the_channel_closes_was_not_sent(colour: Colour) -> None:
    with exchange_in_thread(fast_exchange(30)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url) as channel:
                for number in range(30):
                    begin(channel, str(number))
                await channel.close()
                why, events = await closed(channel)
                assert why is WhyClosed.ASKED
                # The login was the first of the ten of this second.
                unsent = [
                    event for event in events if isinstance(event, Unresolved) and not event.sent
                ]
                assert len(events) == 30
                assert len(unsent) >= 21

        colour.run(tidy(scenario))
        assert len(server.exchange.log) <= 9


def test_a_timeout_of_the_users_round_the_whole_is_the_users(colour: Colour) -> None:
    if colour is Colour.BLOCKING:
        return  # it has none

    with exchange_in_thread(fast_exchange()) as server:

        async def scenario(connect: Connect) -> None:
            async def forever() -> None:
                async with connect(KEY, url=server.url):
                    await anyio.sleep_forever()

            with pytest.raises(TimeoutError), anyio.fail_after(0.1):
                await forever()
            if colour is not Colour.ANYIO_TRIO:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await forever()

        with nothing_left():
            colour.run(tidy(scenario))


def test_a_blocking_socket_is_closed_as_soon_as_the_other_side_has_ended_the_connection(
    colour: Colour,
) -> None:
    if colour is not Colour.BLOCKING:
        return  # the others close it between two calls

    def behave(victim: Victim) -> None:
        victim.reach(After.LOGIN)
        victim.write(frame(CLOSE, b"\x03\xe8"))
        victim.hold()

    with (
        HostileServer(behave) as server,
        bitget_transports.blocking.connect(KEY, url=server.url, config=FAST) as channel,
    ):
        channel.pump(5.0)
        assert channel.state is State.CLOSED
        assert not channel._driver._alive
