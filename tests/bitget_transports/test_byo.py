"""The core on another WebSocket library: the examples' carriers against bad peers.

The conformance kit runs on them too, in `tests/examples`.

Real sockets on loopback; each wait is bounded.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator

import pytest

from bitget_proto import Accepted, CancelOrder, Outcome, Unresolved, WhyUnresolved
from bitget_proto.testing import StrictConnection
from bitget_transports.faults import hostile_server
from bitget_transports.faults.hostile_server import After, Behaviour, HostileServer

from .colours import FAST
from .tidy import nothing_left

ORDER = CancelOrder("BTCUSDT", order_id="1")
BOUND = 20.0


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


async def over(name: str, url: str, timeout: float | None) -> Outcome:
    example = importlib.import_module(name)
    async with example.make_driver(StrictConnection(FAST), url).running() as carrier:
        outcome: Outcome = await carrier.cancel(ORDER, timeout)
        return outcome


@pytest.mark.parametrize(
    ("name", "library"),
    [("own_websockets_client", "websockets"), ("own_aiohttp", "aiohttp"), ("own_picows", "picows")],
)
@pytest.mark.parametrize(
    ("behaviour", "timeout", "why"),
    [
        (hostile_server.end_of_stream(After.CANCEL), None, WhyUnresolved.LOST),
        (hostile_server.reset(After.CANCEL), None, WhyUnresolved.LOST),
        (hostile_server.close(1001, "maintenance", After.CANCEL), None, WhyUnresolved.LOST),
        (hostile_server.silence(After.CANCEL), 0.2, WhyUnresolved.TIMEOUT),
        (hostile_server.stray_pong(), None, None),
    ],
    ids=["end", "reset", "close", "silence", "stray pong"],
)
def test_an_example_carrier_keeps_the_promise_with_a_bad_peer(
    name: str, library: str, behaviour: Behaviour, timeout: float | None, why: WhyUnresolved | None
) -> None:
    pytest.importorskip(
        library, reason=f"examples/{name}.py needs {library}: install the extra examples"
    )
    with HostileServer(behaviour) as server:
        outcome = asyncio.run(asyncio.wait_for(over(name, server.url, timeout), BOUND))
    if why is None:
        assert isinstance(outcome, Accepted)
    else:
        assert isinstance(outcome, Unresolved)
        assert (outcome.why, outcome.sent) == (why, True)
