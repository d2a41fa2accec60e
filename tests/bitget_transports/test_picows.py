"""What only picows' framing does: it parses the next frame before it hands over the one at hand, and keeps what it raises for
whoever waits.

Over real sockets where it shows there; what lies between two bytes of a frame is told to the link by hand.
"""

from __future__ import annotations

import asyncio
import gc
from functools import partial
from typing import Any
from unittest.mock import Mock

import pytest
from picows import WSCloseCode, WSMsgType

from bitget_proto import Closed, Unresolved
from bitget_transports import ChannelEvent, Limits
from bitget_transports.asyncio._picows_link import PicowsLink
from bitget_transports.faults.hostile_server import After, HostileServer

from .colours import FAST, KEY, Colour, Connect, orders
from .tidy import then_write

CLOSED = b"\x88\x02\x03\xe8"


@pytest.mark.parametrize("colour", [Colour.PICOWS, Colour.PICOWS_UVLOOP])
@pytest.mark.parametrize(
    "behind", [CLOSED, b"\x83\x00"], ids=["another close frame", "an unknown opcode"]
)
def test_what_breaks_the_protocol_behind_a_close_frame_is_told_to_nobody(
    colour: Colour, behind: bytes
) -> None:
    told: list[dict[str, Any]] = []

    async def scenario(connect: Connect) -> list[ChannelEvent]:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        async with connect(
            KEY, url=server.url, config=FAST, limits=Limits(close_timeout=0.2)
        ) as channel:
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


def held(frame: int, left: int) -> Any:
    """A link whose transport holds a cancel's frame of so many bytes, of which some have left."""
    driver = Mock(max_message=1000)
    driver.account.target.tls = None
    driver.limits.close_timeout = None
    link: Any = PicowsLink(driver, 0, Mock())
    link._websocket = Mock(is_close_frame_sent=False)
    link._transport = Mock()
    link._transport.is_closing.return_value = False
    link._transport.get_extra_info.return_value = None
    link._transport.get_write_buffer_size.return_value = frame - left
    link.wrote("a", frame)
    link.pause_writing()
    return link


def picows_closes(link: Any) -> None:
    """As picows does when it finds the next frame broken: its own close frame, asking nobody."""
    link._transport.get_write_buffer_size.return_value += 40
    link._websocket.is_close_frame_sent = True


def test_a_frame_of_which_a_part_has_left_is_not_taken_back_though_picows_wrote_a_close_frame_behind_it() -> (
    None
):
    link = held(100, left=10)
    assert link.take_back() == ()
    picows_closes(link)
    assert link.take_back() == ()


def test_nor_when_the_close_frame_of_the_other_side_is_handed_over_after_that() -> None:
    link = held(100, left=10)
    picows_closes(link)
    closing = Mock(msg_type=WSMsgType.CLOSE, rsv1=0, rsv2=0, rsv3=0)
    closing.get_payload_as_bytes.return_value = CLOSED[2:]
    closing.get_close_code.return_value = WSCloseCode.OK
    closing.get_close_reason.return_value = None
    link._handle_frame(link._websocket, closing)
    assert link.take_back() == ()


def test_a_frame_of_which_nothing_has_left_is_taken_back() -> None:
    assert held(100, left=0).take_back() == ("a",)


def breaks(link: Any, *_: object) -> None:
    link._transport.is_closing.return_value = True


def test_a_frame_is_not_taken_back_when_the_transport_broke_while_it_was_written() -> None:
    """picows writes past the transport first: a part may have left before the rest met the broken one."""
    link = held(100, left=100)
    link.resume_writing()
    link._websocket.close_handshake = None
    link._websocket.send.side_effect = partial(breaks, link)
    link._transport.get_write_buffer_size.return_value = 0
    link.write("x" * 100, "b")
    assert link.take_back() == ()
    link.write("x" * 100, "c")
    assert link.take_back() == ("c",)
