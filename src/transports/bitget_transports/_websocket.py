"""One WebSocket over websockets' Sans-I/O layer: bytes from and to a socket, whole messages from and to a driver.

Rules of this file
- Nothing here reads or writes a socket, or waits. What is to be written comes back as bytes.
- It ends once: then `over` says why, for people, and nothing more comes out.
- The layer's own log is silent: it would show the login.

The asyncio and the blocking transport share it.
"""

from __future__ import annotations

import logging

try:
    from websockets.client import ClientProtocol
    from websockets.exceptions import InvalidHeader, InvalidStatus, InvalidUpgrade
    from websockets.frames import Close, Frame, Opcode
    from websockets.http11 import Response
    from websockets.protocol import State
    from websockets.uri import parse_uri
except ImportError as error:
    raise ImportError(
        "this transport needs websockets: pip install 'bitget-proto[asyncio]', or [blocking]: they are the same"
    ) from error

from ._errors import ConnectFailed, UpgradeRefused
from ._target import Target, closed_by_peer, frame_limit

_TEXT, _BINARY, _CONT = Opcode.TEXT, Opcode.BINARY, Opcode.CONT

_SILENT = logging.Logger("bitget_transports.websocket", level=logging.CRITICAL + 1)  # noqa: LOG001 - not one that others can switch on


class WebSocket:
    """The client's side of one WebSocket, without its socket."""

    __slots__ = ("_fragments", "_protocol", "_target", "date", "opened", "over")

    def __init__(self, target: Target, max_message: int | None) -> None:
        self._target = target
        # No extensions: the exchange's messages are small, and what is not compressed cannot explode.
        self._protocol = ClientProtocol(parse_uri(target.url), max_size=frame_limit(max_message), logger=_SILENT)
        self._fragments: list[bytes] = []
        self.date: str | None = None
        """What the answer to the handshake said that the time is, if it did."""
        self.opened = False
        """Whether the handshake is done."""
        self.over: str | None = None
        """Why no more messages will come; None while they may."""

    def start(self) -> bytes:
        """The handshake's request: write it first."""
        self._protocol.send_request(self._protocol.connect())
        return self.outgoing()

    def encode(self, text: str) -> bytes:
        """A text message as the bytes to write; none when the WebSocket has ended: nothing leaves after a close frame."""
        if self._protocol.state is not State.OPEN:
            return b""
        self._protocol.send_text(text.encode())
        return self.outgoing()

    def hang_up(self, code: int, reason: str) -> bytes:
        """A close frame as the bytes to write; none when one was sent already, or the handshake is not done."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
        self.over = self.over or "closed by this side"
        return self.outgoing()

    def receive(self, data: bytes) -> list[bytes]:
        """The socket brought these bytes: the messages that are whole now. Then look at `opened` and `over`, and write
        `outgoing`.
        """
        protocol = self._protocol
        protocol.receive_data(data)
        messages: list[bytes] = []
        for event in protocol.events_received():
            if isinstance(event, Frame):
                if event.opcode is _TEXT or event.opcode is _BINARY or event.opcode is _CONT:
                    if event.fin and not self._fragments:
                        messages.append(bytes(event.data))
                    else:
                        self._fragments.append(bytes(event.data))
                        if event.fin:
                            messages.append(b"".join(self._fragments))
                            self._fragments.clear()
            elif isinstance(event, Response):
                self.opened = protocol.handshake_exc is None
                self.date = event.headers.get("Date")
        if protocol.state is not State.OPEN and self.over is None:
            self._look_for_the_end()
        return messages

    def end_of_stream(self) -> None:
        """The socket brought its end."""
        self._protocol.receive_eof()
        if self.over is None:
            self._look_for_the_end()

    def outgoing(self) -> bytes:
        """What the layer wants written of its own accord: pongs, the answer to a close frame."""
        return b"".join(self._protocol.data_to_send())

    def refusal(self) -> ConnectFailed:
        """Why the handshake failed."""
        error = self._protocol.handshake_exc
        host = self._target.host
        if isinstance(error, InvalidStatus):
            failure: ConnectFailed = UpgradeRefused(host, error.response.status_code, bytes(error.response.body or b""))
        elif isinstance(error, (InvalidHeader, InvalidUpgrade)):
            failure = ConnectFailed(f"{host} answered the WebSocket's handshake wrongly ({error}): check the URL")
        elif error is not None:
            failure = ConnectFailed(f"{host} does not speak HTTP ({error}): check the URL and its port")
        else:
            failure = ConnectFailed(f"{host} ended the connection before the WebSocket was open: try again later")
        failure.__cause__ = error
        return failure

    def _look_for_the_end(self) -> None:
        protocol = self._protocol
        if protocol.state is State.CONNECTING and protocol.handshake_exc is None:
            return
        received: Close | None = protocol.close_rcvd
        if protocol.handshake_exc is not None:
            self.over = "the handshake failed"
        elif received is not None:
            self.over = closed_by_peer(received.code, received.reason)
        elif protocol.parser_exc is not None and not isinstance(protocol.parser_exc, EOFError):
            self.over = f"the exchange broke the WebSocket protocol: {protocol.parser_exc}"
        else:
            self.over = "the connection ended without a close frame"
