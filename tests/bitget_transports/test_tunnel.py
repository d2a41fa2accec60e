"""The tunnel through a proxy, without sockets: any answer, in any pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitget_transports import ConnectFailed
from bitget_transports._driver.tunnel import Tunnel
from bitget_transports._driver.url import Target

HTTP, SOCKS, SOCKS_WITH_USER = (
    Target.of("wss://exchange.example/", None, allow_plaintext=False, proxy=url)
    for url in (
        "http://user:word@192.0.2.1:3128",
        "socks5://192.0.2.1",
        "socks5://user:word@192.0.2.1",
    )
)

HTTP_PARTS = [b"HTTP/1.1 ", b"HTTP/1.0 ", b"100 ", b"200", b"407 ", b" no", b"\r\n", b"\r\n\r\n", b"A: b", b"\x00"]  # fmt: skip
SOCKS_PARTS = [b"\x05", b"\x00", b"\x01", b"\x02", b"\x03", b"\x04", b"\xff", b"\x7f\x00\x00\x01", b"\x00\x50"]  # fmt: skip


def result(target: Target, pieces: list[bytes]) -> str:
    """Return what comes of an answer in these pieces, after which the stream ends."""
    assert target.proxy is not None
    tunnel = Tunnel(target.proxy, target)
    try:
        for piece in pieces:
            if piece and not tunnel.opened:
                tunnel.receive(piece)
        if not tunnel.opened:
            tunnel.receive(b"")
    except ConnectFailed as failure:
        return str(failure)
    finally:
        tunnel.close()
    assert tunnel.opened
    return "opened"


def answers(parts: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(parts) | st.binary(max_size=3), max_size=12).map(b"".join)


@given(answers(HTTP_PARTS))
def test_http_in_single_bytes_and_at_once_comes_to_the_same(answer: bytes) -> None:
    whole = result(HTTP, [answer])
    if "more than an answer" not in whole:  # in single bytes, what follows is not seen
        assert result(HTTP, [bytes((each,)) for each in answer]) == whole


@given(answers(SOCKS_PARTS), st.sampled_from([SOCKS, SOCKS_WITH_USER]))
def test_socks_in_single_bytes_and_at_once_comes_to_the_same(answer: bytes, target: Target) -> None:
    whole = result(target, [answer])
    if "more than an answer" not in whole:
        assert result(target, [bytes((each,)) for each in answer]) == whole


def test_the_strategies_reach_an_open_tunnel() -> None:
    reply = bytes((5, 0, 0, 1, 127, 0, 0, 1, 0, 1))
    assert result(HTTP, [b"HTTP/1.1 100 Go on\r\n\r\nHTTP/1.0 200\r\n\r\n"]) == "opened"
    assert result(SOCKS, [b"\x05\x00", reply]) == "opened"
    assert result(SOCKS_WITH_USER, [b"\x05\x02", b"\x01\x00", reply]) == "opened"


@pytest.mark.parametrize("host", ["[2001:db8::1]", "exchange.example"])
def test_the_request_names_the_host_and_the_port(host: str) -> None:
    target = Target.of(f"wss://{host}:8443/x", None, allow_plaintext=False, proxy="http://[::1]")
    assert target.proxy is not None
    tunnel = Tunnel(target.proxy, target)
    assert tunnel.outgoing() == (
        f"CONNECT {host}:8443 HTTP/1.1\r\nHost: {host}:8443\r\n\r\n".encode()
    )
    assert tunnel.outgoing() == b""
    tunnel.close()
