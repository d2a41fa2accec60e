"""Drive the core over the asyncio client of the websockets library.

Use this when your program already has such a client, with its own TLS and headers. The part that is
the same for other clients is in on_asyncio.py.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.frames import Frame, Opcode
from websockets.protocol import Event

from driver import CLOSING
from on_asyncio import Carrier, show


class ClosingConnection(ClientConnection):
    """Calls `on_close` as soon as a close frame arrives.

    `recv` raises only when the last write has ended and the socket is closed.
    """

    on_close: Callable[[], object] = bool

    def process_event(self, event: Event) -> None:
        super().process_event(event)
        if isinstance(event, Frame) and event.opcode is Opcode.CLOSE:
            self.on_close()


class Own(Carrier):
    """Drives a connection over the websockets client, by the rules of docs/driver.md."""

    errors = ConnectionClosed, OSError

    async def dial(self) -> None:
        try:
            self.socket = await connect(
                self.url,
                create_connection=ClosingConnection,
                ping_interval=None,  # the core sends the pings that the exchange expects
                close_timeout=CLOSING,
                write_limit=0,  # a write ends when the operating system has taken all of it
            )
        except InvalidHandshake as error:
            raise ConnectionError(str(error)) from error
        assert isinstance(self.socket, ClosingConnection)
        # When a write stalls, `recv` does not raise. The delay leaves time to read the messages
        # that came before the close frame.
        self.socket.on_close = lambda: self.loop.call_later(
            CLOSING, self.lost, "closed by the peer"
        )
        self.opened()

    async def messages(self) -> AsyncIterator[str | bytes]:
        async for message in self.socket:
            yield message

    async def send(self, text: str) -> None:
        await self.socket.send(text)

    async def close(self, code: int, reason: str) -> None:
        await self.socket.close(code, reason)

    async def abort(self) -> None:
        self.socket.transport.abort()


make_driver = Own

if __name__ == "__main__":
    asyncio.run(show(Own))
