"""Drive the core with a loop of your own over `selectors`: one thread, one socket, no event loop.

Use this when your program already has such a loop, or to see what an event loop would do for you.
The steps that the loop calls are in plain_socket.py.
"""

import selectors
import socket
from contextlib import suppress

from bitget_proto import Connection
from driver import Call, OnEvent
from embedded import play
from plain_socket import PlainSocket


class Loop(PlainSocket):
    """Drives one connection. It sleeps until there is something to do."""

    def __init__(self, conn: Connection, url: str, on_event: OnEvent = bool) -> None:
        super().__init__(conn, url, on_event)
        self.awake, self.waker = socket.socketpair()

    def call(self, fn: Call) -> None:  # rule 10: from another thread, through a queue
        super().call(fn)
        with suppress(OSError):  # the loop has ended
            self.waker.send(b"!")

    def run(self) -> None:
        with self.awake, self.waker, selectors.DefaultSelector() as selector:
            self.dial()
            if not self.over:
                selector.register(self.socket, selectors.EVENT_READ)
                selector.register(self.awake, selectors.EVENT_READ)
            while not self.over:
                selector.modify(
                    self.socket, selectors.EVENT_READ | (selectors.EVENT_WRITE if self.out else 0)
                )
                ready = selector.select(0.0 if self.unread else self.patience())
                if any(key.fileobj is self.awake for key, _ in ready):
                    self.awake.recv(4096)
                self.do_calls()
                self.flush()
                self.read()  # rule 4: received messages come before the deadline
                if self.overdue:
                    self.due()
            self.leave()


make_driver = Loop

if __name__ == "__main__":
    play(Loop)
