"""Drive the core over aiohttp's WebSocket client.

Use this when your program already has an aiohttp session whose connector, proxies and TLS the
cancels should use too. The part that is the same for other clients is in on_asyncio.py.
"""

import asyncio
from asyncio.trsock import TransportSocket
from collections.abc import AsyncIterator
from contextlib import suppress
from socket import SHUT_RDWR

from aiohttp import ClientError, ClientSession, WSMsgType

from on_asyncio import Carrier, show


class Own(Carrier):
    """Drives a connection over aiohttp's WebSocket, by the rules of docs/driver.md."""

    errors = ClientError, OSError

    async def dial(self) -> None:
        self.session = ClientSession()  # in your program: its own session
        try:
            # `close` below closes the WebSocket; aiohttp would first wait for the last write.
            self.socket = await self.session.ws_connect(self.url, autoclose=False)
        except ClientError as error:
            await self.session.close()
            raise ConnectionError(str(error)) from error
        self.below: TransportSocket = self.socket.get_extra_info("socket")
        self.opened()

    async def messages(self) -> AsyncIterator[str | bytes]:
        async for message in self.socket:
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                yield message.data

    async def send(self, text: str) -> None:
        await self.socket.send_str(text)

    async def close(self, code: int, reason: str) -> None:
        await self.socket.close(code=code, message=reason.encode())

    async def abort(self) -> None:
        with suppress(OSError):
            self.below.shutdown(SHUT_RDWR)  # otherwise a write that stalls would never end
        await self.session.close()


make_driver = Own

if __name__ == "__main__":
    asyncio.run(show(Own))
