"""A signal handler raises in the middle of a step of a channel on an event loop.

A handler of `signal.signal` raises into whatever the loop runs at that moment. The channel then
ends with one outcome for each cancel, and the loop treats the exception as it does any other.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from bitget_proto import (
    Accepted,
    Closed,
    Ended,
    SessionConfig,
    Unresolved,
    WhyClosed,
    WhyEnded,
    WhyUnresolved,
)
from bitget_transports._driver.outcome_router import OutcomeRouter
from bitget_transports.exchange import exchange_in_thread

from .colours import ASYNCIO, FAST, KEY, Connect, Flavour, OpenSession, fast_exchange, orders
from .tidy import nothing_left, tidy

pytestmark = pytest.mark.parametrize(
    "flavour", [flavour for flavour in Flavour if flavour is not Flavour.BLOCKING]
)


def interrupt(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Raise this once, while an answer passes from the core to its waiter."""
    dispatch, left = OutcomeRouter.dispatch, [error]

    def interrupted(self: OutcomeRouter, event: Any) -> None:
        if isinstance(event, Accepted) and left:
            raise left.pop()
        dispatch(self, event)

    monkeypatch.setattr(OutcomeRouter, "dispatch", interrupted)


def innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


def test_the_channel_ends_and_the_cancel_may_have_been_sent(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = TimeoutError("alarm")
    interrupt(monkeypatch, error)
    reported: list[object] = []
    with nothing_left(), exchange_in_thread(fast_exchange(2)) as server:

        async def scenario(connect: Connect) -> list[Any]:
            if flavour in ASYNCIO:
                asyncio.get_running_loop().set_exception_handler(
                    lambda _, context: reported.append(context["exception"])
                )
            async with connect(KEY, url=server.url, config=FAST) as channel:
                outcomes = [await channel.cancel(order) for order in orders(2)]
                return [*outcomes, *[event async for event in channel.events]]

        outcome, refused, *events = flavour.run(tidy(scenario))
    assert isinstance(outcome, Unresolved)
    assert (outcome.sent, outcome.why) == (True, WhyUnresolved.INTERRUPTED)
    assert isinstance(refused, Unresolved)
    assert not refused.sent
    assert events == [Closed(why=WhyClosed.INTERRUPTED, detail="a step was interrupted")]
    assert reported == ([error] if flavour in ASYNCIO else [])


def test_a_base_exception_leaves_the_event_loop(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(monkeypatch, KeyboardInterrupt())
    ends: list[Any] = []
    with nothing_left(), exchange_in_thread(fast_exchange(1)) as server:

        async def scenario(open_session: OpenSession) -> None:
            async with open_session(
                KEY, url=server.url, config=SessionConfig(link=FAST)
            ) as channel:
                try:
                    ends.append(await channel.cancel(orders(1)[0]))
                finally:
                    while (event := channel.events.take()) is not None:
                        ends.append(event)

        with pytest.raises((KeyboardInterrupt, BaseExceptionGroup)) as caught:
            flavour.run_session(scenario)
    assert isinstance(innermost(caught.value), KeyboardInterrupt)
    (outcome,) = (event for event in ends if isinstance(event, Unresolved))
    assert (outcome.sent, outcome.why) == (True, WhyUnresolved.INTERRUPTED)
    (ended,) = (event for event in ends if isinstance(event, Ended))
    assert ended.why is WhyEnded.INTERRUPTED
