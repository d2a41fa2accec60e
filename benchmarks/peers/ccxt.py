"""ccxt: `await ccxt.pro.bybit.cancel_order_ws(id, symbol)`, on Bybit.

ccxt has no cancel over WebSocket for Bitget. The aiohttp session's `ws_connect` is replaced by a
fake connection, so ccxt does no WebSocket framing. The market is set, so none is loaded.
`enableRateLimit` is off.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, Self

from benchmarks.peers.fake import part
from benchmarks.peers.pybit import answer as cancelled

_MARKET = {
    "id": "BTCUSDT", "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT", "baseId": "BTC", "quoteId": "USDT", "type": "spot",
    "spot": True, "swap": False, "future": False, "option": False, "contract": False, "linear": None, "inverse": None,
    "settle": None, "active": True, "precision": {"amount": 1e-6, "price": 0.01}, "limits": {}, "info": {},
}  # fmt: skip


def release() -> str:
    return version("ccxt")


def _answer(text: str) -> str:
    if '"auth"' in text:
        return '{"success":true,"retCode":0,"op":"auth","connId":"x"}'
    return cancelled(text)


class _Connection:
    """A fake of the connection that aiohttp's `ws_connect` returns."""

    closed = False
    _conn = None

    def __init__(self) -> None:
        self._answers: asyncio.Queue[str] = asyncio.Queue()
        self._message = part("aiohttp").WSMessage
        self._text = part("aiohttp").WSMsgType.TEXT

    async def send_str(self, text: str) -> None:
        self._answers.put_nowait(_answer(text))

    async def receive(self) -> Any:
        return self._message(self._text, await self._answers.get(), None)

    async def ping(self) -> None:
        pass

    async def close(self) -> None:
        self.closed = True

    async def __aenter__(self) -> Self:
        return self


def _connect(*_: object, **__: object) -> _Connection:
    return _Connection()


@asynccontextmanager
async def driven() -> AsyncGenerator[Callable[[int], Callable[[], Awaitable[object]]]]:
    exchange = part("ccxt.pro").bybit(
        {"apiKey": "key", "secret": "secret", "enableRateLimit": False}
    )
    exchange.set_markets([_MARKET])
    exchange.open()
    exchange.session.ws_connect = _connect
    cancel = exchange.cancel_order_ws

    def prepare(count: int) -> Callable[[], Awaitable[object]]:
        async def run() -> None:
            for _ in range(count):
                order = await cancel("1673523595617593600", "BTC/USDT")
                assert order["id"] == "1673523595617593600"

        return run

    try:
        yield prepare
    finally:
        await exchange.close()
