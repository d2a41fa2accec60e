"""REST of the embedded exchange over HTTP: on the port of the WebSocket, and as an ASGI app."""

from __future__ import annotations

import socket

import httpx
import pytest
from websockets.sync.client import connect

from bitget_proto import CancelOrder, Dialect
from bitget_proto.testing import ExchangeConfig, RestFault, ScriptedExchange
from bitget_transports.exchange import ExchangeApp, exchange_in_thread

ORDERS = [CancelOrder("BTCUSDT", str(n)) for n in range(1, 4)]
ONE = "/api/v2/spot/trade/orderInfo?orderId=1"


def origin(url: str) -> str:
    return url.replace("ws", "http", 1).removesuffix(Dialect.CLASSIC.path)


def test_rest_is_served_on_the_port_of_the_websocket() -> None:
    with exchange_in_thread(ScriptedExchange(ORDERS)) as server:
        with httpx.Client(base_url=origin(server.url)) as client, connect(server.url) as websocket:
            body = {"symbol": "BTCUSDT", "orderId": "1"}
            for status in (200, 400):
                answer = client.post("/api/v2/spot/trade/cancel-order", json=body)
                assert answer.status_code == status
            (row,) = client.get(ONE).json()["data"]
            websocket.send("ping")
            assert websocket.recv() == "pong"
        assert row["status"] == "cancelled"
        assert [order.order_id for order in server.exchange.live] == ["2", "3"]


def test_a_request_may_come_byte_by_byte() -> None:
    with exchange_in_thread(ScriptedExchange(ORDERS)) as server:
        port = httpx.URL(server.url).port
        with socket.create_connection(("127.0.0.1", port or 0), timeout=5.0) as peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in f"GET {ONE} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode():
                peer.sendall(bytes([byte]))
            came = b""
            while part := peer.recv(4096):
                came += part
    assert came.startswith(b"HTTP/1.1 200 ")
    assert b'"orderId":"1"' in came


def test_what_is_not_http_is_refused() -> None:
    with exchange_in_thread(ScriptedExchange(ORDERS)) as server:
        port = httpx.URL(server.url).port
        with socket.create_connection(("127.0.0.1", port or 0), timeout=5.0) as peer:
            peer.sendall(b"POST /api/ nonsense\r\n\r\n")
            assert peer.recv(4096).startswith(b"HTTP/1.1 400 ")
            assert peer.recv(4096) == b""


def test_a_connection_is_cut_where_the_fault_says_so() -> None:
    with (
        exchange_in_thread(ScriptedExchange(ORDERS)) as server,
        httpx.Client(base_url=origin(server.url)) as client,
    ):
        server.call(lambda: server.exchange.inject_rest(RestFault.DOWN))
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(ONE)
        assert client.get(ONE).status_code == 200


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.anyio
async def test_the_asgi_app_serves_rest(anyio_backend: str) -> None:
    config = ExchangeConfig(dialect=Dialect.UNIFIED)
    app = ExchangeApp(ScriptedExchange(ORDERS, config=config))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://exchange") as client:
        answer = await client.post("/api/v3/trade/cancel-order", json={"orderId": "2"})
        assert answer.json()["data"] == {"orderId": "2", "clientOid": ""}
        found = await client.get("/api/v3/trade/order-info", params={"orderId": "2"})
        assert found.json()["data"]["orderStatus"] == "cancelled"
        assert (await client.get("/other")).status_code == 426
