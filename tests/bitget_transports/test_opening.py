"""Servers that make `connect` fail, on every transport: one clear error, nothing left behind.

Real sockets on loopback; each wait is bounded.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import attrs
import pytest

from bitget_transports import ConnectFailed, Limits, UpgradeRefused
from bitget_transports.faults import hostile_server
from bitget_transports.faults.hostile_server import Behaviour, HostileServer, Victim

from .colours import FAST, KEY, Connect, Flavour
from .tidy import CLOSE, TEXT, frame, nothing_left, speaks_first, tidy, upgrade_and

pytestmark = pytest.mark.parametrize("flavour", Flavour)


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


def failure(flavour: Flavour, url: str, open_timeout: float = 10.0) -> ConnectFailed:
    """Return what `connect` raises; fail if it opens a channel."""

    async def scenario(connect: Connect) -> None:
        limits = Limits(open_timeout=open_timeout, close_timeout=0.2)
        async with connect(KEY, url=url, config=FAST, limits=limits):
            raise AssertionError("a channel was opened")

    with pytest.raises(ConnectFailed) as caught:
        flavour.run(tidy(scenario))
    return caught.value


@pytest.mark.parametrize(
    ("status", "what_to_do"),
    [
        (302, "check the URL"),
        (401, "the exchange itself asks for no HTTP credentials"),
        (403, "refuses this address"),
        (404, "check the path of the URL"),
        (
            429,
            "wait, since the exchange allows 300 connection requests in 5 minutes from one IP address",
        ),
        (503, "try again later"),
    ],
)
def test_a_refused_upgrade_shows_its_status_and_advice(
    flavour: Flavour, status: int, what_to_do: str
) -> None:
    with HostileServer(hostile_server.refuse(status, body=b"go\naway")) as server:
        error = failure(flavour, server.url)
        assert server.connections == 1  # a redirect is not followed
    assert isinstance(error, UpgradeRefused)
    assert error.status == status
    assert f"HTTP status {status}" in str(error)
    assert what_to_do in str(error)
    assert "\n" not in str(error)


@attrs.frozen
class Case:
    behaviour: Behaviour
    says: str
    open_timeout: float = 10.0


MUTE = 0.2
"""The timeout in seconds for a peer that sends nothing."""

NO_HTTP = "does not speak HTTP|did not open a WebSocket within 0.2 s"
"""h11 (below anyio) and picows parse a head, or a line, only once it is complete."""

CASES = {
    "accepts and sends nothing": Case(
        hostile_server.mute(), "did not open a WebSocket within 0.2 s", MUTE
    ),
    "half a head, then silence": Case(
        hostile_server.half_head(), "did not open a WebSocket within 0.2 s", MUTE
    ),
    "hangs up at once": Case(
        hostile_server.hang_up_at_once(),
        "no connection to|does not speak HTTP|ended the connection",
    ),
    "a wrong accept key": Case(
        hostile_server.wrong_accept(), r"sent an invalid answer to the WebSocket handshake \("
    ),
    "mail server": Case(hostile_server.not_http(), NO_HTTP, MUTE),
    "ssh server": Case(speaks_first(b"SSH-2.0-OpenSSH_9.6\r\n"), NO_HTTP, MUTE),
    "tls on a plain port": Case(
        speaks_first(b"\x15\x03\x01\x00\x02\x02\x46" * 3 + b"\n"), NO_HTTP, MUTE
    ),
    "endless headers": Case(hostile_server.endless_head(), "does not speak HTTP|no connection to"),
    "closes at once": Case(
        upgrade_and(frame(CLOSE, b"\x03\xf0too many")), r"closed with code 1008, saying 'too many'"
    ),
    "closes at once, without a code": Case(upgrade_and(frame(CLOSE, b"")), "closed without a code"),
    "garbage after the upgrade": Case(
        upgrade_and(b"\xff\xff"), "ended the connection .* broke the WebSocket protocol"
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_bad_server_raises_one_clear_error(flavour: Flavour, case: Case) -> None:
    with HostileServer(case.behaviour) as server:
        error = failure(flavour, server.url, case.open_timeout)
    assert not isinstance(error, UpgradeRefused)
    assert re.search(case.says, str(error)), str(error)
    assert ": " in str(error)  # "what happened: what to do"
    assert str(error).count("check the URL") <= 1
    assert "Error(" not in str(error)


def test_a_refusal_with_an_endless_body_raises_in_time(flavour: Flavour) -> None:
    with HostileServer(hostile_server.refuse_slowly(429)) as server:
        error = failure(flavour, server.url, MUTE)
    if flavour in (Flavour.ANYIO_ASYNCIO, Flavour.ANYIO_TRIO):
        assert isinstance(error, UpgradeRefused) or "within 0.2 s" in str(
            error
        )  # httpx reads the body to its end
    else:
        assert isinstance(error, UpgradeRefused)
        assert error.status == 429


BODIES = {
    "cut short": b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\nbeg",
    "too long": b"HTTP/1.1 503 Busy\r\nContent-Length: 9999999\r\n\r\nbeginning",
    "compressed": b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: gzip\r\n\r\nbeginning",
}


@pytest.mark.parametrize("answer", BODIES.values(), ids=BODIES)
def test_a_refusal_with_an_unreadable_body_shows_its_status(
    flavour: Flavour, answer: bytes
) -> None:
    if flavour in (Flavour.ANYIO_ASYNCIO, Flavour.ANYIO_TRIO):
        return  # httpx reports only the error of the body

    def behave(victim: Victim) -> None:
        victim.read_head()
        victim.write(answer)

    with HostileServer(behave) as server:
        error = failure(flavour, server.url)
    assert isinstance(error, UpgradeRefused)
    assert error.status == 503


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_closed_port_makes_connect_fail(flavour: Flavour, host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = failure(flavour, f"ws://{host}:{port}/")
    assert f"{host}:{port} refused the connection: nothing listens there" in str(error)


def test_the_cause_is_the_error_of_the_layer_below(flavour: Flavour) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        error = failure(flavour, f"ws://127.0.0.1:{bound.getsockname()[1]}/v2/ws/private")
    assert error.__cause__ is not None


def test_an_unresolvable_host_name_makes_connect_fail(flavour: Flavour) -> None:
    error = failure(flavour, "wss://nowhere.invalid/v2/ws/private")
    assert "the name nowhere.invalid cannot be resolved" in str(error)


def test_a_message_that_arrives_with_the_upgrade_is_not_lost(flavour: Flavour) -> None:
    with HostileServer(
        upgrade_and(frame(TEXT, b'{"event":"error","code":30001,"msg":"early"}'))
    ) as server:

        async def scenario(connect: Connect) -> None:
            from bitget_proto import Config

            async with connect(
                KEY,
                url=server.url,
                config=Config(login_timeout=0.3),
                limits=Limits(close_timeout=0.2),
            ):
                raise AssertionError("a channel was opened")

        with pytest.raises(ConnectFailed, match=r"refused the login with code 30001|login"):
            flavour.run(tidy(scenario))
