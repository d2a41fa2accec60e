"""Carry the core over a WebSocket of your own: aiohttp's client.

Take this when your program speaks HTTP by aiohttp anyway, and one session with its connector, proxies and TLS is to serve the
cancels too. What is the same for any other client stands in on_asyncio.py.
"""

import asyncio
from asyncio.trsock import TransportSocket
from collections.abc import AsyncIterator
from contextlib import suppress
from socket import SHUT_RDWR

from aiohttp import ClientError, ClientSession, WSMsgType

from on_asyncio import Carrier, show


class Own(Carrier):
    """Joins a connection to a WebSocket of aiohttp's. The rules are those of docs/driver.md."""

    errors = ClientError, OSError

    async def dial(self) -> None:
        self.session = ClientSession()  # yours, in your program
        try:
            # It is this carrier that closes: aiohttp would first wait until the last write has ended.
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
            self.below.shutdown(SHUT_RDWR)  # or what nobody reads would be written for ever
        await self.session.close()


make_driver = Own

if __name__ == "__main__":
    asyncio.run(show(Own))
