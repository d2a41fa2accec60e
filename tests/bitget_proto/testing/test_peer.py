"""The kit's WebSocket server with real sockets as clients; every wait is bounded."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import pytest

from bitget_proto.testing._kit.websocket_peer import Gone, Peer, Silence
from bitget_proto.testing.framing import BINARY, CLOSE, PING, PONG, TEXT, frame

MASK = b"\x01\x02\x03\x04"
HEAD = b"GET / HTTP/1.1\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"


@contextmanager
def client_of(peer: Peer) -> Generator[socket.socket]:
    split = urlsplit(peer.url)
    with socket.create_connection((split.hostname or "", split.port or 0), timeout=5.0) as client:
        peer.accept()
        yield client


@contextmanager
def opened(*, narrow: bool = False) -> Generator[tuple[Peer, socket.socket]]:
    with Peer(0.2, narrow=narrow) as peer, client_of(peer) as client:
        client.sendall(HEAD)
        peer.upgrade()
        assert client.recv(1000).startswith(b"HTTP/1.1 101 ")
        yield peer, client


def cut(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def test_a_missing_client_is_reported() -> None:
    with Peer(0.05) as peer, pytest.raises(Silence, match="no connection came in time"):
        peer.accept()


def test_a_request_that_is_not_a_websocket_upgrade_is_reported() -> None:
    with Peer(0.2) as peer, client_of(peer) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(Gone, match="no Sec-WebSocket-Key"):
            peer.upgrade()
        assert not peer.listens_on
        client.close()
        peer.finish()
        assert peer.gone


def test_a_silent_client_is_reported_in_time() -> None:
    with opened() as (peer, client):
        with pytest.raises(Silence):
            peer.read()
        client.sendall(b"\x81")
        with pytest.raises(Silence):
            peer.read_close()
        assert peer.has_part
        peer.patience = 0.0
        with pytest.raises(Silence):
            peer.read()


def test_messages_are_recorded_in_order_and_faults_are_noted() -> None:
    with opened() as (peer, client):
        client.sendall(frame(TEXT, b"a", mask=MASK) + frame(TEXT, b"b", final=False, mask=MASK))
        client.sendall(
            frame(PING, b"?", mask=MASK) + frame(PONG, b"!", mask=MASK) + frame(0, b"c", mask=MASK)
        )
        client.sendall(frame(BINARY, b"d", mask=MASK) + frame(TEXT, b"\xff"))
        client.sendall(frame(CLOSE, b"", mask=MASK))
        assert [peer.read() for _ in range(3)] == ["a", "bc", "�"] == peer.received
        assert client.recv(100) == frame(PONG, b"?")
        assert [fault[:20] for fault in peer.faults] == [
            "a frame came that is",
            "a frame was not mask",
        ]
        assert peer.read_close() == 1005
        with pytest.raises(Gone, match="closed with code 1005"):
            peer.read()


def test_a_client_that_has_gone_is_reported() -> None:
    with opened() as (peer, client):
        client.close()
        with pytest.raises(Gone, match="has closed its socket"):
            peer.read()
        assert peer.gone
        peer.finish()
    with opened() as (peer, client):
        cut(client)
        with pytest.raises(Gone):
            peer.read()
        with pytest.raises(Gone):
            peer.write(b"x")
        with pytest.raises(Gone):
            peer.write_some(b"x")
        peer.end_of_stream()


def test_a_client_that_does_not_read_is_reported() -> None:
    with opened() as (peer, _), pytest.raises(Silence, match="did not read 30000000 bytes"):
        peer.write(b"x" * 30_000_000)


def test_a_flood_can_end_inside_a_message_and_returns_its_rest() -> None:
    with opened() as (peer, client):
        rest = peer.flood("x" * 50_000, 10**9, lambda: False)  # until nothing fits any more
        assert rest
        sent, got = len(peer.said), 0
        client.settimeout(0.5)
        with suppress(TimeoutError):
            while True:
                got += len(client.recv(10**6))
        peer.write(rest)
        got += len(client.recv(10**6))
        assert got == sent * len(frame(TEXT, b"x" * 50_000))
        assert peer.flood("y", 3, lambda: False) == b""
        assert peer.said[sent:] == [b"y"] * 3


def test_small_segments_are_optional(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(socket, "TCP_MAXSEG", raising=False)
    with opened(narrow=True) as (peer, client):
        client.sendall(frame(TEXT, b"a", mask=MASK))
        assert peer.read() == "a"
        assert peer.connected


def test_finish_closes_cleanly_or_reads_the_rest() -> None:
    with opened() as (peer, client):
        client.sendall(frame(CLOSE, b"\x03\xe8", mask=MASK))
        client.shutdown(socket.SHUT_WR)
        peer.finish()
        assert (peer.closed_with, peer.gone) == (1000, True)
        assert client.recv(1000)[:1] == b"\x88"
    with opened() as (peer, client):
        peer.reset()
        peer.finish()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with Peer(0.1) as peer:
        peer.finish()
        assert not peer.connected


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists the bytes")
def test_it_counts_the_bytes_that_lie_unread_in_the_drivers_socket() -> None:
    assert Peer(0.2).unread == 0
    with opened() as (peer, client):
        assert peer.unread == 0
        peer.write(b"12345")
        assert peer.unread == 5
        client.recv(5)
        assert peer.unread == 0
        peer.end_of_stream()
        assert peer.unread == 1
        assert client.recv(5) == b""
        assert peer.unread == 0


def test_it_waits_for_a_pong_with_the_same_data() -> None:
    with opened() as (peer, client):
        client.sendall(frame(PONG, b"1", mask=MASK) + frame(PONG, b"2", mask=MASK))
        peer.read_pong(b"2")
        assert peer.pongs == [b"1", b"2"]
        with pytest.raises(Silence):
            peer.read_pong(b"3")
