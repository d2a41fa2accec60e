"""An exchange that answers the handshake with Retry-After."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from bitget_proto import Accepted, LinkClosed
from bitget_transports import UpgradeRefused
from bitget_transports.faults.hostile_server import After, Behaviour, HostileServer, Victim

from .colours import KEY, Connect, Flavour, OpenSession, orders
from .tidy import nothing_left, tidy

pytestmark = pytest.mark.parametrize("flavour", Flavour)


def refuse(status: int, *headers: str) -> Behaviour:
    def behave(victim: Victim) -> None:
        victim.read_head()
        lines = (f"HTTP/1.1 {status} Refused", *headers, "Content-Length: 0", "", "")
        victim.write("\r\n".join(lines).encode())
        victim.hold()

    return behave


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, ["Retry-After: 60"], 60.0),
        (
            503,
            [
                f"Retry-After: {formatdate(1e9 + 90, usegmt=True)}",
                f"Date: {formatdate(1e9, usegmt=True)}",
            ],
            90.0,
        ),
        (429, [], None),
        (403, ["Retry-After: 60"], None),
    ],
)
def test_connect_reports_retry_after(
    flavour: Flavour, status: int, headers: list[str], seconds: float | None
) -> None:
    with nothing_left(), HostileServer(refuse(status, *headers)) as server:

        async def scenario(connect: Connect) -> UpgradeRefused:
            with pytest.raises(UpgradeRefused) as caught:
                async with connect(KEY, url=server.url):
                    pass
            return caught.value

        refused = flavour.run(tidy(scenario))
    assert (refused.status, refused.retry_after) == (status, seconds)
    assert (f"asks to retry after {seconds or 0:.0f} s" in str(refused)) == (seconds is not None)


def test_a_session_waits_for_retry_after(flavour: Flavour) -> None:
    dialled: list[float] = []

    def noted(behaviour: Behaviour) -> Behaviour:
        def behave(victim: Victim) -> None:
            dialled.append(time.monotonic())
            behaviour(victim)

        return behave

    def serve(victim: Victim) -> None:
        victim.reach(After.LOGIN)
        victim.serve()

    with (
        nothing_left(),
        HostileServer(noted(refuse(429, "Retry-After: 1")), noted(serve)) as server,
    ):

        async def scenario(open_session: OpenSession) -> None:
            async with open_session(KEY, url=server.url, jitter=lambda: 1.0) as channel:
                closed = channel.events.take()
                assert isinstance(closed, LinkClosed)
                assert "asks to retry after 1 s" in closed.detail
                assert isinstance(await channel.cancel(orders(1)[0]), Accepted)

        flavour.run_session(tidy(scenario))
    first, second = dialled
    assert 0.95 <= second - first < 5.0
