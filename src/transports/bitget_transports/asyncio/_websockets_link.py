"""The asyncio transport's way with websockets' framing: bytes between an asyncio transport and a `WebSocket`.

Rules of this file
- At most one frame is with the transport unwritten: the write buffer's limit is 0, so a stall shows at the next byte.
- It ends as `WebSocket` says: then nothing more is written but what it owes.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from math import inf
from typing import cast

from .._driver.driver import Driver
from .._driver.errors import ConnectFailed
from .._driver.websocket import WebSocket
from ._link import LONG, AsyncioLink

_READ = 2**16
"""Bytes that are read at a time."""


class WebsocketsLink(AsyncioLink, asyncio.BufferedProtocol):
    """One WebSocket, framed by websockets."""

    def __init__(self, driver: Driver, number: int, on_gone: Callable[[AsyncioLink], None]) -> None:
        super().__init__(driver, number, on_gone)
        self._websocket = WebSocket(self._target, driver.max_message)
        # asyncio's own buffer for each read has 256 KiB, which the system makes and takes back each time: 13 µs a message.
        # A view, because asyncio's TLS writes into slices of it.
        self._buffer = memoryview(bytearray(_READ))
        self._shaken = asyncio.Event()
        """Set when the handshake is done, or has failed."""
        self._agreeing = False
        """Whether TLS has begun to stand between the transport and this."""
        self._spoke_first = False
        """Whether something came before."""

    async def connect(self, sock: socket.socket | None) -> ConnectFailed | None:
        loop, target = asyncio.get_running_loop(), self._target
        if sock is None:
            await loop.create_connection(lambda: self, target.host, target.port)
        else:
            sock.getpeername()  # raises for one that is not connected, of which uvloop would not let go
            sock.settimeout(0.0)
            await loop.create_connection(lambda: self, sock=sock)
        if target.tls is not None:
            await self._agree_on_tls(target.tls, target.host)
        self._put(self._websocket.start())
        await self._shaken.wait()
        return None if self._websocket.opened else self._websocket.refusal()

    def refused(self) -> ConnectFailed | None:
        return self._websocket.refused()

    # --- the transport happened ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have no base class.
        self._transport = transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=0)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - a hint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self._buffer[:nbytes])
        if self._target.tls is not None and not self._agreeing:
            self._spoke_first = True
            return
        try:
            began = self._driver.now()
            self._take_in(data)
            if self._driver.now() - began >= LONG:
                self.yield_to_loop()
        except BaseException as error:  # noqa: BLE001 - given to the loop
            self.failed(error)

    def eof_received(self) -> None:
        try:
            self._websocket.end_of_stream()
        except BaseException as error:  # noqa: BLE001 - given to the loop
            self.failed(error)

    def connection_lost(self, exc: Exception | None) -> None:
        websocket = self._websocket
        websocket.end_of_stream()
        self._shaken.set()
        self.closed()
        if websocket.opened:
            self._driver.lost(
                self._number, f"the connection broke: {exc}" if exc else websocket.over or ""
            )

    # --- the driver wants something ---

    def write(self, text: str, id: str | None) -> None:
        data = self._websocket.encode(text)
        if data:
            cast("asyncio.Transport", self._transport).write(data)
        self.wrote(id, len(data))

    def hang_up(self, code: int, reason: str) -> None:
        if self._websocket.opened and self._transport is not None:
            self._put(self._websocket.hang_up(code, reason))
            self.bound()
        else:
            self.abort()

    # --- inside ---

    async def _agree_on_tls(self, tls: ssl.SSLContext, host: str) -> None:
        """On top of the plain transport, whose buffer has its limit already: one that is made for TLS holds 64 KiB unseen."""
        plain, self._transport = self._transport, None
        assert plain is not None  # noqa: S101 - connected
        self._agreeing = True
        if plain.is_closing():
            raise ConnectionResetError("it hung up before TLS")
        if self._spoke_first:
            plain.abort()
            raise ssl.SSLError(1, "it spoke first, which no TLS server does")
        try:
            transport = await asyncio.get_running_loop().start_tls(
                plain, self, tls, server_hostname=host
            )
        except BaseException:
            plain.abort()
            raise
        self._transport = transport = cast("asyncio.Transport", transport)
        # This one asks «at least», the plain one «more than».
        transport.set_write_buffer_limits(high=1)

    def _put(self, data: bytes) -> None:
        if data and self._transport is not None:
            self._given += len(data)
            self._transport.write(data)

    def _take_in(self, data: bytes) -> None:
        websocket, driver = self._websocket, self._driver
        messages = websocket.receive(data)
        if not self._shaken.is_set() and (websocket.opened or websocket.over is not None):
            self._shaken.set()
            if websocket.opened:
                # At once: messages may have come with the handshake's answer.
                driver.opened(self._number, websocket.date)
        for message in messages:
            driver.received(self._number, message)
        if websocket.owes:
            self._put(websocket.outgoing(stalled=self.stalled_since < inf))
        if websocket.over is not None:
            if websocket.opened:
                driver.lost(self._number, websocket.over)
            self.close()
