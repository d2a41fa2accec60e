"""Rules of RFC 6455 that not every library below checks. All transports apply the same rules.

`docs/websocket.md` lists what is accepted and what is refused.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable

WRONG_ACCEPT = "its Sec-WebSocket-Accept does not match the key"

# Descriptions of frames that must end the connection (5.4, 5.5, 7.4 and 8.1).
INVALID_LENGTH = "a frame with an invalid length"
INVALID_CLOSE_CODE = "a close frame with an invalid code"
INVALID_REASON = "a close reason that is not UTF-8"
INVALID_TEXT = "a text message that is not UTF-8"
NO_START = "a continuation frame without a message"
NO_CONTINUATION = "a new message within a fragmented one"
RESERVED_BITS = "a frame with reserved bits"
RESERVED_OPCODE = "a frame with a reserved opcode"
MASKED = "a masked frame"
FRAGMENTED_CONTROL = "a control frame in fragments"
LONG_CONTROL = "a control frame of more than 125 bytes"

_OPCODES = frozenset((0x0, 0x1, 0x2, 0x8, 0x9, 0xA))

_REGISTERED = frozenset({*range(1000, 1015)} - {1004, 1005, 1006})
"""The codes below 3000 that may be sent (7.4.1 and the IANA's registry)."""

_INTERIM = re.compile(rb"HTTP/1\.1 1(?!01)\d\d[ \r](.*?\r\n\r\n)?", re.DOTALL)
"""An interim answer (RFC 9110, 15.2): status 1xx, but not 101. The group matches when the
answer is complete.
"""

_PROTOCOL = b"HTTP/"

_STATUS = b"HTTP/1.1 1"

_INTERIM_MOST = 2**14
"""The most bytes of an interim answer."""


def begins_http(head: bytes) -> bool:
    """Return whether the first bytes of an answer may be those of HTTP."""
    return head[:5] == _PROTOCOL[: len(head)]


def wrong_upgrade(
    headers: Iterable[tuple[str, str]], accept: str | None, version: str = "HTTP/1.1"
) -> str | None:
    """Return what is wrong with an answer of status 101 (4.1); None when it opens the WebSocket.

    `accept` is the value that `Sec-WebSocket-Accept` must have; None when it was already checked.
    """
    if version != "HTTP/1.1":
        return f"{version} instead of HTTP/1.1"
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value.strip(" \t"))
    if [value.lower() for value in found.get("upgrade", ())] != ["websocket"]:
        return "its Upgrade is not websocket"
    tokens = ",".join(found.get("connection", ())).lower().split(",")
    if "upgrade" not in (token.strip(" \t") for token in tokens):
        return "its Connection has no upgrade"
    accepts = found.get("sec-websocket-accept", [])
    if len(accepts) != 1:
        return f"{len(accepts) or 'no'} Sec-WebSocket-Accept instead of 1"
    if accept is not None and accepts != [accept]:
        return WRONG_ACCEPT
    if "sec-websocket-extensions" in found:
        return "an extension that was not offered"
    if "sec-websocket-protocol" in found:
        return "a subprotocol that was not offered"
    return None


class FinalAnswer:
    """Skips any number of interim answers before the final answer to the handshake."""

    __slots__ = ("_held", "_is_final")

    def __init__(self) -> None:
        self._held = b""
        self._is_final = False

    def receive(self, data: bytes) -> bytes:
        """Return the bytes that belong to the final answer or follow it."""
        if self._is_final:
            return data
        held, at = self._held + data, 0
        while (
            (interim := _INTERIM.match(held, at)) is not None
            and interim[1] is not None
            and interim.end() - at <= _INTERIM_MOST
        ):
            at = interim.end()
        held = held[at:]
        begins = len(held) < 13 and held[:10] == _STATUS[: len(held)] and held[9:12] != b"101"
        if begins or (interim is not None and len(held) < _INTERIM_MOST):
            self._held = held
            return b""
        self._is_final, self._held = True, b""
        return held


def wrong_head(first: int, second: int, *, within_message: bool) -> str | None:
    """Return what is wrong with the first two bytes of a server's frame (5.2); None when nothing
    is. `within_message` says whether a fragmented message is incomplete.
    """
    if first == 0x81 and second < 0x80 and not within_message:
        return None  # a text message in one frame, as nearly all are
    opcode = first & 0x0F
    if first & 0x70:
        return RESERVED_BITS
    if opcode not in _OPCODES:
        return RESERVED_OPCODE
    if second & 0x80:
        return MASKED
    if opcode & 0x8:
        if not first & 0x80:
            return FRAGMENTED_CONTROL
        if second > 125:
            return LONG_CONTROL
    elif within_message != (opcode == 0):
        return NO_CONTINUATION if within_message else NO_START
    return None


def is_length(form: int, length: int) -> bool:
    """Return whether a length may be written in this form: 126 for 16 bits, 127 for 64 bits.

    "The minimal number of bytes MUST be used to encode the length", and of 64 bits "the most
    significant bit MUST be 0" (5.2).
    """
    return length > 125 if form == 126 else 2**16 <= length < 2**63


def may_be_sent(code: int) -> bool:
    """Return whether a close frame may have this code (7.4)."""
    return code in _REGISTERED or 3000 <= code < 5000


def utf8_checker() -> codecs.IncrementalDecoder:
    """Return a decoder for the fragments of a text message, which may end within a character (8.1)."""
    return codecs.getincrementaldecoder("utf-8")()


def frame_size(payload: int) -> int:
    """Return the size of a frame that we write (5.2): two bytes, the extended length, the mask, and
    the payload.
    """
    if payload < 126:
        return 2 + 4 + payload
    return (4 if payload < 2**16 else 10) + 4 + payload
