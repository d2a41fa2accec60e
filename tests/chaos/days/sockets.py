"""Days that only real sockets can bring: an answer to the handshake, a peer that stops reading."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from tests.chaos.days import judges
from tests.chaos.days.day import Day, Given, Row, some_orders

import bitget_transports.asyncio
from bitget_proto import CancelOrder, Credentials
from bitget_proto.testing import ScriptedExchange
from bitget_transports.exchange import ExchangeServer

_KEY = Credentials("key", "secret", "passphrase")
_RETRY_AFTER = 2
"""Seconds; without it the next dial follows within 0.5."""

_MORE_THAN_FITS = 2**24
"""Characters of an own frame that no socket's buffers take whole."""

_LATER = 0.3
"""Seconds for what arrived while nothing was read."""


class _Exchange(ScriptedExchange):
    """Notes when it is dialled."""

    def __init__(self, day: Day, orders: list[CancelOrder]) -> None:
        super().__init__(orders, on_frame=day.frames.append)
        self._day = day
        self._clock: Callable[[], float] = time.monotonic

    def handshake(self) -> tuple[int, int | None] | None:
        """As the exchange's."""
        self._day.dials.append(self._clock())
        return super().handshake()


async def _cancel(day: Day, server: ExchangeServer, channel: Any, order: CancelOrder) -> None:
    id = f"{order.order_id}x"
    day.take(id, order, server.now())
    outcome = await channel.cancel(order, id)
    day.given.append(Given(server.now(), outcome))


def _lived(
    orders: list[CancelOrder], script: Callable[[Day, ExchangeServer], Awaitable[None]]
) -> Day:
    day = Day(real=True)
    exchange = _Exchange(day, orders)

    async def main() -> None:
        async with ExchangeServer(exchange) as server:
            exchange._clock = server.now
            await script(day, server)

    began = time.monotonic()
    asyncio.run(main())
    day.end(exchange)
    day.seconds = time.monotonic() - began
    return day


def _retry_after(_: random.Random) -> Day:
    """The first handshake is answered 429 with `Retry-After: 2`."""
    orders = some_orders(3)

    async def script(day: Day, server: ExchangeServer) -> None:
        server.refuse_handshakes(1, retry_after=_RETRY_AFTER)
        day.marks |= {"refused": 1, "the first dial": 0.0}
        async with bitget_transports.asyncio.open_session(_KEY, url=server.url) as channel:
            for order in orders:
                await _cancel(day, server, channel, order)

    return _lived(orders, script)


def _deaf(_: random.Random) -> Day:
    """The exchange stops reading, and its sockets stay open; three cancels are written. Then it reads again."""
    orders = some_orders(9)

    async def script(day: Day, server: ExchangeServer) -> None:
        async with bitget_transports.asyncio.open_session(_KEY, url=server.url) as channel:
            for order in orders[:3]:
                await _cancel(day, server, channel, order)
            server.stop_reading()
            day.marks["deaf"] = server.now()
            await asyncio.gather(*(_cancel(day, server, channel, order) for order in orders[3:6]))
            server.resume_reading()
            await asyncio.gather(*(_cancel(day, server, channel, order) for order in orders[6:]))
            await asyncio.sleep(_LATER)

    return _lived(orders, script)


def _stalled(_: random.Random) -> Day:
    """The exchange stops reading; three cancels fit into the buffers, an own frame does not; four cancels wait."""
    orders = some_orders(10)

    async def script(day: Day, server: ExchangeServer) -> None:
        async with bitget_transports.asyncio.connect(_KEY, url=server.url) as channel:
            for order in orders[:3]:
                await _cancel(day, server, channel, order)
            server.stop_reading()
            written = [
                asyncio.create_task(_cancel(day, server, channel, order)) for order in orders[3:6]
            ]
            await asyncio.sleep(_LATER)
            await channel.send("x" * _MORE_THAN_FITS)
            await asyncio.gather(
                *written, *(_cancel(day, server, channel, order) for order in orders[6:])
            )
        server.resume_reading()
        await asyncio.sleep(_LATER)

    return _lived(orders, script)


ROWS = (
    Row(
        "retry-after-sockets",
        "a handshake gets 429 with Retry-After: 2 (asyncio): no dial before, then up",
        _retry_after,
        (
            judges.honest,
            judges.all_accepted,
            partial(judges.waits_as_asked, seconds=_RETRY_AFTER),
            partial(judges.dials, most=2),
        ),
    ),
    Row(
        "deaf",
        "an exchange that stops reading (asyncio): found out in 2 + 3 s and a pace, then back",
        _deaf,
        (
            judges.honest,
            partial(judges.none_too_late, seconds=8.0),
            partial(judges.all_accepted, but=3),
            judges.in_the_limits,
        ),
    ),
    Row(
        "stalled-writer",
        "the same with a write that stalls (asyncio): what was not written is known to be unsent",
        _stalled,
        (
            judges.honest,
            partial(judges.none_too_late, seconds=15.0),
            partial(judges.all_accepted, but=7),
            partial(judges.known_unsent, least=4),
        ),
    ),
)
