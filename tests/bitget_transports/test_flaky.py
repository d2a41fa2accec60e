"""The flaky proxy, checked to the byte. Real sockets on loopback; each wait is bounded."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import pytest

from bitget_proto.testing.framing import frame_head
from bitget_transports.faults.flaky_proxy import (
    FlakyProxy,
    NetworkFault,
    Treatment,
    Way,
    random_plan,
)

from .tidy import nothing_left


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


@contextmanager
def listening(behave: Callable[[socket.socket], object]) -> Generator[str]:
    """Run a server for one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5.0)

        def serve() -> None:
            accepted, _ = listener.accept()
            with accepted:
                accepted.settimeout(5.0)
                behave(accepted)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{listener.getsockname()[1]}/some/path"
        finally:
            thread.join(10.0)


def dial(proxy: FlakyProxy) -> socket.socket:
    parts = urlsplit(proxy.url)
    assert parts.path == "/some/path"
    sock = socket.create_connection(("127.0.0.1", parts.port or 0), timeout=5.0)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def all_of(sock: socket.socket) -> bytes:
    got = b""
    while data := sock.recv(65_536):
        got += data
    return got


def echo(accepted: socket.socket) -> None:
    try:
        while data := accepted.recv(65_536):
            accepted.sendall(data)
    except OSError:
        pass


@pytest.mark.parametrize(
    "treatment", [Treatment(), Treatment(piece=1), Treatment(piece=100, delay=0.01)]
)
def test_untouched_data_arrives_complete_and_in_order(treatment: Treatment) -> None:
    sent = random.Random(1).randbytes(200_000 if treatment.piece is None else 5_000)
    with listening(echo) as url, FlakyProxy(url, [treatment]) as proxy, dial(proxy) as client:
        writer = threading.Thread(target=client.sendall, args=(sent + b"the end",))
        writer.start()
        got = b""
        while not got.endswith(b"the end"):
            got += client.recv(65_536)
        writer.join()
        assert got == sent + b"the end"
        assert proxy.applied.total() == 0


@pytest.mark.parametrize("piece", [None, 1])
def test_messages_from_the_exchange_are_cut_into_fragments(piece: int | None) -> None:
    ping, half = frame_head(9, 1) + b"!", frame_head(1, 100) + b"half of a message"

    def behave(accepted: socket.socket) -> None:
        accepted.sendall(b"HTTP/1.1 101 Switching\r\n\r\n")
        for frame in (frame_head(1, 3) + b"abc", ping, frame_head(2, 0), half):
            accepted.sendall(frame)

    treatment = Treatment(piece=piece, fragment=2)
    with listening(behave) as url, FlakyProxy(url, [treatment]) as proxy, dial(proxy) as sock:
        sock.shutdown(socket.SHUT_WR)
        got = all_of(sock)
    empty = frame_head(0, 0, final=False)
    assert got == b"".join((
        b"HTTP/1.1 101 Switching\r\n\r\n",
        frame_head(1, 0, final=False),
        empty + frame_head(0, 2, final=False) + b"ab",
        empty + frame_head(0, 1, final=False) + b"c",
        frame_head(0, 0),
        ping,
        frame_head(2, 0, final=False) + frame_head(0, 0),
        half,
    ))  # fmt: skip


def test_data_is_delayed() -> None:
    with (
        listening(echo) as url,
        FlakyProxy(url, [Treatment(delay=0.1)]) as proxy,
        dial(proxy) as client,
    ):
        began = time.monotonic()
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize("after", [0, 1, 777])
@pytest.mark.parametrize("way", Way)
def test_a_connection_is_closed_after_exactly_the_given_bytes(way: Way, after: int) -> None:
    seen: list[bytes] = []

    def behave(accepted: socket.socket) -> None:
        if way is Way.BACK:
            accepted.sendall(b"x" * 1000)
        with suppress(OSError):
            seen.append(all_of(accepted))

    with (
        listening(behave) as url,
        FlakyProxy(url, [Treatment(fault=NetworkFault.CLOSE, way=way, after=after)]) as proxy,
    ):
        with dial(proxy) as client:
            if way is Way.OUT:
                client.sendall(b"x" * 1000)
            try:
                got = all_of(client)
            except ConnectionError:
                got = b""
        if way is Way.BACK:
            assert got == b"x" * after
        end = time.monotonic() + 5.0
        while proxy.alive and time.monotonic() < end:
            time.sleep(0.01)
        assert (proxy.applied[NetworkFault.CLOSE], proxy.alive, proxy.connections) == (1, 0, 1)
    if way is Way.OUT:
        assert seen == [b"x" * after]


def test_a_reset_reaches_both_sides() -> None:
    seen: list[OSError] = []

    def behave(accepted: socket.socket) -> None:
        try:
            all_of(accepted)
        except OSError as error:
            seen.append(error)

    with listening(behave) as url, FlakyProxy(url) as proxy, dial(proxy) as client:
        client.sendall(b"x")
        while not proxy.alive:
            time.sleep(0.001)
        proxy.apply(NetworkFault.RESET)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert [type(error) for error in seen] == [ConnectionResetError]


def test_one_direction_stalls_while_the_other_continues() -> None:
    with (
        listening(echo) as url,
        FlakyProxy(
            url, [Treatment(fault=NetworkFault.STALL, way=Way.BACK, after=3, stall=0.3)]
        ) as proxy,
        dial(proxy) as client,
    ):
        client.sendall(b"abcdef")
        assert client.recv(10) == b"abc"
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.sendall(b"more")
        client.settimeout(5.0)
        with pytest.raises(ConnectionResetError):
            client.recv(1)


HANDSHAKE = b"HTTP/1.1 101 Switching Protocols\r\nDate: now\r\n\r\n"


@pytest.mark.parametrize(
    ("piece", "length"),
    [
        *((piece, length) for piece in (None, 1, 7) for length in (0, 5, 125, 126)),
        (None, 70_000),
        (999, 70_000),
    ],
)
def test_corruption_changes_only_reserved_bits_of_a_frame_head(
    piece: int | None, length: int
) -> None:
    text = bytes(range(256)) * (length // 256 + 1)
    frame = frame_head(1, length) + text[:length]
    after = (
        len(HANDSHAKE) + len(frame) + 1
    )  # within the second frame's head, so that the third frame is corrupted
    said = HANDSHAKE + frame * 4

    def behave(accepted: socket.socket) -> None:
        accepted.sendall(said)

    treatment = Treatment(piece=piece, fault=NetworkFault.CORRUPT, way=Way.BACK, after=after)
    with listening(behave) as url, FlakyProxy(url, [treatment]) as proxy, dial(proxy) as client:
        client.shutdown(socket.SHUT_WR)
        got = all_of(client)
    third = len(HANDSHAKE) + 2 * len(frame)
    assert got == said[:third] + bytes((said[third] | 0x70,)) + said[third + 1 :]


def test_a_corrupted_handshake_contains_a_nul() -> None:
    def behave(accepted: socket.socket) -> None:
        accepted.sendall(HANDSHAKE)

    treatment = Treatment(fault=NetworkFault.CORRUPT, way=Way.BACK, after=9)
    with listening(behave) as url, FlakyProxy(url, [treatment]) as proxy, dial(proxy) as client:
        client.shutdown(socket.SHUT_WR)
        assert all_of(client) == HANDSHAKE[:9] + b"\0" + HANDSHAKE[10:]


def test_a_client_is_reset_when_the_target_does_not_listen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}/some/path"
    with FlakyProxy(url) as proxy, pytest.raises(ConnectionResetError), dial(proxy) as client:
        client.recv(1)


def test_a_plan_is_reproducible_and_has_every_fault_each_way() -> None:
    plan = list(random_plan(7, 200, 1000))
    assert plan == list(random_plan(7, 200, 1000)) != list(random_plan(8, 200, 1000))
    assert {(treatment.fault, treatment.way) for treatment in plan} == {
        (fault, way) for fault in NetworkFault for way in Way
    }
    assert max(treatment.after for treatment in plan) < 2000


def test_outside_its_context_it_has_no_url_and_applies_no_fault() -> None:
    proxy = FlakyProxy("ws://127.0.0.1:1/path")

    def check_not_running() -> None:
        with pytest.raises(RuntimeError, match=r"^the proxy is not running: use it in `with`$"):
            proxy.url  # noqa: B018 - the access raises
        with pytest.raises(RuntimeError, match=r"^the proxy is not running: use it in `with`$"):
            proxy.apply(NetworkFault.RESET)

    check_not_running()
    with proxy:
        assert urlsplit(proxy.url).path == "/path"
        proxy.apply(NetworkFault.RESET)
    check_not_running()
