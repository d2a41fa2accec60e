"""Real pacing on real sockets: a burst does not get the connection closed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from bitget_proto import Accepted
from bitget_transports.exchange import exchange_in_thread

from .colours import KEY, Connect, Flavour, fast_exchange, orders

_JITTER = 0.1
"""Seconds by which delays of the machine may shorten the gap between two messages."""


def arrivals(flavour: Flavour) -> list[float]:
    """Return when 29 cancels of one burst arrived; with the login they are 30 messages."""
    with exchange_in_thread(fast_exchange(29)) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url) as channel:
                outcomes = [outcome async for outcome in channel.cancel_many(orders(29))]
                assert [type(outcome) for outcome in outcomes] == [Accepted] * 29
                sent = [outcome.sent_at or 0.0 for outcome in outcomes]
                assert all(
                    eleventh - first > 0.999
                    for first, eleventh in zip(sent, sent[10:], strict=False)
                )

        flavour.run(scenario)
        return [act.at for act in server.exchange.log]


def test_a_burst_of_thirty_is_paced_at_ten_messages_a_second() -> None:
    with ThreadPoolExecutor() as threads:  # all flavours at once: each takes two seconds
        for arrived in threads.map(arrivals, Flavour):
            assert len(arrived) == 29
            assert all(
                eleventh - first > 1.0 - _JITTER
                for first, eleventh in zip(arrived, arrived[10:], strict=False)
            )
            assert arrived[-1] - arrived[0] > 2.0 - _JITTER
