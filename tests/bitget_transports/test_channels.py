"""A channel against the embedded exchange, on every transport.

Real sockets on loopback; each wait is bounded.
"""

from __future__ import annotations

from collections import Counter

import pytest

from bitget_proto import Accepted, CodeClass, Rejected, State, Unresolved, WhyUnresolved
from bitget_transports.exchange import exchange_in_thread

from .colours import FAST, KEY, Connect, Flavour, fast_exchange, orders

pytestmark = pytest.mark.parametrize("flavour", Flavour)


def test_the_channel_is_logged_in_before_the_first_cancel(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(1, credentials=KEY)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url) as channel:
                assert channel.state is State.READY
                assert isinstance(await channel.cancel(orders(1)[0]), Accepted)
                refused = await channel.cancel(orders(1)[0], id="again")
                assert isinstance(refused, Rejected)
                assert (refused.id, refused.code_class) == ("again", CodeClass.THROTTLED)
                assert (channel.in_flight, channel.capacity) == (0, 1000)

        flavour.run(scenario)
        assert len(server.exchange.log) == 2


def test_a_cancel_after_the_end_is_unresolved_and_unsent(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(1)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url) as channel:
                pass
            outcome = await channel.cancel(orders(1)[0])
            assert isinstance(outcome, Unresolved)
            assert (outcome.sent, outcome.why) == (False, WhyUnresolved.CLOSED)
            assert [outcome.sent async for outcome in channel.cancel_many(orders(3)) if isinstance(outcome, Unresolved)] == [
                False, False, False,
            ]  # fmt: skip

        flavour.run(scenario)
        assert server.exchange.log == []


def test_cancel_many_returns_one_outcome_per_order(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(200)) as server:

        async def scenario(connect: Connect) -> Counter[str]:
            async with connect(KEY, url=server.url, config=FAST) as channel:
                return Counter(
                    [type(outcome).__name__ async for outcome in channel.cancel_many(orders(250))]
                )

        assert flavour.run(scenario) == {"Accepted": 200, "Rejected": 50}
        assert len(server.exchange.log) == 250
