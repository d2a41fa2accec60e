"""bitget_transports.asyncio: `await channel.cancel(CancelOrder("BTCUSDT", order_id=...))`.

The loop's `create_connection` is replaced by a fake transport, which never uses the socket. The WebSocket framing is timed, and
so is the framing and unmasking by the fake. The rate limit is off.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.peers.fake import bitget
from benchmarks.peers.ours import Prepare
from bitget_proto import Accepted, CancelOrder, Codec, Config, Credentials, fastest

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def release() -> str:
    return ""


class _Transport(asyncio.Transport):
    """A fake socket with a WebSocket server. Its answers come in the loop's next iteration."""

    def __init__(self, protocol: asyncio.BufferedProtocol) -> None:
        super().__init__()
        self._protocol = protocol
        self._call_soon = asyncio.get_running_loop().call_soon
        self._closing = False

    def write(self, data: Any) -> None:
        if data.startswith(b"GET "):
            key = bytes(data).partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
            accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
            self._say(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
        elif data[0] & 0x0F == 8:
            self._say(b"\x88\x00")
        else:
            text = _text(bytes(data))
            self._say(_framed(b"pong" if text == "ping" else bitget(text).encode()))

    def _say(self, data: bytes) -> None:
        self._call_soon(self._read, data)

    def _read(self, data: bytes) -> None:
        """Pass data to the protocol through its buffer, as an event loop does."""
        while data:
            buffer = memoryview(self._protocol.get_buffer(len(data)))
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            self._protocol.buffer_updated(count)
            data = data[count:]

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._call_soon(self._protocol.connection_lost, None)

    abort = close


def _text(frame: bytes) -> str:
    length, at = frame[1] & 0x7F, 2
    if length == 126:
        length, at = int.from_bytes(frame[2:4], "big"), 4
    mask = (frame[at : at + 4] * (length // 4 + 1))[:length]
    masked = int.from_bytes(frame[at + 4 : at + 4 + length], "big")
    return (masked ^ int.from_bytes(mask, "big")).to_bytes(length, "big").decode()


def _framed(text: bytes) -> bytes:
    length = len(text)
    return (
        b"\x81" + (bytes([length]) if length < 126 else b"\x7e" + length.to_bytes(2, "big"))
    ) + text


@asynccontextmanager
async def driven() -> AsyncGenerator[Prepare]:
    from bitget_transports.asyncio import connect

    async def create_connection(
        make: Callable[[], asyncio.BufferedProtocol], *_: object, **__: object
    ) -> object:
        protocol = make()
        transport = _Transport(protocol)
        protocol.connection_made(transport)
        return transport, protocol

    asyncio.get_running_loop().create_connection = create_connection  # type: ignore[method-assign, assignment]
    config, key = Config(messages_per_second=None), Credentials("key", "secret", "passphrase")
    near, far = socket.socketpair()
    with near, far:
        async with connect(
            key,
            url="ws://127.0.0.1/v2/ws/private",
            config=config,
            codec=Codec(fastest()),
            sock=near,
        ) as channel:

            def prepare(count: int) -> Callable[[], Awaitable[object]]:
                async def run() -> None:
                    for _ in range(count):
                        outcome = await channel.cancel(
                            CancelOrder("BTCUSDT", "1376695893517410304")
                        )
                        assert isinstance(outcome, Accepted)

                return run

            yield prepare
