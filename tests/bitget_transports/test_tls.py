"""TLS on every transport, with real certificates. `test_one_event` has the refused ones.

Real sockets on loopback; each wait is bounded.
"""

from __future__ import annotations

import datetime
import json
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import pytest
import trustme

from bitget_proto import Closed, Config, Unresolved, WhyClosed
from bitget_transports import ConnectFailed, Limits
from bitget_transports.exchange import exchange_in_thread
from bitget_transports.faults import hostile_server
from bitget_transports.faults.hostile_server import After, HostileServer, Victim

from .colours import FAST, KEY, Connect, Flavour, fast_exchange, orders
from .tidy import nothing_left, tidy

pytestmark = pytest.mark.parametrize("flavour", Flavour)

LIMITS = Limits(write_timeout=0.3, close_timeout=0.2)


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


AUTHORITY = trustme.CA()


def server_context(name: str = "localhost", *, expired: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        AUTHORITY.issue_cert(name, not_before=past, not_after=past + datetime.timedelta(days=1))
        if expired
        else AUTHORITY.issue_cert(name)
    )
    certificate.configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    return context


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)  # pyright: ignore[reportUnknownMemberType]
    return context


def failure(
    flavour: Flavour, url: str, tls: ssl.SSLContext | None, limits: Limits | None = None
) -> str:
    async def scenario(connect: Connect) -> None:
        async with connect(
            KEY, url=url, config=FAST, tls=tls, limits=limits or Limits(close_timeout=0.2)
        ):
            raise AssertionError("a channel was opened")

    with pytest.raises(ConnectFailed) as caught:
        flavour.run(tidy(scenario))
    return str(caught.value)


def test_many_cancels_over_tls_have_one_outcome_each(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(900, credentials=KEY), tls=server_context()) as server:

        async def scenario(connect: Connect) -> Counter[str]:
            async with connect(KEY, url=server.url, config=FAST, tls=trusting()) as channel:
                counted = Counter(
                    [type(outcome).__name__ async for outcome in channel.cancel_many(orders(1000))]
                )
                assert channel.in_flight == 0
                return counted

        assert flavour.run(tidy(scenario)) == {"Accepted": 900, "Rejected": 100}
        assert len(server.exchange.log) == 1000


def test_plain_on_a_tls_port_raises_one_clear_error(flavour: Flavour) -> None:
    def behave(victim: Victim) -> None:
        victim.read_head()

    with HostileServer(behave, tls=server_context()) as server:
        text = failure(flavour, server.url.replace("wss://localhost", "ws://127.0.0.1"), None)
    assert "check the" in text


def test_an_end_without_close_notify_is_reported_once(flavour: Flavour) -> None:
    with HostileServer(hostile_server.end_of_stream(After.CANCEL), tls=server_context()) as server:
        check_lost(flavour, server.url)


def test_a_reset_is_reported_once(flavour: Flavour) -> None:
    with HostileServer(hostile_server.reset(After.CANCEL), tls=server_context()) as server:
        check_lost(flavour, server.url)


def check_lost(flavour: Flavour, url: str) -> None:
    async def scenario(connect: Connect) -> None:
        async with connect(KEY, url=url, config=FAST, tls=trusting(), limits=LIMITS) as channel:
            outcome = await channel.cancel(orders(1)[0])
            assert isinstance(outcome, Unresolved)
            assert outcome.sent
            events = [event async for event in channel.events]
            assert [type(event) for event in events] == [Closed]
            assert isinstance(events[0], Closed)
            assert events[0].why is WhyClosed.LOST

    flavour.run(tidy(scenario))


def test_a_tls_peer_that_stops_reading_does_not_block_close(flavour: Flavour) -> None:
    with HostileServer(hostile_server.stop_reading(), tls=server_context()) as server:

        async def scenario(connect: Connect) -> None:
            limits = Limits(write_timeout=None, close_timeout=0.2)
            config = Config(messages_per_second=None, drain_timeout=0.1)
            async with connect(
                KEY, url=server.url, config=config, tls=trusting(), limits=limits
            ) as channel:
                for _ in range(20):
                    await channel.send("x" * 1_000_000)
                assert isinstance(await channel.cancel(orders(1)[0], timeout=0.1), Unresolved)

        flavour.run(tidy(scenario))


def test_an_unanswered_close_frame_does_not_block_close_over_tls(flavour: Flavour) -> None:
    with HostileServer(hostile_server.silence(After.LOGIN), tls=server_context()) as server:

        async def scenario(connect: Connect) -> None:
            async with connect(KEY, url=server.url, config=FAST, tls=trusting(), limits=LIMITS):
                pass

        flavour.run(tidy(scenario))


class SlowRelay:
    """A relay that forwards a few bytes at a time, so that records and frames never align."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._to = port
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with (
            self._listener,
            self._listener.accept()[0] as near,
            socket.create_connection(("127.0.0.1", self._to)) as far,
        ):
            for each in (near, far):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=self._pass_on, args=(far, near, 1_000))
            back.start()
            self._pass_on(near, far, 700)
            back.join()

    @staticmethod
    def _pass_on(source: socket.socket, sink: socket.socket, size: int) -> None:
        with suppress(OSError):
            while data := source.recv(size):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def join(self) -> None:
        for thread in self._threads:
            thread.join()


def test_tls_records_may_be_split_anywhere(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange(200, credentials=KEY), tls=server_context()) as server:
        relay = SlowRelay(int(server.url.rsplit(":", 1)[1].split("/")[0]))

        async def scenario(connect: Connect) -> Counter[str]:
            url = f"wss://localhost:{relay.port}/v2/ws/private"
            async with connect(KEY, url=url, config=FAST, tls=trusting()) as channel:
                await channel.send(json.dumps({"op": "subscribe", "args": [{"x": "y" * 40_000}]}))
                return Counter(
                    [type(outcome).__name__ async for outcome in channel.cancel_many(orders(200))]
                )

        assert flavour.run(tidy(scenario)) == {"Accepted": 200}
        relay.join()
