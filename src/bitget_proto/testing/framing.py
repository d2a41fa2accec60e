"""Builds and parses WebSocket frames (RFC 6455) for the peers in tests.

Bytes in, bytes out: nothing here does I/O. Frames that break the RFC can be parsed and built,
because some tests need a faulty peer.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from typing import Final

import attrs

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""The GUID from which the accept key is computed (RFC 6455, 1.3)."""


@attrs.frozen
class Frame:
    """A parsed frame; its data is unmasked."""

    opcode: int
    data: bytes
    final: bool
    masked: bool


def key_of(head: bytes) -> bytes:
    """Return the `Sec-WebSocket-Key` of an upgrade request.

    Raises: KeyError when the request has none.
    """
    lines = (line.split(b":", 1) for line in head.split(b"\r\n") if b":" in line)
    return {name.strip().lower(): value.strip() for name, value in lines}[b"sec-websocket-key"]


def upgraded(key: bytes) -> bytes:
    """Return the response that accepts an upgrade request with this key."""
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


def frame_head(opcode: int, length: int, *, final: bool = True) -> bytes:
    """Return the header of a frame sent by a server (RFC 6455, 5.2)."""
    return _head(opcode, length, 0, final=final)


def frame(opcode: int, data: bytes, *, final: bool = True, mask: bytes | None = None) -> bytes:
    """Return a server's frame or, with a `mask` of four bytes, a client's."""
    if mask is None:
        return _head(opcode, len(data), 0, final=final) + data
    return _head(opcode, len(data), 0x80, final=final) + mask + unmasked(data, mask)


def close_frame(code: int, reason: str = "") -> bytes:
    """Return a server's close frame, with any code, legal or not."""
    return frame(CLOSE, struct.pack("!H", code) + reason.encode())


def parse(data: bytes | bytearray) -> tuple[Frame, int] | None:
    """Return the first frame and its length in bytes, or None while the frame is incomplete."""
    if len(data) < 2:
        return None
    length, at = data[1] & 0x7F, 2
    if length > 125:
        at = 4 if length == 126 else 10
        if len(data) < at:
            return None
        length = int.from_bytes(data[2:at], "big")
    masked = bool(data[1] & 0x80)
    begin = at + 4 if masked else at
    end = begin + length
    if len(data) < end:
        return None
    content = bytes(data[begin:end])
    if masked:
        content = unmasked(content, bytes(data[at:begin]))
    return Frame(data[0] & 0x0F, content, bool(data[0] & 0x80), masked), end


def unmasked(data: bytes, mask: bytes) -> bytes:
    """Return the data unmasked; masking is the same operation."""
    whole = (mask * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(whole, "big")).to_bytes(len(data), "big")


def _head(opcode: int, length: int, mask: int, *, final: bool) -> bytes:
    first = opcode | (0x80 if final else 0)
    if length < 126:
        return bytes((first, mask | length))
    if length < 65536:
        return struct.pack("!BBH", first, mask | 126, length)
    return struct.pack("!BBQ", first, mask | 127, length)
