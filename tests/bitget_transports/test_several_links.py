"""A session with several links on every transport: all of them send, and one may end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from bitget_proto import (
    Accepted,
    Budget,
    Cancelled,
    Down,
    Final,
    LinkClosed,
    SessionConfig,
    StillOpen,
    Unresolved,
    Up,
    WhyUnresolved,
)
from bitget_proto.testing import Fault, SeenFrame
from bitget_transports import ChannelEvent
from bitget_transports.exchange import exchange_in_thread

from .colours import FAST, KEY, AnySession, Flavour, OpenSession, fast_exchange, orders
from .test_exchange_sockets import until
from .tidy import nothing_left, tidy

pytestmark = pytest.mark.parametrize("flavour", Flavour)

LINKS = 3


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


async def until_up(channel: AnySession, link: int, seen: list[ChannelEvent]) -> None:
    """Read events until this link is up."""
    async for event in channel.events:
        seen.append(event)
        if isinstance(event, Up) and event.link == link:
            return


def test_all_links_send_and_one_link_s_end_is_the_others_work(flavour: Flavour) -> None:
    carriers = Counter[int]()

    def on_frame(frame: SeenFrame) -> None:
        if frame.direction == "received" and "cancel-order" in frame.text:
            carriers[frame.link] += 1

    exchange = fast_exchange(61, credentials=KEY, on_frame=on_frame)
    seen: list[ChannelEvent] = []
    with exchange_in_thread(exchange) as server:

        async def scenario(open_session: OpenSession) -> None:
            async with open_session(
                KEY,
                url=server.url,
                config=SessionConfig(links=LINKS, link=FAST, backoff_min=0.01),
                budget=Budget(None),
            ) as channel:
                await until_up(channel, LINKS, seen)
                assert server.connections == LINKS
                outcomes = [outcome async for outcome in channel.cancel_many(orders(60))]
                assert {type(outcome) for outcome in outcomes} == {Accepted}
                assert len(outcomes) == 60
                exchange.inject(Fault.DROP_BEFORE)
                lost = await channel.cancel(orders(61)[-1])
                assert isinstance(lost, Unresolved)
                assert (lost.sent, lost.why) == (True, WhyUnresolved.LOST)
                again = await channel.cancel(orders(61)[-1])
                assert isinstance(again, Accepted)
                await until_up(channel, LINKS + 1, seen)
                assert server.connections == LINKS

        flavour.run_session(tidy(scenario))
        until(lambda: server.connections == 0)
    assert not exchange.live
    assert set(carriers) == set(range(1, LINKS + 1)), "each has sent"
    kinds = Counter(type(event) for event in seen)
    assert (kinds[Up], kinds[LinkClosed], kinds[Down]) == (LINKS + 1, 1, 0)


@pytest.mark.slow
def test_orders_are_confirmed_while_links_come_and_go(flavour: Flavour) -> None:
    exchange = fast_exchange(12, credentials=KEY)
    with exchange_in_thread(exchange) as server:

        async def scenario(open_session: OpenSession) -> list[Final]:
            config = SessionConfig(links=2, link=FAST, backoff_min=0.01)
            async with open_session(KEY, url=server.url, config=config, orders=True) as channel:
                await until_up(channel, 2, [])
                outcomes = [outcome async for outcome in channel.cancel_many(orders(6))]
                exchange.inject(Fault.DROP_AFTER)
                outcomes += [outcome async for outcome in channel.cancel_many(orders(12)[6:])]
                return [await channel.confirm(outcome) for outcome in outcomes]

        finals = flavour.run_session(tidy(scenario))
    # Those that were on the lost link, behind the one that dropped it, are open.
    still_open = [final.outcome.order for final in finals if isinstance(final, StillOpen)]
    assert sorted(still_open, key=str) == sorted(exchange.live, key=str)
    assert Counter(map(type, finals))[Cancelled] == 12 - len(still_open) >= 7
