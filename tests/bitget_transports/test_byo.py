"""A WebSocket of one's own carries the core: the examples, run, and their carriers against peers that end badly.

Real sockets, on loopback: each wait is bounded.
"""

from __future__ import annotations

import asyncio
import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from websockets.asyncio.client import connect

from bitget_proto import Accepted, CancelOrder, Outcome, Unresolved, WhyUnresolved, sign_login
from bitget_proto.testing import StrictConnection
from bitget_transports import hostile
from bitget_transports.hostile import After, Behaviour, HostileServer

from .colours import FAST, KEY
from .tidy import nothing_left

EXAMPLES = Path(__file__).parents[2] / "examples"
ORDER = CancelOrder("BTCUSDT", order_id="1")
BOUND = 20.0


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


def example(name: str) -> Any:
    """An example as a module.

    Raises: ImportError when its library is not installed.
    """
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "library"),
    [("own_websockets_client", "websockets"), ("own_aiohttp", "aiohttp"), ("own_picows", "picows")],
)
def test_an_example_runs(name: str, library: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip(library, reason=f"examples/{name}.py needs {library}: install the extra examples")
    asyncio.run(asyncio.wait_for(example(name).main(), BOUND))
    assert "8 cancels over a WebSocket of one's own, one outcome each" in capsys.readouterr().out


async def over_websockets(url: str, timeout: float | None) -> Outcome:
    own = example("own_websockets_client")
    async with connect(url, ping_interval=None, proxy=None, close_timeout=0.2, compression=None) as socket:
        conn = StrictConnection(FAST)
        async with own.carried(conn, socket, sign_login(KEY, int(time.time()))) as carrier:
            return await cancel(carrier, conn, timeout)


async def over_aiohttp(url: str, timeout: float | None) -> Outcome:
    aiohttp = pytest.importorskip("aiohttp", reason="needs aiohttp: install the extra examples")
    own = example("own_aiohttp")
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        conn = StrictConnection(FAST)
        async with own.carried(conn, socket, sign_login(KEY, int(time.time()))) as carrier:
            return await cancel(carrier, conn, timeout)


async def over_picows(url: str, timeout: float | None) -> Outcome:
    picows = pytest.importorskip("picows", reason="needs picows: install the extra examples")
    carrier = example("own_picows").Carrier(conn := StrictConnection(FAST), KEY)
    transport, _ = await picows.ws_connect(lambda: carrier, url)
    try:
        await carrier.ready.wait()
        return await cancel(carrier, conn, timeout)
    finally:
        conn.close(time.monotonic())
        carrier.drain()
        transport.disconnect()
        await transport.wait_disconnected()


async def cancel(carrier: Any, conn: StrictConnection, timeout: float | None) -> Outcome:
    if timeout is None:
        outcome: Outcome = await carrier.cancel(ORDER)
        return outcome
    future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    carrier.waiting[conn.cancel(ORDER, time.monotonic(), timeout=timeout)] = future
    carrier.drain()
    return await future


@pytest.mark.parametrize("over", [over_websockets, over_aiohttp, over_picows])
@pytest.mark.parametrize(
    ("behaviour", "timeout", "why"),
    [
        (hostile.end_of_stream(After.CANCEL), None, WhyUnresolved.LOST),
        (hostile.reset(After.CANCEL), None, WhyUnresolved.LOST),
        (hostile.close(1001, "maintenance", After.CANCEL), None, WhyUnresolved.LOST),
        (hostile.silence(After.CANCEL), 0.2, WhyUnresolved.TIMEOUT),
        (hostile.stray_pong(), None, None),
    ],
    ids=["end", "reset", "close", "silence", "stray pong"],
)
def test_a_carrier_keeps_the_promise_with_a_bad_peer(
    over: Any, behaviour: Behaviour, timeout: float | None, why: WhyUnresolved | None
) -> None:
    with HostileServer(behaviour) as server:
        outcome = asyncio.run(asyncio.wait_for(over(server.url, timeout), BOUND))
    if why is None:
        assert isinstance(outcome, Accepted)
    else:
        assert isinstance(outcome, Unresolved)
        assert (outcome.why, outcome.sent) == (why, True)
