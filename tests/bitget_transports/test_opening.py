"""Servers that make `connect` fail, on every transport: one error, nothing left behind. `test_one_event` has
the messages.

Real sockets on loopback; each wait is bounded.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from bitget_transports import ConnectFailed, Limits, UpgradeRefused
from bitget_transports.faults import hostile_server
from bitget_transports.faults.hostile_server import HostileServer, Victim

from .colours import FAST, KEY, Connect, Flavour
from .tidy import TEXT, frame, nothing_left, tidy, upgrade_and

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


MUTE = 0.2
"""The timeout in seconds for a peer that sends nothing."""


def test_a_refusal_with_an_endless_body_raises_in_time(flavour: Flavour) -> None:
    with HostileServer(hostile_server.refuse_slowly(429)) as server:
        error = failure(flavour, server.url, MUTE)
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
    def behave(victim: Victim) -> None:
        victim.read_head()
        victim.write(answer)

    with HostileServer(behave) as server:
        error = failure(flavour, server.url)
    assert isinstance(error, UpgradeRefused)
    assert error.status == 503


def test_the_cause_is_the_error_of_the_layer_below(flavour: Flavour) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        error = failure(flavour, f"ws://127.0.0.1:{bound.getsockname()[1]}/v2/ws/private")
    assert error.__cause__ is not None


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
