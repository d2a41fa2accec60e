"""A peer stops reading, on every transport: at most one cancel is partly sent."""

from __future__ import annotations

import socket
import ssl
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import trustme

from bitget_proto import Config, Outcome, Unresolved, WhyClosed
from bitget_transports import Limits
from bitget_transports.exchange import ExchangeThread, exchange_in_thread
from bitget_transports.faults.hostile_server import HostileServer, stop_reading

from .colours import KEY, Connect, Flavour, fast_exchange, orders
from .endings import closed

pytestmark = pytest.mark.parametrize("flavour", Flavour)

_SMALL = 4096
"""The size of the kernel's buffers in bytes, so that they soon fill up."""


def small_buffers(flavour: Flavour, server: ExchangeThread) -> dict[str, Any]:
    """Return options of `connect` for a socket that soon stalls."""
    listener = server.server._listener
    assert listener is not None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL)  # accepted sockets inherit it
    if flavour in (Flavour.ANYIO_ASYNCIO, Flavour.ANYIO_TRIO):
        options = [(socket.SOL_SOCKET, socket.SO_SNDBUF, _SMALL)]
        return {
            "client": httpx.AsyncClient(
                transport=httpx.AsyncHTTPTransport(socket_options=options), timeout=None
            )
        }
    sock = socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SMALL)
    return {"sock": sock}


@pytest.mark.parametrize("resumes", [False, True], ids=["for good", "for a while"])
def test_a_stalled_write_leaves_at_most_one_cancel_partly_sent(
    flavour: Flavour, resumes: bool
) -> None:
    many = 300
    with exchange_in_thread(fast_exchange(many)) as server:

        async def scenario(connect: Connect) -> list[Outcome]:
            config = Config(
                messages_per_second=None,
                max_in_flight=None,
                answer_timeout=None,
                queue_timeout=None,
                id_prefix="",
            )
            limits = Limits(write_timeout=0.2, close_timeout=0.4)
            outcomes: list[Outcome] = []
            async with connect(
                KEY, url=server.url, config=config, limits=limits, **small_buffers(flavour, server)
            ) as channel:
                server.stop_reading()
                async for outcome in channel.cancel_many(orders(many)):
                    if resumes and not outcomes:
                        server.resume_reading()  # while the client is still closing
                    outcomes.append(outcome)
            server.resume_reading()
            return outcomes

        outcomes = flavour.run(scenario)
        while server.connections:
            pass
        received = {act.id for act in server.exchange.log}
    assert len(outcomes) == many
    sent = {outcome.id for outcome in outcomes if isinstance(outcome, Unresolved) and outcome.sent}
    unsent = {
        outcome.id for outcome in outcomes if isinstance(outcome, Unresolved) and not outcome.sent
    }
    assert 0 < len(sent) < many
    assert len(sent | unsent) == many
    assert received <= sent
    # Sent in order, and at most the last one in part: the kernel has the bytes before it.
    assert sent == {str(number) for number in range(1, len(sent) + 1)}


def test_tls_buffers_no_more_frames_than_a_plain_socket(flavour: Flavour) -> None:
    if flavour not in (Flavour.ASYNCIO, Flavour.UVLOOP, Flavour.BLOCKING):
        return  # the others write one frame at a time
    authority = trustme.CA()
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(theirs)  # pyright: ignore[reportUnknownMemberType]
    authority.configure_trust(ours)  # pyright: ignore[reportUnknownMemberType]

    def sent(tls: bool) -> int:
        with HostileServer(stop_reading(), tls=theirs if tls else None) as server:
            assert server._listener is not None
            server._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL)
            sock = socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SMALL)

            async def scenario(connect: Connect) -> list[Outcome]:
                config = Config(messages_per_second=None, max_in_flight=None)
                limits = Limits(write_timeout=0.2, close_timeout=0.1)
                options: dict[str, Any] = {"tls": ours} if tls else {}
                async with connect(
                    KEY, url=server.url, config=config, limits=limits, sock=sock, **options
                ) as channel:
                    return [outcome async for outcome in channel.cancel_many(orders(400))]

            outcomes = flavour.run(scenario)
            assert len(outcomes) == 400
            return sum(isinstance(outcome, Unresolved) and outcome.sent for outcome in outcomes)

    # The kernel's share varies by some frames; a hidden buffer would show each time.
    assert any(sent(tls=True) <= sent(tls=False) + 1 for _ in range(3))


class LimitedSocket(socket.socket):
    """A socket that takes `takes` more bytes and then none; None lifts the limit."""

    takes: int | None = None

    def send(self, data: Any, flags: int = 0, /) -> int:
        if self.takes is None:
            return super().send(data, flags)
        if not self.takes:
            raise BlockingIOError
        sent = super().send(memoryview(data)[: self.takes], flags)
        self.takes -= sent
        return sent

    def sendmsg(self, buffers: Any, /, *_: Any) -> int:
        """Write what is left over, as asyncio does from Python 3.12 on."""
        return self.send(b"".join(buffers))


@pytest.mark.parametrize("takes", [0, 10])
def test_a_cancel_reported_unsent_is_not_sent_when_the_peer_resumes(
    flavour: Flavour, takes: int
) -> None:
    if flavour not in (Flavour.ASYNCIO, Flavour.BLOCKING):
        return  # the others take no socket, or write to its descriptor
    with exchange_in_thread(fast_exchange(3)) as server:

        async def scenario(connect: Connect) -> list[Outcome]:
            sock = LimitedSocket()
            sock.connect(("127.0.0.1", urlsplit(server.url).port or 0))
            limits = Limits(write_timeout=0.1, close_timeout=0.2)
            async with connect(KEY, url=server.url, limits=limits, sock=sock) as channel:
                sock.takes = takes
                outcomes: list[Outcome] = []
                async for outcome in channel.cancel_many(orders(3)):
                    sock.takes = None
                    outcomes.append(outcome)
                return outcomes

        outcomes = flavour.run(scenario)
        assert [outcome.sent for outcome in outcomes if isinstance(outcome, Unresolved)] == [
            takes > 0,
            False,
            False,
        ]
    assert {act.id for act in server.exchange.log} <= {
        outcome.id for outcome in outcomes[:1] if takes
    }


def test_a_ping_that_cannot_be_written_is_noticed(flavour: Flavour) -> None:
    with exchange_in_thread(fast_exchange()) as server:

        async def scenario(connect: Connect) -> WhyClosed:
            config = Config(messages_per_second=None, ping_interval=0.2, pong_timeout=0.2)
            limits = Limits(write_timeout=None, close_timeout=0.1)
            async with connect(
                KEY, url=server.url, config=config, limits=limits, **small_buffers(flavour, server)
            ) as channel:
                server.stop_reading()
                for _ in range(10):
                    await channel.send("x" * 1_000_000)
                return (await closed(channel))[0]

        assert flavour.run(scenario) is WhyClosed.NO_PONG
