"""One WebSocket over httpx-ws. All use of httpx-ws is in this file.

`run` returns why the WebSocket ended, or raises ConnectFailed when it could not be opened.
It returns in bounded time, whatever the peer does.

What httpx-ws 0.9.0 does, and what this file does about it:
- Leaving its context writes a close frame, shielded and without a timeout, which hangs when the
  peer has stopped reading. Here the session is closed first, within `Limits.close_timeout`, so that
  nothing is left to write.
- An unsolicited pong is a KeyError in a task of httpx-ws, which cancels the code in its context.
  Here pongs are ignored. Only `run` is in that context, in a task of its own, so that any other
  failure there becomes the reason why the connection ended.
- `max_message_size_bytes` is the size of a read; a fragmented message has no limit. Here the bytes
  since the last message, without pings and pongs, are counted on the stream below, which ends when
  there are too many.
- It does not check the answer to the handshake. It is checked here: see `rfc6455`.
- The errors of wsproto, below it, contain what could not be sent, including the login. Here none of
  them is repeated or chained.
- wsproto reports an invalid frame as if the peer had closed. Here the two are distinguished. Both
  are answered with a close frame of code 1000. Here that frame has the code of the error, or the
  peer's code.
- A message passes through a queue and an extra task. Here it is taken before the queue.
- httpcore, below it, does not close a socket whose TLS handshake is cancelled. Here it is closed.
- It sends WebSocket pings, which the exchange does not count. Here they are disabled.
- It does not support clients of httpx2, but needs only their method `stream` and the network stream
  below. Here the errors of that stream become those of httpcore.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, cast

import anyio
import anyio.lowlevel

try:
    import httpcore
    import httpx
    from httpx_ws import (
        AsyncWebSocketSession,
        HTTPXWSException,
        WebSocketDisconnect,
        aconnect_ws,
    )
    from wsproto.connection import ConnectionState
    from wsproto.events import BytesMessage, TextMessage
    from wsproto.frame_protocol import CloseReason
    from wsproto.utilities import LocalProtocolError as WriteRefused
    from wsproto.utilities import generate_accept_token
except ImportError as error:
    raise ImportError("this transport needs httpx-ws: pip install 'bitget-proto[anyio]'") from error

from .._driver import rfc6455
from .._driver.connect_errors import (
    answered_wrongly,
    closed_by_peer,
    connection_broken,
    protocol_broken,
    too_long,
    took_too_long,
)
from .._driver.errors import ConnectFailed
from .._driver.http_client import HttpClient, core_of
from .._driver.http_proxies import ProxyBackend
from .._driver.limits import Limits, frame_limit
from .._driver.tcp_reset import reset_when_closed
from .._driver.turns import CORE_MESSAGES, PARSER_BYTES, Arrivals
from .._driver.url import Target
from ._httpx_errors import Handshake, causes, connect_failure

_PONG = b"\x8a"
"""The first byte of a pong (RFC 6455, 5.2): final, and the opcode 10."""

_HEAD, _MASK = 2, 4
"""Bytes of the head of a server's control frame, and of the mask that a client adds."""


class Broken(Exception):
    """A text could not be written completely."""


class Refused(Exception):
    """No part of a text was written, because the peer has closed. `run` is about to return."""


class HttpxWebSocket:
    """A WebSocket. `run` opens, reads and closes it in one task; `write` and `hang_up` are called
    from others.
    """

    def __init__(
        self,
        target: Target,
        limits: Limits,
        max_message: int | None,
        client: HttpClient | None,
        arrivals: Arrivals,
    ) -> None:
        self._target = target
        self._limits = limits
        self._client = client
        self._meter = _Meter(frame_limit(max_message), arrivals, self._too_long)
        self._handshake = Handshake(target)
        self._whole = anyio.CancelScope()
        self._reading = anyio.CancelScope()
        self._dialled: list[httpcore.AsyncNetworkStream] = []
        """The sockets that were connected."""
        self._session: AsyncWebSocketSession | None = None
        self._close_args = (1000, "")
        self._reason = "closed by this side"
        """Why it ended, after the end."""

    async def run(
        self, opened: Callable[[str | None], object], received: Callable[[str | bytes], object]
    ) -> str:
        """Open the WebSocket, read it to its end, and return why it ended, in readable form.

        Raises: ConnectFailed when it could not be opened.
        """
        timeout = self._limits.open_timeout
        if timeout is not None:
            self._whole.deadline = anyio.current_time() + timeout
        wrong: ConnectFailed | None = None
        try:
            with self._whole:
                async with AsyncExitStack() as stack:
                    client: HttpClient = (
                        await stack.enter_async_context(_make_client(self._target))
                        if self._client is None
                        else self._client
                    )
                    session = await stack.enter_async_context(self._connect(client))
                    try:
                        self._whole.deadline = float("inf")
                        wrong = self._wrong_answer(session)
                        if wrong is not None:
                            self._meter.aborted = True
                        else:
                            self._session = session
                            self._handshake.opened()
                            opened(
                                session.response.headers.get("date")
                                if session.response is not None
                                else None
                            )
                            self._bypass_queue(session, received)
                            with self._reading:
                                self._reason = await self._read(session, received)
                    finally:
                        await self._close(session)
        except Exception as error:
            if wrong is None and self._session is None:
                raise self._handshake.failure(error) from error
            self._reason = self._broken(error)
        finally:
            if self._session is None:
                await self._close_dialled()
        if wrong is not None:
            # Raised outside of the task group, which would wrap it in an exception group.
            raise wrong
        if self._session is None:
            raise self._handshake.early_refusal() or took_too_long(
                self._target, self._limits, None, self._handshake.via
            )
        return self._reason

    async def write(self, text: str) -> None:
        """Write a text message completely.

        Raises: Broken when the write failed, and Refused when not one byte was written. In both
        cases the connection has ended.
        """
        assert self._session is not None  # noqa: S101 - only after `opened`
        try:
            await self._session.send_text(text)
        except WriteRefused:
            # Not chained: its text contains what could not be sent.
            raise Refused from None
        except (HTTPXWSException, httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise Broken(self._broken(error)) from error

    def hang_up(self, code: int, reason: str) -> None:
        """Close with a close frame in bounded time, or cancel opening. `run` returns."""
        self._close_args = (code, reason)
        (self._whole if self._session is None else self._reading).cancel()

    def reset(self) -> None:
        """Abort the socket without a close frame, or cancel opening. `run` returns."""
        self._meter.aborted = True
        sock = None if self._session is None else self._session.stream.get_extra_info("socket")
        if sock is not None:
            reset_when_closed(sock)
        self.hang_up(1001, "")

    # --- private ---

    def _connect(self, client: HttpClient) -> Any:
        meter = self._meter

        class Session(AsyncWebSocketSession):
            def __init__(self, stream: httpcore.AsyncNetworkStream, **options: Any) -> None:
                super().__init__(meter.on(stream), **options)
                self._ping_manager.ack = meter.pong  # type: ignore[method-assign, assignment]

        # As https, so that HTTPS_PROXY of the environment applies.
        return aconnect_ws(
            "http" + self._target.url.removeprefix("ws"),
            cast("httpx.AsyncClient", self._handshake.of(client)),
            max_message_size_bytes=PARSER_BYTES,
            keepalive_ping_interval_seconds=None,
            keepalive_ping_timeout_seconds=None,
            session_class=Session,
            # Whatever the client's setting: the login is sent to the given URL and to no other.
            follow_redirects=False,
            extensions={"trace": self._traced},
        )

    async def _traced(self, event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self._dialled.append(info["return_value"])
        self._handshake.traced(event, info)

    async def _close_dialled(self) -> None:
        with anyio.move_on_after(self._limits.close_timeout, shield=True):
            for stream in self._dialled:
                await stream.aclose()

    def _wrong_answer(self, session: AsyncWebSocketSession) -> ConnectFailed | None:
        response = session.response
        assert response is not None  # noqa: S101 - aconnect_ws hands it over
        key = response.request.headers["sec-websocket-key"].encode("ascii")
        wrong = rfc6455.wrong_upgrade(
            response.headers.multi_items(),
            generate_accept_token(key).decode("ascii"),
            response.http_version,
        )
        return None if wrong is None else answered_wrongly(self._target, wrong)

    def _bypass_queue(
        self, session: AsyncWebSocketSession, received: Callable[[str | bytes], object]
    ) -> None:
        """Take messages before the session's queue and the task that reads it, which would cost a
        fifth of a round trip.

        The queue is private to httpx-ws. If a later version uses another queue, `_read` still
        receives the messages in it, just as it receives the end.
        """
        session._send_event = _QueueBypass(  # type: ignore[assignment]
            session._send_event, self._meter, received
        )

    async def _read(
        self, session: AsyncWebSocketSession, received: Callable[[str | bytes], object]
    ) -> str:
        meter = self._meter
        try:
            while True:
                event = await session.receive()
                meter.count = 0
                if isinstance(event, (TextMessage, BytesMessage)):
                    received(_message(event))
        except WebSocketDisconnect as error:
            self._close_args = (error.code, error.reason or "")
            if session.connection.state is ConnectionState.OPEN:
                return protocol_broken(error.reason)
            return closed_by_peer(error.code, error.reason)
        except HTTPXWSException as error:
            return self._broken(error)

    def _broken(self, error: Exception) -> str:
        """Return why the connection ended without a close frame."""
        # httpx-ws raises an error of its own, which does not contain the error of the stream.
        found = causes(self._meter.failure or error)
        return connection_broken(next((at for at in found if isinstance(at, OSError)), None))

    def _too_long(self) -> None:
        self._reason = too_long(self._meter.limit)
        self.hang_up(CloseReason.MESSAGE_TOO_BIG, "")

    async def _close(self, session: AsyncWebSocketSession) -> None:
        """Write the close frame within the timeout. Leaving the session's context has no timeout."""
        timeout = self._limits.close_timeout
        with anyio.move_on_after(timeout, shield=True):
            if self._meter.aborted:
                # Closed first, because a write that waits for the peer may be in progress.
                await session.stream.aclose()
            await session.close(*self._close_args)


class _QueueBypass:
    """Replaces the sending end of a session's queue: messages go directly to the driver, everything
    else into the queue.

    One read may contain thousands of messages. The queue yields to other tasks at each; this does
    so every `CORE_MESSAGES` messages.
    """

    def __init__(
        self, queue: Any, meter: _Meter, received: Callable[[str | bytes], object]
    ) -> None:
        self._queue = queue
        self._meter = meter
        self._received = received
        self._in_a_row = 0

    async def send(self, event: object) -> None:
        if isinstance(event, (TextMessage, BytesMessage)):
            self._meter.count = 0
            self._received(_message(event))
            self._in_a_row += 1
            if self._in_a_row >= CORE_MESSAGES:
                self._in_a_row = 0
                await anyio.lowlevel.checkpoint()
        else:
            await self._queue.send(event)


class _Meter:
    """Counts the bytes since the last message, and calls `on_too_long` when a message is too long."""

    def __init__(
        self, limit: int | None, arrivals: Arrivals, on_too_long: Callable[[], object]
    ) -> None:
        self.limit = limit
        self.arrivals = arrivals
        self.on_too_long = on_too_long
        self.count = 0
        self.failure: Exception | None = None
        """Why the stream ended, if it failed."""
        self.aborted = False
        """Whether nothing may be written any more, not even a close frame."""

    def on(self, stream: httpcore.AsyncNetworkStream) -> httpcore.AsyncNetworkStream:
        return _Metered(stream, self)

    def pong(self, payload: bytes | bytearray) -> None:
        """Subtract a received pong, which is not part of a message."""
        self.count -= _HEAD + len(payload)


class _Metered(httpcore.AsyncNetworkStream):
    """A stream that yields to other tasks after each `PARSER_BYTES`. TLS itself does so only when
    it waits for the socket.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream, meter: _Meter) -> None:
        self._stream = stream
        self._meter = meter
        self._in_a_row = 0

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._in_a_row >= PARSER_BYTES:
            self._in_a_row = 0
            await anyio.lowlevel.checkpoint()
        meter = self._meter
        try:
            data = await self._stream.read(max_bytes - self._in_a_row, timeout)
        except Exception as error:
            meter.failure = error
            if (known := _as_httpcore(error)) is not None:
                raise known from error
            raise
        self._in_a_row += len(data)
        meter.arrivals.bytes += len(data)
        meter.count += len(data)
        if meter.limit is not None and meter.count > meter.limit + PARSER_BYTES:
            meter.on_too_long()
            await anyio.sleep_forever()  # not an error: httpx-ws would write another close frame
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._meter.aborted:
            raise httpcore.WriteError("the connection is aborted")
        if buffer[:1] == _PONG:
            # A pong answers a ping, which was not part of a message. The two have the same length,
            # except for the mask.
            self._meter.count -= len(buffer) - _MASK
        try:
            await self._stream.write(buffer, timeout)
        except Exception as error:
            if (known := _as_httpcore(error)) is not None:
                raise known from error
            raise

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _as_httpcore(error: Exception) -> Exception | None:
    """Return httpcore's counterpart of an httpcore2 error, for httpx-ws; None for other errors."""
    if core_of(error) in (None, httpcore):
        return None
    same: type[Exception] = getattr(httpcore, type(error).__name__)
    return same(str(error))


class _Proxied(ProxyBackend):
    def failure(self, error: Exception) -> Exception:
        return connect_failure(self._target, error, self._proxy)


def _message(event: TextMessage | BytesMessage) -> str | bytes:
    return event.data if isinstance(event, TextMessage) else bytes(event.data)


def _make_client(target: Target) -> httpx.AsyncClient:
    # A plain target uses no TLS: a context without authorities accepts no certificate, and loading
    # the system's authorities is slow.
    verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if target.tls is None else target.tls
    # Timeouts are set by the callers. httpcore dials with `anyio.connect_tcp`, or on trio with
    # `trio.open_tcp_stream`: both race a host's addresses, 250 ms apart (RFC 6555), but do not
    # remember which address worked.
    client = httpx.AsyncHTTPTransport(verify=verify, trust_env=False)
    if target.proxy is not None:
        client._pool = httpcore.AsyncConnectionPool(
            ssl_context=verify, network_backend=_Proxied(target.proxy, target)
        )
    return httpx.AsyncClient(transport=client, trust_env=False, timeout=None)  # noqa: S113
