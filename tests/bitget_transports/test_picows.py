"""What only picows' framing does: it parses the next frame before it hands over the one at hand, and keeps what it raises for
whoever waits.

Real sockets, on loopback: each wait is bounded.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from bitget_proto import Closed, Unresolved
from bitget_transports import ChannelEvent, Limits
from bitget_transports.hostile import After, HostileServer

from .colours import FAST, KEY, Colour, Connect, orders
from .tidy import then_write

CLOSED = b"\x88\x02\x03\xe8"


@pytest.mark.parametrize("colour", [Colour.PICOWS, Colour.PICOWS_UVLOOP])
@pytest.mark.parametrize("behind", [CLOSED, b"\x83\x00"], ids=["another close frame", "an unknown opcode"])
def test_what_breaks_the_protocol_behind_a_close_frame_is_told_to_nobody(colour: Colour, behind: bytes) -> None:
    told: list[dict[str, Any]] = []

    async def scenario(connect: Connect) -> list[ChannelEvent]:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        async with connect(KEY, url=server.url, config=FAST, limits=Limits(close_timeout=0.2)) as channel:
            outcome = await channel.cancel(orders(1)[0])
            assert isinstance(outcome, Unresolved)
            return [event async for event in channel.events]

    with HostileServer(then_write(CLOSED + behind, After.CANCEL)) as server:
        events = colour.run(scenario)
    gc.collect()
    closed = events[-1]
    assert isinstance(closed, Closed)
    assert closed.detail == "the exchange closed with code 1000"
    assert told == []
