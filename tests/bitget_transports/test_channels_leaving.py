"""Leaving a channel, on every transport: exceptions pass unchanged and nothing is left behind."""

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

from .colours import FAST, KEY, AnyChannel, Connect, Flavour, fast_exchange, orders
from .endings import closed
from .tidy import CLOSE, frame, nothing_left, tidy

pytestmark = pytest.mark.parametrize("flavour", Flavour)

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
    """Cancel an order without waiting."""
    real: Any = getattr(channel, "blocking", channel)
    driver, router = real._driver, real._driver.router
    waiter = Waiter(lambda: None)
    router.cancel(waiter, orders(1)[0], driver.now(), id)
    router.abandon(waiter)
    driver.drain(driver.now())


@pytest.mark.parametrize("raised", RAISED, ids=lambda error: type(error).__name__)
def test_an_exception_in_the_body_is_raised_unchanged(
    flavour: Flavour, raised: BaseException
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
            except BaseException as error:  # noqa: BLE001 - some cannot pass an event loop
                came.append(error)

        with nothing_left():
            began = time.monotonic()
            flavour.run(tidy(scenario))
            assert time.monotonic() - began < 30.0  # it did not drain
        assert len(came) == 1
        assert came[0] is raised
        channel = channels[0]
        outcome = channel.events.take()
        assert isinstance(outcome, Unresolved)
        assert (outcome.id, outcome.why) == ("open", WhyUnresolved.CLOSED)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_the_body_is_raised_unchanged(
    flavour: Flavour, interrupt: type[BaseException]
) -> None:
    with exchange_in_thread(fast_exchange()) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url):
                raise interrupt

        with nothing_left(), pytest.raises(interrupt):
            flavour.run(scenario)


def test_a_normal_exit_waits_for_the_answers_to_sent_cancels(flavour: Flavour) -> None:
    channels: list[AnyChannel] = []
    with exchange_in_thread(fast_exchange(1)) as server:
        server.inject(Fault.LATE)
        server.exchange.late_by = 0.1

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url) as channel:
                channels.append(channel)
                begin(channel, "late")
                if flavour is not Flavour.BLOCKING:
                    await anyio.lowlevel.checkpoint()

        flavour.run(tidy(scenario))
        assert isinstance(outcome := channels[0].events.take(), Accepted)
        assert outcome.id == "late"


def test_the_drain_is_bounded_by_its_timeout(flavour: Flavour) -> None:
    channels: list[AnyChannel] = []
    with exchange_in_thread(fast_exchange(1)) as server:
        server.inject(Fault.SILENT)

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=Config(drain_timeout=0.1)) as channel:
                channels.append(channel)
                begin(channel, "silent")
                if flavour is not Flavour.BLOCKING:
                    await anyio.lowlevel.checkpoint()

        flavour.run(tidy(scenario))
        outcome = channels[0].events.take()
        assert isinstance(outcome, Unresolved)
        assert (outcome.sent, outcome.why) == (True, WhyUnresolved.CLOSED)


def test_cancels_queued_at_close_are_unresolved_and_unsent(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(30)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url) as channel:
                for number in range(30):
                    begin(channel, str(number))
                await channel.close()
                why, events = await closed(channel)
                assert why is WhyClosed.ASKED
                # The login was the first of ten messages in this second.
                unsent = [
                    event for event in events if isinstance(event, Unresolved) and not event.sent
                ]
                assert len(events) == 30
                assert len(unsent) >= 21

        flavour.run(tidy(scenario))
        assert len(server.exchange.log) <= 9


def test_a_timeout_around_the_channel_is_raised_unchanged(flavour: Flavour) -> None:
    if flavour is Flavour.BLOCKING:
        return  # it has no timeout scopes

    with exchange_in_thread(fast_exchange()) as server:

        async def scenario(connect: Connect) -> None:
            async def forever() -> None:
                async with connect(KEY, url=server.url):
                    await anyio.sleep_forever()

            with pytest.raises(TimeoutError), anyio.fail_after(0.1):
                await forever()
            if flavour is not Flavour.ANYIO_TRIO:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await forever()

        with nothing_left():
            flavour.run(tidy(scenario))


def test_the_blocking_transport_closes_its_socket_when_the_peer_closes(
    flavour: Flavour,
) -> None:
    if flavour is not Flavour.BLOCKING:
        return  # the others close their sockets in the event loop

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
