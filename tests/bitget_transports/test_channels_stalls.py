"""A peer that stops reading, on every colour: what cannot leave strands one cancel at most, and no outcome is guessed."""

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

from .colours import KEY, Colour, Connect, fast_exchange, orders
from .endings import closed

pytestmark = pytest.mark.parametrize("colour", Colour)

_SMALL = 4096
"""Bytes of the buffers in the kernel, so that they are soon full."""


def narrow(colour: Colour, server: ExchangeThread) -> dict[str, Any]:
    """Options of `connect` for a socket that soon stalls."""
    listener = server.server._listener
    assert listener is not None
    listener.setsockopt(
        socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL
    )  # those that it accepts have the same
    if colour in (Colour.ANYIO_ASYNCIO, Colour.ANYIO_TRIO):
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
def test_a_stalled_writer_strands_one_cancel_at_most_and_the_others_were_not_sent(
    colour: Colour, resumes: bool
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
                KEY, url=server.url, config=config, limits=limits, **narrow(colour, server)
            ) as channel:
                server.stop_reading()
                async for outcome in channel.cancel_many(orders(many)):
                    if resumes and not outcomes:
                        server.resume_reading()  # while the client still closes
                    outcomes.append(outcome)
            server.resume_reading()
            return outcomes

        outcomes = colour.run(scenario)
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
    # In order, and one that is stuck in between: the other bytes are with the kernel.
    assert sent == {str(number) for number in range(1, len(sent) + 1)}


def test_over_tls_no_more_is_stranded_than_over_a_plain_socket(colour: Colour) -> None:
    if colour not in (Colour.ASYNCIO, Colour.UVLOOP, Colour.BLOCKING):
        return  # the others write one frame after the other and await each
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

            outcomes = colour.run(scenario)
            assert len(outcomes) == 400
            return sum(isinstance(outcome, Unresolved) and outcome.sent for outcome in outcomes)

    # How much the kernel takes varies by some frames; what a transport holds unseen is there each time.
    assert any(sent(tls=True) <= sent(tls=False) + 1 for _ in range(3))


class Narrow(socket.socket):
    """A socket that takes so many bytes more, and then none until it is told otherwise."""

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
        """What asyncio writes with from Python 3.12 on, when something is left over."""
        return self.send(b"".join(buffers))


@pytest.mark.parametrize("takes", [0, 10])
def test_what_was_told_as_not_sent_does_not_leave_when_the_peer_reads_again(
    colour: Colour, takes: int
) -> None:
    if colour not in (Colour.ASYNCIO, Colour.BLOCKING):
        return  # the others have no socket that can be given, or write to its descriptor
    with exchange_in_thread(fast_exchange(3)) as server:

        async def scenario(connect: Connect) -> list[Outcome]:
            sock = Narrow()
            sock.connect(("127.0.0.1", urlsplit(server.url).port or 0))
            limits = Limits(write_timeout=0.1, close_timeout=0.2)
            async with connect(KEY, url=server.url, limits=limits, sock=sock) as channel:
                sock.takes = takes
                outcomes: list[Outcome] = []
                async for outcome in channel.cancel_many(orders(3)):
                    sock.takes = None
                    outcomes.append(outcome)
                return outcomes

        outcomes = colour.run(scenario)
        assert [outcome.sent for outcome in outcomes if isinstance(outcome, Unresolved)] == [
            takes > 0,
            False,
            False,
        ]
    assert {act.id for act in server.exchange.log} <= {
        outcome.id for outcome in outcomes[:1] if takes
    }


def test_a_ping_that_cannot_be_written_is_noticed(colour: Colour) -> None:
    with exchange_in_thread(fast_exchange()) as server:

        async def scenario(connect: Connect) -> WhyClosed:
            config = Config(messages_per_second=None, ping_interval=0.2, pong_timeout=0.2)
            limits = Limits(write_timeout=None, close_timeout=0.1)
            async with connect(
                KEY, url=server.url, config=config, limits=limits, **narrow(colour, server)
            ) as channel:
                server.stop_reading()
                for _ in range(10):
                    await channel.send("x" * 1_000_000)
                return (await closed(channel))[0]

        assert colour.run(scenario) is WhyClosed.NO_PONG
