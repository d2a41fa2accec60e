"""Drive the core from a loop that polls once a frame, as a game's or a simulator's does: nothing waits, nothing calls back.

Take this when your program draws sixty times a second and the cancels are to ride along: `frame` costs some microseconds when
there is nothing to do, and a cancel leaves at once. The rules are those of docs/driver.md.
"""

import socket
import time
from collections import deque
from contextlib import suppress

from bitget_proto import Closed, Connection, Hangup, Transmit, Wait, sign_login
from dialling import dial, leave
from embedded import KEY, play
from sansio_websocket import Call, Tell, WebSocket

now = time.monotonic


class Game:
    """Drives one connection, a frame at a time."""

    def __init__(self, conn: Connection, url: str, tell: Tell = bool) -> None:
        self.conn, self.tell, self.websocket, self.calls = conn, tell, WebSocket(url), deque[Call]()
        self.call = self.calls.append  # rule 10: from another thread; it runs in the next frame
        self.out, self.over = b"", False
        self.until: float | None = None
        self.socket: socket.socket | None = None

    def run(self) -> None:
        while not self.over:
            self.frame()
            time.sleep(1 / 60)  # here the world moves, and is drawn
        if self.socket is not None:
            leave(self.socket, self.out)

    def frame(self) -> None:
        """All that is to be done now."""
        try:
            if self.socket is None:
                self.socket = dial(self.websocket)  # behind the loading screen
                self.conn.opened(now(), login=sign_login(KEY, int(time.time())))
            self.drain()
            while self.calls and not self.over:
                self.calls.popleft()(self.conn, now())
                self.drain()
            self.write()
            self.read(self.socket)
        except OSError as error:
            self.conn.lost(now(), str(error))  # rule 8
        self.drain()
        if not self.over and self.until is not None and now() >= self.until:  # rule 3
            self.conn.handle_timeout(max(now(), self.until))
            self.drain()

    def read(self, sock: socket.socket) -> None:
        """What has arrived goes first, but not without end: rule 4."""
        for _ in range(500):
            if self.over:
                return
            if self.websocket.arrived:
                self.conn.receive(self.websocket.arrived.popleft(), now())
                self.drain()
            elif self.websocket.over is not None:
                raise OSError(self.websocket.over)
            else:
                try:
                    self.out += self.websocket.feed(sock.recv(2**14))
                except BlockingIOError:
                    return

    def write(self) -> None:
        if self.socket is not None:
            with suppress(OSError):  # when it would block; and a connection that broke is found by the next read
                self.out = self.out[self.socket.send(self.out) :]

    def drain(self) -> None:  # rule 1
        while not self.over:
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
                    self.over = isinstance(event, Closed)
                    self.tell(event)


make_driver = Game

if __name__ == "__main__":
    play(Game)
