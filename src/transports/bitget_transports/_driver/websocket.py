"""One WebSocket over websockets' Sans-I/O layer: bytes from and to a socket, whole messages from and to a driver.

Rules of this file
- Nothing here reads or writes a socket, or waits. What is to be written comes back as bytes.
- It ends once: then `over` says why, for people, and nothing more comes out.
- The layer's own log is silent: it would show the login.
- The layer takes whatever is raised within it for the other side's fault. What is the caller's comes out: see
  `exception_origin`.
- Memory is bounded, whatever the other side does: a message by the layer's limit, fragments by what they hold, pongs to one.

The asyncio and the blocking transport share it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

try:
    from websockets.client import ClientProtocol
    from websockets.exceptions import (
        InvalidHeader,
        InvalidStatus,
        InvalidUpgrade,
        WebSocketException,
    )
    from websockets.frames import Close, Frame, Opcode
    from websockets.http11 import Response
    from websockets.protocol import State
    from websockets.uri import parse_uri
except ImportError as error:
    raise ImportError(
        "this transport needs websockets: pip install 'bitget-proto[asyncio]', or [blocking]: they are the same"
    ) from error

from .connect_errors import (
    NO_CLOSE_FRAME,
    answered_wrongly,
    closed_by_peer,
    could_not_connect,
    ended_early,
    interrupted,
    protocol_broken,
    speaks_no_http,
)
from .errors import ConnectFailed, UpgradeRefused
from .exception_origin import is_callers
from .http_refusal import header, retry_after
from .limits import frame_limit
from .url import Target

# In Python 3.11 looking a member up on its enum takes 0.1 µs.
_TEXT, _BINARY, _CONT = Opcode.TEXT, Opcode.BINARY, Opcode.CONT
_CONNECTING, _OPEN = State.CONNECTING, State.OPEN

_AT_ONCE = 2**14
"""Bytes that the layer is given at a time: of two bytes it may make two hundred, a frame and its pong."""

_PONG = b"\x8a"
"""The first byte of a pong (RFC 6455, 5.2): final, and the opcode 10."""

_HEAD = 2**14
"""Bytes that are kept of an answer to the handshake: of a longer head the status is not told unless its body ends."""

_REFUSAL = re.compile(rb"HTTP/1\.1 ([2-5]\d\d) .*?\r\n\r\n", re.DOTALL)
"""The head of an answer that opens no WebSocket, whole."""

_FAULTS = (EOFError, UnicodeDecodeError, WebSocketException)
"""What the layer raises for frames that it cannot read."""

SILENT = logging.Logger("bitget_transports.websocket", level=logging.CRITICAL + 1)  # noqa: LOG001 - not one that others can switch on


class WebSocket:
    """The client's side of one WebSocket, without its socket."""

    __slots__ = (
        "_fragments", "_head", "_let_out", "_outgoing", "_pong", "_protocol", "_target", "date", "opened", "over", "owes",
    )  # fmt: skip

    def __init__(self, target: Target, max_message: int | None) -> None:
        self._target = target
        # No extensions: the exchange's messages are small, and what is not compressed cannot explode.
        self._protocol = ClientProtocol(
            parse_uri(target.url), max_size=frame_limit(max_message), logger=SILENT
        )
        self._fragments = bytearray()
        """The beginning of a message that is not whole."""
        self._head = b""
        """The first bytes of the answer to the handshake."""
        self._outgoing = b""
        """What the layer wants written."""
        self._pong = b""
        """The answer to the last ping, if it is not written."""
        self.date: str | None = None
        """What the answer to the handshake said that the time is, if it did."""
        self.opened = False
        """Whether the handshake is done."""
        self.owes = False
        """Whether `outgoing` may have something to write."""
        self._let_out: BaseException | None = None
        """What the caller's own code raised within the layer, once it has been raised here."""
        self.over: str | None = None
        """Why no more messages will come; None while they may."""

    def start(self) -> bytes:
        """The handshake's request: write it first."""
        self._protocol.send_request(self._protocol.connect())
        self._put_aside()
        return self.outgoing()

    def encode(self, text: str) -> bytes:
        """A text message as the bytes to write; none when the WebSocket has ended: nothing leaves after a close frame."""
        if self._protocol.state is not _OPEN:
            return b""
        return Frame(_TEXT, text.encode()).serialize(mask=True)

    def hang_up(self, code: int, reason: str) -> bytes:
        """A close frame as the bytes to write; none when one was sent already, or the handshake is not done."""
        if self._protocol.state is _OPEN:
            self._protocol.send_close(code, reason)
            self._put_aside()
        self.over = self.over or "closed by this side"
        return self.outgoing()

    def receive(self, data: bytes) -> list[bytes]:
        """The socket brought these bytes: the messages that are whole now. Then look at `opened` and `over`, and write
        `outgoing`, if it `owes` anything.

        Raises: what the caller's own code raised meanwhile, a signal handler for example; then this is torn.
        """
        protocol = self._protocol
        messages: list[bytes] = []
        if not self.opened:
            self._head += data[: _HEAD - len(self._head)]
        parts = (data,) if len(data) <= _AT_ONCE else _cut(data, _AT_ONCE)
        for part in parts:
            protocol.receive_data(part)
            for event in protocol.events_received():
                if isinstance(event, Frame):
                    opcode = event.opcode
                    if event.fin and (opcode is _TEXT or opcode is _BINARY):
                        messages.append(bytes(event.data))
                    else:
                        self._take_in(event, messages)
                elif isinstance(event, Response):
                    self.opened = protocol.handshake_exc is None
                    # There may be two of them, or none.
                    self.date = next(iter(event.headers.get_all("Date")), None)
        if protocol.state is not _OPEN or protocol.parser_exc is not None:
            self._let_out_what_is_callers()
            self._put_aside()
            self._look_for_the_end()
        return messages

    def end_of_stream(self) -> None:
        """The socket brought its end."""
        self._protocol.receive_eof()
        self._let_out_what_is_callers()
        self._put_aside()
        self._look_for_the_end()

    def outgoing(self, *, stalled: bool = False) -> bytes:
        """What the layer wants written of its own accord: pongs, the answer to a close frame.

        Of many pongs only the last is written, and none while what was written before is `stalled`: "If an endpoint receives a
        Ping frame and has not yet sent Pong frame(s) in response to previous Ping frame(s), the endpoint MAY elect to send a
        Pong frame for only the most recently processed Ping frame" (RFC 6455, 5.5.3). Who sends pings and reads no pongs would
        fill the memory.
        """
        data, self._outgoing = self._outgoing, b""
        # Nothing may come behind a close frame.
        if self._pong and not stalled and self._protocol.state is _OPEN:
            data, self._pong = data + self._pong, b""
        self.owes = bool(self._pong)
        return data

    def refused(self) -> UpgradeRefused | None:
        """The answer to the handshake when it is a refusal whose head is there, though its body has not ended. The layer tells
        no answer before all of it has come.
        """
        head = _REFUSAL.match(self._head)
        return None if head is None else self._upgrade_refused(int(head[1]), b"")

    def refusal(self) -> ConnectFailed:
        """Why the handshake failed."""
        error = self._protocol.handshake_exc
        if self._let_out is not None:
            return could_not_connect(self._target, self._let_out)
        if isinstance(error, InvalidStatus):
            failure: ConnectFailed = self._upgrade_refused(
                error.response.status_code, bytes(error.response.body or b"")
            )
        elif (refused := self.refused()) is not None:
            failure = refused  # with a body that was cut short, or that the layer does not read
        elif isinstance(error, (InvalidHeader, InvalidUpgrade)):
            failure = answered_wrongly(self._target, error)
        elif error is not None:
            failure = speaks_no_http(self._target, error)
        else:
            failure = ended_early(self._target)
        failure.__cause__ = error
        return failure

    def _upgrade_refused(self, status: int, body: bytes) -> UpgradeRefused:
        wait = retry_after(status, header(self._head, "Retry-After"), header(self._head, "Date"))
        return UpgradeRefused(self._target.host, status, body, wait)

    def _take_in(self, frame: Frame, messages: list[bytes]) -> None:
        """What is not a whole message."""
        if frame.opcode is _TEXT or frame.opcode is _BINARY or frame.opcode is _CONT:
            self._fragments += frame.data
            if frame.fin:
                messages.append(bytes(self._fragments))
                self._fragments.clear()
        else:
            self._put_aside()

    def _put_aside(self) -> None:
        """Take what the layer wants written: the pongs but for the last are in vain."""
        for data in self._protocol.data_to_send():
            self.owes = True
            if data[:1] == _PONG:
                self._pong = data
            else:
                self._outgoing += data

    def _let_out_what_is_callers(self) -> None:
        protocol = self._protocol
        error: BaseException | None = protocol.handshake_exc or protocol.parser_exc
        if (
            error is None
            or self._let_out is not None
            or (isinstance(error, _FAULTS) and not is_callers(error))
        ):
            return
        while error.__cause__ is not None:
            error = error.__cause__
        self._let_out = error
        raise error

    def _look_for_the_end(self) -> None:
        protocol = self._protocol
        if self.over is not None or (
            protocol.state is _CONNECTING and protocol.handshake_exc is None
        ):
            return
        received: Close | None = protocol.close_rcvd
        if protocol.handshake_exc is not None:
            self.over = "the handshake failed"
        elif self._let_out is not None:
            self.over = interrupted(self._let_out)
        elif received is not None:
            self.over = closed_by_peer(received.code, received.reason)
        elif protocol.parser_exc is not None and not isinstance(protocol.parser_exc, EOFError):
            self.over = protocol_broken(protocol.parser_exc)
        else:
            self.over = NO_CLOSE_FRAME


def _cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))
