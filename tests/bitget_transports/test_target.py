"""URLs that a channel may connect to, limits, and their errors."""

from __future__ import annotations

import re
import ssl

import httpx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bitget_proto import Dialect, LocalProtocolError, ValidationError
from bitget_transports import ConnectFailed, Limits, UpgradeRefused
from bitget_transports._driver.connect_errors import closed_by_peer
from bitget_transports._driver.limits import frame_limit
from bitget_transports._driver.url import Target
from bitget_transports._driver.websocket import WebSocket

LIVE_URL = Dialect.CLASSIC.live_url


def of(url: object, tls: object = None, *, allow_plaintext: bool = False) -> Target:
    return Target.of(url, tls, allow_plaintext=allow_plaintext)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def refused(url: object, tls: object = None) -> str:
    with pytest.raises(ValidationError) as caught:
        of(url, tls)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 250
    assert ": " in text or "," in text  # what was given, and what to do
    return text


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        (LIVE_URL, "ws.bitget.com", 443),
        (Dialect.CLASSIC.demo_url, "wspap.bitget.com", 443),
        ("wss://example.com", "example.com", 443),
        ("wss://example.com:8443/a?b=c", "example.com", 8443),
        ("wss://[2001:db8::1]:8443/", "2001:db8::1", 8443),
        ("ws://127.0.0.1:1", "127.0.0.1", 1),
        ("ws://127.8.9.1", "127.8.9.1", 80),
        ("ws://[::1]:65535/", "::1", 65_535),
        ("ws://localhost/", "localhost", 80),
        ("WS://LOCALHOST/", "localhost", 80),
        ("WSS://Example.COM/Path", "example.com", 443),
    ],
)
def test_allowed_urls_are_accepted(url: str, host: str, port: int) -> None:
    target = of(url)
    assert (target.host, target.port) == (host, port)
    assert (target.tls is None) == url.lower().startswith("ws:")
    assert target.url.startswith(("ws://", "wss://"))
    # Both WebSocket libraries parse it the same way.
    path = "/" + url.partition("//")[2].partition("/")[2]
    assert WebSocket(target, None).start().startswith(f"GET {path} HTTP/1.1\r\n".encode())
    assert httpx.URL("http" + target.url.removeprefix("ws")).raw_host.decode() == host


def test_certificates_are_checked_unless_the_tls_context_disables_it() -> None:
    checking = of(LIVE_URL).tls
    assert checking is not None
    assert (checking.verify_mode, checking.check_hostname) == (ssl.CERT_REQUIRED, True)
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert of(LIVE_URL, own).tls is own


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (b"wss://example.com", "url must be a string; got a value of type bytes"),
        (None, "url must be a string; got None"),
        ("", f"url must begin with wss:// and a host; got '': the live one is {LIVE_URL}"),
        ("example.com", "must begin with wss://"),
        ("https://example.com/", "must begin with wss://"),
        ("wss:example.com", "must begin with wss://"),
        ("wss:///path", "must begin with wss:// and a host"),
        ("wss://:443/path", "must begin with wss:// and a host"),
        (" wss://example.com", "url must be in ASCII, without spaces"),
        ("wss://exam ple.com", "url must be in ASCII, without spaces"),
        ("wss://example.com/a\r\nHost: evil", "url must be in ASCII, without spaces"),
        ("wss://example.com/\x7f", "url must be in ASCII"),
        ("wss://[::1%25eth0]/", "url must hold a host name or an IP address; got "),
        ("wss://[v1.a]/", "url must hold a host name or an IP address; got "),
        ("wss://a^b/", "url must hold a host name or an IP address; got "),
        ("wss://example.com/\u2028", "url must be in ASCII"),
        ("wss://bücher.example/", "url must be in ASCII"),
        ("wss://example.com:0/", "a port from 1 to 65535"),
        ("wss://example.com:65536/", "url must be a valid URL; got "),
        ("wss://example.com:port/", "url must be a valid URL; got "),
        ("wss://[::1/", "url must be a valid URL; got "),
        ("wss://.example.com/", "url must hold a host name or an IP address; got "),
        ("wss://example..com/", "url must hold a host name or an IP address; got "),
        (f"wss://{'a' * 64}.com/", "url must hold a host name or an IP address; got "),
        ("wss://user:password@example.com/", "url must hold no user, password or fragment"),
        ("wss://user:password@[::1", "url must be a valid URL: the live one is"),
        ("wss:user:password@example.com", "url must begin with wss://"),
        ("https://user:password@example.com", "url must hold no user, password"),
        ("wss://user@example.com/", "url must hold no user"),
        ("wss://example.com/#here", "url must hold no user, password or fragment"),
        (
            "ws://example.com/",
            "url is plain ws:// to 'example.com', which sends the login unencrypted",
        ),
        ("ws://10.0.0.1/", "plain ws://"),
        ("ws://0.0.0.0/", "plain ws://"),
        ("ws://localhost.example.com/", "plain ws://"),
        ("ws://127.0.0.1.example.com/", "plain ws://"),
        ("ws://127.1/", "url must hold a host name or an IP address; got "),
        ("ws://2130706433/", "url must hold a host name or an IP address; got "),
    ],
)
def test_urls_that_are_not_allowed_are_refused_with_advice(url: object, says: str) -> None:
    text = refused(url)
    assert says in text
    assert "password@" not in text
    assert "user:" not in text


def test_plaintext_beyond_loopback_needs_an_explicit_option() -> None:
    target = of("ws://example.com/", allow_plaintext=True)
    assert (target.tls, target.proxy, target.port) == (None, None, 80)


def test_invalid_tls_settings_are_refused() -> None:
    assert "tls was given for a ws:// url" in refused(
        "ws://127.0.0.1/", ssl.create_default_context()
    )
    assert "tls must be an ssl.SSLContext, or None; got True" in refused("wss://127.0.0.1/", True)


@given(st.text() | st.text().map("wss://{}".format) | st.text().map("ws://127.0.0.1{}".format))
def test_any_text_is_a_valid_target_or_raises_validation_error(url: str) -> None:
    try:
        target = Target.of(
            url,
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if "wss" in url else None,
            allow_plaintext=True,
        )
    except ValidationError:
        return
    request = WebSocket(target, None).start()
    assert request.startswith(b"GET /")
    assert request.count(b"\r\n\r\n") == 1
    assert request.endswith(b"\r\n\r\n")
    target.host.encode("idna")
    # httpx takes any four numbers as an address, whatever separates them.
    assume(not re.fullmatch(r"\d+.\d+.\d+.\d+", target.host) or target.host.count(".") == 3)
    assert httpx.URL("http" + target.url.removeprefix("ws")).raw_host.decode() == target.host


@pytest.mark.parametrize(
    "host", ["0.0.0.0000", "00.0.0.0", "1.2.3", "256.0.0.1", "1.2.3.4.", "example.1"]
)
def test_a_host_that_ends_in_a_number_must_be_an_address(host: str) -> None:
    assert "must hold a host name or an IP address" in refused(f"ws://{host}/")


@pytest.mark.parametrize(
    ("max_message", "limit"),
    [(None, None), (1, 2**20), (65_536, 2**20), (2**18, 2**20), (10**6, 4 * 10**6)],
)
def test_the_frame_limit_exceeds_the_reported_limit(
    max_message: int | None, limit: int | None
) -> None:
    assert frame_limit(max_message) == limit


def test_a_close_frame_is_described() -> None:
    assert closed_by_peer(1001, "") == "the exchange closed with code 1001"
    assert closed_by_peer(1005, "") == "the exchange closed without a code"
    assert closed_by_peer(4000, "bye\n") == r"the exchange closed with code 4000, saying 'bye\n'"


@pytest.mark.parametrize("name", ["open_timeout", "write_timeout", "close_timeout"])
@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), "10", True])
def test_timeouts_are_seconds_or_none(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        Limits(**{name: value})  # type: ignore[arg-type]
    assert getattr(Limits(**{name: None}), name) is None


@pytest.mark.parametrize("name", ["max_events", "max_event_chars", "first_dials"])
@pytest.mark.parametrize("value", [-1, 1.5, "10", True])
def test_count_limits_are_counts_or_none(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        Limits(**{name: value})  # type: ignore[arg-type]
    assert getattr(Limits(**{name: None}), name) is None


def test_the_body_of_a_refusal_is_shortened_and_escaped() -> None:
    error = UpgradeRefused("example.com", 503, b"<html>\n" + b"\xff" * 10_000)
    assert "\n" not in str(error)
    assert len(str(error)) < 250
    assert str(UpgradeRefused("example.com", 500, b" \n")) == (
        "example.com refused the WebSocket with HTTP status 500: try again later"
    )


def test_connect_failures_are_connection_errors() -> None:
    assert issubclass(ConnectFailed, ConnectionError)
    assert not issubclass(ConnectFailed, LocalProtocolError)
