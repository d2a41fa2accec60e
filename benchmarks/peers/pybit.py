"""pybit: `WebSocketTrading.cancel_order(callback, category="spot", symbol=..., orderId=...)`.

It is for Bybit, and timed until the callback. `websocket.WebSocketApp` is replaced by a fake app,
so there is no WebSocket framing and no switch from a reader thread: the reply is passed to
`on_message` in the caller's thread.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from threading import Event
from types import SimpleNamespace
from typing import Any

from benchmarks.peers.fake import id_of, part


def release() -> str:
    return version("pybit")


def answer(text: str) -> str:
    """Return the answer in Bybit's page "Websocket Trade Guideline"."""
    return (
        f'{{"reqId":"{id_of(text, "reqId")}","retCode":0,"retMsg":"OK","op":"order.cancel","data":{{"orderId":'
        '"1673523595617593600","orderLinkId":""},"header":{"X-Bapi-Limit":"20","X-Bapi-Limit-Status":"19",'
        '"X-Bapi-Limit-Reset-Timestamp":"1714235558880","Traceid":"584a06d373f2fdcb3a4dfdd81d27df11","Timenow":'
        '"1714235558881"},"retExtInfo":{},"connId":"cojidqec0hv9fgvhtbt0-40e"}'
    )


class _App:
    def __init__(self, **callbacks: Any) -> None:
        self.on_message: Callable[[object, str], object] = callbacks["on_message"]
        self.sock: object = SimpleNamespace(connected=True)
        self.sent = ""
        self._closed = Event()

    def run_forever(self, **_: object) -> None:
        self._closed.wait()

    def send(self, text: str) -> None:
        self.sent = text

    def close(self) -> None:
        self.sock = None
        self._closed.set()


@asynccontextmanager
async def driven() -> AsyncGenerator[Callable[[int], Callable[[], Awaitable[object]]]]:
    part("websocket").WebSocketApp = _App
    trading = part("pybit.unified_trading").WebSocketTrading(
        testnet=True, api_key="key", api_secret="secret"
    )
    app: _App = trading.ws
    answers: list[object] = []
    app.on_message(app, '{"reqId":"","retCode":0,"retMsg":"OK","op":"auth","connId":"x"}')
    assert trading.auth

    def prepare(count: int) -> Callable[[], Awaitable[object]]:
        async def run() -> None:
            for _ in range(count):
                trading.cancel_order(
                    answers.append, category="spot", symbol="BTCUSDT", orderId="1673523595617593600"
                )
                app.on_message(app, answer(app.sent))
                answers.pop()

        return run

    try:
        yield prepare
    finally:
        trading.exit()
