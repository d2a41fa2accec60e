"""Scenarios that need real sockets: a refused handshake, a peer that stops reading."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from tests.chaos.days import judges
from tests.chaos.days.day import Given, Record, Scenario, some_orders

import bitget_transports.asyncio
from bitget_proto import CancelOrder, Credentials
from bitget_proto.testing import ScriptedExchange
from bitget_transports.exchange import ExchangeServer

_KEY = Credentials("key", "secret", "passphrase")
_RETRY_AFTER = 2
"""Seconds. Without Retry-After the next dial follows within 0.5 s."""

_MORE_THAN_FITS = 2**24
"""Length of an own frame that exceeds the buffers of a socket."""

_READ_TIME = 0.3
"""Seconds for reading what arrived while the exchange did not read."""


class _Exchange(ScriptedExchange):
    """An exchange that records when it is dialled."""

    def __init__(self, record: Record, orders: list[CancelOrder]) -> None:
        super().__init__(orders, on_frame=record.frames.append)
        self._record = record
        self._clock: Callable[[], float] = time.monotonic

    def handshake(self) -> tuple[int, int | None] | None:
        """Record the time and return the exchange's answer."""
        self._record.dials.append(self._clock())
        return super().handshake()


async def _cancel(record: Record, server: ExchangeServer, channel: Any, order: CancelOrder) -> None:
    id = f"{order.order_id}x"
    record.take(id, order, server.now())
    outcome = await channel.cancel(order, id)
    record.given.append(Given(server.now(), outcome))


def _run(
    orders: list[CancelOrder], script: Callable[[Record, ExchangeServer], Awaitable[None]]
) -> Record:
    record = Record(real=True)
    exchange = _Exchange(record, orders)

    async def main() -> None:
        async with ExchangeServer(exchange) as server:
            exchange._clock = server.now
            await script(record, server)

    began = time.monotonic()
    asyncio.run(main())
    record.end(exchange)
    record.seconds = time.monotonic() - began
    return record


def _retry_after(_: random.Random) -> Record:
    """The first handshake is answered with 429 and `Retry-After: 2`."""
    orders = some_orders(3)

    async def script(record: Record, server: ExchangeServer) -> None:
        server.refuse_handshakes(1, retry_after=_RETRY_AFTER)
        record.marks |= {"refused": 1, "the first dial": 0.0}
        async with bitget_transports.asyncio.open_session(_KEY, url=server.url) as channel:
            for order in orders:
                await _cancel(record, server, channel, order)

    return _run(orders, script)


def _stops_reading(_: random.Random) -> Record:
    """The exchange stops reading with its sockets open; three cancels are written.

    Then it reads again.
    """
    orders = some_orders(9)

    async def script(record: Record, server: ExchangeServer) -> None:
        async with bitget_transports.asyncio.open_session(_KEY, url=server.url) as channel:
            for order in orders[:3]:
                await _cancel(record, server, channel, order)
            server.stop_reading()
            record.marks["stops reading"] = server.now()
            await asyncio.gather(
                *(_cancel(record, server, channel, order) for order in orders[3:6])
            )
            server.resume_reading()
            await asyncio.gather(*(_cancel(record, server, channel, order) for order in orders[6:]))
            await asyncio.sleep(_READ_TIME)

    return _run(orders, script)


def _stalled(_: random.Random) -> Record:
    """The exchange stops reading.

    Three cancels fit into the buffers, an own frame does not, and four cancels wait behind it.
    """
    orders = some_orders(10)

    async def script(record: Record, server: ExchangeServer) -> None:
        async with bitget_transports.asyncio.connect(_KEY, url=server.url) as channel:
            for order in orders[:3]:
                await _cancel(record, server, channel, order)
            server.stop_reading()
            written = [
                asyncio.create_task(_cancel(record, server, channel, order))
                for order in orders[3:6]
            ]
            await asyncio.sleep(_READ_TIME)
            await channel.send("x" * _MORE_THAN_FITS)
            await asyncio.gather(
                *written, *(_cancel(record, server, channel, order) for order in orders[6:])
            )
        server.resume_reading()
        await asyncio.sleep(_READ_TIME)

    return _run(orders, script)


SCENARIOS = (
    Scenario(
        "retry-after-sockets",
        "a handshake gets 429 with Retry-After: 2 (asyncio): no earlier dial, then up",
        _retry_after,
        (
            judges.honest,
            judges.all_accepted,
            partial(judges.retry_after_respected, seconds=_RETRY_AFTER),
            partial(judges.dials, most=2),
        ),
    ),
    Scenario(
        "stops-reading",
        "an exchange that stops reading (asyncio): detected in 2 + 3 s plus pacing, then up",
        _stops_reading,
        (
            judges.honest,
            partial(judges.outcomes_in_time, seconds=8.0),
            partial(judges.all_accepted, but=3),
            judges.within_limits,
        ),
    ),
    Scenario(
        "stalled-writer",
        "the same with a stalled write (asyncio): unwritten cancels are reported as unsent",
        _stalled,
        (
            judges.honest,
            partial(judges.outcomes_in_time, seconds=15.0),
            partial(judges.all_accepted, but=7),
            partial(judges.reported_unsent, least=4),
        ),
    ),
)
