"""Carry the core over a WebSocket of your own: the asyncio client of the websockets library.

Take this when your program holds such a client already, with its TLS and its headers, and is to go on doing so. What is the
same for any other client stands in on_asyncio.py.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.frames import Frame, Opcode
from websockets.protocol import Event

from driver import CLOSING
from on_asyncio import Carrier, show


class Telling(ClientConnection):
    """Tells of a close frame at once; `recv` raises only when the last write has ended and the socket is closed."""

    on_close: Callable[[], object] = bool

    def process_event(self, event: Event) -> None:
        super().process_event(event)
        if isinstance(event, Frame) and event.opcode is Opcode.CLOSE:
            self.on_close()


class Own(Carrier):
    """Joins a connection to a WebSocket of websockets'. The rules are those of docs/driver.md."""

    errors = ConnectionClosed, OSError

    async def dial(self) -> None:
        try:
            self.socket = await connect(
                self.url,
                create_connection=Telling,
                ping_interval=None,  # the exchange counts only the core's
                close_timeout=CLOSING,
                write_limit=0,  # a write has ended when the system has all of it
            )
        except InvalidHandshake as error:
            raise ConnectionError(str(error)) from error
        assert isinstance(self.socket, Telling)
        # Should a write have stalled: by then, what came before the close frame is read.
        self.socket.on_close = lambda: self.loop.call_later(
            CLOSING, self.lost, "the other side has closed"
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
