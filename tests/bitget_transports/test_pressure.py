"""Ten thousand cancels through one channel of every transport: one outcome each, nothing kept.

Real sockets on loopback; each wait is bounded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from bitget_proto import Accepted, CancelOrder, Config, Unresolved
from bitget_transports import Limits
from bitget_transports.exchange import exchange_in_thread

from .colours import KEY, Connect, Flavour, fast_exchange, orders
from .tidy import nothing_left, tidy

pytestmark = pytest.mark.parametrize("flavour", Flavour)

COUNT = 10_000
CONFIG = Config(messages_per_second=None, max_in_flight=500)
LIMITS = Limits(max_events=10, close_timeout=0.5)


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


def left_in(channel: Any) -> int:
    """Return how many entries the router keeps for cancels."""
    router = getattr(channel, "blocking", channel)._router
    return int(
        len(router._waiting) + len(router._event_outcomes) + router._unread + len(router._listeners)
    )


class CountedOrders:
    """Orders that count how far ahead of the outcomes they are taken."""

    def __init__(self, count: int) -> None:
        self.taken = 0
        self.most_ahead = 0
        self.outcomes = 0
        self._orders = iter(orders(count))

    def __iter__(self) -> Iterator[CancelOrder]:
        return self

    def __next__(self) -> CancelOrder:
        order = next(self._orders)
        self.taken += 1
        self.most_ahead = max(self.most_ahead, self.taken - self.outcomes)
        return order


@pytest.mark.slow
def test_ten_thousand_cancels_have_one_outcome_each(
    flavour: Flavour,
) -> None:
    watched = CountedOrders(COUNT)
    with exchange_in_thread(fast_exchange(COUNT - 1_000, credentials=KEY)) as server:

        async def scenario(connect: Connect) -> Counter[tuple[str, str]]:
            counted = Counter[tuple[str, str]]()
            ids = set[str]()
            async with connect(KEY, url=server.url, config=CONFIG, limits=LIMITS) as channel:
                async for outcome in channel.cancel_many(watched):
                    watched.outcomes += 1
                    ids.add(outcome.id)
                    counted[str(outcome.order.order_id), type(outcome).__name__] += 1
                assert (channel.in_flight, channel.capacity, left_in(channel)) == (0, 500, 0)
                assert channel.events.take() is None
            assert len(ids) == COUNT
            return counted

        counted = flavour.run(tidy(scenario))
        acts = Counter(
            (
                str(act.order.order_id),
                "Accepted" if int(act.order.order_id or 0) <= COUNT - 1_000 else "Rejected",
            )
            for act in server.exchange.log
        )
    assert counted == acts
    assert set(counted.values()) == {1}
    assert len(counted) == COUNT
    assert watched.most_ahead <= 501


def test_a_drop_during_many_cancels_gives_each_a_true_outcome(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(3_000, credentials=KEY)) as server:

        async def scenario(connect: Connect) -> dict[str, object]:
            outcomes: dict[str, object] = {}
            async with connect(KEY, url=server.url, config=CONFIG, limits=LIMITS) as channel:
                async for outcome in channel.cancel_many(orders(3_000)):
                    assert outcome.order.order_id not in outcomes
                    outcomes[str(outcome.order.order_id)] = outcome
                    if len(outcomes) == 700:
                        server.drop()
                assert (channel.in_flight, left_in(channel)) == (0, 0)
            return outcomes

        outcomes = flavour.run(tidy(scenario))
        acted = {str(act.order.order_id) for act in server.exchange.log}
    assert len(outcomes) == 3_000
    for order_id, outcome in outcomes.items():
        if isinstance(outcome, Accepted):
            assert order_id in acted
        else:
            assert isinstance(outcome, Unresolved)
            assert outcome.sent or order_id not in acted
    assert sum(isinstance(outcome, Accepted) for outcome in outcomes.values()) >= 700
