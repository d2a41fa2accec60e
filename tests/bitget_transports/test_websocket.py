"""A WebSocket on websockets' Sans-I/O layer, without a socket."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from bitget_transports import UpgradeRefused
from bitget_transports._driver.url import Target
from bitget_transports._driver.websocket import WebSocket

from .tidy import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame, masked

TARGET = Target.of("ws://127.0.0.1:9/v2/ws/private", None, allow_plaintext=False)


class Peer:
    """A well-behaved server, on the same layer."""

    def __init__(self) -> None:
        self._protocol = ServerProtocol(max_size=None)

    def answer(self, request: bytes, status: int | None = None) -> bytes:
        self._protocol.receive_data(request)
        asked = self._protocol.events_received()[0]
        assert isinstance(asked, Request)
        response = self._protocol.accept(asked)
        if status is not None:
            response = Response(
                status, "Refused", response.headers.__class__({"Content-Length": "2"}), b"no"
            )
        self._protocol.send_response(response)
        return b"".join(self._protocol.data_to_send())

    def frames(self, data: bytes) -> list[tuple[Opcode, bytes]]:
        self._protocol.receive_data(data)
        return [
            (each.opcode, bytes(each.data))
            for each in self._protocol.events_received()
            if isinstance(each, Frame)
        ]


def opened(max_message: int | None = 65_536) -> tuple[WebSocket, Peer]:
    websocket, peer = WebSocket(TARGET, max_message), Peer()
    assert websocket.receive(peer.answer(websocket.start())) == []
    assert (websocket.opened, websocket.end_reason) == (True, None)
    return websocket, peer


def by_pieces(websocket: WebSocket, data: bytes, size: int = 1) -> list[str | bytes]:
    return [
        message
        for start in range(0, len(data), size)
        for message in websocket.receive(data[start : start + size])
    ]


STREAM = (
    frame(TEXT, b"pong")
    + frame(TEXT, b'{"a":', final=False)
    + frame(PING, b"in between")
    + frame(CONTINUATION, b"", final=False)
    + frame(CONTINUATION, b"1}")
    + frame(PONG, b"unsolicited")
    + frame(BINARY, b"\xff\x00")
    + frame(TEXT, b"")
    + frame(TEXT, b"", final=False)
    + frame(CONTINUATION, b"")
    + frame(TEXT, "é€😀".encode()[:3], final=False)
    + frame(CONTINUATION, "é€😀".encode()[3:])
)
MESSAGES = ["pong", '{"a":1}', b"\xff\x00", "", "", "é€😀"]


@given(st.integers(1, len(STREAM)))
def test_messages_are_complete_however_the_bytes_are_split(size: int) -> None:
    websocket, peer = opened()
    assert by_pieces(websocket, STREAM, size) == MESSAGES
    assert peer.frames(websocket.outgoing()) == [(Opcode.PONG, b"in between")]
    assert websocket.end_reason is None


def test_the_handshake_may_be_split_and_followed_by_messages() -> None:
    websocket, peer = WebSocket(TARGET, None), Peer()
    answer = peer.answer(websocket.start())
    assert by_pieces(websocket, answer[:-1]) == []
    assert not websocket.opened
    assert websocket.receive(answer[-1:] + STREAM) == MESSAGES
    assert websocket.opened


INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 199 Almost\r\nX: HTTP/1.1 101\r\n\r\n"


@given(st.integers(1, len(INTERIM) + 200))
def test_interim_answers_are_skipped_however_the_bytes_are_split(size: int) -> None:
    websocket, peer = WebSocket(TARGET, None), Peer()
    answer = peer.answer(websocket.start())
    assert by_pieces(websocket, INTERIM + answer + STREAM, size) == MESSAGES
    assert websocket.opened


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_an_interim_answer_that_is_too_long_is_not_skipped(end: bytes) -> None:
    websocket = WebSocket(TARGET, None)
    websocket.start()
    websocket.receive(b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 2**14 + end)
    assert websocket.end_reason == "the handshake failed"


@pytest.mark.parametrize(
    "begin", [b"HTTP/1.1 1x", b"HTTP/1.1 1000 ", b"HTTP/1.0 100 Continue", b"HTTP/2"]
)
def test_what_begins_like_an_interim_answer_is_not_held_back(begin: bytes) -> None:
    websocket = WebSocket(TARGET, None)
    websocket.start()
    by_pieces(websocket, begin + b"\r\n")
    assert websocket.end_reason == "the handshake failed"


def test_the_peer_reads_what_is_written() -> None:
    websocket, peer = opened()
    assert peer.frames(websocket.encode("ping") + websocket.encode("é€😀")) == [
        (Opcode.TEXT, b"ping"),
        (Opcode.TEXT, "é€😀".encode()),
    ]


@pytest.mark.parametrize(
    ("data", "over"),
    [
        (
            frame(CLOSE, struct.pack("!H", 1001) + b"bye"),
            "the exchange closed with code 1001, saying 'bye'",
        ),
        (frame(CLOSE, b""), "the exchange closed without a code"),
        (masked(TEXT, b"pong"), "the exchange broke the WebSocket protocol: a masked frame"),
        (b"\xff\x00", "the exchange broke the WebSocket protocol: "),
    ],
)
def test_after_the_peer_closed_nothing_is_received_or_written(data: bytes, over: str) -> None:
    websocket, peer = opened()
    assert websocket.receive(frame(TEXT, b"last") + data + frame(TEXT, b"too late")) == ["last"]
    assert websocket.end_reason is not None
    assert websocket.end_reason.startswith(over)
    assert [opcode for opcode, _ in peer.frames(websocket.outgoing())] == [Opcode.CLOSE]
    said = websocket.end_reason
    assert websocket.encode("not sent") == b""
    assert websocket.hang_up(1000, "") == b""
    assert websocket.receive(frame(TEXT, b"later")) == []
    websocket.end_of_stream()
    assert websocket.end_reason == said
    websocket.end_of_stream()


def test_messages_before_the_peers_close_frame_are_received() -> None:
    websocket, peer = opened()
    assert peer.frames(websocket.hang_up(1000, "done")) == [
        (Opcode.CLOSE, struct.pack("!H", 1000) + b"done")
    ]
    assert websocket.end_reason == "closed by this side"
    assert websocket.hang_up(1000, "again") == b""
    assert websocket.encode("not sent") == b""
    assert websocket.receive(
        frame(TEXT, b"on its way") + frame(CLOSE, struct.pack("!H", 1000))
    ) == ["on its way"]
    assert websocket.end_reason == "closed by this side"


def test_hang_up_works_before_the_handshake_is_complete() -> None:
    websocket, peer = WebSocket(TARGET, None), Peer()
    answer = peer.answer(websocket.start())
    assert websocket.hang_up(1000, "") == b""
    websocket.receive(answer)
    assert websocket.end_reason == "closed by this side"


def test_the_end_of_the_stream_ends_every_state() -> None:
    websocket, _ = opened()
    websocket.receive(frame(TEXT, b"half", final=False) + frame(CONTINUATION, b"more")[:3])
    websocket.end_of_stream()
    assert websocket.end_reason == "the connection ended without a close frame"
    websocket = WebSocket(TARGET, None)
    websocket.start()
    websocket.end_of_stream()
    assert (websocket.opened, websocket.end_reason) == (False, "the handshake failed")
    assert "ended the connection before the WebSocket was open" in str(websocket.handshake_error())


@pytest.mark.parametrize("status", [200, 302, 403, 429, 503])
def test_a_refusal_shows_the_status_and_the_body(status: int) -> None:
    websocket, peer = WebSocket(TARGET, None), Peer()
    by_pieces(websocket, peer.answer(websocket.start(), status))
    assert (websocket.opened, websocket.end_reason) == (False, "the handshake failed")
    refusal = websocket.handshake_error()
    assert isinstance(refusal, UpgradeRefused)
    assert refusal.status == status
    assert f"HTTP status {status}, saying 'no'" in str(refusal)
    assert refusal.__cause__ is not None


@pytest.mark.parametrize("fragment", [0, 100_000])
def test_a_message_over_the_limit_ends_the_connection(fragment: int) -> None:
    def message(size: int) -> bytes:
        if not fragment:
            return frame(TEXT, b"x" * size)
        parts = [b"x" * min(fragment, size - start) for start in range(0, size, fragment)]
        return b"".join(
            frame(CONTINUATION if index else TEXT, part, final=index == len(parts) - 1)
            for index, part in enumerate(parts)
        )

    websocket, _ = opened()
    assert by_pieces(websocket, message(2**20) * 2, 65_536) == ["x" * 2**20] * 2
    assert by_pieces(websocket, message(2**20 + 1), 65_536) == []
    assert websocket.end_reason == "the exchange sent a message longer than 1048576 bytes"
    websocket, _ = opened(300_000)
    assert len(by_pieces(websocket, message(1_200_000), 65_536)) == 1
    websocket, _ = opened(None)
    assert len(by_pieces(websocket, message(3_000_000), 65_536)) == 1


def test_only_the_last_of_many_pings_is_answered() -> None:
    websocket, peer = opened()
    websocket.receive(b"".join(frame(PING, str(number).encode()) for number in range(10_000)))
    assert peer.frames(websocket.outgoing()) == [(Opcode.PONG, b"9999")]
    assert websocket.outgoing() == b""


def test_no_pong_is_written_while_stalled_or_after_a_close_frame() -> None:
    websocket, peer = opened()
    for number in range(10):
        websocket.receive(frame(PING, str(number).encode()))
        assert websocket.outgoing(stalled=True) == b""
    assert peer.frames(websocket.outgoing()) == [(Opcode.PONG, b"9")]
    websocket.receive(frame(PING, b"late"))
    assert [opcode for opcode, _ in peer.frames(websocket.hang_up(1000, ""))] == [Opcode.CLOSE]
    assert websocket.outgoing() == b""


@pytest.mark.parametrize(
    "data",
    [
        frame(PING, b""),
        frame(PING, b"x" * 125),
        frame(PONG, b""),
        frame(CONTINUATION, b"", final=False),
        frame(CONTINUATION, b"", final=False) + frame(PING, b""),
    ],
)
def test_a_flood_of_control_frames_uses_bounded_memory(data: bytes) -> None:
    websocket, _ = opened()
    websocket.receive(frame(TEXT, b"", final=False))
    flood = data * (1 + 20_000 // len(data))
    websocket.receive(flood)
    tracemalloc.start()
    try:
        websocket.receive(flood)
        assert len(websocket.outgoing(stalled=True)) == 0
        current, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert current < 100_000
    assert peak < 5_000_000
    assert websocket.end_reason is None


def test_websockets_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    websocket, peer = WebSocket(TARGET, None), Peer()
    answer = peer.answer(websocket.start())
    caplog.clear()
    caplog.set_level(0)
    websocket.receive(answer)
    websocket.encode("the secret")
    websocket.receive(b"\xff\x00")
    websocket.hang_up(1000, "")
    assert caplog.records == []
    assert websocket._protocol.state is State.CLOSING
