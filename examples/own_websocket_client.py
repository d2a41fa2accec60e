"""Drive the core over the websocket-client library, with a thread that reads and one that writes.

Use this when your program already uses that library. Its calls block, so the thread of `run` does
not send or receive: it takes functions from a queue and calls the connection. The part that is the
same for every loop is in driver.py.
"""

# The library has no types, and may be missing where types are checked.
# mypy: disable-error-code="import-not-found, import-untyped, misc"
# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false

import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, Queue
from threading import Semaphore, Thread

from websocket import ABNF, WebSocketException, create_connection

from bitget_proto import Connection
from driver import CLOSING, Call, Driver, OnEvent
from embedded import play


class Own(Driver):
    """Drives one connection."""

    def __init__(self, conn: Connection, url: str, on_event: OnEvent = bool) -> None:
        super().__init__(conn, on_event)
        self.url, self.under_way, self.parts, self.room = url, 0, b"", Semaphore(100)
        self.inbox, self.outbox = Queue[Callable[[], object]](), Queue[ABNF | None]()

    def call(self, fn: Call) -> None:  # rule 10: from another thread
        self.inbox.put(partial(self.do, fn))

    def run(self) -> None:
        try:
            self.socket = create_connection(self.url, timeout=5.0, http_no_proxy=["*"])
        except (OSError, WebSocketException) as error:
            self.lost(str(error))
            return
        self.socket.settimeout(None)
        raw = self.socket.sock  # the library drops it when the stream ends
        assert raw is not None
        threads = [Thread(target=self.write_all), Thread(target=self.read_all)]
        for thread in threads:
            thread.start()
        self.opened()
        while not self.over:
            try:
                self.inbox.get(timeout=self.patience())()
            except Empty:
                self.due()  # rule 4: the queue is empty, so received messages came first
        self.outbox.put(None)
        self.room.release()
        for thread in threads:  # time for the close frame and its answer (rule 8)
            thread.join(CLOSING)
        with suppress(OSError):
            raw.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
        raw.close()

    def take(self, frame: ABNF) -> None:
        """Handle a frame. The library's `recv` would answer it by itself, and wait for writes."""
        self.room.release()
        data = frame.data if isinstance(frame.data, bytes) else frame.data.encode()
        if frame.opcode == ABNF.OPCODE_CLOSE:
            self.lost(f"closed with {data!r}")
            self.put(data[:2], ABNF.OPCODE_CLOSE)
        elif frame.opcode == ABNF.OPCODE_PING:
            self.put(data, ABNF.OPCODE_PONG)
        elif frame.opcode != ABNF.OPCODE_PONG:
            self.parts += data
            if frame.fin:
                message, self.parts = self.parts, b""
                self.received(message)

    def can_write(self) -> bool:
        return not self.under_way

    def write(self, text: str) -> None:
        self.put(text, ABNF.OPCODE_TEXT)

    def hang_up(self, code: int, reason: str) -> None:
        self.put(code.to_bytes(2, "big") + reason.encode(), ABNF.OPCODE_CLOSE)

    def arm(self, until: float | None) -> None:
        """Do nothing: `run` waits until the deadline."""

    def put(self, data: str | bytes, opcode: int) -> None:
        self.under_way += 1
        self.outbox.put(ABNF.create_frame(data, opcode))

    def written(self) -> None:
        self.under_way -= 1
        if not self.over:
            self.drain()

    # --- the threads that write and read ---

    def write_all(self) -> None:
        with suppress(OSError, WebSocketException):  # `read_all` reports it
            while (frame := self.outbox.get()) is not None:
                self.socket.send_frame(frame)
                self.inbox.put(self.written)

    def read_all(self) -> None:  # rule 7
        try:
            opcode = None
            while opcode != ABNF.OPCODE_CLOSE:
                if not self.over:
                    self.room.acquire()  # bounds the memory of messages that are not handled
                frame = self.socket.recv_frame()  # type: ignore[no-untyped-call]
                opcode = frame.opcode
                self.inbox.put(partial(self.take, frame))
        except (OSError, WebSocketException) as error:
            self.inbox.put(partial(self.lost, f"the connection broke: {error}"))


make_driver = Own

if __name__ == "__main__":
    play(Own)
