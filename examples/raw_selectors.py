"""Drive the core by a loop of your own over `selectors`: one thread, one socket, no event loop.

Take this when your program has such a loop already, or when you want to see all that an event loop would do for you. The rules
are those of docs/driver.md.
"""

import selectors
import socket
import time
from collections import deque
from contextlib import suppress

from bitget_proto import Closed, Connection, Hangup, Transmit, Wait, sign_login
from dialling import dial, leave
from embedded import KEY, play
from sansio_websocket import Call, Tell, WebSocket

now = time.monotonic


class Loop:
    """Drives one connection."""

    def __init__(self, conn: Connection, url: str, tell: Tell = bool) -> None:
        self.conn, self.tell, self.websocket = conn, tell, WebSocket(url)
        self.calls, (self.awake, self.waker) = deque[Call](), socket.socketpair()
        self.awake.settimeout(0)
        self.out, self.closed = b"", False
        self.until: float | None = None

    def call(self, fn: Call) -> None:  # rule 10: from another thread, through a queue
        self.calls.append(fn)
        with suppress(OSError):  # it is over
            self.waker.send(b"!")

    def run(self) -> None:
        with self.awake, self.waker:
            try:
                self.socket = dial(self.websocket)
            except OSError as error:
                self.conn.lost(now(), str(error))  # rule 8
                self.drain()
                return
            self.conn.opened(now(), login=sign_login(KEY, int(time.time())))
            self.drain()
            with selectors.DefaultSelector() as selector:
                selector.register(self.socket, selectors.EVENT_READ)
                selector.register(self.awake, selectors.EVENT_READ)
                while not self.closed:
                    wants = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.out else 0)
                    selector.modify(self.socket, wants)
                    selector.select(self.patience())
                    self.turn()
            leave(self.socket, self.out)

    def patience(self) -> float | None:
        if self.websocket.arrived or self.websocket.over is not None:
            return 0.0
        return None if self.until is None else max(0.0, self.until - now())

    def turn(self) -> None:
        with suppress(BlockingIOError):
            self.awake.recv(4096)
        while self.calls and not self.closed:
            self.calls.popleft()(self.conn, now())
            self.drain()
        self.write()
        if not self.closed:
            self.drain()
        for _ in range(100):  # rule 4: what has arrived goes first, but not without end
            if self.closed or not self.take_one():
                break
        if not self.closed and self.until is not None and now() >= self.until:  # rule 3
            self.conn.handle_timeout(max(now(), self.until))
            self.drain()

    def take_one(self) -> bool:
        """One message, or one read, or the end; whether there was any."""
        if self.websocket.arrived:
            self.conn.receive(self.websocket.arrived.popleft(), now())
            self.drain()
        elif self.websocket.over is not None:
            self.conn.lost(now(), self.websocket.over)
            self.drain()
        else:
            try:
                self.out += self.websocket.feed(self.socket.recv(2**14))
            except BlockingIOError:
                return False
            except OSError as error:
                self.websocket.over = str(error)
        return True

    def write(self) -> None:
        with suppress(OSError):  # when it would block; and a connection that broke is found by the next read
            self.out = self.out[self.socket.send(self.out) :]

    def drain(self) -> None:  # rule 1
        while True:
            match self.conn.poll(now(), writable=not self.out):
                case Transmit(text=text):  # rule 5
                    self.out += self.websocket.text(text)
                    self.write()
                case Hangup(code=code, reason=reason):
                    self.out += self.websocket.close(code, reason)
                case Wait(until=until):  # rule 2
                    self.until = until
                    return
                case event:
                    self.closed = self.closed or isinstance(event, Closed)
                    self.tell(event)


make_driver = Loop

if __name__ == "__main__":
    play(Loop)
