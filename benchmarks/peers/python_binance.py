"""python-binance: `await AsyncClient.ws_cancel_order(symbol=..., orderId=...)`.

This is the cancel of Binance's WebSocket API. `websockets.connect` is replaced by a fake client, so
there is no WebSocket framing. Each request is signed (HMAC), as Binance requires and Bitget does
not.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

from benchmarks.peers.fake import FakeSocket, id_of, part


def release() -> str:
    return version("python-binance")


def _answer(text: str) -> str:
    """Return the answer in Binance's page "Cancel order (TRADE)"."""
    return (
        f'{{"id":"{id_of(text, "id")}","status":200,"result":{{"symbol":"BTCUSDT","origClientOrderId":"4d96324ff9d44481926157",'
        '"orderId":12569099453,"orderListId":-1,"clientOrderId":"91fe37ce9e69c90d6358c0","transactTime":1684804350068,'
        '"price":"23416.10000000","origQty":"0.00847000","executedQty":"0.00001000","origQuoteOrderQty":"0.000000",'
        '"cummulativeQuoteQty":"0.23416100","status":"CANCELED","timeInForce":"GTC","type":"LIMIT","side":"SELL",'
        '"stopPrice":"0.00000000","selfTradePreventionMode":"NONE"},"rateLimits":[{"rateLimitType":"REQUEST_WEIGHT",'
        '"interval":"MINUTE","intervalNum":1,"limit":6000,"count":1}]}'
    )


@asynccontextmanager
async def driven() -> AsyncGenerator[Callable[[int], Callable[[], Awaitable[object]]]]:
    reconnecting = part("binance.ws.reconnecting_websocket")

    def connect(*_: object, **__: object) -> FakeSocket:
        return FakeSocket(_answer, reconnecting.ws.protocol.State.OPEN)

    reconnecting.ws.connect = connect
    client = part("binance").AsyncClient("key", "secret")
    cancel = client.ws_cancel_order

    def prepare(count: int) -> Callable[[], Awaitable[object]]:
        async def run() -> None:
            for _ in range(count):
                result = await cancel(symbol="BTCUSDT", orderId=12569099453)
                assert result["status"] == "CANCELED"

        return run

    try:
        yield prepare
    finally:
        await client.session.close()
