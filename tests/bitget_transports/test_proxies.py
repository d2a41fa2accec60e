"""Proxies on every transport: from the argument, from the environment, and none to loopback.

Real sockets on loopback; each wait is bounded. Only the proxy resolves the name of the exchange.
"""

from __future__ import annotations

import logging
import socket
import ssl
import traceback
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme

from bitget_proto import (
    Accepted,
    Cancelled,
    Final,
    LinkClosed,
    Policy,
    SessionConfig,
    Unresolved,
    ValidationError,
    WhyUnresolved,
)
from bitget_proto.testing import Fault
from bitget_transports import ChannelEvent, ConnectFailed, Limits
from bitget_transports.exchange import exchange_in_thread

from . import proxies
from .colours import ASYNCIO, FAST, KEY, Connect, Flavour, OpenSession, fast_exchange, orders
from .proxies import Answer, Proxy
from .tidy import nothing_left, tidy

NAME = "exchange.example"
URL = f"wss://{NAME}/v2/ws/private"
LIMITS = Limits(open_timeout=5.0, close_timeout=0.2)
AUTHORITY = trustme.CA()
USER, PASSWORD = "user@office", "pass:word/7G8H9I"
QUOTED = "user%40office:pass%3Aword%2F7G8H9I"


@pytest.fixture(autouse=True)
def _nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with nothing_left():
        yield


def server_context(*names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(*names or (NAME, "localhost")).configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    return context


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)  # pyright: ignore[reportUnknownMemberType]
    return context


@contextmanager
def proxied(*answers: Answer, tls: ssl.SSLContext | None = None) -> Generator[Proxy]:
    """Run an exchange with TLS and a proxy to it."""
    with (
        exchange_in_thread(
            fast_exchange(3, credentials=KEY), tls=tls or server_context()
        ) as server,
        proxies.running(urlsplit(server.url).port or 0, *answers) as proxy,
    ):
        yield proxy


async def cancel_three(connect: Connect, url: str = URL, **options: object) -> None:
    async with connect(KEY, url=url, **{"config": FAST, "limits": LIMITS} | options) as channel:
        assert [type(each) async for each in channel.cancel_many(orders(3))] == [Accepted] * 3


def through(flavour: Flavour, proxy: str | None, url: str = URL, **options: Any) -> None:
    """Cancel three orders through this proxy."""
    options = {"tls": trusting()} | options if url.startswith("wss") else options
    flavour.run(tidy(lambda connect: cancel_three(connect, url, proxy=proxy, **options)))


def failure(flavour: Flavour, proxy: str, **options: Any) -> str:
    """Return the error of a dial through this proxy, after a search for the password."""
    with pytest.raises(ConnectFailed) as caught:
        through(flavour, proxy, **options)
    for text in (*traceback.format_exception(caught.value), repr(caught.value)):
        assert not any(secret in text for secret in ("7G8H9I", "office", "dXNlckBvZmZpY2U")), text
    return str(caught.value)


# --- it works ---


@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_the_proxy_of_the_environment_is_used(
    flavour: Flavour, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxied() as proxy:
        monkeypatch.setenv(variable, f"http://{QUOTED}@127.0.0.1:{proxy.port}")
        flavour.run(tidy(lambda connect: cancel_three(connect, tls=trusting())))
    assert proxy.asked == [f"CONNECT {NAME}:443 HTTP/1.1"]


@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize(
    "answer",
    [
        proxies.connect(user=(USER, PASSWORD)),
        proxies.connect("200", user=(USER, PASSWORD)),
        proxies.connect(pieces=1, head=b"Via: 1.1 office\r\n", user=(USER, PASSWORD)),
        proxies.connect(interim=True, pieces=7, user=(USER, PASSWORD)),
    ],
    ids=["plain", "no reason", "in pieces", "interim answer"],
)
def test_a_given_proxy_gets_its_user_and_password(flavour: Flavour, answer: Answer) -> None:
    with proxied(answer) as proxy:
        through(flavour, f"http://{QUOTED}@127.0.0.1:{proxy.port}")
    assert proxy.asked == [f"CONNECT {NAME}:443 HTTP/1.1"]


@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize("pieces", [None, 1])
@pytest.mark.parametrize("user", [None, (USER, PASSWORD)])
def test_a_socks_proxy_works(
    flavour: Flavour, pieces: int | None, user: tuple[str, str] | None
) -> None:
    with proxied(proxies.socks(user=user, pieces=pieces)) as proxy:
        with_user = "" if user is None else f"{QUOTED}@"
        through(flavour, f"socks5://{with_user}127.0.0.1:{proxy.port}")
    assert proxy.asked == [f"{NAME}:443"]
    assert proxy.users == ([] if user is None else [user])


@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_a_plain_url_goes_through_a_tunnel_as_well(flavour: Flavour, scheme: str) -> None:
    answer = proxies.connect() if scheme == "http" else proxies.socks()
    with (
        exchange_in_thread(fast_exchange(3, credentials=KEY)) as server,
        proxies.running(urlsplit(server.url).port or 0, answer) as proxy,
    ):
        url = f"ws://{NAME}:81/v2/ws/private"
        through(flavour, f"{scheme}://127.0.0.1:{proxy.port}", url, allow_plaintext=True)
    assert proxy.asked == ([f"CONNECT {NAME}:81 HTTP/1.1"] if scheme == "http" else [f"{NAME}:81"])


@pytest.mark.parametrize("flavour", Flavour)
def test_the_certificate_is_that_of_the_exchange_and_not_of_the_proxy(flavour: Flavour) -> None:
    with proxied(tls=server_context("elsewhere.example")) as proxy:
        assert failure(flavour, proxy.url).startswith(
            f"{NAME}:443 presented an invalid certificate"
        )
    assert proxy.asked == [f"CONNECT {NAME}:443 HTTP/1.1"]


@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize(
    "excluded", ["nowhere.invalid", ".invalid", "*", "other,nowhere.invalid:443"]
)
def test_the_no_proxy_variable_is_obeyed(
    flavour: Flavour, excluded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxied() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", excluded)
        with pytest.raises(ConnectFailed, match=r"the name nowhere\.invalid cannot be resolved"):
            flavour.run(
                tidy(
                    lambda connect: cancel_three(connect, "wss://nowhere.invalid/", tls=trusting())
                )
            )
    assert proxy.asked == []


@pytest.mark.parametrize("flavour", Flavour)
def test_none_overrides_the_environment(flavour: Flavour, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxied() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(ConnectFailed, match=r"the name nowhere\.invalid cannot be resolved"):
            through(flavour, None, "wss://nowhere.invalid/")
    assert proxy.asked == []


@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize("secure", [False, True])
def test_the_environment_names_no_proxy_for_loopback(
    flavour: Flavour, secure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WS_PROXY", "WSS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    tls = server_context() if secure else None
    with exchange_in_thread(fast_exchange(3, credentials=KEY), tls=tls) as server:
        options = {"tls": trusting()} if secure else {}
        flavour.run(tidy(lambda connect: cancel_three(connect, server.url, **options)))


def test_a_request_to_a_cgi_script_cannot_set_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUEST_METHOD", "GET")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with pytest.raises(ConnectFailed, match=r"the name nowhere\.invalid cannot be resolved"):
        Flavour.BLOCKING.run(
            tidy(
                lambda connect: cancel_three(connect, "ws://nowhere.invalid/", allow_plaintext=True)
            )
        )


# --- the proxy fails ---


REFUSALS: list[tuple[str, Answer, str]] = [
    ("http", proxies.connect("403 Forbidden"), "did not connect to exchange.example:443 (HTTP status 403)"),
    ("http", proxies.connect("502 Bad Gateway", after=b"<h1>no</h1>"), "(HTTP status 502)"),
    ("http", proxies.connect("302 Found", head=b"Location: http://127.0.0.1:9/\r\n"), "(HTTP status 302)"),
    ("http", proxies.connect(user=("other", "word")), "refused its user and password"),
    ("http", proxies.echo, "(HTTP status 403)"),
    ("http", proxies.raw(b"SSH-2.0-x\r\n", then_wait=True), "sent something that is not HTTP"),
    ("http", proxies.raw(b"HTTP/1.1 abc\r\n\r\n"), "sent something that is not HTTP"),
    ("http", proxies.raw(b"HTTP/1.1 200 OK\r\nX: y"), "ended the connection before"),
    ("http", proxies.raw(), "ended the connection before"),
    ("http", proxies.vanish, "proxy 127.0.0.1"),
    ("http", proxies.endless_headers, "sent an answer of more than 16384 bytes"),
    ("http", proxies.connect(after=b"HTTP/1.1 101 Switching\r\n\r\n"), "sent more than an answer"),
    ("socks5", proxies.socks(2, user=(USER, PASSWORD)), "(SOCKS reply 2)"),
    ("socks5", proxies.socks(5, user=(USER, PASSWORD), pieces=1), "(SOCKS reply 5)"),
    ("socks5", proxies.socks(user=("other", "word")), "refused its user and password"),
    ("socks5", proxies.raw(b"\x05\xff", then_wait=True), "refused its user and password"),
    ("socks5", proxies.raw(b"HTTP/1.1 400 no\r\n\r\n", then_wait=True), "sent something that is not SOCKS5"),
    ("socks5", proxies.raw(b"\x05"), "ended the connection before"),
]  # fmt: skip


@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize(
    ("scheme", "answer", "words"), REFUSALS, ids=[f"{at}" for at in range(len(REFUSALS))]
)
def test_a_failing_proxy_is_named_and_its_password_is_not(
    flavour: Flavour,
    scheme: str,
    answer: Answer,
    words: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with proxied(answer) as proxy:
        limits = Limits(open_timeout=2.0, close_timeout=0.2)
        url = f"{scheme}://{QUOTED}@127.0.0.1:{proxy.port}"
        said = failure(flavour, url, limits=limits)
    assert f"the proxy 127.0.0.1:{proxy.port}" in said
    assert words in said
    assert said.count("the proxy 127.0.0.1") == 1, said
    for text in (caplog.text, *(repr(record.__dict__) for record in caplog.records)):
        assert not any(secret in text for secret in ("7G8H9I", "dXNlckBvZmZpY2U")), text


@pytest.mark.parametrize("flavour", Flavour)
def test_a_proxy_that_wants_credentials_says_so(flavour: Flavour) -> None:
    with proxied(proxies.connect(user=(USER, PASSWORD))) as proxy:
        assert "wants a user and a password" in failure(flavour, proxy.url)


@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_proxy_that_hangs_is_named_at_the_timeout(flavour: Flavour, scheme: str) -> None:
    with proxied(proxies.hang) as proxy:
        limits = Limits(open_timeout=0.3, close_timeout=0.2)
        said = failure(flavour, f"{scheme}://{QUOTED}@127.0.0.1:{proxy.port}", limits=limits)
    assert said.startswith(
        f"the proxy 127.0.0.1:{proxy.port} did not connect to {NAME}:443 within 0.3 s"
    )


@pytest.mark.parametrize("flavour", Flavour)
def test_a_proxy_that_does_not_listen_is_named(flavour: Flavour) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    said = failure(flavour, f"http://{QUOTED}@127.0.0.1:{port}")
    assert said.startswith(f"no connection to the proxy 127.0.0.1:{port} (Connection refused)")


@pytest.mark.parametrize("flavour", Flavour)
def test_a_proxy_whose_name_cannot_be_resolved_is_named(flavour: Flavour) -> None:
    said = failure(flavour, f"http://{QUOTED}@nowhere.invalid:3128")
    assert said.startswith("no connection to the proxy nowhere.invalid:3128 (its name cannot be")


@pytest.mark.parametrize("flavour", Flavour)
def test_what_fails_behind_the_proxy_is_not_blamed_on_it(flavour: Flavour) -> None:
    with proxied(proxies.raw(b"HTTP/1.1 200 OK\r\n\r\n")) as proxy:
        assert "ended the connection during the TLS handshake" in failure(flavour, proxy.url)


# --- arguments ---


UNUSABLE: list[Any] = [
    "",
    "ftp://user:7G8H9I@127.0.0.1:1",
    "https://user:7G8H9I@127.0.0.1:1",
    "socks4://user:7G8H9I@127.0.0.1:1",
    "http://user:7G8H9I@",
    "http://user:7G8H9I@127.0.0.1:0",
    "http://user:7G8H9I@127.0.0.1:99999",
    "http://user:7G8H9I@127.0.0.1:1/path",
    "http://user:7G8H9I@127.0.0.1:1?query",
    "http://user:7G8H9I@127.0.0.1:1#part",
    "http://user:7G8H9I@127.0.0.1:1\r\nX: y",
    "http://user:7G8H9I %@127.0.0.1:1",
    "http://user:%ff7G8H9I@127.0.0.1:1",
    "http://user:7G8H/9I@127.0.0.1:1",
    "http://[user:7G8H9I@127.0.0.1:1",
    f"socks5://user:{'7G8H9I' * 50}@127.0.0.1:1",
    False,
    5,
    b"http://user:7G8H9I@127.0.0.1:1",
]


@pytest.mark.parametrize("flavour", [Flavour.ASYNCIO, Flavour.ANYIO_ASYNCIO, Flavour.BLOCKING])
@pytest.mark.parametrize("proxy", UNUSABLE)
def test_an_unusable_proxy_is_refused_without_its_password(flavour: Flavour, proxy: Any) -> None:
    with pytest.raises(ValidationError, match=r"^proxy (is|has|must)") as caught:
        through(flavour, proxy)
    text = "".join(traceback.format_exception(caught.value.with_traceback(None)))
    assert "7G8H" not in text


def test_an_unusable_proxy_of_the_environment_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("https_proxy", "ftp://user:7G8H9I@127.0.0.1:1")
    with pytest.raises(ValidationError, match=r"^https_proxy is not the URL of a proxy"):
        Flavour.BLOCKING.run(tidy(lambda connect: cancel_three(connect, tls=trusting())))


@pytest.mark.parametrize("flavour", [*ASYNCIO, Flavour.BLOCKING])
def test_a_proxy_and_a_socket_exclude_each_other(flavour: Flavour) -> None:
    with socket.socket() as sock, pytest.raises(ValidationError, match="leave one out"):
        through(flavour, "http://127.0.0.1:1", sock=sock)


@pytest.mark.parametrize("flavour", [*ASYNCIO, Flavour.BLOCKING])
def test_a_socket_tunnelled_by_hand_works_with_tls_and_is_closed(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
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


# --- a session ---


@pytest.mark.parametrize("flavour", Flavour)
def test_a_session_outlives_its_proxy(flavour: Flavour) -> None:
    config = SessionConfig(link=FAST, backoff_min=0.02, backoff_max=0.05, policy=Policy.RESEND)
    with exchange_in_thread(fast_exchange(3, credentials=KEY), tls=server_context()) as server:
        to = urlsplit(server.url).port or 0
        first = Proxy(to)
        url = f"http://{QUOTED}@127.0.0.1:{first.port}"
        second: list[Proxy] = []

        async def scenario(open_session: OpenSession) -> None:
            async with open_session(
                KEY, url=URL, tls=trusting(), proxy=url, config=config, limits=LIMITS
            ) as channel:
                assert isinstance(await channel.cancel(orders(1)[0]), Accepted)
                first.end()
                outcome = await channel.cancel(orders(2)[1], timeout=0.3)
                assert isinstance(outcome, Unresolved)
                assert not outcome.sent or outcome.why is WhyUnresolved.TIMEOUT
                second.append(Proxy(to, listening_on=first.port))
                assert isinstance(await channel.cancel(orders(3)[2]), Accepted)
            seen: list[ChannelEvent] = []
            while (event := channel.events.take()) is not None:
                seen.append(event)
            details = [event.detail for event in seen if isinstance(event, LinkClosed)]
            assert any(
                f"no connection to the proxy 127.0.0.1:{first.port}" in each for each in details
            )
            assert not any("7G8H9I" in repr(event) for event in seen)

        try:
            flavour.run_session(tidy(scenario))
        finally:
            for proxy in (first, *second):
                proxy.end()
        assert second[0].asked == [f"CONNECT {NAME}:443 HTTP/1.1"]


@pytest.mark.parametrize("flavour", Flavour)
def test_rest_goes_through_the_proxy_of_the_channel(flavour: Flavour) -> None:
    exchange = fast_exchange(1, credentials=KEY)
    exchange.inject(Fault.NO_PUSH)
    with (
        exchange_in_thread(exchange, tls=server_context()) as server,
        proxies.running(
            urlsplit(server.url).port or 0, proxies.connect(user=("me", "s3cret"))
        ) as proxy,
    ):
        url = proxy.url.replace("//", "//me:s3cret@")

        async def scenario(connect: Connect) -> Final:
            async with connect(
                KEY, url=server.url, tls=trusting(), proxy=url, orders=True
            ) as channel:
                return await channel.confirm(await channel.cancel(orders(1)[0]))

        final = flavour.run(tidy(scenario))
    assert isinstance(final, Cancelled)
    assert len(proxy.asked) == 2  # the WebSocket, and REST
