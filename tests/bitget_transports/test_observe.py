"""`observe` gets every outcome, final and event with its time, beside whoever awaits it, on every transport.

Real sockets on loopback; each wait is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bitget_proto import (
    Accepted,
    CallerError,
    Cancelled,
    CancelOrder,
    Closed,
    Down,
    Ended,
    Final,
    LinkClosed,
    Outcome,
    Ready,
    Rejected,
    SessionConfig,
    Unresolved,
    Up,
    ValidationError,
)
from bitget_transports import Limits, clock
from bitget_transports.exchange import exchange_in_thread

from .colours import FAST, KEY, Connect, Flavour, OpenSession, fast_exchange, orders
from .tidy import nothing_left, tidy

LIMITS = Limits(open_timeout=5.0, close_timeout=0.2)
UNKNOWN = CancelOrder("BTCUSDT", order_id="999")


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


class Observer:
    """Keeps what it is called with, and raises `error` at an event of the class `at`."""

    def __init__(self, at: type | None = None, error: BaseException | None = None) -> None:
        self.seen: list[tuple[Any, float]] = []
        self._at, self._error = at, error

    def __call__(self, event: Any, at: float) -> None:
        self.seen.append((event, at))
        if self._error is not None and isinstance(event, self._at or object):
            raise self._error

    @property
    def events(self) -> list[Any]:
        return [event for event, _ in self.seen]

    @property
    def kinds(self) -> list[type]:
        return [type(event) for event in self.events]


@pytest.mark.parametrize("flavour", Flavour)
def test_every_outcome_is_observed_once_with_its_time(flavour: Flavour) -> None:
    observer, began = Observer(), clock()
    returned: list[Outcome] = []
    with exchange_in_thread(fast_exchange(3, credentials=KEY)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(
                KEY, url=server.url, config=FAST, limits=LIMITS, observe=observer
            ) as channel:
                returned.extend([each async for each in channel.cancel_many(orders(3))])
                returned.append(await channel.cancel(UNKNOWN))
            returned.append(await channel.cancel(UNKNOWN))

        flavour.run(tidy(scenario))
    assert observer.kinds == [Ready, *[Accepted] * 3, Rejected, Closed, Unresolved]
    assert [each for each in observer.events if not isinstance(each, (Ready, Closed))] == returned
    times = [at for _, at in observer.seen]
    assert times == sorted(times)
    assert began <= times[0] <= times[-1] <= clock()
    for event, at in observer.seen:
        if isinstance(event, (Accepted, Rejected, Unresolved)):
            assert at == event.resolved_at


@pytest.mark.parametrize("flavour", Flavour)
def test_the_links_of_a_session_are_observed(flavour: Flavour) -> None:
    observer = Observer()
    config = SessionConfig(link=FAST, backoff_min=0.01, backoff_max=0.05)
    with exchange_in_thread(fast_exchange(2, credentials=KEY)) as server:

        async def scenario(open_session: OpenSession) -> None:
            async with open_session(
                KEY, url=server.url, config=config, limits=LIMITS, observe=observer
            ) as channel:
                await channel.cancel(orders(1)[0])
                server.drop()
                async for event in channel.events:
                    if isinstance(event, Up) and event.link == 2:
                        break
                await channel.cancel(orders(2)[1])

        flavour.run_session(tidy(scenario))
    kinds = [Up, Accepted, LinkClosed, Down, Up, Accepted, LinkClosed, Ended]
    assert observer.kinds == kinds


@pytest.mark.parametrize("flavour", Flavour)
def test_every_final_is_observed_once_with_its_time(flavour: Flavour) -> None:
    observer = Observer()
    with exchange_in_thread(fast_exchange(2, credentials=KEY)) as server:

        async def scenario(connect: Connect) -> list[tuple[Outcome, Final | None]]:
            async with connect(
                KEY, url=server.url, config=FAST, limits=LIMITS, observe=observer, orders=True
            ) as channel:
                return [each async for each in channel.cancel_all()]

        pairs = flavour.run(tidy(scenario))
    finals = [final for _, final in pairs]
    assert [type(final) for final in finals] == [Cancelled] * 2
    seen = [(event, at) for event, at in observer.seen if isinstance(event, Cancelled)]
    assert seen == [(final, final.resolved_at) for final in finals if final is not None]


@pytest.mark.parametrize("flavour", Flavour)
def test_an_observer_that_fails_at_a_final_loses_none(flavour: Flavour) -> None:
    observer = Observer(Cancelled, ZeroDivisionError("mine"))
    with exchange_in_thread(fast_exchange(2, credentials=KEY)) as server:

        async def scenario(connect: Connect) -> list[Any]:
            async with connect(
                KEY, url=server.url, config=FAST, limits=LIMITS, observe=observer, orders=True
            ) as channel:
                finals = [final async for _, final in channel.cancel_all()]
                assert [type(final) for final in finals] == [Cancelled] * 2
            events: list[Any] = []
            while (event := channel.events.take()) is not None:
                events.append(event)
            return events

        events = flavour.run(tidy(scenario))
    assert observer.kinds.count(Cancelled) == 1, "it is not called again"
    assert [event.where for event in events if isinstance(event, CallerError)] == ["observe"]


@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize("at", [Ready, Accepted, Closed])
def test_an_observer_that_fails_is_one_event_and_loses_nothing(flavour: Flavour, at: type) -> None:
    observer = Observer(at, ZeroDivisionError("mine"))
    events: list[Any] = []
    with exchange_in_thread(fast_exchange(3, credentials=KEY)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(
                KEY, url=server.url, config=FAST, limits=LIMITS, observe=observer
            ) as channel:
                outcomes = [each async for each in channel.cancel_many(orders(3))]
                assert [type(each) for each in outcomes] == [Accepted] * 3
            while (event := channel.events.take()) is not None:
                events.append(event)

        flavour.run(tidy(scenario))
    assert isinstance(observer.events[-1], at), "it is not called again"
    assert [type(event) for event in events] == [CallerError, Closed], "Closed is the last event"
    assert (events[0].where, events[0].detail) == ("observe", "ZeroDivisionError('mine')")


def test_an_interrupt_in_the_observer_is_raised_and_the_outcome_is_an_event() -> None:
    observer = Observer(Accepted, KeyboardInterrupt())
    with exchange_in_thread(fast_exchange(1, credentials=KEY)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(
                KEY, url=server.url, config=FAST, limits=LIMITS, observe=observer
            ) as channel:
                with pytest.raises(KeyboardInterrupt):
                    await channel.cancel(orders(1)[0])
                assert isinstance(channel.events.take(), Accepted)

        Flavour.BLOCKING.run(scenario)
    assert observer.kinds.count(Accepted) == 1


@pytest.mark.parametrize("flavour", [Flavour.ASYNCIO, Flavour.ANYIO_ASYNCIO, Flavour.BLOCKING])
def test_an_observer_must_be_callable(flavour: Flavour) -> None:
    async def scenario(connect: Connect) -> None:
        async with connect(KEY, url="ws://127.0.0.1:9/", observe="x"):
            raise AssertionError("a channel was opened")

    with pytest.raises(ValidationError, match="observe must be a function"):
        flavour.run(tidy(scenario))
