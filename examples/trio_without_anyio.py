"""Drive the core on trio alone: three tasks in one nursery, no anyio.

Take this when your program is written for trio and is to stay so; `bitget_transports.anyio` runs on trio too, and does more for
you. The rules are those of docs/driver.md.
"""

import time
from contextlib import suppress
from math import inf

import trio

from bitget_proto import Closed, Connection, Hangup, Transmit, Wait, sign_login
from embedded import KEY, play
from sansio_websocket import CLOSING, Call, Tell, WebSocket

now = time.monotonic


class Nursery:
    """Drives one connection."""

    def __init__(self, conn: Connection, url: str, tell: Tell = bool) -> None:
        self.conn, self.tell, self.websocket = conn, tell, WebSocket(url)
        self.out, self.writing, self.over, self.until = b"", False, False, inf
        self.scope = trio.CancelScope()

    def run(self) -> None:
        trio.run(self.main)

    def call(self, fn: Call) -> None:  # rule 10: from another thread, through trio's own queue
        with suppress(trio.RunFinishedError):
            self.token.run_sync_soon(self.do, fn)

    def do(self, fn: Call) -> None:
        if not self.over:
            fn(self.conn, now())
            self.drain()

    async def main(self) -> None:
        self.token, self.news, self.work = trio.lowlevel.current_trio_token(), trio.Event(), trio.Event()
        try:
            with trio.fail_after(5.0):
                self.stream = await trio.open_tcp_stream(*self.websocket.address)
        except (OSError, trio.TooSlowError) as error:
            self.lost(f"no connection: {error}")
            return
        with self.scope:
            async with self.stream, trio.open_nursery() as nursery:
                nursery.start_soon(self.write)
                nursery.start_soon(self.keep_time)
                self.put(self.websocket.start())
                await self.read()
                self.scope.cancel()

    async def read(self) -> None:  # rule 7: it waits for nobody
        data, opened = b"more", False
        while data:
            try:
                data = await self.stream.receive_some(2048)
                self.put(self.websocket.feed(data))
            except trio.BrokenResourceError as error:
                self.lost(f"the connection broke: {error}")
                return
            if self.websocket.opened and not opened:
                opened = True
                self.conn.opened(now(), login=sign_login(KEY, int(time.time())))
                self.drain()
            while self.websocket.arrived and not self.over:  # rule 8
                self.conn.receive(self.websocket.arrived.popleft(), now())
                self.drain()
            if self.websocket.over is not None:
                self.lost(self.websocket.over)

    def lost(self, reason: str) -> None:
        if not self.over:  # rule 8
            self.conn.lost(now(), reason)
            self.drain()

    async def write(self) -> None:
        with suppress(trio.BrokenResourceError):  # the next read finds it
            while True:
                await self.work.wait()
                data, self.out, self.writing, self.work = self.out, b"", True, trio.Event()
                await self.stream.send_all(data)
                self.writing = False
                if not self.over:
                    self.drain()

    def put(self, data: bytes) -> None:
        if data:
            self.out += data
            self.work.set()

    async def keep_time(self) -> None:
        while True:
            self.news = trio.Event()
            with trio.move_on_after(max(0.0, self.until - now())):
                await self.news.wait()
                continue
            for _ in range(2):  # rule 4: what has arrived goes first, but not without end
                await trio.lowlevel.checkpoint()
            if now() >= self.until:
                self.conn.handle_timeout(max(now(), self.until))  # rule 3
                self.drain()

    def drain(self) -> None:  # rule 1
        while True:
            match self.conn.poll(now(), writable=not self.out and not self.writing):
                case Transmit(text=text):  # rule 5
                    self.put(self.websocket.text(text))
                case Hangup(code=code, reason=reason):
                    self.put(self.websocket.close(code, reason))
                case Wait(until=until):  # rule 2
                    self.until = inf if until is None else until
                    self.news.set()
                    return
                case event:
                    if isinstance(event, Closed):
                        self.until = inf
                        self.over, self.scope.deadline = True, trio.current_time() + CLOSING
                    self.tell(event)


make_driver = Nursery

if __name__ == "__main__":
    play(Nursery)
