"""Drive the core on Tornado's IOLoop, over Tornado's WebSocket client.

Use this when your program is a Tornado application. The part that is the same for every loop is in
driver.py.
"""

# The library may be missing where types are checked.
# mypy: disable-error-code="import-not-found, import-untyped, misc"
# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false

import asyncio
from contextlib import suppress

from tornado.httpclient import HTTPError
from tornado.ioloop import IOLoop
from tornado.websocket import WebSocketClosedError, websocket_connect

from bitget_proto import Connection
from driver import CLOSING, Call, Driver, OnEvent, now
from embedded import play


class OnIOLoop(Driver):
    """Drives one connection."""

    def __init__(self, conn: Connection, url: str, on_event: OnEvent = bool) -> None:
        super().__init__(conn, on_event)
        self.url, self.writing, self.timer = url, False, None

    def run(self) -> None:
        asyncio.run(self.main())  # a Tornado application starts this way

    def call(self, fn: Call) -> None:  # rule 10: from another thread
        self.loop.add_callback(self.do, fn)

    async def main(self) -> None:
        self.loop, self.gone = IOLoop.current(), asyncio.Event()
        try:
            self.socket = await websocket_connect(
                self.url, on_message_callback=self.on_message, max_message_size=2**20
            )
        except (OSError, HTTPError) as error:
            self.lost(str(error))
            return
        self.stream = self.socket.protocol.stream
        self.stream.set_nodelay(True)
        self.opened()
        await self.gone.wait()

    def on_message(self, message: str | bytes | None) -> None:
        if message is not None:
            self.received(message)
        else:
            self.lost(f"closed with code {self.socket.close_code}")
            self.gone.set()

    def can_write(self) -> bool:
        return not self.writing

    def write(self, text: str) -> None:
        self.writing = True
        with suppress(WebSocketClosedError):  # `on_message` gets None
            self.socket.write_message(text).add_done_callback(self.written)

    def written(self, future: "asyncio.Future[None]") -> None:
        if future.exception() is None:
            self.writing = False
            self.drain()

    def hang_up(self, code: int, reason: str) -> None:
        self.socket.close(code, reason)
        self.loop.call_later(CLOSING, self.stream.close)

    def arm(self, until: float | None) -> None:
        if self.timer is not None:
            self.loop.remove_timeout(self.timer)
        self.timer = (
            None if until is None else self.loop.call_later(max(0.0, until - now()), self.soon)
        )

    def soon(self, turns: int = 10) -> None:
        """Call `due` after some iterations of the loop: messages are read first (rule 4)."""
        self.timer = self.loop.call_later(0, self.soon, turns - 1) if turns else None
        if not turns:
            self.due()


make_driver = OnIOLoop

if __name__ == "__main__":
    play(OnIOLoop)
