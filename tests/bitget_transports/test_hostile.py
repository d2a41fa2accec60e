"""Each hostile server, with a plain socket or the client of websockets.

Real sockets; each wait is bounded.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
import trustme
from websockets.exceptions import (
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
)
from websockets.sync.client import ClientConnection, connect

from bitget_proto import CancelOrder, encode_cancel
from bitget_transports.faults import hostile_server
from bitget_transports.faults.hostile_server import After, Behaviour, HostileServer, Victim

BOUND = 10.0
HEAD = (
    b"GET /v2/ws/private HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
UPGRADED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n"
)
CANCEL = encode_cancel(CancelOrder("BTCUSDT", order_id="1"), "1")


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def plain(server: HostileServer) -> socket.socket:
    split = urlsplit(server.url)
    return socket.create_connection((split.hostname or "", split.port or 0), timeout=BOUND)


def dial(server: HostileServer, timeout: float = BOUND) -> ClientConnection:
    return connect(
        server.url,
        ping_interval=None,
        proxy=None,
        open_timeout=timeout,
        close_timeout=0.2,
        max_size=None,
        compression=None,
    )


def exactly(client: socket.socket, count: int) -> bytes:
    seen = b""
    while len(seen) < count:
        seen += client.recv(65_536)
    return seen


def log_in(client: ClientConnection) -> None:
    client.send('{"op":"login","args":[{}]}')
    assert json.loads(client.recv(timeout=BOUND)) == {"event": "login", "code": 0}


def test_a_mute_server_accepts_and_sends_nothing() -> None:
    with HostileServer(hostile_server.mute()) as server, plain(server) as client:
        client.sendall(HEAD)
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert server.connections == 1


@pytest.mark.parametrize("status", [403, 429, 503])
def test_an_upgrade_is_refused_with_a_status(status: int) -> None:
    with HostileServer(hostile_server.refuse(status, body=b"go away")) as server:
        with pytest.raises(InvalidStatus) as caught, dial(server):
            pass
        assert (caught.value.response.status_code, caught.value.response.body) == (
            status,
            b"go away",
        )


def test_the_body_of_a_refusal_may_never_end() -> None:
    with HostileServer(hostile_server.refuse_slowly(429)) as server, plain(server) as client:
        client.sendall(HEAD)
        assert client.recv(1000).startswith(b"HTTP/1.1 429 ")
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            exactly(client, 1_000_000)


@pytest.mark.parametrize("behaviour", [hostile_server.wrong_accept, hostile_server.not_http])
def test_a_wrong_handshake_is_refused_by_a_client(
    behaviour: Callable[..., Behaviour],
) -> None:
    with (
        HostileServer(behaviour()) as server,
        pytest.raises((InvalidHandshake, InvalidMessage)),
        dial(server),
    ):
        pass


def test_half_head_sends_only_half_of_the_handshake() -> None:
    with (
        HostileServer(hostile_server.half_head()) as server,
        pytest.raises(TimeoutError),
        dial(server, timeout=0.2),
    ):
        pass


def test_headers_may_never_end() -> None:
    with HostileServer(hostile_server.endless_head()) as server, plain(server) as client:
        client.sendall(HEAD)
        assert b"\r\n\r\n" not in exactly(client, 1_000_000)


def test_it_hangs_up_at_once() -> None:
    with HostileServer(hostile_server.hang_up_at_once()) as server, plain(server) as client:
        assert client.recv(1) == b""


@pytest.mark.parametrize("after", After)
def test_it_behaves_well_up_to_the_requested_moment(after: After) -> None:
    with HostileServer(hostile_server.end_of_stream(after)) as server, dial(server) as client:
        if after is not After.UPGRADE:
            client.send("ping")
            assert client.recv(timeout=BOUND) == "pong"
            client.ping()
            log_in(client)
        if after is After.CANCEL:
            client.send(CANCEL)
        with pytest.raises(ConnectionClosedError):
            client.recv(timeout=BOUND)


@pytest.mark.parametrize("behaviour", [hostile_server.silence, hostile_server.half_frame])
def test_silence_keeps_the_socket_open(behaviour: Callable[..., Behaviour]) -> None:
    with HostileServer(behaviour(After.UPGRADE)) as server, dial(server) as client:
        client.send("ping")
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.1)


def test_a_server_that_stops_reading_stalls_its_client() -> None:
    with (
        HostileServer(hostile_server.stop_reading(After.UPGRADE)) as server,
        plain(server) as client,
    ):
        client.sendall(HEAD)
        client.recv(1000)
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.sendall(b"x" * 100_000_000)


@pytest.mark.parametrize(
    "behaviour", [hostile_server.half_frame_then_end, hostile_server.reset, hostile_server.no_utf8]
)
def test_a_connection_ends_badly(behaviour: Callable[..., Behaviour]) -> None:
    with HostileServer(behaviour()) as server, dial(server) as client:
        log_in(client)
        with pytest.raises(ConnectionClosedError):
            client.recv(timeout=BOUND)


def test_a_frame_can_be_invalid() -> None:
    with HostileServer(hostile_server.bad_frame(After.UPGRADE)) as server, plain(server) as client:
        client.sendall(HEAD)
        assert exactly(client, len(UPGRADED) + 2) == UPGRADED + b"\xff\x00"


def test_it_closes_with_a_code() -> None:
    with HostileServer(hostile_server.close(1001, "maintenance")) as server, dial(server) as client:
        log_in(client)
        with pytest.raises(ConnectionClosedOK) as caught:
            client.recv(timeout=BOUND)
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1001, "maintenance")


def test_it_can_stay_open_after_its_close_frame() -> None:
    with (
        HostileServer(hostile_server.close(4000, after=After.UPGRADE, linger=True)) as server,
        plain(server) as client,
    ):
        client.sendall(HEAD)
        client.recv(1000)
        client.sendall(b"\x88\x80\x00\x00\x00\x00")
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            exactly(client, 1_000_000)


def test_a_flood_is_endless() -> None:
    with HostileServer(hostile_server.flood("drop")) as server, dial(server) as client:
        log_in(client)
        assert {client.recv(timeout=BOUND) for _ in range(1000)} == {"drop"}


@pytest.mark.parametrize("behaviour", [hostile_server.stray_pong, hostile_server.binary])
def test_it_behaves_well_after_sending_something_odd(behaviour: Callable[..., Behaviour]) -> None:
    with HostileServer(behaviour()) as server, dial(server) as client:
        log_in(client)
        client.send(CANCEL)
        answers = [client.recv(timeout=BOUND)]
        if answers == [b"\xff\x00"]:
            answers = [client.recv(timeout=BOUND)]
        client.send("ping")
        answers.append(client.recv(timeout=BOUND))
        assert json.loads(answers[0])["arg"][0]["id"] == "1"
        assert answers[1] == "pong"


@pytest.mark.parametrize("fragment", [0, 65_536])
def test_a_huge_message_is_sent_completely(fragment: int) -> None:
    with (
        HostileServer(hostile_server.huge_message(3_000_000, fragment)) as server,
        dial(server) as client,
    ):
        log_in(client)
        assert client.recv(timeout=BOUND) == "x" * 3_000_000


def test_an_endless_message_is_never_finished() -> None:
    with HostileServer(hostile_server.endless_message()) as server, plain(server) as client:
        client.sendall(HEAD)
        client.recv(1000)
        mask = b"\x00" * 4
        client.sendall(b"\x81" + bytes((0x80 | 7,)) + mask + b'"login"')
        seen = exactly(client, 1_000_000)
        heads = b"\x01\x7f" + struct.pack("!Q", 65_536), b"\x00\x7f" + struct.pack("!Q", 65_536)
        assert all(head in seen for head in heads)
        assert b"\x80\x7f" not in seen


def test_behaviours_apply_in_turn_and_the_last_one_repeats() -> None:
    with HostileServer(hostile_server.refuse(429), hostile_server.silence()) as server:
        with pytest.raises(InvalidStatus), dial(server):
            pass
        for _ in range(2):
            with dial(server):
                pass
        assert server.connections == 3


def test_it_serves_with_tls() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # No session ticket after the handshake: websockets' client reads it in one thread and writes in
    # another, which OpenSSL does not allow, so it sometimes hangs.
    context.num_tickets = 0
    authority.issue_cert("localhost").configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)  # pyright: ignore[reportUnknownMemberType]
    with HostileServer(hostile_server.stray_pong(), tls=context) as server:
        assert server.url.startswith("wss://localhost:")
        with connect(
            server.url, ssl=trusting, proxy=None, ping_interval=None, open_timeout=BOUND
        ) as client:
            log_in(client)
            client.send("ping")
            assert client.recv(timeout=BOUND) == "pong"
        with plain(server) as client:
            client.sendall(b"no TLS\r\n\r\n")
            with suppress(ConnectionError):
                while client.recv(1000):
                    pass


def test_an_error_in_a_behaviour_is_raised_on_exit() -> None:
    def fail(victim: Victim) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), HostileServer(fail) as server, plain(server) as client:
        assert client.recv(1) == b""


def test_it_needs_a_behaviour_and_has_no_url_outside_its_context() -> None:
    with pytest.raises(TypeError, match="needs a behaviour"):
        HostileServer()
    with pytest.raises(RuntimeError, match="not running"):
        HostileServer(hostile_server.mute()).url  # noqa: B018 - the access raises


def test_every_behaviour_is_documented() -> None:
    made = [
        value
        for name, value in vars(hostile_server).items()
        if callable(value) and name.islower() and name[0] != "_"
    ]
    assert len(made) > 20
    assert all(value.__doc__ for value in made if value.__module__ == hostile_server.__name__)
