"""The embedded exchange as an ASGI app, to run in process or under any ASGI server.

It runs on asyncio and on trio; anyio is imported when the first client connects. An ASGI app has no
socket: where the other servers drop a connection without a close frame, the app closes it with code
1011.
"""

from __future__ import annotations

import time
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeVar

from bitget_proto.testing import ScriptedExchange

from .._driver.set_module import set_module
from ._asgi import Receive, Send
from ._controls import _Controls

if TYPE_CHECKING:
    from ._app_client import AppClient

_T = TypeVar("_T")


@set_module("bitget_transports.exchange")
class ExchangeApp(_Controls):
    """A `ScriptedExchange` as an ASGI app.

    Use it as in `httpx_ws.transport.ASGIWebSocketTransport(ExchangeApp(exchange))`. Any path is
    served. `write_timeout` is how many seconds a write may take before the client counts as gone.
    The exchange's wall clock is set to the real time, so that login timestamps are valid. Call the
    methods of the app from its own event loop. Requires anyio: the extra `anyio`.
    """

    def __init__(
        self, exchange: ScriptedExchange | None = None, *, write_timeout: float = 5.0
    ) -> None:
        self.exchange: ScriptedExchange = ScriptedExchange() if exchange is None else exchange
        self.exchange.epoch = time.time()
        self.write_timeout = write_timeout
        self.clients: set[AppClient] = set()
        self._started = time.monotonic()

    def __repr__(self) -> str:
        return f"<ExchangeApp, {self.connections} connected>"

    @property
    def connections(self) -> int:
        """How many clients have an open WebSocket."""
        return len(self.clients)

    def now(self) -> float:
        """Seconds since the app was created: the `now` of its exchange."""
        return time.monotonic() - self._started

    def call(self, function: Callable[[], _T]) -> _T:
        """Call a function, between two steps of the exchange, and return its result."""
        return function()

    def say(self, text: str) -> None:
        """Send any text to every connected client: a push, a notice, garbage."""
        for client in self.clients:
            client.say(text)

    def hang_up(self, code: int = 1001, reason: str = "") -> None:
        """Close every connection with this code."""
        for client in self.clients:
            client.hang_up(code, reason)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection, as the ASGI specification describes."""
        match scope["type"]:
            case "websocket" if (refused := self.exchange.handshake()) is not None:
                await receive()  # websocket.connect
                if "websocket.http.response" in scope.get("extensions", {}):
                    status, retry_after = refused
                    headers = [] if retry_after is None else [(b"retry-after", b"%d" % retry_after)]
                    await send(
                        {
                            "type": "websocket.http.response.start",
                            "status": status,
                            "headers": headers,
                        }
                    )
                    await send(
                        {"type": "websocket.http.response.body", "body": b"refused as scripted\n"}
                    )
                else:
                    # Servers without the extension answer with 403.
                    await send({"type": "websocket.close", "code": 1000, "reason": ""})
            case "websocket":
                try:
                    from ._app_client import AppClient
                except ImportError as error:
                    raise ImportError(
                        "the exchange as an app needs anyio: pip install 'bitget-proto[anyio]'"
                    ) from error
                await AppClient(
                    self.exchange.link(),
                    receive,
                    send,
                    now=self.now,
                    write_timeout=self.write_timeout,
                    clients=self.clients,
                ).serve()
            case "lifespan":
                while (message := await receive())["type"] != "lifespan.shutdown":
                    await send({"type": f"{message['type']}.complete"})
                await send({"type": "lifespan.shutdown.complete"})
            case "http" if scope.get("path", "").startswith("/api/"):
                await self._rest(scope, receive, send)
            case "http":
                headers = [(b"upgrade", b"websocket"), (b"content-type", b"text/plain")]
                await send({"type": "http.response.start", "status": 426, "headers": headers})
                await send({"type": "http.response.body", "body": b"This is a WebSocket server.\n"})
            case kind:
                raise ValueError(f"ASGI scope type must be websocket, http or lifespan; got {kind}")

    async def _rest(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a REST request, or return without a response if the exchange gives none."""
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        query = scope["query_string"].decode("latin-1")
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        target = f"{scope['path']}?{query}" if query else scope["path"]
        answer = self.exchange.rest(scope["method"], target, headers, body, self.now())
        if answer is not None:
            status, content = answer
            json = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": status, "headers": json})
            await send({"type": "http.response.body", "body": content})
