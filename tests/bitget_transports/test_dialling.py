"""Hosts with several addresses, of which some are dead: each transport reaches the one that serves.

All of 127.0.0.0/8 is loopback on Linux, so a server on 127.0.0.1 has dead neighbours on its port.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvloop

from bitget_proto import Accepted, SessionConfig
from bitget_transports import ConnectFailed, Limits
from bitget_transports._driver import address_race
from bitget_transports._driver.address_race import Address, AddressRace
from bitget_transports.exchange import exchange_in_thread
from bitget_transports.exchange._thread import ExchangeThread
from bitget_transports.faults.hostile_server import HostileServer, Victim

from .colours import ASYNCIO, BOUND, FAST, KEY, Connect, Flavour, OpenSession, fast_exchange, orders
from .tidy import nothing_left, tidy

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="needs 127.0.0.2 and a full backlog"
)

ALL = pytest.mark.parametrize("flavour", Flavour)
OURS = pytest.mark.parametrize("flavour", [*ASYNCIO, Flavour.BLOCKING])
"""The transports that use `AddressRace`; the libraries below anyio have a race of their own."""

HOST = "exchange.test"
LIMITS = Limits(open_timeout=5.0, close_timeout=0.2)
SESSION = SessionConfig(link=FAST, backoff_min=0.01, backoff_max=0.02, dials_per_5_minutes=None)


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


@pytest.fixture
def server() -> Iterator[ExchangeThread]:
    with exchange_in_thread(fast_exchange(10)) as server:
        yield server


def address(host: str, port: int) -> Address:
    if ":" in host:
        return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0)
    return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port)


def resolves_to(patch: pytest.MonkeyPatch, addresses: Sequence[Address]) -> None:
    """Let `HOST` have these addresses."""
    by_system, by_uvloop = socket.getaddrinfo, uvloop.Loop.getaddrinfo

    def getaddrinfo(host: Any, *rest: Any, **options: Any) -> Any:
        return (
            list(addresses) if host in (HOST, HOST.encode()) else by_system(host, *rest, **options)
        )

    async def on_uvloop(loop: uvloop.Loop, host: Any, *rest: Any, **options: Any) -> Any:
        return list(addresses) if host == HOST else await by_uvloop(loop, host, *rest, **options)

    getaddrinfo.__module__ = socket.getaddrinfo.__module__
    patch.setattr(socket, "getaddrinfo", getaddrinfo)
    patch.setattr(uvloop.Loop, "getaddrinfo", on_uvloop)


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def url(port: int) -> str:
    return f"ws://{HOST}:{port}/v2/ws/private"


@contextmanager
def swallowing(port: int, host: str = "127.0.0.2") -> Generator[None]:
    """Listen on an address that answers nothing: the backlog is full, so the system drops what
    arrives.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(0)
        fill = [socket.socket() for _ in range(4)]
        try:
            for sock in fill:
                sock.settimeout(0.05)
                sock.connect_ex((host, port))
            yield
        finally:
            for sock in fill:
                sock.close()


_SOCKET = socket.socket


def _init(self: Any, family: int = -1, *rest: Any, **options: Any) -> None:
    if family == socket.AF_INET6:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
    _SOCKET.__init__(self, family, *rest, **options)


def without_ipv6(patch: pytest.MonkeyPatch) -> None:
    """Let the system refuse sockets for IPv6."""
    # As a function of the standard library: from elsewhere it would be an error of the caller.
    namespace = {**globals(), "__name__": "socket"}
    init = FunctionType(_init.__code__, namespace, argdefs=_init.__defaults__)
    patch.setattr(socket, "socket", type("socket", (_SOCKET,), {"__init__": init}))


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Return a list of the addresses that are dialled, in order."""
    begun: list[tuple[str, int]] = []
    next = AddressRace.next

    def recording(race: AddressRace, now: float) -> Address | None:
        address = next(race, now)
        if address is not None:
            begun.append(address[4][:2])
        return address

    monkeypatch.setattr(AddressRace, "next", recording)
    return begun


def cancels_one(flavour: Flavour, port: int) -> None:
    async def scenario(connect: Connect) -> None:
        async with connect(
            KEY, url=url(port), config=FAST, limits=LIMITS, allow_plaintext=True
        ) as channel:
            assert isinstance(await channel.cancel(orders(1)[0]), Accepted)

    flavour.run(tidy(scenario))


def failure(flavour: Flavour, port: int, open_timeout: float = BOUND) -> str:
    async def scenario(connect: Connect) -> None:
        limits = Limits(open_timeout=open_timeout, close_timeout=0.2)
        async with connect(KEY, url=url(port), config=FAST, limits=limits, allow_plaintext=True):
            raise AssertionError("a channel was opened")

    with pytest.raises(ConnectFailed) as caught:
        flavour.run(tidy(scenario))
    return str(caught.value)


@ALL
def test_a_kernel_without_ipv6_reaches_the_ipv4_address(
    flavour: Flavour, server: ExchangeThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = port_of(server.url)
    resolves_to(monkeypatch, [address("::1", port), address("127.0.0.1", port)])
    without_ipv6(monkeypatch)
    cancels_one(flavour, port)


@ALL
def test_an_unreachable_network_counts_as_a_failed_attempt(
    flavour: Flavour, server: ExchangeThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = port_of(server.url)
    resolves_to(monkeypatch, [address("2001:db8::1", port), address("127.0.0.1", port)])
    cancels_one(flavour, port)


@ALL
def test_an_address_that_answers_nothing_does_not_hold_up_the_others(
    flavour: Flavour, server: ExchangeThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = port_of(server.url)
    resolves_to(monkeypatch, [address("127.0.0.2", port), address("127.0.0.1", port)])
    with swallowing(port):
        cancels_one(flavour, port)


@ALL
def test_the_last_of_ten_addresses_is_reached(
    flavour: Flavour, server: ExchangeThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = port_of(server.url)
    dead = [address(f"127.0.0.{number}", port) for number in range(2, 11)]
    resolves_to(monkeypatch, [*dead, address("127.0.0.1", port)])
    with swallowing(port, "127.0.0.5"):
        cancels_one(flavour, port)


@ALL
def test_open_timeout_bounds_the_whole_dial(
    flavour: Flavour, server: ExchangeThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = port_of(server.url)
    resolves_to(monkeypatch, [address("127.0.0.2", port), address("127.0.0.3", port)])
    with swallowing(port), swallowing(port, "127.0.0.3"):
        message = failure(flavour, port, 0.6)
    assert "did not open a WebSocket within 0.6 s" in message
    if flavour not in (Flavour.ANYIO_ASYNCIO, Flavour.ANYIO_TRIO):
        assert "(no answer from 127.0.0.2; no answer from 127.0.0.3)" in message


@ALL
def test_the_error_names_each_address_and_how_it_failed(
    flavour: Flavour, server: ExchangeThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = port_of(server.url)
    dead = [address("::1", port), address("127.0.0.3", port)]
    resolves_to(monkeypatch, dead)
    without_ipv6(monkeypatch)
    message = failure(flavour, port)
    assert f"no connection to {HOST}:{port} (" in message
    if flavour in (Flavour.ANYIO_ASYNCIO, Flavour.ANYIO_TRIO):
        assert "Address family not supported" in message
        assert "127.0.0.3" in message
    else:
        assert (
            "(::1: Address family not supported by protocol; 127.0.0.3: Connection refused)"
            in message
        )


@ALL
def test_the_error_when_all_addresses_refuse_says_so(
    flavour: Flavour, server: ExchangeThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = port_of(server.url)
    resolves_to(monkeypatch, [address("127.0.0.3", port), address("127.0.0.4", port)])
    assert f"{HOST}:{port} refused the connection: nothing listens there" in failure(flavour, port)


@OURS
def test_a_redial_begins_with_the_address_that_served(
    flavour: Flavour,
    server: ExchangeThread,
    begun: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = port_of(server.url)
    resolves_to(monkeypatch, [address("127.0.0.2", port), address("127.0.0.1", port)])

    async def scenario(open_session: OpenSession) -> None:
        async with open_session(
            KEY, url=url(port), config=SESSION, limits=LIMITS, allow_plaintext=True
        ) as channel:
            server.drop()
            outcomes = [await channel.cancel(order) for order in orders(3)]
            assert isinstance(outcomes[-1], Accepted)

    with swallowing(port):
        flavour.run_session(tidy(scenario))
    assert begun == [("127.0.0.2", port), ("127.0.0.1", port), ("127.0.0.1", port)]


def resets(victim: Victim) -> None:
    victim.reset()


@OURS
def test_a_session_leaves_an_address_that_resets_each_connection(
    flavour: Flavour,
    server: ExchangeThread,
    begun: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with HostileServer(resets) as dead:
        ports = port_of(dead.url), port_of(server.url)
        resolves_to(monkeypatch, [address("127.0.0.1", port) for port in ports])

        async def scenario(open_session: OpenSession) -> None:
            async with open_session(
                KEY, url=url(ports[1]), config=SESSION, limits=LIMITS, allow_plaintext=True
            ) as channel:
                assert isinstance(await channel.cancel(orders(1)[0]), Accepted)

        flavour.run_session(tidy(scenario))
    assert begun == [("127.0.0.1", port) for port in ports]


@ALL
def test_no_socket_is_left_when_the_peer_resets_at_once(flavour: Flavour) -> None:
    async def scenario(connect: Connect) -> None:
        for _ in range(200):
            with pytest.raises(ConnectFailed):
                async with connect(KEY, url=dead.url, config=FAST, limits=LIMITS):
                    raise AssertionError("a channel was opened")

    with HostileServer(resets) as dead:
        flavour.run(tidy(scenario))


@pytest.mark.parametrize("flavour", ASYNCIO)
def test_cancelling_a_race_at_any_point_leaves_no_socket(
    flavour: Flavour, server: ExchangeThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = port_of(server.url)
    hosts = ("127.0.0.2", "127.0.0.3", "127.0.0.1", "127.0.0.1")
    resolves_to(monkeypatch, [address(host, port) for host in hosts])
    monkeypatch.setattr(address_race, "DELAY", 0.0)

    async def enter(connect: Connect) -> None:
        async with connect(KEY, url=url(port), config=FAST, limits=LIMITS, allow_plaintext=True):
            await asyncio.Event().wait()

    async def scenario(connect: Connect) -> None:
        for turns in range(40):
            task = asyncio.create_task(enter(connect))
            for _ in range(turns):
                await asyncio.sleep(0.0 if turns < 30 else 0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with swallowing(port):
        flavour.run(tidy(scenario))
