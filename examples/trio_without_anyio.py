"""Drive the core on trio without anyio: three tasks in one nursery.

Use this when your program uses trio and should not depend on anyio. `bitget_transports.anyio` runs
on trio too and does more for you. The part that is the same for every loop is in driver.py.
"""

from contextlib import suppress
from math import inf

import trio

from bitget_proto import Connection
from driver import CLOSING, Call, Driver, OnEvent
from embedded import play
from sansio_websocket import WebSocket


class Nursery(Driver):
    """Drives one connection."""

    def __init__(self, conn: Connection, url: str, on_event: OnEvent = bool) -> None:
        super().__init__(conn, on_event)
        self.websocket, self.out, self.writing = WebSocket(url), b"", False

    def run(self) -> None:
        trio.run(self.main)

    def call(self, fn: Call) -> None:  # rule 10: from another thread, through trio's own queue
        with suppress(trio.RunFinishedError):
            self.token.run_sync_soon(self.do, fn)

    async def main(self) -> None:
        self.token, self.news, self.work = (
            trio.lowlevel.current_trio_token(),
            trio.Event(),
            trio.Event(),
        )
        try:
            with trio.fail_after(5.0):
                self.stream = await trio.open_tcp_stream(*self.websocket.address)
        except (OSError, trio.TooSlowError) as error:
            self.lost(f"cannot connect: {error}")
            return
        async with self.stream, trio.open_nursery() as nursery:
            self.scope = nursery.cancel_scope
            nursery.start_soon(self.send)
            nursery.start_soon(self.keep_time)
            self.put(self.websocket.start())
            await self.read()
            nursery.cancel_scope.cancel()

    async def read(self) -> None:  # rule 7: the reader never blocks on anything else
        data, opened = b"more", False
        while data:
            try:
                data = await self.stream.receive_some(2048)
                self.put(self.websocket.feed(data))
            except trio.BrokenResourceError as error:
                self.lost(f"the connection was lost: {error}")
                return
            if self.websocket.opened and not opened:
                opened = True
                self.opened()
            while self.websocket.arrived:
                self.received(self.websocket.arrived.popleft())
            if self.websocket.over is not None:
                self.lost(self.websocket.over)
            if self.over:
                self.scope.deadline = min(self.scope.deadline, trio.current_time() + CLOSING)

    async def send(self) -> None:
        with suppress(trio.BrokenResourceError):  # the next read reports it
            while True:
                await self.work.wait()
                data, self.out, self.writing, self.work = self.out, b"", True, trio.Event()
                await self.stream.send_all(data)
                self.writing = False
                self.drain()

    async def keep_time(self) -> None:
        while True:
            self.news, patience = trio.Event(), self.patience()
            with trio.move_on_after(inf if patience is None else patience):
                await self.news.wait()
                continue
            for _ in range(2):  # rule 4: received messages come before the deadline
                await trio.lowlevel.checkpoint()
            if self.overdue:
                self.due()

    def can_write(self) -> bool:
        return not self.out and not self.writing

    def write(self, text: str) -> None:
        self.put(self.websocket.text(text))

    def hang_up(self, code: int, reason: str) -> None:
        self.put(self.websocket.close(code, reason))
        self.scope.deadline = trio.current_time() + CLOSING

    def put(self, data: bytes) -> None:
        if data:
            self.out += data
            self.work.set()

    def arm(self, until: float | None) -> None:  # noqa: ARG002 - `keep_time` calls `patience`
        self.news.set()


make_driver = Nursery

if __name__ == "__main__":
    play(Nursery)
