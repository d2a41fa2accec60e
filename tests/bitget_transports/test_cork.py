"""Frames that are written at once leave in one packet, and none is left behind the cork."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from bitget_proto import CancelOrder, Credentials
from bitget_transports._driver.cork import cork
from bitget_transports.blocking import _socket_link as _socket
from bitget_transports.blocking import connect
from bitget_transports.exchange import exchange_in_thread

from .colours import FAST, fast_exchange

pytestmark = pytest.mark.skipif(
    not hasattr(socket, "TCP_CORK"), reason="this system has no TCP_CORK"
)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname(), timeout=5.0)
        far, _ = listener.accept()
        with near, far:
            far.settimeout(5.0)
            yield near, far


def test_what_is_written_behind_a_cork_comes_in_one_piece(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    near, far = pair
    cork(near, corked=True)
    for _ in range(100):
        near.sendall(b"frame")
    cork(near, corked=False)
    assert far.recv(65_536) == b"frame" * 100


def test_a_socket_of_uvloops_that_is_closed_is_left_alone() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def scenario() -> None:
        near, far = socket.socketpair()
        with far:
            transport, _ = await asyncio.get_running_loop().create_connection(
                asyncio.Protocol, sock=near
            )
            sock = transport.get_extra_info("socket")
            transport.abort()
            await asyncio.sleep(0.01)
            cork(sock, corked=True)
            cork(sock, corked=False)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


def test_a_socket_that_is_closed_or_knows_no_packets_is_left_alone() -> None:
    near, far = socket.socketpair()
    cork(near, corked=True)
    near.close()
    cork(near, corked=False)
    far.close()


def orders(count: int, *, fail: bool) -> Iterator[CancelOrder]:
    for number in range(count):
        yield CancelOrder("BTCUSDT", order_id=str(number))
    if fail:
        raise ZeroDivisionError


@pytest.mark.parametrize("fail", [False, True])
@pytest.mark.parametrize("count", [1, 2, 500])
def test_a_cork_is_always_drawn(monkeypatch: pytest.MonkeyPatch, count: int, fail: bool) -> None:
    seen: list[bool] = []

    def noting(sock: socket.socket, *, corked: bool) -> None:
        seen.append(corked)
        cork(sock, corked=corked)

    monkeypatch.setattr(_socket, "cork", noting)
    with (
        exchange_in_thread(fast_exchange()) as exchange,
        connect(Credentials("key", "secret", "pass"), url=exchange.url, config=FAST) as channel,
    ):
        many = channel.cancel_many(orders(count, fail=fail))
        if fail:
            with pytest.raises(ZeroDivisionError):
                list(many)
        else:
            assert len(list(many)) == count
    assert seen
    assert seen == [True, False] * (len(seen) // 2)
