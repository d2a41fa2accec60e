"""An exception from outside, a signal handler's for example, in the middle of a step of a channel on an event loop.

A handler of `signal.signal` raises into whatever the loop runs at that moment. The channel then ends with one honest outcome
for each cancel, and the exception comes out as the loop lets it.
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
from bitget_transports._driver.outcome_router import Inbox
from bitget_transports.exchange import exchange_in_thread

from .colours import ASYNCIO, FAST, KEY, Colour, Connect, OpenSession, fast_exchange, orders
from .tidy import nothing_left, tidy

pytestmark = pytest.mark.parametrize(
    "colour", [colour for colour in Colour if colour is not Colour.BLOCKING]
)


def strike(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Raise this, once, when an answer is on its way from the core to who waits for it."""
    dispatch, left = Inbox.dispatch, [error]

    def struck(self: Inbox, event: Any) -> None:
        if isinstance(event, Accepted) and left:
            raise left.pop()
        dispatch(self, event)

    monkeypatch.setattr(Inbox, "dispatch", struck)


def innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


def test_the_channel_ends_and_the_cancel_may_have_been_sent(
    colour: Colour, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = TimeoutError("alarm")
    strike(monkeypatch, error)
    reported: list[object] = []
    with nothing_left(), exchange_in_thread(fast_exchange(2)) as server:

        async def scenario(connect: Connect) -> list[Any]:
            if colour in ASYNCIO:
                asyncio.get_running_loop().set_exception_handler(
                    lambda _, context: reported.append(context["exception"])
                )
            async with connect(KEY, url=server.url, config=FAST) as channel:
                outcomes = [await channel.cancel(order) for order in orders(2)]
                return [*outcomes, *[event async for event in channel.events]]

        struck, refused, *events = colour.run(tidy(scenario))
    assert isinstance(struck, Unresolved)
    assert (struck.sent, struck.why) == (True, WhyUnresolved.INTERRUPTED)
    assert isinstance(refused, Unresolved)
    assert not refused.sent
    assert events == [Closed(why=WhyClosed.INTERRUPTED, detail="a step was interrupted")]
    assert reported == ([error] if colour in ASYNCIO else [])


def test_what_is_no_exception_of_a_programs_comes_out_of_the_loop(
    colour: Colour, monkeypatch: pytest.MonkeyPatch
) -> None:
    strike(monkeypatch, KeyboardInterrupt())
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
            colour.run_session(scenario)
    assert isinstance(innermost(caught.value), KeyboardInterrupt)
    (outcome,) = (event for event in ends if isinstance(event, Unresolved))
    assert (outcome.sent, outcome.why) == (True, WhyUnresolved.INTERRUPTED)
    (ended,) = (event for event in ends if isinstance(event, Ended))
    assert ended.why is WhyEnded.INTERRUPTED
