"""A link on asyncio with the framing of websockets: passes bytes between an asyncio transport and a
`WebSocket`.

- The transport holds at most one unwritten frame: the limit of its write buffer is 0, so a stall is
  noticed at the next byte.
- After the end of the `WebSocket`, only what it still wants written is written.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from math import inf
from typing import cast

from .._driver.connect_errors import connection_broken
from .._driver.driver import Driver
from .._driver.errors import ConnectFailed
from .._driver.websocket import WebSocket
from ._dial import on_uvloop
from ._link import AsyncioLink


class WebsocketsLink(AsyncioLink):
    """One WebSocket, framed by websockets."""

    def __init__(
        self, driver: Driver, number: int, on_finished: Callable[[AsyncioLink], None]
    ) -> None:
        super().__init__(driver, number, on_finished)
        self._websocket = WebSocket(self._target, driver.max_message)
        self._handshake_over = asyncio.Event()
        """Set when the handshake has succeeded or failed."""
        self._tls_started = False
        """Whether the TLS handshake has started."""
        self._data_before_tls = False
        """Whether data arrived before the TLS handshake."""

    async def connect(self, sock: socket.socket) -> ConnectFailed | None:
        target = self._target
        sock.settimeout(0.0)
        closed = True
        try:
            transport, _ = await asyncio.get_running_loop().create_connection(
                lambda: self, sock=sock
            )
            closed = transport.is_closing()
        finally:
            if closed and on_uvloop():
                # uvloop closes the descriptor, and the number may then belong to another file.
                sock.detach()
        if target.tls is not None:
            await self._start_tls(target.tls, target.host)
        self._put(self._websocket.start())
        await self._handshake_over.wait()
        return None if self._websocket.opened else self._websocket.handshake_error()

    def partial_refusal(self) -> ConnectFailed | None:
        return self._websocket.early_refusal()

    # --- callbacks of the transport ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The transports of uvloop do not inherit from `asyncio.Transport`.
        self._transport = transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=0)

    def buffer_updated(self, nbytes: int) -> None:
        if self._target.tls is not None and not self._tls_started:
            self._data_before_tls = True
        else:
            super().buffer_updated(nbytes)

    def eof_received(self) -> None:
        if self._turn is None:  # else it is reported after the turns that wait
            try:
                self._websocket.end_of_stream()
            except BaseException as error:  # noqa: BLE001 - given to the loop
                self.abort_with(error)

    def report_end(self) -> None:
        websocket = self._websocket
        websocket.end_of_stream()
        self._handshake_over.set()
        self.on_socket_closed()
        if websocket.opened:
            why = self._transport_error and connection_broken(self._transport_error)
            self._driver.lost(self._number, why or websocket.end_reason or "")

    # --- methods of `Link` ---

    def write(self, text: str, ids: tuple[str, ...]) -> None:
        data = b"" if self._transport_lost else self._websocket.encode(text)
        if data:
            cast("asyncio.Transport", self._transport).write(data)
        self.record_write(ids, len(data))

    def hang_up(self, code: int, reason: str) -> None:
        if self._websocket.opened and self._transport is not None:
            self._put(self._websocket.hang_up(code, reason))
            self.abort_after_close_timeout()
        else:
            self.abort()

    # --- private ---

    async def _start_tls(self, tls: ssl.SSLContext, host: str) -> None:
        """Start TLS on the plain transport, whose buffer limit is already set. If
        `create_connection` made the TLS transport, 64 KiB could be buffered unseen.
        """
        plain, self._transport = self._transport, None
        assert plain is not None  # noqa: S101 - connected
        self._tls_started = True
        if plain.is_closing():
            raise ConnectionResetError("the server closed the connection before TLS")
        if self._data_before_tls:
            plain.abort()
            raise ssl.SSLError(1, "the server sent data before TLS, which no TLS server does")
        try:
            transport = await asyncio.get_running_loop().start_tls(
                plain, self, tls, server_hostname=host
            )
        except BaseException:
            plain.abort()
            raise
        self._transport = transport = cast("asyncio.Transport", transport)
        # This transport pauses at `high`, the plain one above it.
        transport.set_write_buffer_limits(high=1)

    def _put(self, data: bytes) -> None:
        if data and self._transport is not None and not self._transport_lost:
            self._total_queued += len(data)
            self._transport.write(data)

    def process(self, part: bytes) -> None:
        websocket, driver = self._websocket, self._driver
        if part:
            self._unprocessed.messages.extend(websocket.receive(part))
        if not self._handshake_over.is_set() and (
            websocket.opened or websocket.end_reason is not None
        ):
            self._handshake_over.set()
            if websocket.opened:
                # First, since messages may have arrived together with the handshake's answer.
                driver.opened(self._number, websocket.date)
        for message in self._unprocessed.next_messages():
            driver.received(self._number, message)
        if websocket.has_outgoing:
            self._put(websocket.outgoing(stalled=self.stalled_since < inf))
        if websocket.end_reason is not None:
            self._unprocessed.parts.clear()  # nothing counts after a close frame
            if not self._unprocessed:
                if websocket.opened:
                    driver.lost(self._number, websocket.end_reason)
                self.close()
