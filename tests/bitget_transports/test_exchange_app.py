"""The embedded exchange as an ASGI app: with httpx-ws on asyncio and trio, and called directly."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from httpx_ws import AsyncWebSocketSession, WebSocketDisconnect, aconnect_ws
from httpx_ws.transport import ASGIWebSocketTransport

import bitget_transports.anyio
from bitget_proto import (
    Accepted,
    CancelOrder,
    Codec,
    Credentials,
    Unresolved,
    encode_cancel,
    sign_login,
)
from bitget_proto.testing import Fault, ScriptedExchange
from bitget_transports.exchange import ExchangeApp

KEY = Credentials("key", "secret", "passphrase")
ORDER = CancelOrder("BTCUSDT", order_id="1")
BOUND = 10.0


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@asynccontextmanager
async def client_of(app: ExchangeApp) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=ASGIWebSocketTransport(app)) as client:
        yield client


@asynccontextmanager
async def connected(client: httpx.AsyncClient) -> AsyncGenerator[AsyncWebSocketSession]:
    with anyio.fail_after(BOUND):
        socket: AsyncWebSocketSession
        async with aconnect_ws(
            "http://exchange/v2/ws/private", client, keepalive_ping_interval_seconds=None
        ) as socket:
            yield socket


async def log_in(socket: AsyncWebSocketSession) -> None:
    await socket.send_text(Codec().encode_login(sign_login(KEY, int(time.time()))))
    assert json.loads(await socket.receive_text()) == {"event": "login", "code": 0}


async def test_a_client_logs_in_and_cancels_an_order_in_process() -> None:
    app = ExchangeApp(ScriptedExchange([ORDER], credentials=KEY))
    async with client_of(app) as client, connected(client) as socket:
        await log_in(socket)
        await socket.send_bytes(b"ping")
        assert await socket.receive_text() == "pong"
        await socket.send_text(encode_cancel(ORDER, "7"))
        answer = json.loads(await socket.receive_text())
        assert (answer["event"], answer["arg"][0]["id"]) == ("trade", "7")
        assert abs(answer["ts"] / 1000 - time.time()) < 60.0
        assert repr(app) == "<ExchangeApp, 1 connected>"
        assert 0.0 < app.now() < 60.0
    assert app.connections == 0


async def test_our_own_transport_runs_against_it_in_process() -> None:
    app = ExchangeApp(ScriptedExchange([ORDER], credentials=KEY))
    app.exchange.inject(None, Fault.DROP_AFTER)
    async with client_of(app) as client:
        url = "ws://localhost/v2/ws/private"
        with anyio.fail_after(BOUND):
            async with bitget_transports.anyio.connect(KEY, url=url, client=client) as channel:
                assert isinstance(await channel.cancel(ORDER), Accepted)
                outcome = await channel.cancel(CancelOrder("BTCUSDT", order_id="2"))
                assert isinstance(outcome, Unresolved)
                assert outcome.sent


async def test_a_delayed_answer_is_sent_without_further_input() -> None:
    app = ExchangeApp(ScriptedExchange([ORDER], late_by=0.05))
    app.exchange.inject(Fault.LATE)
    async with client_of(app) as client, connected(client) as socket:
        await log_in(socket)
        await socket.send_text(encode_cancel(ORDER, "1"))
        assert json.loads(await socket.receive_text())["code"] == 0


async def test_a_cancel_by_one_client_is_pushed_to_another() -> None:
    app = ExchangeApp(ScriptedExchange([ORDER]))
    async with client_of(app) as client, connected(client) as one, connected(client) as other:
        for socket in (one, other):
            await log_in(socket)
        await other.send_text(
            '{"op":"subscribe","args":[{"instType":"SPOT","channel":"orders","instId":"default"}]}'
        )
        assert json.loads(await other.receive_text())["event"] == "subscribe"
        await one.send_text(encode_cancel(ORDER, "1"))
        assert json.loads(await other.receive_text())["data"][0]["status"] == "cancelled"


async def test_a_message_and_a_close_reach_every_client() -> None:
    app = ExchangeApp()
    async with client_of(app) as client, connected(client) as one, connected(client) as other:
        app.say("hello")
        app.hang_up(4001, "bye")
        app.say("too late")
        for socket in (one, other):
            assert await socket.receive_text() == "hello"
            with pytest.raises(WebSocketDisconnect) as caught:
                await socket.receive_text()
            assert (caught.value.code, caught.value.reason) == (4001, "bye")


async def test_a_drop_fault_closes_with_a_code_that_says_so() -> None:
    app = ExchangeApp()
    app.exchange.inject_login(Fault.DROP_BEFORE)
    async with client_of(app) as client, connected(client) as socket:
        await socket.send_text(Codec().encode_login(sign_login(KEY, int(time.time()))))
        with pytest.raises(WebSocketDisconnect) as caught:
            await socket.receive_text()
        assert caught.value.code == 1011


async def test_the_app_has_the_methods_of_the_exchange() -> None:
    app = ExchangeApp()
    async with client_of(app) as client, connected(client) as socket:
        app.place(ORDER)
        app.inject_login(None)
        await log_in(socket)
        app.hold()
        app.inject(Fault.DUPLICATE)
        await socket.send_text(encode_cancel(ORDER, "1"))
        with anyio.move_on_after(0.05) as scope:
            await socket.receive_text()
        assert scope.cancelled_caught
        app.release()
        assert await socket.receive_text() == await socket.receive_text()
        app.go_silent()
        await socket.send_text("ping")
        with anyio.move_on_after(0.05) as scope:
            await socket.receive_text()
        assert scope.cancelled_caught
        app.speak()
        app.maintenance(grace=0.0)
        assert json.loads(await socket.receive_text())["code"] == 30033
        with pytest.raises(WebSocketDisconnect):
            await socket.receive_text()


# --- called directly ---


class Server:
    """A minimal ASGI server."""

    def __init__(self, *messages: MutableMapping[str, Any]) -> None:
        self.messages = list(messages)
        self.sent: list[MutableMapping[str, Any]] = []
        self.broken: type[Exception] | None = None
        self.stalled = False

    async def receive(self) -> MutableMapping[str, Any]:
        await anyio.lowlevel.checkpoint()
        if not self.messages:
            if self.broken is not None:
                raise self.broken
            await anyio.sleep_forever()
        return self.messages.pop(0)

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "websocket.send":
            if self.stalled:
                await anyio.sleep_forever()
            if self.broken is not None:
                raise self.broken
        self.sent.append(message)

    async def run(self, app: ExchangeApp, kind: str = "websocket", **scope: Any) -> list[str]:
        with anyio.fail_after(BOUND):
            await app({"type": kind, **scope}, self.receive, self.send)
        return [message["type"] for message in self.sent]


CONNECT, PING = {"type": "websocket.connect"}, {"type": "websocket.receive", "text": "ping"}


@pytest.mark.parametrize(
    ("status", "retry_after", "headers"), [(429, 60, [(b"retry-after", b"60")]), (503, None, [])]
)
async def test_a_refused_handshake_has_its_status_and_retry_after(
    status: int, retry_after: int | None, headers: list[tuple[bytes, bytes]]
) -> None:
    app = ExchangeApp()
    app.refuse_handshakes(1, status, retry_after=retry_after)
    server = Server(CONNECT)
    said = await server.run(app, extensions={"websocket.http.response": {}})
    assert said == ["websocket.http.response.start", "websocket.http.response.body"]
    assert (server.sent[0]["status"], server.sent[0]["headers"]) == (status, headers)
    assert app.exchange.handshake() is None


async def test_a_server_without_http_responses_gets_a_close() -> None:
    app = ExchangeApp()
    app.refuse_handshakes(1)
    assert await Server(CONNECT).run(app) == ["websocket.close"]
    assert app.connections == 0


async def test_the_app_returns_when_the_client_disconnects() -> None:
    server = Server(CONNECT, PING, {"type": "websocket.disconnect", "code": 1001})
    assert await server.run(ExchangeApp()) == ["websocket.accept", "websocket.send"]


@pytest.mark.parametrize(
    "error", [OSError, anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream]
)
@pytest.mark.parametrize("pings", [0, 1])
async def test_the_app_returns_when_the_connection_is_lost(
    error: type[Exception], pings: int
) -> None:
    server = Server(CONNECT, *[PING] * pings)
    server.broken = error
    assert await server.run(ExchangeApp()) == ["websocket.accept"]


async def test_a_client_that_does_not_read_is_dropped() -> None:
    server = Server(CONNECT, PING, PING)
    server.stalled = True
    app = ExchangeApp(write_timeout=0.05)
    assert await server.run(app) == ["websocket.accept"]
    assert server.messages == [PING], "nothing is read while a write is pending"


async def test_an_error_in_the_app_is_raised_to_the_server() -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    app = ExchangeApp(ScriptedExchange(on_frame=fail))
    with pytest.RaisesGroup(ZeroDivisionError):
        await Server(CONNECT, PING).run(app)
    assert app.connections == 0


async def test_plain_http_is_answered_with_status_426() -> None:
    server = Server()
    assert await server.run(ExchangeApp(), "http") == ["http.response.start", "http.response.body"]
    assert server.sent[0]["status"] == 426


async def test_the_lifespan_protocol_is_supported() -> None:
    server = Server({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    assert await server.run(ExchangeApp(), "lifespan") == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


async def test_an_unknown_scope_type_is_refused() -> None:
    with pytest.raises(ValueError, match="must be websocket, http or lifespan; got gopher"):
        await Server().run(ExchangeApp(), "gopher")


async def test_without_anyio_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitget_transports.exchange._app_client", None)
    with pytest.raises(ImportError, match=r"pip install 'bitget-proto\[anyio\]'"):
        await Server().run(ExchangeApp())


def test_the_embedded_exchange_is_imported_without_anyio() -> None:
    code = "import sys, bitget_transports.exchange; sys.exit('anyio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
