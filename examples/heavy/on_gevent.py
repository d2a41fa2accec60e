"""Drive the core on gevent, over gevent's sockets.

Use this when your program runs under gevent, with or without monkey patching. One greenlet reads,
one writes and one keeps the timer; callers do not block. The part that is the same for every loop
is in driver.py.
"""

# The library may be missing where types are checked.
# mypy: disable-error-code="import-not-found, import-untyped, misc"
# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false

from collections import deque
from contextlib import suppress

import gevent
from gevent import socket
from gevent.event import Event

from bitget_proto import Connection
from driver import CLOSING, Call, Driver, OnEvent
from embedded import play
from sansio_websocket import WebSocket


class Greenlets(Driver):
    """Drives one connection."""

    def __init__(self, conn: Connection, url: str, on_event: OnEvent = bool) -> None:
        super().__init__(conn, on_event)
        self.websocket, self.out, self.writing, self.calls = (
            WebSocket(url),
            b"",
            False,
            deque[Call](),
        )
        self.news, self.work, self.ended = Event(), Event(), Event()
        self.wake = gevent.get_hub().loop.async_()

    def call(self, fn: Call) -> None:  # rule 10: from another thread
        self.calls.append(fn)
        self.wake.send()  # the only thread-safe call of gevent

    def do_calls(self) -> None:
        while self.calls:
            self.do(self.calls.popleft())

    def run(self) -> None:
        hub = gevent.get_hub()
        self.wake.start(self.do_calls)
        try:
            with socket.create_connection(self.websocket.address, 5.0) as self.socket:
                self.socket.settimeout(None)
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.put(self.websocket.start())
                greenlets = [gevent.spawn(one) for one in (self.read, self.send, self.keep_time)]
                self.ended.wait()
                greenlets[0].join(CLOSING)
                gevent.killall(greenlets)
        except OSError as error:
            self.lost(str(error))
        self.wake.close()
        hub.destroy(destroy_loop=True)  # a thread that ends should destroy its hub

    def read(self) -> None:  # rule 7: the reader never blocks on anything else
        data, opened = b"more", False
        while data:
            try:
                data = self.socket.recv(2**14)
            except OSError as error:
                self.lost(f"the connection was lost: {error}")
                return
            self.put(self.websocket.feed(data))
            if self.websocket.opened and not opened:
                opened = True
                self.opened()
            while self.websocket.arrived:
                self.received(self.websocket.arrived.popleft())
            if self.websocket.over is not None:
                self.lost(self.websocket.over)

    def send(self) -> None:
        with suppress(OSError):  # the next read reports it
            while self.work.wait():
                data, self.out, self.writing = self.out, b"", True
                self.work.clear()
                self.socket.sendall(data)
                self.writing = False
                self.drain()

    def keep_time(self) -> None:
        while True:
            self.news.clear()
            if not self.news.wait(self.patience()):
                gevent.sleep(0.001)  # rule 4: received messages come before the deadline
                if self.overdue:
                    self.due()

    def can_write(self) -> bool:
        return not self.out and not self.writing

    def write(self, text: str) -> None:
        self.put(self.websocket.text(text))

    def hang_up(self, code: int, reason: str) -> None:
        self.put(self.websocket.close(code, reason))

    def put(self, data: bytes) -> None:
        if data:
            self.out += data
            self.work.set()

    def arm(self, until: float | None) -> None:  # noqa: ARG002 - `keep_time` calls `patience`
        self.news.set()

    def drain(self) -> None:
        super().drain()
        if self.over:
            self.ended.set()


make_driver = Greenlets

if __name__ == "__main__":
    play(Greenlets)
