"""A sans-IO WebSocket over the Sans-I/O layer of websockets, shared by the asyncio and blocking
transports. It turns bytes from a socket into whole messages, and messages into bytes to write.

- Nothing here waits, or reads or writes a socket.
- After the end, `end_reason` is the reason in readable form, and no more messages are returned.
- The logger of websockets is silenced, because it would show the login.
- websockets treats every exception that is raised while it runs as an error of the peer. Exceptions
  from the caller's code are raised again: see `exception_origin`.
- websockets does not check all rules of RFC 6455. The others are checked here: see `rfc6455`.
- Memory is bounded, whatever the peer does: by the size limit for messages and fragments, and by
  keeping only one pong.
"""

from __future__ import annotations

import logging
from codecs import IncrementalDecoder
from collections.abc import Generator

try:
    from websockets.client import ClientProtocol
    from websockets.exceptions import (
        InvalidStatus,
        PayloadTooBig,
        ProtocolError,
        WebSocketException,
    )
    from websockets.frames import Close, Frame, Opcode
    from websockets.http11 import Response
    from websockets.protocol import State
    from websockets.streams import StreamReader
    from websockets.uri import parse_uri
    from websockets.utils import accept_key
except ImportError as error:
    raise ImportError(
        "this transport needs websockets: pip install 'bitget-proto[asyncio]' or "
        "'bitget-proto[blocking]', which install the same"
    ) from error

from . import rfc6455
from .connect_errors import (
    answered_wrongly,
    closed_by_peer,
    connection_broken,
    could_not_connect,
    ended_early,
    interrupted,
    protocol_broken,
    speaks_no_http,
    too_long,
)
from .errors import ConnectFailed, UpgradeRefused
from .exception_origin import raised_by_caller
from .http_refusal import refusal
from .limits import frame_limit
from .url import Target

# In Python 3.11 the lookup of an enum member takes 0.1 µs.
_TEXT, _BINARY, _CONT = Opcode.TEXT, Opcode.BINARY, Opcode.CONT
_CONNECTING, _OPEN = State.CONNECTING, State.OPEN

_PONG = b"\x8a"
"""The first byte of a pong (RFC 6455, 5.2): final, and the opcode 10."""

_HEAD = 2**14
"""How many bytes of the handshake response are kept. If the head is longer than this, a refusal is
reported only when the body ends.
"""

_WHOLE_TEXT = 0x81
"""The first byte of a text message in one frame."""

_FAULTS = (EOFError, UnicodeDecodeError, WebSocketException)
"""Exceptions of websockets for frames that it cannot read."""

# Not registered with `logging`, so that nothing can enable it.
SILENT = logging.Logger("bitget_transports.websocket", level=logging.CRITICAL + 1)  # noqa: LOG001


class WebSocket:
    """The client side of one WebSocket, without its socket."""

    __slots__ = (
        "_answer",
        "_callers_error",
        "_fragments",
        "_head",
        "_limit",
        "_outgoing",
        "_pong",
        "_protocol",
        "_target",
        "_text",
        "_wrong_answer",
        "date",
        "end_reason",
        "has_outgoing",
        "opened",
    )  # fmt: skip

    def __init__(self, target: Target, max_message: int | None) -> None:
        self._target = target
        # No extensions: messages are small, and without compression a short message cannot expand
        # into a huge one.
        self._limit = frame_limit(max_message)
        self._protocol = ClientProtocol(parse_uri(target.url), max_size=self._limit, logger=SILENT)
        # websockets asks for this method at each read.
        reader = self._protocol.reader
        reader.read_exact = _CheckedReads(reader)  # type: ignore[method-assign, assignment]
        self._answer = rfc6455.FinalAnswer()
        self._fragments = bytearray()
        """The beginning of an incomplete message."""
        self._text = False
        """Whether that is a text message."""
        self._wrong_answer: str | None = None
        """What is wrong with an answer of status 101."""
        self._head = b""
        """The first bytes of the answer to the handshake."""
        self._outgoing = b""
        """Bytes that websockets wants written."""
        self._pong = b""
        """The answer to the last ping, while it is not written."""
        self.date: str | None = None
        """The Date of the answer to the handshake."""
        self.opened = False
        """Whether the handshake succeeded."""
        self.has_outgoing = False
        """Whether `outgoing` may return something to write."""
        self._callers_error: BaseException | None = None
        """An exception that the caller's own code, such as a signal handler, raised while
        websockets was running. Set when it is raised again; None until then.
        """
        self.end_reason: str | None = None
        """Why the WebSocket ended; None before the end."""

    def start(self) -> bytes:
        """Return the request of the handshake; write it first."""
        self._protocol.send_request(self._protocol.connect())
        self._collect_output()
        return self.outgoing()

    def encode(self, text: str) -> bytes:
        """Return a text message as bytes to write; empty when the WebSocket has ended, since
        nothing may be written after a close frame.
        """
        if self._protocol.state is not _OPEN:
            return b""
        return Frame(_TEXT, text.encode()).serialize(mask=True)

    def hang_up(self, code: int, reason: str) -> bytes:
        """Return a close frame as bytes to write; empty when one was already sent, or the handshake
        is not done.
        """
        if self._protocol.state is _OPEN:
            self._protocol.send_close(code, reason)
            self._collect_output()
        self.end_reason = self.end_reason or "closed by this side"
        return self.outgoing()

    def receive(self, data: bytes) -> list[str | bytes]:
        """Process bytes from the socket, and return the messages that are complete now: text as
        str, binary as bytes.

        Pass at most `PARSER_BYTES` at a time: a ping of two bytes can cost two hundred bytes of
        memory. Then check `opened` and `end_reason`, and write `outgoing` if `has_outgoing` is
        true.

        Raises: an exception that the caller's own code, such as a signal handler, raised meanwhile.
        The state may be inconsistent then.
        """
        protocol = self._protocol
        messages: list[str | bytes] = []
        if not self.opened:
            data = self._answer.receive(data)
            self._head += data[: _HEAD - len(self._head)]
            if not rfc6455.begins_http(self._head):
                # websockets waits for the end of the line.
                self.end_reason = "the handshake failed"
                return messages
        protocol.receive_data(data)
        for event in protocol.events_received():
            if isinstance(event, Frame):
                opcode = event.opcode
                if event.fin and opcode is _TEXT:
                    messages.append(str(event.data, "utf-8"))
                else:
                    self._handle_other(event, messages)
            elif isinstance(event, Response):
                self.opened = protocol.handshake_exc is None
                if event.status_code == 101:
                    self._wrong_answer = rfc6455.wrong_upgrade(
                        event.headers.raw_items(), accept_key(protocol.key)
                    )
                # There may be no Date, or two.
                self.date = next(iter(event.headers.get_all("Date")), None)
        if protocol.state is not _OPEN or protocol.parser_exc is not None:
            self._raise_callers_error()
            self._collect_output()
            self._check_for_end()
        return messages

    def end_of_stream(self) -> None:
        """Process the end of the stream from the socket."""
        self._protocol.receive_eof()
        self._raise_callers_error()
        self._collect_output()
        self._check_for_end()

    def outgoing(self, *, stalled: bool = False) -> bytes:
        """Return what websockets itself wants written: pongs, and the answer to a close frame.

        Only the last of several pongs is written, and none while earlier writes are `stalled`: "If
        an endpoint receives a Ping frame and has not yet sent Pong frame(s) in response to previous
        Ping frame(s), the endpoint MAY elect to send a Pong frame for only the most recently
        processed Ping frame" (RFC 6455, 5.5.3). If every pong were kept, a peer that sends pings
        and reads no pongs would fill the memory.
        """
        data, self._outgoing = self._outgoing, b""
        # Nothing may follow a close frame.
        if self._pong and not stalled and self._protocol.state is _OPEN:
            data, self._pong = data + self._pong, b""
        self.has_outgoing = bool(self._pong)
        return data

    def early_refusal(self) -> UpgradeRefused | None:
        """Return the refusal in the answer to the handshake if its head is complete, although its
        body has not ended. websockets itself waits for the whole answer.
        """
        return refusal(self._target.host, self._head, b"")

    def handshake_error(self) -> ConnectFailed:
        """Return why the handshake failed."""
        error = self._protocol.handshake_exc
        if self._callers_error is not None:
            return could_not_connect(self._target, self._callers_error)
        body = bytes(error.response.body or b"") if isinstance(error, InvalidStatus) else b""
        failure: ConnectFailed | None = refusal(self._target.host, self._head, body)
        if failure is not None:
            pass  # the body may be cut short, or be of a kind that websockets does not read
        elif self._wrong_answer is not None:
            failure = answered_wrongly(self._target, self._wrong_answer)
        elif self._head.startswith(b"HTTP/1.0 101"):
            failure = answered_wrongly(self._target, "HTTP/1.0 instead of HTTP/1.1")
        elif rfc6455.begins_http(self._head) and (error is None or _is_end(error)):
            failure = ended_early(self._target)
        else:
            failure = speaks_no_http(self._target)
        failure.__cause__ = error
        return failure

    def _handle_other(self, frame: Frame, messages: list[str | bytes]) -> None:
        """Handle a frame that is not a whole text message."""
        if frame.opcode is _TEXT or frame.opcode is _BINARY or frame.opcode is _CONT:
            if frame.opcode is not _CONT:
                self._text = frame.opcode is _TEXT
            self._fragments += frame.data
            if frame.fin:
                data = self._fragments
                messages.append(data.decode() if self._text else bytes(data))
                self._fragments.clear()
        else:
            self._collect_output()

    def _collect_output(self) -> None:
        """Collect what websockets wants written. Only the last pong is kept."""
        for data in self._protocol.data_to_send():
            self.has_outgoing = True
            if data[:1] == _PONG:
                self._pong = data
            else:
                self._outgoing += data

    def _raise_callers_error(self) -> None:
        protocol = self._protocol
        error: BaseException | None = protocol.handshake_exc or protocol.parser_exc
        if (
            error is None
            or self._callers_error is not None
            or (isinstance(error, _FAULTS) and not raised_by_caller(error))
        ):
            return
        while error.__cause__ is not None:
            error = error.__cause__
        self._callers_error = error
        raise error

    def _check_for_end(self) -> None:
        protocol = self._protocol
        if self.end_reason is not None or (
            protocol.state is _CONNECTING and protocol.handshake_exc is None
        ):
            return
        received: Close | None = protocol.close_rcvd
        if protocol.handshake_exc is not None:
            self.end_reason = "the handshake failed"
        elif self._callers_error is not None:
            self.end_reason = interrupted(self._callers_error)
        elif received is not None:
            self.end_reason = closed_by_peer(received.code, received.reason)
        elif isinstance(protocol.parser_exc, PayloadTooBig):
            self.end_reason = too_long(self._limit)
        elif protocol.parser_exc is not None and not isinstance(protocol.parser_exc, EOFError):
            self.end_reason = protocol_broken(_violation(protocol.parser_exc))
        else:
            self.end_reason = connection_broken()


class _CheckedReads:
    """Replaces the method by which websockets reads a part of a frame: its head, the length if it
    is not in the head, and the data. Raises what websockets raises for a frame that it refuses.
    """

    __slots__ = ("_buffer", "_data_next", "_form", "_head", "_read", "_text", "_within_message")

    def __init__(self, reader: StreamReader) -> None:
        self._buffer, self._read = reader.buffer, reader.read_exact
        self._form = 0
        """126 or 127 when the next read is the length; 0 otherwise."""
        self._data_next = False
        """Whether the next read is the data."""
        self._head = 0
        """The first byte of the frame."""
        self._within_message = False
        """Whether a fragmented message is incomplete."""
        self._text: IncrementalDecoder | None = None
        """Checks that message; None when it is binary."""

    def __call__(self, size: int) -> Generator[None, None, bytearray]:
        # Each message takes three reads, and nearly all have arrived.
        if size <= len(self._buffer):
            data = self._buffer[:size]
            del self._buffer[:size]
        else:
            data = yield from self._read(size)
        if self._data_next:
            self._data_next = False
            if self._head != _WHOLE_TEXT or not data.isascii():
                self._check_data(data)
        elif self._form:
            if not rfc6455.is_length(self._form, int.from_bytes(data, "big")):
                raise ProtocolError(rfc6455.INVALID_LENGTH)
            self._form, self._data_next = 0, True
        else:
            self._head, length = data
            wrong = rfc6455.wrong_head(self._head, length, within_message=self._within_message)
            if wrong is not None:
                raise ProtocolError(wrong)
            if length > 125:
                self._form = length
            else:
                self._data_next = True
        return data

    def _check_data(self, data: bytearray) -> None:
        opcode, final = self._head & 0x0F, self._head >= 0x80
        if opcode & 0x8:
            return
        try:
            if self._head == _WHOLE_TEXT:
                data.decode()
                return
            if opcode:
                self._text = rfc6455.utf8_checker() if opcode == _TEXT else None
            if self._text is not None:
                self._text.decode(data, final)
        except UnicodeDecodeError as error:
            error.reason = rfc6455.INVALID_TEXT
            raise
        self._within_message = not final


def _is_end(error: BaseException | None) -> bool:
    """Return whether the handshake failed because the stream had ended."""
    while error is not None and not isinstance(error, EOFError):
        error = error.__cause__
    return error is not None


def _violation(error: Exception) -> object:
    """Return how the peer broke the protocol."""
    if not isinstance(error, UnicodeDecodeError):
        return error
    # websockets itself decodes only the reason of a close frame.
    is_text = error.reason == rfc6455.INVALID_TEXT
    return rfc6455.INVALID_TEXT if is_text else rfc6455.INVALID_REASON
