"""Proxies: from the environment over anyio, a socket tunnelled by hand, and none to loopback.

Real sockets on loopback; each wait is bounded. Only the proxy resolves the name of the exchange.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import pytest
import trustme

from bitget_proto import Accepted
from bitget_transports import ConnectFailed, Limits
from bitget_transports.exchange import exchange_in_thread

from .colours import ASYNCIO, FAST, KEY, Connect, Flavour, fast_exchange, orders
from .tidy import nothing_left, tidy

NAME = "exchange.example"
URL = f"wss://{NAME}/v2/ws/private"
ANYIO = [Flavour.ANYIO_ASYNCIO, Flavour.ANYIO_TRIO]
LIMITS = Limits(open_timeout=5.0, close_timeout=0.2)
AUTHORITY = trustme.CA()


@pytest.fixture(autouse=True)
def _nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with nothing_left():
        yield


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(NAME, "localhost").configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    return context


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)  # pyright: ignore[reportUnknownMemberType]
    return context


class Proxy:
    """Accept one CONNECT for any name and forward it to a port of this machine."""

    def __init__(self, port: int, status: str = "200 Connected") -> None:
        self.asked: list[str] = []
        self.heads: list[str] = []
        self._to, self._status = port, status
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.port: int = self._listener.getsockname()[1]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _serve(self) -> None:
        with self._listener:
            while not self._ended.is_set():
                with suppress(TimeoutError, OSError), self._listener.accept()[0] as near:
                    self._tunnel(near)

    def _tunnel(self, near: socket.socket) -> None:
        near.settimeout(5.0)
        head = b""
        while b"\r\n\r\n" not in head:
            head += near.recv(1000)
        self.heads.append(head.decode())
        self.asked.append(self.heads[-1].splitlines()[0])
        near.sendall(f"HTTP/1.1 {self._status}\r\n\r\n".encode())
        if not self._status.startswith("200"):
            return
        with socket.create_connection(("127.0.0.1", self._to)) as far:
            other = {near: far, far: near}
            while not self._ended.is_set():
                for ready in select.select(list(other), [], [], 0.05)[0]:
                    if not (data := ready.recv(65_536)):
                        return
                    other[ready].sendall(data)


@contextmanager
def proxied(status: str = "200 Connected") -> Generator[Proxy]:
    """Run an exchange with TLS and a proxy to it."""
    with exchange_in_thread(fast_exchange(3, credentials=KEY), tls=server_context()) as server:
        proxy = Proxy(urlsplit(server.url).port or 0, status)
        try:
            yield proxy
        finally:
            proxy.end()


async def cancel_three(connect: Connect, url: str, **options: object) -> None:
    async with connect(KEY, url=url, config=FAST, limits=LIMITS, **options) as channel:
        assert [type(each) async for each in channel.cancel_many(orders(3))] == [Accepted] * 3


@pytest.mark.parametrize("flavour", ANYIO)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_the_proxy_from_the_environment_is_used(
    flavour: Flavour, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxied() as proxy:
        monkeypatch.setenv(variable, f"http://user:password@127.0.0.1:{proxy.port}")
        flavour.run(tidy(lambda connect: cancel_three(connect, URL, tls=trusting())))
    assert proxy.asked == [f"CONNECT {NAME}:443 HTTP/1.1"]
    assert "Basic dXNlcjpwYXNzd29yZA==" in proxy.heads[0]


@pytest.mark.parametrize("flavour", ANYIO)
def test_the_no_proxy_variable_is_obeyed(flavour: Flavour, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxied() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "nowhere.invalid")
        with pytest.raises(ConnectFailed, match=r"the name nowhere\.invalid cannot be resolved"):
            flavour.run(
                tidy(
                    lambda connect: cancel_three(connect, "wss://nowhere.invalid/", tls=trusting())
                )
            )
    assert proxy.asked == []


@pytest.mark.parametrize("flavour", ANYIO)
@pytest.mark.parametrize(
    "status", ["407 Proxy Authentication Required", "403 Forbidden", "502 Bad Gateway"]
)
def test_the_error_of_a_refusing_proxy_hides_its_password(
    flavour: Flavour, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxied(status) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:password@127.0.0.1:{proxy.port}")
        with pytest.raises(ConnectFailed) as caught:
            flavour.run(tidy(lambda connect: cancel_three(connect, URL, tls=trusting())))
    assert str(caught.value) == (
        f"the proxy refused to connect to {NAME}:443 ({status}): check HTTPS_PROXY, the credentials in it, and NO_PROXY"
    )


@pytest.mark.parametrize("flavour", ANYIO)
@pytest.mark.parametrize(
    "proxy", ["nonsense", "ftp://user:password@127.0.0.1:1", "socks5://user:password@127.0.0.1:1"]
)
def test_the_error_of_an_unusable_proxy_hides_its_password(
    flavour: Flavour, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(ConnectFailed) as caught:
        flavour.run(
            tidy(lambda connect: cancel_three(connect, "wss://nowhere.invalid/", tls=trusting()))
        )
    assert "password" not in str(caught.value)


@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize("secure", [False, True])
def test_loopback_is_never_proxied(
    flavour: Flavour, secure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WS_PROXY", "WSS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    tls = server_context() if secure else None
    with exchange_in_thread(fast_exchange(3, credentials=KEY), tls=tls) as server:
        options = {"tls": trusting()} if secure else {}
        flavour.run(tidy(lambda connect: cancel_three(connect, server.url, **options)))


@pytest.mark.parametrize("flavour", [*ASYNCIO, Flavour.BLOCKING])
def test_a_socket_tunnelled_by_hand_works_with_tls_and_is_closed(
    flavour: Flavour,
) -> None:
    with proxied() as proxy:
        sock = socket.create_connection(("127.0.0.1", proxy.port))
        sock.sendall(f"CONNECT {NAME}:443 HTTP/1.1\r\nHost: {NAME}:443\r\n\r\n".encode())
        assert sock.recv(1000).startswith(b"HTTP/1.1 200")
        flavour.run(tidy(lambda connect: cancel_three(connect, URL, tls=trusting(), sock=sock)))
        assert sock.fileno() == -1


@pytest.mark.parametrize("flavour", [*ASYNCIO, Flavour.BLOCKING])
@pytest.mark.parametrize("url", [URL, "ws://127.0.0.1/"])
@pytest.mark.parametrize("closed", [False, True])
def test_a_closed_or_unconnected_socket_raises_one_clear_error(
    flavour: Flavour, url: str, closed: bool
) -> None:
    sock = socket.socket()
    if closed:
        sock.close()
    with pytest.raises(
        ConnectFailed, match=r"no connection to|ended the connection|does not speak"
    ):
        flavour.run(tidy(lambda connect: cancel_three(connect, url, sock=sock)))
    assert sock.fileno() == -1
