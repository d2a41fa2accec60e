"""A link on asyncio with the framing of picows: a callback for each frame.

- picows processes everything that one read yields, and reads twice as much next time. So once the
  WebSocket is open, the transport passes bytes to the link, and the link passes them to picows in
  bounded turns.
- picows itself answers only protocol errors: pings and close frames are answered here.
- picows silently drops what is written after a close frame: check before writing.
- An exception from a callback is lost, so no callback raises: see `abort_with`.
- Memory is bounded, whatever the peer does: by the size limit for frames and messages, and by
  keeping only one pong.
- picows does not check all rules of RFC 6455. The others are checked here: see `rfc6455`. It
  refuses two answers to the handshake that the RFC allows: see `_picows_errors`.

Over TLS, picows creates the transport, which buffers up to 64 KiB unseen: a stall is noticed only
when that buffer is full.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from codecs import IncrementalDecoder
from collections.abc import Callable
from math import inf
from typing import cast

try:
    from picows import (
        WSCloseCode,
        WSFrame,
        WSHandshakeError,
        WSListener,
        WSMsgType,
        WSTransport,
        ws_connect,  # pyright: ignore[reportUnknownVariableType] - its keywords have no types
    )
except ImportError as error:
    raise ImportError(
        "framing='picows' needs picows: pip install 'bitget-proto[picows]'"
    ) from error

from .._driver import rfc6455
from .._driver.connect_errors import (
    NO_CODE,
    answered_wrongly,
    closed_by_peer,
    connection_broken,
    ended_early,
    protocol_broken,
    too_long,
)
from .._driver.driver import Driver
from .._driver.errors import ConnectFailed
from .._driver.exception_origin import raised_by_caller, suppress_ours
from .._driver.limits import frame_limit
from .._driver.websocket import SILENT
from ._dial import package_of_loop
from ._link import AsyncioLink
from ._picows_errors import frame_error, refused_handshake

_TEXT, _BINARY, _CONTINUATION = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION
_PING, _CLOSE = WSMsgType.PING, WSMsgType.CLOSE

_TURNS = 100
"""The number of loop iterations in which the transport of a dial must close after its socket was
shut down.
"""


class PicowsLink(AsyncioLink, WSListener):
    """One WebSocket, framed by picows."""

    def __init__(
        self, driver: Driver, number: int, on_finished: Callable[[AsyncioLink], None]
    ) -> None:
        super().__init__(driver, number, on_finished)
        limit = frame_limit(driver.max_message)
        self._limit = sys.maxsize if limit is None else limit
        """Maximum size of a message, in bytes."""
        self._websocket: WSTransport | None = None
        self._wrong_answer: str | None = None
        """What is wrong with an answer to the handshake that picows accepted."""
        self._parser: asyncio.BufferedProtocol | None = None
        """The protocol of picows."""
        self._fragments: bytearray | None = None
        """The beginning of an incomplete message."""
        self._text: IncrementalDecoder | None = None
        """Checks that message; None when it is binary."""
        self._pong: bytes | None = None
        """The answer to the last ping, while it is not written."""
        self._over: str | None = None
        """Why the WebSocket ended; None before the end."""
        self._end_due = False
        """Whether the end must be reported after the messages that arrived before it."""
        self._disconnect_task: asyncio.Task[None] | None = None
        """The task of `_wait_disconnected`; this is the only reference to it."""
        self._close_queued = False
        """Whether `_total_queued` includes a close frame."""

    # --- the dial ---

    async def connect(self, sock: socket.socket) -> ConnectFailed | None:
        target = self._target
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            raise OSError("picows accepts only TCP sockets: use framing='websockets'")
        same = sock.dup()
        returned = False
        try:
            await ws_connect(
                self._listening,
                target.url,
                ssl_context=target.tls,
                socket_factory=lambda _: sock,
                websocket_handshake_timeout=None,
                enable_auto_pong=False,
                max_frame_size=self._limit,
                max_redirects=0,
                use_aiofastnet=False,
                logger_name=SILENT,
            )
            returned = True
        except WSHandshakeError as error:
            return refused_handshake(target, error)
        finally:
            with same:
                # The exchange may have answered before uvloop gives the socket to the transport: if
                # the dial is cancelled then, it never does, although the WebSocket is open.
                if not returned or self._websocket is None:
                    await _close_orphan(sock, same)
        if self._wrong_answer is not None:
            return answered_wrongly(target, self._wrong_answer)
        return ended_early(target) if self._websocket is None else None

    def _listening(self, *_: object) -> PicowsLink:
        """Return the listener; the factory that picows calls."""
        return self

    def partial_refusal(self) -> ConnectFailed | None:
        return None  # picows raises a refusal as soon as its head is complete

    # --- callbacks of picows ---

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._websocket, self._transport = transport, transport.underlying_transport
        self._wrong_answer = rfc6455.wrong_upgrade(transport.response.headers.items(), None)
        if self._wrong_answer is not None:
            self._over = "the handshake failed"
            return
        # A TLS transport pauses at `high`, a plain one above it.
        self._transport.set_write_buffer_limits(high=0 if self._target.tls is None else 1)
        self._parser = cast("asyncio.BufferedProtocol", self._transport.get_protocol())
        self._transport.set_protocol(self)
        self.take_turn_soon()  # frames may have arrived together with the handshake's answer
        try:
            self._driver.opened(self._number, transport.response.headers.get("Date"))
        except BaseException as error:  # noqa: BLE001 - given to the loop
            self.abort_with(error)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        try:
            if self._over is None:
                refused = transport.is_close_frame_sent and not self._close_queued
                # picows passes on the frame before one that it refuses; nothing may come after it.
                if not refused or frame.tail_size:
                    self._read(transport, frame)
                if refused:
                    self._over = self._over or frame_error(transport, self._limit)
            elif frame.msg_type == _CLOSE:
                self.close()
        except BaseException as error:  # noqa: BLE001 - given to the loop
            self.abort_with(error)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if transport.is_close_frame_sent:
            # A protocol error may have arrived after the end as well.
            self._over = self._over or frame_error(transport, self._limit)
            self._disconnect_task = asyncio.Task(
                self._wait_disconnected(transport), loop=asyncio.get_running_loop()
            )
        else:
            self.on_socket_closed()

    # --- callbacks of the transport ---

    def eof_received(self) -> None:
        """Do nothing: the transport closes."""

    def connection_lost(self, exc: Exception | None) -> None:
        cast("asyncio.BufferedProtocol", self._parser).connection_lost(exc)
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._write_pong()

    def process(self, part: bytes) -> None:
        parser = cast("asyncio.BufferedProtocol", self._parser)
        while part:
            room = cast("memoryview", parser.get_buffer(-1))
            size = min(len(room), len(part))
            room[:size] = part[:size]
            parser.buffer_updated(size)
            part = part[size:]
        for message in self._unprocessed.next_messages():
            self._driver.received(self._number, message)
        self._write_pong()
        if self._end_due and not self._unprocessed:
            self._end_due = False
            self._driver.lost(self._number, self._over or "")
            self.close()

    def report_end(self) -> None:
        self._driver.lost(self._number, self._over or connection_broken(self._transport_error))

    # --- methods of `Link` ---

    def write(self, text: str, ids: tuple[str, ...]) -> None:
        websocket, transport = self._websocket, self._transport
        assert websocket is not None and transport is not None  # noqa: S101, PT018 - it is open
        data = text.encode()
        # picows may have received the peer's close frame without having passed it on yet.
        if websocket.close_handshake is not None or transport.is_closing():
            self.record_write(ids, 0)
        else:
            # If this fails, picows may have sent a part directly, past the transport.
            websocket.send(_TEXT, data)
            self._total_queued += (size := rfc6455.frame_size(len(data)))
            self._last = (ids, size, self._total_queued)

    def take_back(self) -> tuple[str, ...]:
        # Frames that picows itself writes are not counted: after such a frame, it is unknown how
        # much of our last frame was sent.
        if (
            self._last[1]
            and self._websocket is not None
            and self._websocket.is_close_frame_sent
            and not self._close_queued
        ):
            return ()
        return super().take_back()

    def hang_up(self, code: int, reason: str) -> None:
        if self._websocket is None:
            self.abort()
        else:
            self._over = self._over or "closed by this side"
            self._send_close(code, reason)
            self.abort_after_close_timeout()

    # --- private ---

    def _read(self, websocket: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            self._protocol_error(rfc6455.RESERVED_BITS)
        elif kind == _TEXT and frame.fin and self._fragments is None:
            self._received_text(frame)
        elif kind == _BINARY and frame.fin and self._fragments is None:
            self._unprocessed.messages.append(frame.get_payload_as_bytes())
        elif kind == _PING:
            self._pong = frame.get_payload_as_bytes()
        elif kind == _CLOSE:
            self._closed_by_peer(websocket, frame.get_payload_as_bytes())
        elif kind in (_TEXT, _BINARY, _CONTINUATION):
            self._add_fragment(frame)

    def _closed_by_peer(self, websocket: WSTransport, payload: bytes) -> None:
        # picows has checked the length and the reason, but not every code.
        code = int.from_bytes(payload[:2], "big") if payload else NO_CODE
        if payload and not rfc6455.may_be_sent(code):
            self._protocol_error(rfc6455.INVALID_CLOSE_CODE)
            return
        # Echo the payload: a frame without a code must be answered by one without.
        if not websocket.is_close_frame_sent:
            websocket.send(_CLOSE, payload)
            self._total_queued += rfc6455.frame_size(len(payload))
            self._close_queued = True
        self._end(closed_by_peer(code, payload[2:].decode()))

    def _received_text(self, frame: WSFrame) -> None:
        try:
            text = frame.get_payload_as_utf8_text()
        except UnicodeDecodeError as error:
            self._invalid_text(error)
        else:
            self._unprocessed.messages.append(text)

    def _invalid_text(self, error: UnicodeDecodeError) -> None:
        if raised_by_caller(error, "picows"):
            raise error
        self._protocol_error(rfc6455.INVALID_TEXT, WSCloseCode.INVALID_TEXT)

    def _add_fragment(self, frame: WSFrame) -> None:
        """Add a fragment to its message."""
        parts = self._fragments
        if (parts is None) == (frame.msg_type == _CONTINUATION):
            self._protocol_error(rfc6455.NO_START if parts is None else rfc6455.NO_CONTINUATION)
            return
        if parts is None:
            parts = bytearray()
            self._text = rfc6455.utf8_checker() if frame.msg_type == _TEXT else None
        if len(parts) + frame.payload_size > self._limit:
            self._send_close(WSCloseCode.MESSAGE_TOO_BIG.value, "")
            self._end(too_long(self._limit))
            return
        data = frame.get_payload_as_memoryview()
        try:
            if self._text is not None:
                self._text.decode(data, frame.fin)
        except UnicodeDecodeError as error:
            self._invalid_text(error)
            return
        parts += data
        self._fragments = None if frame.fin else parts
        if frame.fin:
            message = bytes(parts) if self._text is None else parts.decode()
            self._unprocessed.messages.append(message)

    def _write_pong(self) -> None:
        """Write the pending pong, unless an earlier write is stalled: see `WebSocket.outgoing`."""
        websocket, pong = self._websocket, self._pong
        if (
            pong is not None
            and websocket is not None
            and self.stalled_since == inf
            and self._over is None
        ):
            self._pong = None
            self._total_queued += rfc6455.frame_size(len(pong))
            websocket.send_pong(pong)

    async def _wait_disconnected(self, websocket: WSTransport) -> None:
        """Wait for the end, and retrieve the exception of picows, which asyncio would log."""
        try:
            await websocket.wait_disconnected()
        except Exception as error:  # noqa: BLE001 - the end was already reported
            if raised_by_caller(error, "picows", "uvloop", package_of_loop()):
                self.pass_to_loop(error)
        finally:
            self.on_socket_closed()

    def _protocol_error(self, how: str, code: WSCloseCode = WSCloseCode.PROTOCOL_ERROR) -> None:
        """End the WebSocket after a protocol error that picows does not detect."""
        self._send_close(code.value, "")
        self._end(protocol_broken(how))

    def _end(self, why: str) -> None:
        self._over, self._end_due = why, True
        self._unprocessed.parts.clear()  # nothing counts after this

    def _send_close(self, code: int, reason: str) -> None:
        if self._websocket is not None and not self._websocket.is_close_frame_sent:
            words = reason.encode()
            self._total_queued += rfc6455.frame_size(2 + len(words))
            self._close_queued = True
            self._websocket.send_close(WSCloseCode(code), words)


async def _close_orphan(sock: socket.socket, same: socket.socket) -> None:
    """Close a socket whose transport is unreachable: ending its stream makes the transport close.

    `same` is a duplicate. uvloop may have closed the descriptor of `sock` without its knowledge,
    and the system may have given the number to another file since then.
    """
    try:
        with suppress_ours(OSError):
            same.shutdown(socket.SHUT_RDWR)
        for _ in range(_TURNS):
            if sock.fileno() < 0:
                return
            await asyncio.sleep(0)
    finally:
        if sock.fileno() >= 0:
            if _is_open(sock, same):
                sock.close()
            else:
                sock.detach()


def _is_open(sock: socket.socket, same: socket.socket) -> bool:
    """Return whether the descriptor of `sock` is still that of its connection."""
    try:
        return os.path.sameopenfile(sock.fileno(), same.fileno())
    except OSError:
        return False
