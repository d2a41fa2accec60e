"""Drive the core in one thread behind a queue, for synchronous callers in any thread.

Use this when several threads of your program cancel orders: `cancel` blocks until the outcome.
Every call and every read is a function in one queue, and one thread runs them. The part that is the
same for every loop is in driver.py.
"""

import logging
import socket
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import Empty, Queue
from threading import Semaphore, Thread

from bitget_proto import (
    Accepted,
    CancelOrder,
    Connection,
    Event,
    LocalProtocolError,
    Outcome,
    Ready,
    Rejected,
    Unresolved,
)
from bitget_proto.testing import StrictConnection
from bitget_transports.exchange import exchange_in_thread
from driver import CLOSING, Call, now
from embedded import ORDERS, exchange, report
from plain_socket import PlainSocket


class Desk(PlainSocket):
    """Drives one connection, for callers in any thread."""

    def __init__(self, conn: Connection, url: str) -> None:
        super().__init__(conn, url, self.handle_event)
        self.ready, self.waiting = Future[None](), dict[str, Future[Outcome]]()
        self.router, self.outbox = Queue[Callable[[], object]](), Queue[bytes | None]()
        self.under_way, self.room = 0, Semaphore(8)

    # --- for callers ---

    def call(self, fn: Call) -> None:  # rule 10
        self.router.put(partial(self.do, fn))

    def cancel(self, order: CancelOrder, timeout: float | None = None) -> Outcome:
        """Cancel an order and return its outcome.

        Raises: TimeoutError, but the cancel goes on (rule 6); LocalProtocolError, when nothing was
        sent; ConnectionError, when the connection has ended.
        """
        future: Future[Outcome] = Future()

        def begin() -> None:
            try:
                self.waiting[self.conn.cancel(order, now())] = future
            except LocalProtocolError as error:
                future.set_exception(error)
            else:
                self.drain()

        self.router.put(begin)
        if self.over:
            raise ConnectionError("the connection has ended")
        return future.result(timeout)

    def abandon(self, order: CancelOrder) -> None:
        with suppress(TimeoutError):
            self.cancel(order, timeout=0.0)

    def handle_event(self, event: Event) -> None:
        match event:
            case Accepted(id=id) | Rejected(id=id) | Unresolved(id=id):
                if id in self.waiting:
                    self.waiting.pop(id).set_result(event)
            case Ready():
                self.ready.set_result(None)
            case _:
                logging.getLogger("desk").info("%s", event)

    # --- the main thread of the driver ---

    def run(self) -> None:
        self.dial()
        if self.over:
            self.leave()
            return
        self.socket.settimeout(None)
        with self.socket:
            threads = [Thread(target=self.send_all), Thread(target=self.receive)]
            for thread in threads:
                thread.start()
            while not self.over:
                try:
                    self.next()()
                except Empty:
                    self.due()  # rule 4: the queue is empty, so received messages came first
            self.outbox.put(None)
            self.room.release()
            for thread in threads:  # time for the close frame and its answer
                thread.join(CLOSING)
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
        while not self.router.empty():  # calls that came too late raise
            self.router.get()()

    def next(self) -> Callable[[], object]:
        """Return the next function to call.

        Raises: Empty when the deadline expires first.
        """
        return (
            partial(self.read, at_most=1)
            if self.unread
            else self.router.get(timeout=self.patience())
        )

    def fed(self, data: bytes) -> None:
        self.room.release()
        self.put(self.websocket.feed(data))

    def can_write(self) -> bool:
        return not self.under_way

    def write(self, text: str) -> None:
        self.put(self.websocket.text(text))

    def hang_up(self, code: int, reason: str) -> None:
        self.put(self.websocket.close(code, reason))

    def put(self, data: bytes) -> None:
        if data:
            self.under_way += 1
            self.outbox.put(data)

    def written(self) -> None:
        self.under_way -= 1
        self.drain()

    # --- the threads that write and read ---

    def send_all(self) -> None:
        with suppress(OSError):  # `receive` reports it
            while (data := self.outbox.get()) is not None:
                self.socket.sendall(data)
                self.router.put(self.written)

    def receive(self) -> None:  # rule 7
        data = b"more"
        while data:
            if not self.over:
                self.room.acquire()  # bounds the memory of unprocessed data
            try:
                data = self.socket.recv(2**14)
            except OSError:
                data = b""
            if not self.over:
                self.router.put(partial(self.fed, data))


make_driver = Desk


def main() -> None:
    """Cancel eight orders in eight threads."""
    with exchange_in_thread(exchange()) as server:
        desk = Desk(StrictConnection(), server.url)
        thread = Thread(target=desk.run)
        thread.start()
        desk.ready.result(5.0)
        with ThreadPoolExecutor(8) as callers:
            report(callers.map(desk.cancel, ORDERS))
        desk.call(lambda conn, now: conn.close(now))
        thread.join()


if __name__ == "__main__":
    main()
