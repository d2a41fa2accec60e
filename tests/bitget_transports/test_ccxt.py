"""ccxt's client of Bitget, unmodified, reads orders from the embedded exchange.

So the answers of the exchange's REST API have the shapes that a client in wide use expects. The
recipe in `examples/ccxt_look_ups.py` lets a channel look orders up through it.

Needs ccxt: `pip install ccxt`.
"""

# The library may be missing where types are checked.
# mypy: disable-error-code="import-not-found, import-untyped"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bitget_proto import (
    Cancelled,
    CancelOrder,
    Credentials,
    Dialect,
    Filled,
    Final,
    InstType,
    NotFound,
    RestCodec,
    StillOpen,
    Unresolved,
    WhyUnresolved,
)
from bitget_proto.testing import ExchangeConfig, RestFault, ScriptedExchange
from bitget_transports.asyncio import connect
from bitget_transports.exchange import ExchangeThread, exchange_in_thread

pytest.importorskip("ccxt")

KEY = Credentials("key", "secret", "passphrase")
SPOT = CancelOrder("BTCUSDT", "1", "a:1", InstType.SPOT)
FUTURES = CancelOrder("BTCUSDT", "2", "b", InstType.USDT_FUTURES)
ENDED = CancelOrder("BTCUSDT", "3", "c", InstType.SPOT)
FILLED = CancelOrder("BTCUSDT", "4", "d", InstType.USDT_FUTURES)
EXAMPLE = Path(__file__).parents[2] / "examples" / "ccxt_look_ups.py"

dialects = pytest.mark.parametrize("dialect", Dialect)


def example() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of ccxt and its dependencies
        return importlib.import_module("ccxt_look_ups")


def market(symbol: str, *, swap: bool) -> dict[str, Any]:
    """A market as ccxt would load it."""
    return {
        "id": "BTCUSDT", "symbol": symbol, "base": "BTC", "quote": "USDT", "baseId": "BTC", "quoteId": "USDT",
        "type": "swap" if swap else "spot", "spot": not swap, "swap": swap, "future": False, "option": False,
        "contract": swap, "linear": swap or None, "inverse": False if swap else None, "contractSize": 1 if swap else None,
        "settle": "USDT" if swap else None, "settleId": "USDT" if swap else None, "active": True,
        "precision": {"amount": 1e-6, "price": 0.01}, "limits": {}, "info": {},
    }  # fmt: skip


@contextmanager
def serving(dialect: Dialect) -> Iterator[ExchangeThread]:
    exchange = ScriptedExchange(
        [SPOT, FUTURES, ENDED, FILLED], credentials=KEY, config=ExchangeConfig(dialect=dialect)
    )
    with exchange_in_thread(exchange) as server:
        server.call(lambda: exchange.fill(SPOT, server.now(), "0.25"))
        server.call(lambda: exchange.fill(FILLED, server.now()))
        request = RestCodec(dialect).cancel(ENDED)
        exchange.credentials = None
        body = request.body.encode()
        server.call(lambda: exchange.rest("POST", request.target, {}, body, server.now()))
        exchange.credentials = KEY
        yield server


def client_of(server: ExchangeThread, make: Callable[[str, Credentials], Any]) -> Any:
    origin = server.url.replace("ws", "http", 1).partition("/v")[0]
    client = make(origin, KEY)
    client.set_markets([market("BTC/USDT", swap=False), market("BTC/USDT:USDT", swap=True)])
    return client


def read(dialect: Dialect, act: Callable[[Any], Any]) -> Any:
    """Return what `act` makes of ccxt's client."""

    async def run() -> Any:
        client = client_of(server, example().client_for)
        try:
            return await act(client)
        finally:
            await client.close()

    with serving(dialect) as server:
        return asyncio.run(run())


@dialects
def test_it_reads_single_orders(dialect: Dialect) -> None:
    async def act(client: Any) -> list[Any]:
        return [
            await client.fetch_order("1", "BTC/USDT"),
            await client.fetch_order("2", "BTC/USDT:USDT"),
            await client.fetch_order("3", "BTC/USDT"),
            await client.fetch_order("4", "BTC/USDT:USDT"),
            await client.fetch_order(None, "BTC/USDT", {"clientOrderId": "a:1"}),
        ]

    found = read(dialect, act)
    assert [(order["id"], order["clientOrderId"], order["status"]) for order in found] == [
        ("1", "a:1", "open"),
        ("2", "b", "open"),
        ("3", "c", "canceled"),
        ("4", "d", "closed"),
        ("1", "a:1", "open"),
    ]
    assert [order["filled"] for order in found] == [0.25, 0.0, 0.0, 1.0, 0.25]
    assert found[0]["amount"] == 1.0
    assert found[0]["price"] == 100.0
    assert abs(found[0]["timestamp"] / 1000 - time.time()) < 3600


@dialects
def test_it_lists_open_and_ended_orders(dialect: Dialect) -> None:
    async def act(client: Any) -> list[list[Any]]:
        return [
            await client.fetch_open_orders("BTC/USDT"),
            await client.fetch_open_orders("BTC/USDT:USDT"),
            await client.fetch_canceled_and_closed_orders("BTC/USDT"),
            await client.fetch_canceled_and_closed_orders("BTC/USDT:USDT"),
        ]

    found = read(dialect, act)
    assert [[order["id"] for order in orders] for orders in found] == [["1"], ["2"], ["3"], ["4"]]


@dialects
def test_it_cancels_and_finds_out_which_kind_of_account_it_has(dialect: Dialect) -> None:
    async def act(client: Any) -> tuple[Any, str]:
        order = await client.cancel_order("1", "BTC/USDT")
        import ccxt

        with pytest.raises(ccxt.ExchangeError) as refused:
            await client.fetch_order("77", "BTC/USDT")
        assert client.options["uta"] is (dialect is Dialect.UNIFIED)
        return order, str(refused.value)

    order, refused = read(dialect, act)
    assert order["id"] == "1"
    assert '"code":"25204"' in refused or '"code":"40109"' in refused


# --- the recipe ---


@pytest.mark.slow
@dialects
def test_a_channel_looks_orders_up_through_it(dialect: Dialect) -> None:
    missing = CancelOrder("BTCUSDT", "77", inst_type=InstType.SPOT)

    async def run() -> list[Final]:
        module = example()
        client = client_of(server, module.client_for)
        rest = module.rest_of(client)
        try:
            async with connect(
                KEY, url=server.url, orders=True, rest=rest, dialect=dialect
            ) as channel:
                server.exchange.inject_rest(RestFault.TOO_MANY, RestFault.UNAVAILABLE)
                orders = (SPOT, ENDED, FILLED, missing)
                return await asyncio.gather(*(channel.confirm(lost(order)) for order in orders))
        finally:
            await client.close()

    with serving(dialect) as server:
        found = asyncio.run(run())
    assert [type(final) for final in found] == [StillOpen, Cancelled, Filled, NotFound]
    assert isinstance(found[0], StillOpen)
    assert str(found[0].filled) == "0.25"


def lost(order: CancelOrder) -> Unresolved:
    """An outcome of which no push came."""
    return Unresolved("u", order, 0.0, 0.0, 0.0, True, WhyUnresolved.LOST)


@pytest.mark.slow
def test_the_recipe_runs_as_a_script() -> None:
    run = subprocess.run(
        [sys.executable, str(EXAMPLE)], capture_output=True, text=True, timeout=30.0, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("Cancelled(number=1, ")
