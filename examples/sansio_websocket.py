"""A sans-IO WebSocket client, over the Sans-I/O layer of the websockets library.

Use this when you have a socket and a loop but no WebSocket. Bytes go in and come out; nothing here
does I/O. The examples with a loop of their own share it.
"""

import logging
from collections import deque
from collections.abc import Iterable

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

# Disables the log of websockets, which would contain the login.
_SILENT = logging.Logger("silent", level=logging.CRITICAL + 1)  # noqa: LOG001


class WebSocket:
    """Pass the bytes from the socket to `feed`, and write the bytes that the methods return."""

    def __init__(self, url: str) -> None:
        uri = parse_uri(url)
        self.address = uri.host, uri.port
        self.protocol = ClientProtocol(uri, logger=_SILENT)  # limits messages to 1 MiB
        self.parts = bytearray()
        self.arrived = deque[bytes]()
        """The received messages; the caller removes them."""
        self.opened = False
        """Whether the opening handshake is done."""
        self.over: str | None = None
        """Why no more messages will arrive; None while they may."""

    def start(self) -> bytes:
        """Return the request of the opening handshake."""
        self.protocol.send_request(self.protocol.connect())
        return self.outgoing()

    def feed(self, data: bytes) -> bytes:
        """Process bytes from the socket; b"" means its end. Return the bytes to write.

        Then check `arrived` and `over`.
        """
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
        """Join fragments to messages."""
        for event in events:
            match event:
                case Response():
                    self.opened = self.protocol.handshake_exc is None
                case Frame(opcode=Opcode.TEXT | Opcode.BINARY | Opcode.CONT, data=data, fin=fin):
                    self.parts += data
                    if fin:
                        self.arrived.append(bytes(self.parts))
                        self.parts.clear()
                case _:  # pings, which the websockets layer answers
                    pass

    def text(self, text: str) -> bytes:
        """Return a text frame, or b"" when the WebSocket is closing."""
        if self.protocol.state is State.OPEN:
            self.protocol.send_text(text.encode())
        return self.outgoing()

    def close(self, code: int, reason: str) -> bytes:
        """Return a close frame, or b"" after the first one."""
        if self.protocol.state is State.OPEN:
            self.protocol.send_close(code, reason)
        return self.outgoing()

    def outgoing(self) -> bytes:
        """Return the bytes to write.

        The layer marks the end of the stream by b"", which is ignored: closing the socket ends it.
        """
        return b"".join(self.protocol.data_to_send())
