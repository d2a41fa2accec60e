"""What is special to picows: it parses the next frame before it delivers the current one.

It keeps what that raises for `wait_disconnected`. The tests use real sockets where the effect shows
there; states between two bytes of a frame are set by hand.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from functools import partial
from typing import Any
from unittest.mock import Mock

import pytest
from picows import WSCloseCode, WSMsgType

from bitget_proto import Closed, Unresolved
from bitget_transports import ChannelEvent, Limits
from bitget_transports.asyncio import _picows_link
from bitget_transports.asyncio._picows_link import PicowsLink
from bitget_transports.faults.hostile_server import After, HostileServer

from .colours import FAST, KEY, Connect, Flavour, orders
from .tidy import then_write

CLOSED = b"\x88\x02\x03\xe8"


@pytest.mark.parametrize("flavour", [Flavour.PICOWS, Flavour.PICOWS_UVLOOP])
@pytest.mark.parametrize(
    "after", [CLOSED, b"\x83\x00"], ids=["another close frame", "an unknown opcode"]
)
def test_a_protocol_error_after_a_close_frame_is_not_reported(
    flavour: Flavour, after: bytes
) -> None:
    reported: list[dict[str, Any]] = []

    async def scenario(connect: Connect) -> list[ChannelEvent]:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.append(context)
        )
        async with connect(
            KEY, url=server.url, config=FAST, limits=Limits(close_timeout=0.2)
        ) as channel:
            outcome = await channel.cancel(orders(1)[0])
            assert isinstance(outcome, Unresolved)
            return [event async for event in channel.events]

    with HostileServer(then_write(CLOSED + after, After.CANCEL)) as server:
        events = flavour.run(scenario)
    gc.collect()
    closed = events[-1]
    assert isinstance(closed, Closed)
    assert closed.detail == "the exchange closed with code 1000"
    assert reported == []


def held(frame: int, sent: int) -> Any:
    """Return a link whose transport holds the frame of a cancel, of which `sent` bytes are sent."""
    driver = Mock(max_message=1000)
    driver.account.target.tls = None
    driver.limits.close_timeout = None
    link: Any = PicowsLink(driver, 0, Mock())
    link._websocket = Mock(is_close_frame_sent=False)
    link._transport = Mock()
    link._transport.is_closing.return_value = False
    link._transport.get_extra_info.return_value = None
    link._transport.get_write_buffer_size.return_value = frame - sent
    link.record_write(("a",), frame)
    link.pause_writing()
    return link


def picows_closes(link: Any) -> None:
    """Write a close frame without asking the link, as picows does at a broken next frame."""
    link._transport.get_write_buffer_size.return_value += 40
    link._websocket.is_close_frame_sent = True


def test_a_partly_sent_frame_is_not_taken_back() -> None:
    link = held(100, sent=10)
    assert link.take_back() == ()
    picows_closes(link)
    assert link.take_back() == ()


def test_a_partly_sent_frame_is_not_taken_back_after_the_peers_close() -> None:
    link = held(100, sent=10)
    picows_closes(link)
    closing = Mock(msg_type=WSMsgType.CLOSE, rsv1=0, rsv2=0, rsv3=0)
    closing.get_payload_as_bytes.return_value = CLOSED[2:]
    closing.get_close_code.return_value = WSCloseCode.OK
    closing.get_close_reason.return_value = None
    link.on_ws_frame(link._websocket, closing)
    assert link.take_back() == ()


def test_an_unsent_frame_is_taken_back() -> None:
    assert held(100, sent=0).take_back() == ("a",)


def breaks(link: Any, *_: object) -> None:
    link._transport.is_closing.return_value = True


def test_a_frame_whose_write_broke_the_transport_is_not_taken_back() -> None:
    """picows writes to the socket first: a part may be sent before the transport breaks."""
    link = held(100, sent=100)
    link.resume_writing()
    link._websocket.close_handshake = None
    link._websocket.send.side_effect = partial(breaks, link)
    link._transport.get_write_buffer_size.return_value = 0
    link.write("x" * 100, ("b",))
    assert link.take_back() == ()
    link.write("x" * 100, ("c",))
    assert link.take_back() == ("c",)


def text_frame(**options: Any) -> Mock:
    return Mock(msg_type=WSMsgType.TEXT, fin=True, rsv1=0, rsv2=0, rsv3=0, **options)


def test_after_a_frame_that_picows_refused_no_message_is_read() -> None:
    """picows passes on the frame before the refused one, and may parse later ones."""
    link = held(100, sent=0)
    link._close_queued = False
    refused = Mock(is_close_frame_sent=True)
    refused.close_handshake.sent.reason = "Received CLOSE with invalid close code: 999"
    link.on_ws_frame(refused, text_frame(tail_size=0, last_in_buffer=True))
    assert not link._unprocessed.messages
    assert (
        link._over
        == "the exchange broke the WebSocket protocol: a close frame with an invalid code"
    )

    link._over = None
    before = text_frame(tail_size=4, last_in_buffer=True)
    link.on_ws_frame(refused, before)
    link.on_ws_frame(refused, text_frame(tail_size=4, last_in_buffer=True))
    assert list(link._unprocessed.messages) == [before.get_payload_as_utf8_text()]


def test_a_decode_error_of_the_callers_code_is_not_the_peers() -> None:
    link = held(100, sent=0)
    link.abort_with = Mock()
    error = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "in a signal handler")

    def interrupted() -> str:
        raise error

    frame = text_frame(last_in_buffer=True, get_payload_as_utf8_text=interrupted)
    link.on_ws_frame(Mock(is_close_frame_sent=False), frame)
    link.abort_with.assert_called_once_with(error)


def test_a_socket_that_uvloop_closed_after_the_answer_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """uvloop gives a cancelled dial's socket to no transport, although the exchange has answered.

    It closes the descriptor. The number may then be another connection's.
    """
    taken: list[socket.socket] = []

    async def cancelled(make: Any, _: str, *, socket_factory: Any, **options: Any) -> None:
        (sock,) = taken[:] = [socket_factory(None)]
        make()._websocket = Mock(is_close_frame_sent=False)  # as `on_ws_connected` does
        try:
            await asyncio.Event().wait()
        finally:
            os.close(sock.fileno())

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            here = socket.create_connection(listener.getsockname())
        link: Any = PicowsLink(Mock(max_message=1000), 0, Mock())
        dial = asyncio.create_task(link.connect(here))
        await asyncio.sleep(0)
        dial.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dial

    monkeypatch.setattr(_picows_link, "ws_connect", cancelled)
    asyncio.run(scenario())
    assert [sock.fileno() for sock in taken] == [-1]
