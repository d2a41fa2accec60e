"""A client's WebSocket without its socket, over websockets' Sans-I/O layer: what the examples with a loop of their own share.

Take this when you have a socket and a loop but no WebSocket: bytes go in and come out, and nothing here reads, writes or waits.
"""

import logging
from collections import deque
from collections.abc import Iterable

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

_SILENT = logging.Logger("silent", level=logging.CRITICAL + 1)  # noqa: LOG001 - the layer's log would show the login


class WebSocket:
    """Feed it what the socket brings; write what its methods return."""

    def __init__(self, url: str) -> None:
        uri = parse_uri(url)
        self.address = uri.host, uri.port
        self.protocol = ClientProtocol(uri, logger=_SILENT)  # a message has 1 MiB at the most
        self.parts = bytearray()
        self.arrived = deque[bytes]()
        """The messages that nobody has taken."""
        self.opened = False
        """Whether the handshake is done."""
        self.over: str | None = None
        """Why no more will arrive; None while it may."""

    def start(self) -> bytes:
        """The handshake's request."""
        self.protocol.send_request(self.protocol.connect())
        return self.outgoing()

    def feed(self, data: bytes) -> bytes:
        """What the socket brought, or no bytes for its end: look at `arrived` and `over`; pongs are to be written."""
        if data:
            self.protocol.receive_data(data)
        else:
            self.protocol.receive_eof()
            self.over = self.over or "the stream has ended"
        self.take(self.protocol.events_received())
        if self.protocol.handshake_exc is not None:
            self.over = f"the handshake failed: {self.protocol.handshake_exc}"
        elif self.protocol.state in (State.CLOSING, State.CLOSED):
            self.over = (
                self.over or f"closed: {self.protocol.close_rcvd or self.protocol.parser_exc}"
            )
        return self.outgoing()

    def take(self, events: Iterable[object]) -> None:
        """Put fragments together."""
        for event in events:
            match event:
                case Response():
                    self.opened = self.protocol.handshake_exc is None
                case Frame(opcode=Opcode.TEXT | Opcode.BINARY | Opcode.CONT, data=data, fin=fin):
                    self.parts += data
                    if fin:
                        self.arrived.append(bytes(self.parts))
                        self.parts.clear()
                case _:  # pings, which the layer answers
                    pass

    def text(self, text: str) -> bytes:
        """A text message; nothing when the WebSocket is closing."""
        if self.protocol.state is State.OPEN:
            self.protocol.send_text(text.encode())
        return self.outgoing()

    def close(self, code: int, reason: str) -> bytes:
        """A close frame; nothing when there was one."""
        if self.protocol.state is State.OPEN:
            self.protocol.send_close(code, reason)
        return self.outgoing()

    def outgoing(self) -> bytes:
        """What is to be written. The end of the stream, which the layer says by no bytes, is left to the socket's close."""
        return b"".join(self.protocol.data_to_send())
