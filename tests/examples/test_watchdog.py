"""The watchdog of the examples cancels everything when its pipe closes, and nothing when told so."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

import watchdog
from bitget_proto import CancelOrder, InstType
from bitget_proto.testing import RestFault, ScriptedExchange
from bitget_transports.exchange import exchange_in_thread
from embedded import KEY

ORDERS = [
    CancelOrder("BTCUSDT", order_id="1"),
    CancelOrder("BTCUSDT", order_id="2", inst_type=InstType.USDT_FUTURES),
]
LINES = (InstType.SPOT, InstType.USDT_FUTURES)


def watched(exchange: ScriptedExchange, written: str) -> bool:
    """Watch a pipe to which this is written, and which then closes."""
    reading, writing = os.pipe()
    os.write(writing, written.encode())
    os.close(writing)
    out = io.StringIO()
    with exchange_in_thread(exchange) as server, open(reading) as pipe:
        watching = watchdog.watch(server.url, pipe, out, LINES)
        acted = asyncio.run(asyncio.wait_for(watching, 30.0))
    assert out.getvalue() == "ready\n"
    return acted


def test_everything_is_cancelled_when_the_pipe_closes() -> None:
    exchange = ScriptedExchange(ORDERS, credentials=KEY)
    assert watched(exchange, "")
    assert exchange.live == ()


def test_a_list_that_fails_is_asked_for_again() -> None:
    exchange = ScriptedExchange(ORDERS, credentials=KEY)
    exchange.inject_rest(*[RestFault.UNAVAILABLE] * 2)
    assert watched(exchange, "")
    assert exchange.live == ()


def test_nothing_is_cancelled_when_the_program_is_done() -> None:
    exchange = ScriptedExchange(ORDERS, credentials=KEY)
    assert not watched(exchange, watchdog.DONE)
    assert exchange.live == tuple(ORDERS)


@pytest.mark.slow
def test_the_demonstration_leaves_no_order() -> None:
    ran = subprocess.run(
        [sys.executable, str(Path(watchdog.__file__))],
        capture_output=True,
        text=True,
        timeout=60.0,
        check=True,
    )
    assert ran.stdout == "6 orders are open\nthe bot is killed\nno order is open\n"
    assert ran.stderr.count("watchdog: ") == 7
